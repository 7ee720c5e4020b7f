//! The pictures of the README, of a real daemon and its page in a real browser: `make screenshots`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{
    Browser, DAEMON, Daemon, Delta, FakeCluster, Mode, Site, own_address, wait_for,
};

/// What the spool is called in the pictures.
const SPOOL: &str = "/var/tmp/solr-updater";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/page")
}

fn turn(cluster: &FakeCluster, mode: &Mode) {
    (0..2).for_each(|node| cluster.node(node).turn(mode.clone()));
}

/// Time passes as on a working day: Solr is now quicker, now slower.
fn work(cluster: &FakeCluster, seconds: u64) {
    let by = Instant::now() + Duration::from_secs(seconds);
    let mut wave = [90, 70, 110, 80, 95, 65, 100].into_iter().cycle();
    while Instant::now() < by {
        turn(cluster, &Mode::Slow(Duration::from_millis(wave.next().expect("it has no end"))));
        std::thread::sleep(Duration::from_secs(2));
    }
}

fn pictures(browser: &mut Browser, state: &str, views: &[(&str, u32, bool)]) {
    for (name, width, dark) in views {
        browser.look(*width, *dark);
        std::thread::sleep(Duration::from_millis(1_500)); // bars move
        browser.picture(&folder().join(format!("{state}-{name}.png")));
    }
}

/// What `status --watch` shows in a terminal, by tmux, after so many seconds.
fn terminal(site: &Site, seconds: u64) -> String {
    let tmux = |arguments: &[&str]| {
        let socket = format!("su-{}", std::process::id());
        let mut tmux = Command::new("tmux");
        tmux.args(["-u", "-f", "/dev/null", "-L", &socket]).args(arguments).env("LANG", "C.UTF-8");
        String::from_utf8(tmux.output().expect("tmux").stdout).expect("text")
    };
    let watch = format!("{DAEMON} -c {} status --watch", site.config().display());
    tmux(&["new-session", "-d", "-x", "88", "-y", "32", &watch]);
    std::thread::sleep(Duration::from_secs(seconds));
    let shown = tmux(&["capture-pane", "-p"]);
    tmux(&["kill-server"]);
    shown.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// In the place of the one that was there.
fn put_into_readme(shown: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- watch -->\n```\n").expect("where it stands");
    let (_, after) = rest.split_once("```\n").expect("its end");
    let text = format!("{before}<!-- watch -->\n```\n{shown}\n```\n{after}");
    std::fs::write(path, text).unwrap();
}

#[test]
#[ignore = "it makes pictures, and tests nothing"]
fn the_page_and_the_live_view() {
    let mut browser = Browser::start().expect("a browser");
    let (cluster, address) = (FakeCluster::start(2), own_address());
    cluster.alias("offers");
    let site = Site::for_collection(cluster.urls(), "offers");
    let _ = std::fs::remove_file(SPOOL);
    std::os::unix::fs::symlink(site.spool(""), SPOOL).unwrap();
    site.configure(&format!(
        "monitor.http = '{address}'\nspool.dir = '{SPOOL}'\nworkers.count = 4\nbatch.docs = 200\n\
         health.solr = {{ warning = '2s', critical = '4s' }}"
    ));
    let daemon = Daemon::start(&site);
    std::fs::create_dir_all(folder()).unwrap();
    browser.look(1160, false);
    browser.open(&format!("http://{address}/"));
    for (hour, lines) in [(3, 21_877), (4, 9_312), (5, 30_164)] {
        work(&cluster, 2);
        site.hand_over(
            &format!("offers-2026-11-23T0{hour}.jsonl"),
            Delta::offers(0..lines, hour).text,
        );
    }
    site.hand_over("offers-2026-11-23T06.jsonl", Delta::offers(0..600_000, 6).text);
    daemon.wait("the first are settled", |status| status["totals"]["deltas"] == 3);
    work(&cluster, 20);
    turn(&cluster, &Mode::Slow(Duration::from_millis(60)));
    let shown = terminal(&site, 40);
    put_into_readme(shown.trim_end());
    browser.wait("it is under way", |text| text.contains("Delivering"));
    pictures(
        &mut browser,
        "well",
        &[("light", 1160, false), ("dark", 1160, true), ("narrow", 390, false)],
    );
    for name in ["prices-2026-11-23.jsonl", "shops-2026-11-23.jsonl"] {
        site.hand_over(name, Delta::offers(0..5_000, 6).text);
    }
    turn(&cluster, &Mode::Down);
    browser.wait("it is critical", |text| text.contains("Critical"));
    std::thread::sleep(Duration::from_secs(8));
    pictures(
        &mut browser,
        "critical",
        &[("light", 1160, false), ("dark", 1160, true), ("narrow", 390, true)],
    );
    turn(&cluster, &Mode::Up);
    wait_for("it is removed", || std::fs::remove_file(SPOOL).is_ok());
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}
