//! `feed`: files delivered now, by nobody's daemon.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::{
    DAEMON, Delta, FakeSolr, Mode, Process, Run, Site, assert_same, finish, rejects, wait_for,
    wait_for_some,
};

/// What must not change of an input.
fn look(path: &Path) -> (Vec<u8>, u64, i64, i64) {
    let found = std::fs::symlink_metadata(path).unwrap();
    (std::fs::read(path).unwrap(), found.ino(), found.mtime(), found.mtime_nsec())
}

/// What a feed leaves where its spool was.
fn nothing_is_left(site: &Site) {
    let left: Vec<_> = std::fs::read_dir(site.path("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!site.status_socket().exists());
    assert_eq!(
        std::fs::read_dir(site.path("spool")).unwrap().count(),
        1,
        "the daemon's spool is not touched"
    );
}

#[test]
fn feed_delivers_and_leaves_its_inputs_alone() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let first = Delta::offers(0..3_000, 1);
    let second = Delta::offers(2_000..4_000, 2);
    std::fs::create_dir(site.path("other")).unwrap();
    // The same name twice, and one that is no delta's in a spool.
    let inputs = [site.path("a.jsonl"), site.path("other/a.jsonl"), site.path("third")];
    for (path, text) in inputs.iter().zip([&first.text, &second.text, "{\"id\":\"third\"}\n"]) {
        std::fs::write(path, text).unwrap();
    }
    let before = inputs.each_ref().map(|path| look(path));
    let names = inputs.each_ref().map(|path| path.to_str().unwrap());

    let run = site.run(&["feed", names[0], names[1], "third"]).code(0);
    for summary in [
        format!("{}: 3000 lines, 3000 documents, 0 deletes, 0 rejected", names[0]),
        format!("{}: 2000 lines, 2000 documents, 0 deletes, 0 rejected", names[1]),
        "third: 1 lines, 1 documents, 0 deletes, 0 rejected".to_owned(),
    ] {
        assert!(run.stdout.lines().any(|line| line == summary), "{summary:?}: {run:?}");
    }
    let all = run.stdout.lines().last().unwrap();
    assert!(all.starts_with("3 of 3 files in ") && all.ends_with(" docs/s"), "{run:?}");
    assert!(all.contains(" s: 5001 lines, 5001 documents, 0 deletes, 0 rejected, "), "{run:?}");
    assert!(
        !run.stderr.contains('\x1b') && !run.stderr.contains('\r'),
        "no terminal, no bar: {run:?}"
    );
    let mut expected = first.docs;
    expected.extend(second.docs); // the later file wins
    expected.insert("third".into(), serde_json::json!({"id": "third"}));
    assert_same(&solr.docs(), &expected);
    assert_eq!(inputs.each_ref().map(|path| look(path)), before);
    nothing_is_left(&site);
}

#[test]
fn feed_puts_rejects_beside_the_input_and_exits_with_1() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let input = site.path("a.jsonl");
    std::fs::write(&input, "{\"id\":\"a\"}\n{\"id\":\"b\",\"bad_x\":1}\n{\"id\":\"c\"").unwrap();
    let run = site.run(&["feed", input.to_str().unwrap()]).code(1);
    let file = site.path("a.jsonl.rejected.jsonl");
    assert!(run.stdout.contains(&format!("2 rejected: see {}", file.display())), "{run:?}");
    let found: Vec<Value> = rejects(&file);
    assert_eq!(found.iter().map(|r| r["line"].as_u64()).collect::<Vec<_>>(), [Some(2), Some(3)]);
    assert_eq!(solr.order(), ["a"]);
    nothing_is_left(&site);
}

#[test]
fn feed_takes_standard_input() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let delta = Delta::offers(0..2_000, 1);
    site.run_with_input(&["feed", "-"], delta.text.as_bytes()).code(0).says("2000 documents");
    assert_same(&solr.docs(), &delta.docs);
    site.run_with_input(&["feed", "-"], b"no JSON\n").code(1).says("see stdin.rejected.jsonl");
    assert_eq!(rejects(&site.path("stdin.rejected.jsonl")).len(), 1);
    nothing_is_left(&site);
}

