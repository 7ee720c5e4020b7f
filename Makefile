# From a checkout: build, try and test. `make help` lists what there is.
# Every target sets up what it needs first (tests/setup: Debian packages, as root or with sudo) and
# is then silent about it.

PREFIX  ?= /usr
DESTDIR ?=
BUILT   := $(or $(CARGO_TARGET_DIR),target)/release

# the first cargo that is new enough, which need not be the first on PATH
CARGO := PATH="$$(tests/setup path)" cargo

# recipes of one folder and one cargo lock: side by side they would only wait for each other
.NOTPARALLEL:
.PHONY: all demo demo-deadlock test check bench bench-null lint guards solr-tests failover install clean help

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
	@$(MAKE) --no-print-directory lint check guards solr-tests

check: ## the tests that need no Solr
	@tests/setup build
	$(CARGO) build --workspace --locked
	$(CARGO) test --workspace --locked

solr-tests: ## the tests with a real SolrCloud, which they share
	@tests/setup build solr
	$(CARGO) build --workspace --locked
	$(CARGO) test --workspace --locked --features solr-updater/solr --test solr --no-run
	PATH="$$(tests/setup path)" tests/with-solrcloud target/test-solrcloud \
	  cargo test --workspace --locked --features solr-updater/solr --test solr

# QUICK=1: one round, little data. ROUNDS=n. ONLY=null,peers,workers,shards,latency,files or report.
# CONTENDERS=ours,raw: of the peers those named so. With QUICK or CONTENDERS README is left alone.
bench: all ## this program beside SolrJ, pysolr, curl, bin/solr post: two hours, and README's table
	@tests/setup bench
	@$(BUILT)/bench $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	  $(if $(ONLY),--only $(ONLY)) $(if $(CONTENDERS),--contenders $(CONTENDERS))

bench-null: all ## the program alone, against a server that answers at once
	@tests/setup solr
	@$(BUILT)/bench --only null $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS))

failover: ## leaders killed, paused, restarted, ten times each, and ZooKeeper: what it costs (an hour)
	@tests/setup build solr
	$(CARGO) build --workspace --locked
	$(CARGO) test --locked --features solr-updater/solr --test solr --no-run
	PATH="$$(tests/setup path)" FAILOVER_ROUNDS=10 SOLRCLOUD_TTL=14400 \
	  tests/with-solrcloud target/failover-solrcloud \
	  cargo test --locked --features solr-updater/solr --test solr failover -- \
	  --include-ignored --nocapture --test-threads=1

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

clean: ## remove all that was built, and what the demo and the tests left
	rm -rf target

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
