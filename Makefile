# From a checkout: build, try and test. `make help` lists what there is.
# Every target sets up what it needs first (tests/setup: Debian packages, as root or with sudo) and
# is then silent about it.

PREFIX  ?= /usr
DESTDIR ?=
BUILT   := $(or $(CARGO_TARGET_DIR),target)/release

# the first cargo that is new enough, which need not be the first on PATH
CARGO := PATH="$$(tests/setup path)" cargo
# What one of the tests in tests/ runs. Always of the whole workspace, and with a test: whoever builds
# less has dependencies with fewer features, and so builds each of them once more.
BUILD_FOR := $(CARGO) build --workspace --locked --bin solr-updater --bin check_updater --test
# most of them wait for a process of their own
TEST_THREADS := $(shell echo $$((2 * $$(nproc))))

# recipes of one folder and one cargo lock: side by side they would only wait for each other
.NOTPARALLEL:
.PHONY: all demo demo-deadlock test check bench bench-null bench-pipeline lint guards solr-tests \
  failover faults faults-short faults-parent faults-forks fuzz fuzz-short coverage screenshots \
  install clean help bench-plugin monitoring-tests bench-status deb deb-tests

all: ## build both programs: target/release/solr-updater and check_updater (the default)
	@tests/setup build
	$(CARGO) build --release --workspace --locked

demo: all ## a SolrCloud, the daemon and a real delta on this machine, from the spool to the query
	@tests/setup solr
	@tests/demo

demo-deadlock: ## the bug this program exists for: fork beside a logging thread
	@tests/setup build
	$(CARGO) run --release --locked -p deadlock

test: ## all tests, with a real SolrCloud among them
	@tests/setup test
	@BROWSER=required $(MAKE) --no-print-directory lint check guards fuzz-short monitoring-tests \
	  solr-tests faults-short

check: ## the tests that need no Solr
	@tests/setup build
	RUST_TEST_THREADS=$(TEST_THREADS) $(CARGO) test --workspace --locked

monitoring-tests: ## Nagios, Icinga 2 and NRPE watch a daemon that is disturbed on purpose (a minute or two)
	@tests/setup build monitoring
	$(BUILD_FOR) monitoring --features solr-updater/monitoring
	$(CARGO) test --workspace --locked --features solr-updater/monitoring --test monitoring

solr-tests: ## the tests with a real SolrCloud, which they share
	@tests/setup build solr
	$(BUILD_FOR) solr --features solr-updater/solr
	PATH="$$(tests/setup path)" tests/with-solrcloud target/test-solrcloud \
	  cargo test --workspace --locked --features solr-updater/solr --test solr

# QUICK=1: one round, little data. ROUNDS=n. ONLY=null,peers,workers,shards,latency,files or report.
# ARENA=2-offers: of the peers' four (packages and offers, on 2 nodes and on 1) this one.
# CONTENDERS=ours,raw: of the peers those named so. With QUICK or CONTENDERS README is left alone.
bench: all ## this program beside SolrJ, pysolr, curl, bin/solr post: two hours, and README's table
	@tests/setup bench
	@$(BUILT)/bench $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	  $(if $(ONLY),--only $(ONLY)) $(if $(ARENA),--arena $(ARENA)) \
	  $(if $(CONTENDERS),--contenders $(CONTENDERS))

bench-null: all ## the program alone, against a server that answers at once
	@tests/setup solr
	@$(BUILT)/bench --only null $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS))

failover: ## leaders killed, paused, restarted, ten times each, and ZooKeeper: what it costs (an hour)
	@tests/setup build solr
	$(BUILD_FOR) solr --features solr-updater/solr
	PATH="$$(tests/setup path)" FAILOVER_ROUNDS=10 SOLRCLOUD_TTL=14400 \
	  tests/with-solrcloud target/failover-solrcloud \
	  cargo test --workspace --locked --features solr-updater/solr --test solr failover -- \
	  --include-ignored --nocapture --test-threads=1

# FAULTS_MINUTES=n (60). SEED=n (the clock's). ONLY=worker,net-cut-after: these alone. INC=1: `inc` too.
# PARTITION=line. See tests/faults/README.md.
faults: ## faults of every kind at random, an hour of them, on a real SolrCloud: is anything lost?
	@tests/setup build solr
	$(BUILD_FOR) faults
	PATH="$$(tests/setup path)" FAULTS_MINUTES="$(FAULTS_MINUTES)" SEED="$(SEED)" ONLY="$(ONLY)" \
	  INC="$(INC)" PARTITION="$(PARTITION)" SOLRCLOUD_TTL=28800 \
	  tests/with-solrcloud target/faults-solrcloud \
	  cargo test --workspace --locked --test faults nothing_is_lost -- --ignored --nocapture