#[test]
fn feed_needs_no_configuration_where_the_command_line_says_it() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    std::fs::write(site.path("a.jsonl"), "{\"id\":\"a\"}\n").unwrap();
    let url = solr.url();
    let feed = |arguments: &[&str]| -> Run {
        let mut command = Command::new(DAEMON);
        command
            .arg("feed")
            .args(arguments)
            .arg(site.path("a.jsonl"))
            .env("TMPDIR", site.path("tmp"));
        finish(&mut command, b"")
    };
    feed(&["--url", &url, "--collection", "c", "--workers", "3"]).code(0);
    assert_eq!(solr.order(), ["a"]);
    feed(&["--url", &url, "--collection", "elsewhere"])
        .code(1)
        .says("collection elsewhere not found");
    feed(&["--url", &url, "--collection", "c", "--workers", "0"]).code(2).says("--workers");
    feed(&["--url", "nowhere", "--collection", "c"]).code(78).says("nowhere");
    nothing_is_left(&site);
}

#[test]
fn feed_says_which_file_it_cannot_read_before_it_sends_a_line() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    std::fs::write(site.path("a.jsonl"), "{\"id\":\"a\"}\n").unwrap();
    for missing in ["missing.jsonl", "tmp"] {
        let run = site.run(&["feed", "a.jsonl", missing]).code(1).says(missing);
        assert_eq!((run.stderr.lines().count(), run.stdout.as_str()), (1, ""), "{run:?}");
    }
    assert_eq!(solr.taken(), 0);
    nothing_is_left(&site);
}

#[test]
fn a_feed_that_is_to_stop_at_a_failed_file_ends_there() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.max_rejects = 5\nspool.on_failed = 'stop'");
    std::fs::write(site.path("a.jsonl"), "no JSON\n".repeat(200)).unwrap();
    std::fs::write(site.path("b.jsonl"), "{\"id\":\"b\"}\n").unwrap();
    let run = site.run(&["feed", "a.jsonl", "b.jsonl"]).code(1);
    assert!(run.stdout.contains("a.jsonl: FAILED"), "{run:?}");
    assert!(run.stdout.contains("b.jsonl: not delivered"), "{run:?}");
    assert_eq!(solr.taken(), 0);
    nothing_is_left(&site);
}

