//! What workers and monitor give up when they are forked, and that all goes on without it. They try it
//! themselves, by what stands before the C library (`Faults`), and tell.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use crate::common::{Daemon, FakeSolr, Faults, Process, Site, Tried, skipped, wait_for};

const DENIED: i32 = Errno::EACCES as i32;
const PARENT: &str = "solr-updater";

/// Whether this kernel has Landlock. If not, that is told: what can be tested then is that the daemon
/// says so.
fn has_landlock(site: &Site, daemon: &Daemon) -> bool {
    let Err(why) = sys::confine::landlock() else { return true };
    skipped(&format!("{why}: that children are confined is not seen, only that it is told"));
    wait_for("it is told", || log(site).contains(why));
    assert!(daemon.parent.is_alive());
    false
}

fn log(site: &Site) -> String {
    std::fs::read_to_string(site.log()).unwrap()
}

/// Has each process try what it may do with these, and answers what each has found.
fn all_try(
    site: &Site,
    daemon: &Daemon,
    faults: &Faults,
    paths: &[&Path],
) -> BTreeMap<(String, String), Tried> {
    let rules: Vec<String> =
        (1..).zip(paths).map(|(n, path)| format!("try {n} {}", path.display())).collect();
    faults.are(&rules.iter().map(String::as_str).collect::<Vec<_>>());
    // An idle worker sleeps until it has a share.
    let deltas = daemon.status()["totals"]["deltas"].as_u64().unwrap();
    site.hand_over("wake.jsonl", "{\"id\":\"a\"}\n{\"id\":\"b\"}\n");
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == deltas + 1);
    let all = 4 * paths.len();
    wait_for("all have tried", || daemon.status()["version"] == 1 && faults.tried().len() >= all);
    faults.tried()
}

/// The value of a line in /proc/PID/status.
fn of_status(process: Process, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
}

#[test]
fn workers_reach_the_spool_and_the_monitor_reads_it_and_neither_reaches_anything_else() {
    let solr = FakeSolr::up();
    let (site, faults) = Site::new(solr.url()).with_faults();
    let daemon = Daemon::start(&site);
    if !has_landlock(&site, &daemon) {
        return daemon.stop();
    }
    let folders = ["active", "rejected", "done"].map(|folder| site.spool(folder));
    let (config, tmp) = (site.config(), site.path("tmp"));
    let (hosts, program) = (Path::new("/etc/hosts"), Path::new("/usr/bin/env"));
    let mut paths: Vec<&Path> = folders.iter().map(AsRef::as_ref).collect();
    let outside = [&*config, &*tmp, program, Path::new("/proc/self/environ"), Path::new("/dev")];
    paths.push(hosts);
    paths.extend(outside);
    let found = all_try(&site, &daemon, &faults, &paths);
    let of = |name: &str, path: &Path| found[&(name.to_owned(), path.display().to_string())];
    for folder in &folders {
        for worker in ["worker-0", "worker-1"] {
            let tried = of(worker, folder);
            assert_eq!((tried.read, tried.write), (0, 0), "{worker} {}", folder.display());
        }
        let tried = of("monitor", folder);
        assert_eq!((tried.read, tried.write), (0, DENIED), "the monitor {}", folder.display());
    }
    for child in ["worker-0", "worker-1", "monitor"] {
        for path in outside {
            let tried = of(child, path);
            assert_eq!((tried.read, tried.write), (DENIED, DENIED), "{child} {}", path.display());
        }
    }
    assert_eq!(of("monitor", hosts).read, DENIED);
    assert_eq!((of("worker-0", hosts).read, of("worker-0", hosts).write), (0, DENIED));
    for path in &paths {
        assert_eq!(of(PARENT, path).read, 0, "the parent is not confined: {}", path.display());
    }
    let abi = sys::confine::landlock().unwrap();
    let (worker, monitor) = (of("worker-0", hosts), of("monitor", hosts));
    if abi >= 4 {
        assert_eq!((worker.listen, monitor.listen, monitor.connect), (DENIED, DENIED, DENIED));
        assert_eq!(worker.connect, Errno::ECONNREFUSED as i32, "it speaks to Solr");
    } else {
        skipped(&format!("Landlock {abi} knows no TCP ports"));
    }
    if abi >= 6 {
        assert_eq!((worker.signal, monitor.signal), (Errno::EPERM as i32, Errno::EPERM as i32));
    } else {
        skipped(&format!("Landlock {abi} knows no signals"));
    }
    daemon.stop();
}