faults-short: ## two minutes of the same
	@$(MAKE) --no-print-directory faults FAULTS_MINUTES=$(or $(FAULTS_MINUTES),1.2)

# KILLS=n (200). LINES=n.
faults-parent: ## the parent killed 200 times in the middle of one delta (ten minutes)
	@tests/setup build solr
	$(BUILD_FOR) faults
	PATH="$$(tests/setup path)" KILLS="$(KILLS)" LINES="$(LINES)" SEED="$(SEED)" \
	  tests/with-solrcloud target/faults-solrcloud \
	  cargo test --workspace --locked --test faults a_delta_arrives -- --ignored --nocapture

# SOLR=1: on a real SolrCloud. QUICK=1: two pairs.
bench-status: all ## the status asked 1,000 times a second beside a delivery: p99, and what it costs (six minutes)
	@tests/setup build $(if $(SOLR),solr)
	@$(BUILT)/bench --only $(if $(SOLR),status-solr,status) $(if $(QUICK),--quick)

bench-pipeline: ## from a delta's bytes to batches, without Solr: two workers, a minute
	@tests/setup build
	$(CARGO) test --release --locked -p worker lines_become_batches -- --ignored --nocapture

bench-plugin: ## what a run of check_updater costs: a thousand of them, in turn with /bin/true, and its size
	@tests/setup build
	$(CARGO) test --release --locked -p check_updater what_a_run_costs -- --ignored --nocapture

# Each target by itself: TARGET=line SECONDS=600. Without TARGET: all, a minute each. What goes wrong is
# kept in target/fuzz/found; tests/fuzz/corpus is for what should be tried for ever.
fuzz: ## what reads foreign bytes, fed by LLVM's fuzzer (any Rust, and a C++ compiler)
	@tests/setup build fuzz
	@tests/fuzz/run "$(TARGET)" "$(SECONDS)"

fuzz-short: ## the same inputs and some thousand mutants of them, without a fuzzer (a minute)
	@tests/setup build
	cd tests/fuzz && PATH="$$(../setup path)" CARGO_TARGET_DIR=$(abspath $(dir $(BUILT))) cargo test --locked

# SOLR=1: with the tests on a real SolrCloud.
coverage: ## which lines the tests reach, forked children's too; target/coverage/html has them all
	@tests/setup build coverage $(if $(SOLR),solr)
	@SOLR="$(SOLR)" tests/coverage

# FORKS=n (50,000).
faults-forks: ## 50,000 workers forked, ready and gone, and nothing is left of them (ten minutes)
	@tests/setup build
	$(BUILD_FOR) faults
	FORKS="$(FORKS)" $(CARGO) test --workspace --locked --test faults fifty_thousand -- --ignored --nocapture

screenshots: ## the pictures of the page and the live view in docs/page, of a real daemon (two minutes)
	@tests/setup build pictures
	BROWSER=required $(CARGO) test --workspace --locked --test daemon pictures:: -- --ignored
	pngquant --force --ext .png --strip 128 docs/page/*.png

lint: ## formatting, clippy, the documentation's links, the shell scripts
	@tests/setup build
	@tests/lint

guards: ## the walls between the crates, and that each one stops what it should stop
	@tests/setup build
	tests/guards

install: ## copy the programs below DESTDIR and PREFIX (/usr); run make first
	@test -x $(BUILT)/solr-updater || { echo "nothing is built yet: run make first" >&2; exit 1; }
	install -D -m 755 $(BUILT)/solr-updater $(DESTDIR)$(PREFIX)/bin/solr-updater
	install -D -m 755 $(BUILT)/check_updater $(DESTDIR)$(PREFIX)/lib/nagios/plugins/check_updater

deb: ## the Debian package: target/deb/solr-updater_VERSION_ARCH.deb
	@tests/setup build deb
	@PATH="$$(tests/setup path)" packaging/make-deb

deb-tests: ## the package in a clean Debian and under a systemd of its own (tests/deb/README.md; root)
	@tests/setup build deb deb-tests
	@PATH="$$(tests/setup path)" packaging/make-deb
	$(CARGO) build --workspace --locked --bin fake-solr
	@tests/deb/run $$(ls -t $(dir $(BUILT))deb/solr-updater_*.deb | head -n 1) $(dir $(BUILT))debug/fake-solr

clean: ## remove all that was built, and what the demo and the tests left
	rm -rf target

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