#[test]
fn a_feed_that_is_interrupted_says_what_is_left_to_do_and_leaves_nothing_behind() {
    let solr = FakeSolr::in_mode(Mode::Slow(Duration::from_millis(20)));
    let site = Site::new(solr.url());
    site.configure("batch.docs = 20");
    std::fs::write(site.path("a.jsonl"), Delta::offers(0..5_000, 1).text).unwrap();
    let mut command = site.command(&["feed", "a.jsonl"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let feed = Process::of(child.id() as i32).unwrap();
    wait_for("it is under way", || solr.taken() > 500);
    let workers = feed.children();
    feed.signal(Signal::SIGINT);
    let status = wait_for_some("it ends", || child.try_wait().unwrap());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains("feed them again"), "{text}");
    assert!(!workers.iter().any(|worker| worker.is_alive()));
    nothing_is_left(&site);
}

#[test]
fn a_killed_worker_of_a_feed_is_replaced_too() {
    let solr = FakeSolr::in_mode(Mode::Slow(Duration::from_millis(20)));
    let site = Site::new(solr.url());
    site.configure("batch.docs = 20");
    let delta = Delta::offers(0..5_000, 1);
    std::fs::write(site.path("a.jsonl"), &delta.text).unwrap();
    let mut command = site.command(&["feed", "a.jsonl"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("it is under way", || solr.taken() > 500);
    let feed = Process::of(child.id() as i32).unwrap();
    feed.children()[0].signal(Signal::SIGKILL);
    let status = wait_for_some("it ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert_same(&solr.docs(), &delta.docs);
}

#[test]
fn an_input_that_is_gone_when_its_turn_comes_is_told_and_confuses_no_other() {
    let solr = FakeSolr::in_mode(Mode::Slow(Duration::from_millis(20)));
    let site = Site::new(solr.url());
    site.configure("batch.docs = 20");
    std::fs::write(site.path("a.jsonl"), Delta::offers(0..2_000, 1).text).unwrap();
    std::fs::write(site.path("b.jsonl"), "{\"id\":\"b\"}\n").unwrap();
    std::fs::write(site.path("c.jsonl"), "{\"id\":\"c\"}\nno JSON\n").unwrap();
    let mut command = site.command(&["feed", "a.jsonl", "b.jsonl", "c.jsonl"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("a is under way", || solr.taken() > 0);
    std::fs::remove_file(site.path("b.jsonl")).unwrap();
    let status = wait_for_some("it ends", || child.try_wait().unwrap());
    let output = child.wait_with_output().unwrap();
    let summary = String::from_utf8(output.stdout).unwrap();
    let [a, b, c, all] = summary.lines().collect::<Vec<_>>()[..] else { panic!("{summary}") };
    assert!(
        all.starts_with("2 of 3 files in ") && all.contains(" s: 2002 lines, 2001 documents, "),
        "{all}"
    );
    assert_eq!(a, "a.jsonl: 2000 lines, 2000 documents, 0 deletes, 0 rejected");
    assert!(b.starts_with("b.jsonl: ") && b.contains("No such file or directory"), "{b}");
    let expected = "2 lines, 1 documents, 0 deletes, 1 rejected: see c.jsonl.rejected.jsonl";
    assert_eq!(c, format!("c.jsonl: {expected}"));
    assert_eq!(status.code(), Some(1));
    assert_eq!(rejects(&site.path("c.jsonl.rejected.jsonl")).len(), 1);
    assert!(!site.path("b.jsonl.rejected.jsonl").exists());
    nothing_is_left(&site);
}

#[test]
fn rejects_that_cannot_be_put_beside_the_input_are_kept_and_the_others_copied() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    for name in ["a.jsonl", "b.jsonl"] {
        std::fs::write(site.path(name), "no JSON\n").unwrap();
    }
    std::fs::create_dir(site.path("a.jsonl.rejected.jsonl")).unwrap(); // in the way
    let run = site.run(&["feed", "a.jsonl", "b.jsonl"]).code(1);
    assert!(run.stderr.contains("a.jsonl.rejected.jsonl: cannot write the rejects"), "{run:?}");
    assert_eq!(rejects(&site.path("b.jsonl.rejected.jsonl")).len(), 1);
    assert_eq!(run.stdout.lines().count(), 3, "{run:?}");
    let kept = run.stderr.lines().find_map(|line| line.split("the rejects are kept in ").nth(1));
    let kept = Path::new(kept.expect("it says where")).join("a.jsonl.rejected.jsonl");
    assert_eq!(rejects(&kept).len(), 1, "{}", kept.display());
    let ours = std::fs::read_dir(site.path(".")).unwrap().map(|e| e.unwrap().file_name());
    let left: Vec<_> = ours.filter(|name| name.to_string_lossy().starts_with('.')).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_full_standard_output_costs_no_rejects_and_no_panic() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    std::fs::write(site.path("a.jsonl"), "no JSON\n").unwrap();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = site.command(&["feed", "a.jsonl"]).stdout(full).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write the summary: No space left"), "{said}");
    assert_eq!(rejects(&site.path("a.jsonl.rejected.jsonl")).len(), 1);
    nothing_is_left(&site);
}

// --- at a terminal --------------------------------------------------------------------------------

/// A feed at a terminal of so many columns (script(1), of bsdutils), in an environment of this too.
fn at_a_terminal(site: &Site, columns: u32, environment: &str, feed: &str) -> Run {
    let config = site.config();
    let line = format!(
        "stty cols {columns} rows 24; {environment} {DAEMON} -c {} {feed}",
        config.display()
    );
    let mut terminal = Command::new("script");
    terminal
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env("TMPDIR", site.path("tmp"));
    finish(terminal.current_dir(site.path("")), b"")
}

#[test]
fn a_terminal_shows_a_bar_with_speed_and_time_left_and_the_summary_last() {
    let solr = FakeSolr::in_mode(Mode::Slow(Duration::from_millis(20)));
    let site = Site::new(solr.url());
    site.configure("batch.docs = 20");
    for name in ["a.jsonl", "b.jsonl"] {
        std::fs::write(site.path(name), Delta::offers(0..1_500, 1).text).unwrap();
    }
    let run = at_a_terminal(&site, 120, "", "feed a.jsonl b.jsonl").code(0);
    let frames: Vec<&str> = run.stdout.split("\r\x1b[K").collect();
    let is_bar = |frame: &&&str| frame.contains(" docs/s  ETA ") && frame.contains("]  ");
    let bars: Vec<&&str> = frames.iter().filter(is_bar).collect();
    assert!(bars.len() > 5, "{run:?}");
    for bar in &bars {
        assert!(bar.chars().count() < 120 && !bar.contains('\n'), "{bar}");
    }
    assert!(
        bars[0].starts_with("1 of 2: ") && bars.last().unwrap().starts_with("2 of 2: b.jsonl  ["),
        "{bars:?}"
    );
    let percent = |bar: &str| -> u32 {
        bar.split("]  ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
    };
    let grown: Vec<u32> = bars.iter().map(|bar| percent(bar)).collect();
    assert!(grown.is_sorted() && *grown.last().unwrap() > 50, "{grown:?}");
    // A line of the log has the terminal's line for itself, and so has the summary.
    assert!(
        frames
            .iter()
            .any(|f| f.contains("INFO delta claimed, delta: b.jsonl") && f.ends_with('\n')),
        "{run:?}"
    );
    assert!(frames.last().unwrap().starts_with("a.jsonl: 1500 lines, 1500 documents"), "{run:?}");
    assert!(
        run.stdout.trim_end().lines().last().unwrap().starts_with("2 of 2 files in "),
        "{run:?}"
    );
    nothing_is_left(&site);
}

#[test]
fn a_dumb_terminal_shows_lines() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    std::fs::write(site.path("a.jsonl"), "{\"id\":\"a\"}\n").unwrap();
    let run = at_a_terminal(&site, 80, "TERM=dumb", "feed a.jsonl").code(0).says("1 of 1 file in ");
    assert!(!run.stdout.contains("\x1b[K"), "{run:?}");
}

#[test]
fn a_feed_that_waits_for_solr_says_why_and_its_parent_has_one_thread() {
    let solr = FakeSolr::in_mode(Mode::Slow(Duration::from_millis(20)));
    let site = Site::new(solr.url());
    site.configure("batch.docs = 20");
    std::fs::write(site.path("a.jsonl"), Delta::offers(0..3_000, 1).text).unwrap();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| at_a_terminal(&site, 200, "exec", "feed a.jsonl"));
        let named = |name: &str| {
            let found = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
                let process = Process::of(entry.ok()?.file_name().to_str()?.parse().ok()?)?;
                let line = std::fs::read(format!("/proc/{}/cmdline", process.pid)).ok()?;
                let ours = line.windows(name.len()).any(|w| w == name.as_bytes());
                (ours && process.name() == "solr-updater").then_some(process)
            });
            found.min()
        };
        let config = site.config().display().to_string();
        let parent = wait_for_some("it runs", || named(&config));
        wait_for("it is under way", || solr.taken() > 100);
        solr.turn(Mode::Down);
        // Long enough for a frame or two.
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(parent.tasks(), 1);
        solr.turn(Mode::Up);
        let run = run.join().unwrap().code(0);
        let waits = |frame: &str| {
            frame.contains("a.jsonl  waiting: ") && frame.contains("connection refused")
        };
        assert!(run.stdout.split("\r\x1b[K").any(waits), "{run:?}");
    });
    nothing_is_left(&site);
}