#[test]
fn children_take_no_new_rights_and_the_parent_is_as_it_was_started() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let daemon = Daemon::start(&site);
    let ours = Process::of(std::process::id() as i32).unwrap();
    for round in 0..2 {
        let children = daemon.parent.children();
        assert_eq!(children.len(), 3);
        wait_for("all of them have given them up", || {
            children.iter().all(|child| of_status(*child, "NoNewPrivs") == "1")
        });
        assert_eq!(of_status(daemon.parent, "NoNewPrivs"), of_status(ours, "NoNewPrivs"));
        if round == 0 {
            site.run(&["reload"]).code(0);
            wait_for("the old ones are gone", || daemon.parent.children().len() == 3);
        }
    }
    daemon.stop();
}

#[test]
fn a_kernel_without_landlock_is_told_once_and_all_works_as_ever() {
    let cases = [
        (Errno::ENOSYS, "this kernel has no Landlock"),
        (Errno::EOPNOTSUPP, "Landlock is not switched on"),
        (Errno::EPERM, "a filter of system calls forbids landlock_create_ruleset"),
    ];
    for (errno, words) in cases {
        let solr = FakeSolr::up();
        let (site, faults) = Site::new(solr.url()).with_faults();
        faults.are(&[&format!("landlock {} /", errno as i32)]);
        let daemon = Daemon::start(&site);
        site.run(&["reload"]).code(0);
        daemon.workers()[0].signal(Signal::SIGKILL);
        daemon.wait("it is replaced", |status| status["totals"]["worker_deaths"] == 1);
        daemon.up();
        site.hand_over("x.jsonl", "{\"id\":\"x\"}\n");
        daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
        assert!(daemon.parent.children().iter().all(|c| of_status(*c, "NoNewPrivs") == "1"));
        let told = log(&site);
        assert_eq!(told.matches(words).count(), 1, "{told}");
        assert_eq!(told.matches("confined").count(), 1, "{told}");
        daemon.stop();
    }
}

#[test]
fn a_converter_and_who_starts_it_are_not_confined_and_that_is_told() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let program = site.path("convert");
    // It reads what is nowhere in the spool, by a program that it starts.
    let text = format!("#!/bin/sh\ncat {0} >/dev/null && exec cat\n", site.config().display());
    std::fs::write(&program, text).unwrap();
    assert!(Command::new("chmod").arg("0755").arg(&program).status().unwrap().success());
    let daemon = Daemon::start(&site);
    assert!(!log(&site).contains("its converter"), "{}", log(&site));
    site.configure(&format!("convert.exec = ['{}']", program.display()));
    site.run(&["reload"]).code(0);
    site.hand_over("x.jsonl", "{\"id\":\"x\"}\n{\"id\":\"y\"}\n");
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_eq!(solr.docs().len(), 2);
    let ours = of_status(Process::of(std::process::id() as i32).unwrap(), "NoNewPrivs");
    assert!(daemon.workers().iter().all(|worker| of_status(*worker, "NoNewPrivs") == ours));
    assert_eq!(of_status(daemon.monitor(), "NoNewPrivs"), "1");
    let told = log(&site);
    assert_eq!(told.matches("workers are not confined").count(), 1, "{told}");
    daemon.stop();
}

