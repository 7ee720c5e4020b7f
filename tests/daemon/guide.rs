//! What the operators' guide has people do (docs/operators.md), done as it stands there.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{Daemon, FakeSolr, Site};

/// The first block of that kind behind a heading of the guide.
fn block(heading: &str, kind: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operators.md");
    let page = std::fs::read_to_string(page).expect("the guide");
    let (_, chapter) = page.split_once(&format!("\n## {heading}\n")).expect(heading);
    let (_, block) = chapter.split_once(&format!("\n```{kind}\n")).expect(kind);
    let (block, _) = block.split_once("```\n").expect("its end");
    block.to_owned()
}

/// Runs a script with what is before it on standard input, our program on its PATH.
fn run(site: &Site, program: &str, script: &str) {
    let bin = site.path("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let wrapper = format!(
        "#!/bin/sh\nexec {} -c {} \"$@\"\n",
        env!("CARGO_BIN_EXE_solr-updater"),
        site.config().display()
    );
    std::fs::write(bin.join("solr-updater"), wrapper).unwrap();
    std::fs::set_permissions(
        bin.join("solr-updater"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Command::new(program)
        .args(["-c", script])
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{script}\n{output:?}");
}

/// The guide's spool is the package's; ours is where the test has it.
fn here(site: &Site, script: &str) -> String {
    let here = script.replace("/var/spool/solr-updater", &site.spool("").display().to_string());
    assert_ne!(here, script, "it names the spool");
    here
}

#[test]
fn the_guides_producers_hand_over_what_is_delivered_at_once() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.settle = '1h'"); // by rename, or never
    let daemon = Daemon::start(&site);

    let shell = here(&site, &block("Writing producers", "sh"));
    let export = r#"export_offers() { echo '{"id":"from a shell"}'; }"#;
    run(&site, "sh", &format!("{export}\n{shell}"));
    daemon.wait("the shell's is settled", |status| status["totals"]["deltas"] == 1);

    let python = here(&site, &block("Writing producers", "python"));
    let call = r#"hand_over([{"id": "from Python"}, {"id": "also from Python"}])"#;
    run(&site, "python3", &format!("{python}\n{call}"));
    daemon.wait("Python's is settled", |status| status["totals"]["deltas"] == 2);

    let ids: Vec<String> = solr.docs().keys().cloned().collect();
    assert_eq!(ids, ["also from Python", "from Python", "from a shell"]);
    daemon.stop();
}

#[test]
fn what_solr_has_lost_is_delivered_again_in_the_old_order_as_the_guide_says() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    // Settled in this order; by their names it would be another one.
    for (n, name) in ["b.jsonl", "a.jsonl", "c.jsonl"].into_iter().enumerate() {
        let text = format!("{{\"id\":\"x\",\"n_i\":{n}}}\n{{\"id\":\"of {name}\"}}\n");
        site.hand_over(name, text);
        daemon.wait("it is settled", |status| status["totals"]["deltas"] == n + 1);
    }
    let before = solr.docs();
    assert_eq!(before.len(), 4);
    solr.forget();
    assert_eq!(solr.docs().len(), 0);

    let script = here(&site, &block("When Solr has lost something", ""));
    let script = script.replace("2026-11-30T02:00:00Z", "2000-01-01T00:00:00Z");
    run(&site, "bash", &format!("set -e -o pipefail\n{script}"));
    assert_eq!(solr.docs(), before);
    let status = daemon.status();
    assert_eq!(status["state"], "running", "{status}");
    assert_eq!(site.names("done"), ["a.jsonl", "b.jsonl", "c.jsonl"]);
    daemon.stop();
}