#[test]
fn a_confined_worker_finds_solr_by_its_name_and_knows_the_time_zones() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    let url = solr.url().replace("127.0.0.1", "localhost");
    let jq = "convert.jq = '.hour_i = (0 | localtime | .[3])'";
    site.configure(&format!("solr.urls = ['{url}']\n{jq}"));
    let mut command = site.command(&["run"]);
    command.env("TZ", "Asia/Kolkata");
    let zone = "/usr/share/zoneinfo/Asia/Kolkata";
    let hour = if Path::new(zone).exists() { 5 } else { 0 }; // half past, and no summer time ever
    if hour == 0 {
        skipped(&format!("no {zone}: whether a worker reads it is not seen"));
    }
    let log = std::fs::File::create(site.log()).unwrap();
    let daemon = Daemon::spawn_by(command, &site, log.into());
    daemon.up();
    site.hand_over("x.jsonl", "{\"id\":\"x\"}\n");
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    assert_eq!(solr.docs()["x"]["hour_i"], hour);
    daemon.stop();
}

#[test]
fn a_spool_behind_links_is_the_spool_to_a_confined_worker_too() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    std::fs::rename(site.spool(""), site.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(site.path("elsewhere"), site.path("spool")).unwrap();
    for folder in ["active", "rejected", "done"] {
        std::fs::create_dir(site.path(format!("real-{folder}"))).unwrap();
        std::os::unix::fs::symlink(site.path(format!("real-{folder}")), site.spool(folder))
            .unwrap();
    }
    let log = site.path("log-file");
    site.configure(&format!("log.file = '{}'\nspool.max_rejects = '100%'", log.display()));
    let daemon = Daemon::start(&site);
    for n in 1..=2 {
        site.hand_over(&format!("{n}.jsonl"), "{\"id\":\"x\"}\nno JSON\n{\"id\":\"y\"}\n");
        daemon.wait("it is settled", |status| status["totals"]["deltas"] == n);
        // Rotated, as logrotate does.
        std::fs::rename(&log, site.path(format!("log-file.{n}"))).unwrap();
        site.run(&["reload"]).code(0);
        assert!(log.exists());
    }
    let rejects = site.run(&["rejects", "--json"]).code(0);
    assert_eq!(rejects.stdout.matches("2.jsonl").count(), 1, "{rejects:?}");
    assert!(site.run(&["history"]).code(0).stdout.contains("1.jsonl"));
    site.run(&["drop", "--all"]).code(0);
    daemon.stop();
}

#[test]
fn a_spool_that_is_mounted_anew_is_served_by_workers_forked_anew() {
    let solr = FakeSolr::up();
    let site = Site::new(solr.url());
    site.configure("spool.settle = '50ms'\nspool.poll = '200ms'");
    let Some(_disk) = site.spool_on_disk("size=1m") else { return };
    let daemon = Daemon::start(&site);
    site.hand_over("1.jsonl", "{\"id\":\"a\"}\n");
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 1);
    let before = daemon.workers();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=1m", "another"]).arg(site.spool(""));
    assert!(mount.status().unwrap().success(), "{mount:?}");
    for folder in ["incoming", "active", "done", "failed", "rejected"] {
        std::fs::create_dir(site.spool(folder)).unwrap();
    }
    site.hand_over("2.jsonl", "{\"id\":\"b\"}\n{\"id\":\"c\"}\n");
    daemon.wait("it is settled", |status| status["totals"]["deltas"] == 2);
    assert_eq!((site.names("failed").len(), solr.docs().len()), (0, 3));
    assert!(site.is_done("2.jsonl"));
    if has_landlock(&site, &daemon) {
        assert!(!daemon.workers().iter().any(|worker| before.contains(worker)));
        assert!(log(&site).contains("the spool is another one than when this worker began"));
    }
    daemon.stop();
    assert!(Command::new("umount").arg(site.spool("")).status().unwrap().success());
}
