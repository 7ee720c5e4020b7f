//! What the plugin promises Nagios, shown on the real binary against canned daemons: good ones, bad ones, none.

mod cost;
mod harness;
mod perfdata;

use std::fs::{OpenOptions, Permissions, copy, set_permissions, write};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Dir, PLUGIN, WELL, answer, check, finish};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use status::{Active, State, WorkerState};

/// No run may last longer than its timeout and this.
const GRACE: Duration = Duration::from_secs(2);

// --- the four states ---------------------------------------------------------------------------------------------

#[test]
fn a_daemon_that_is_well_is_ok() {
    let run = check(&Dir::new().answering(WELL), &[])
        .is(0, "UPDATER OK - 4 of 4 workers, queue 0, lag 0 s | lag=0s;300;1800;0 ");
    assert_eq!(run.stdout.lines().count(), 1);
    assert!(
        run.stdout.contains(" rejected=0;0;999;0 failed=0;;;0 workers=4;;;0;4 docs=123456c "),
        "{run:?}"
    );
}

#[test]
fn a_warning_of_the_daemon_is_a_warning() {
    let refused = answer(|d| {
        d.parent.last_reload_error = Some("u.toml:12:9: workers.count = 0: need at least 1".into())
    });
    let run = check(&Dir::new().answering(refused), &["-v"]);
    let run = run.is(
        1,
        "UPDATER WARNING - running on the old configuration: u.toml:12:9: workers.cou... | lag=",
    );
    let full = "\\_[WARNING] running on the old configuration: u.toml:12:9: workers.count = 0: need at least 1";
    assert_eq!(run.stdout.lines().nth(1), Some(full));
    check(&Dir::new().answering(answer(|d| d.state = State::Paused)), &[])
        .is(1, "UPDATER WARNING - paused: ");
}

#[test]
fn a_critical_of_the_daemon_is_critical() {
    let away = answer(|d| {
        d.solr.reachable = Some(false);
        d.solr.last_ok_age_s = Some(312.7);
        d.solr.last_error = Some("http://127.0.0.1:8983/solr: connection refused".into());
        d.workers[0].state = WorkerState::BackingOff;
        d.spool.active = Some(Active {
            name: "x|y.jsonl".into(),
            bytes: 9,
            bytes_done: 3,
            age_s: 340.0,
            eta_s: None,
        });
    });
    let dir = Dir::new();
    let socket = dir.answering(away);
    let run = check(&socket, &[])
        .is(2, "UPDATER CRITICAL - Solr unreachable for 312 s; lag 340 s | lag=340s;300;1800;0 ");
    assert!(run.stdout.contains(" solr_age=312s;15;60;0"), "{run:?}");
    for verbose in ["-v", "-vv", "-vvv"] {
        let run = check(&socket, &[verbose])
            .is(2, "UPDATER CRITICAL - Solr unreachable for 312 s; lag 340 s | lag=340s;");
        assert!(run.stdout.contains("x/y.jsonl is not settled"), "{run:?}");
    }
}

#[test]
fn a_long_address_does_not_push_the_cause_out_of_the_line() {
    let away = answer(|d| {
        d.solr.reachable = Some(false);
        d.solr.last_ok_age_s = Some(312.7);
        let url = "http://solr1.production.example.com:8983/solr/offers_shard1_replica_n1";
        d.solr.last_error = Some(format!("{url}: connection refused"));
        d.workers[0].state = WorkerState::BackingOff;
    });
    let run = check(&Dir::new().answering(away), &["-v"])
        .is(2, "UPDATER CRITICAL - Solr unreachable for 312 s: connection refused | lag=0s;");
    let place = "Solr unreachable for 312 s: http://solr1.production.example.com:8983/solr/";
    assert!(run.stdout.contains(place), "-v has it all: {run:?}");
}

#[test]
fn a_parent_that_stands_still_is_critical_though_the_monitor_answers() {
    let still = answer(|d| d.parent.heartbeat_age_s = 75.0);
    check(&Dir::new().answering(still), &[])
        .is(2, "UPDATER CRITICAL - the parent has given no sign of life for 75 s: pid 4711 |");
}

#[test]
fn thresholds_make_it_worse_and_never_better() {
    let dir = Dir::new();
    let socket = dir.answering(answer(|d| d.spool.incoming.files = 12));
    check(&socket, &["--queue-warning", "12"]).is(0, "UPDATER OK");
    check(&socket, &["--queue-warning", "11"])
        .is(1, "UPDATER WARNING - queue 12: outside the warning range 11 |");
    let run = check(&socket, &["--queue-warning", "11", "--queue-critical", "@5:12"]);
    let run = run.is(2, "UPDATER CRITICAL - queue 12: inside the critical range @5:12 |");
    assert!(run.stdout.contains(" queue=12;11;@5:12;0 "), "{run:?}");
    check(&socket, &["-w", "@0:"])
        .is(1, "UPDATER WARNING - lag 0 s: inside the warning range @0: |");
    let dir = Dir::new();
    let paused = dir.answering(answer(|d| d.state = State::Paused));
    check(&paused, &["-w", "~:", "-c", "~:"]).is(1, "UPDATER WARNING - paused");
}

// --- nobody there, or nobody to understand -------------------------------------------------------------------------

#[test]
fn no_daemon_is_critical() {
    let dir = Dir::new();
    check(&dir.at("s"), &[]).is(2, "UPDATER CRITICAL - no daemon: ");
    check(&dir.at("no/such/folder"), &[]).is(2, "UPDATER CRITICAL - no daemon: ");
    drop(UnixListener::bind(dir.at("s")).expect("the folder is ours")); // what a dead daemon leaves
    check(&dir.at("s"), &[]).is(2, "UPDATER CRITICAL - no daemon: nobody listens at ");
    let run = check(&dir.at("t"), &["-v"]).is(2, "UPDATER CRITICAL");
    assert!(run.stdout.contains("systemctl status solr-updater"), "{run:?}");
}

#[test]
fn a_connection_closed_at_once_is_critical() {
    let closed = "UPDATER CRITICAL - the daemon closed the connection without an answer";
    check(&Dir::new().daemon(drop), &[]).is(2, closed);
    let polite = |mut stream: UnixStream| {
        let _ = stream.read(&mut [0; 100]);
    };
    check(&Dir::new().daemon(polite), &[]).is(2, closed);
}

#[test]
fn an_answer_that_cannot_be_read_is_unknown() {
    let cannot = "UPDATER UNKNOWN - the answer cannot be read: ";
    check(&Dir::new().answering(b"\x00\xff not json\n".to_vec()), &[]).is(3, cannot);
    check(&Dir::new().answering("\n"), &[]).is(3, cannot);
    check(&Dir::new().answering("{\"ok\":true,\"status\":{}}\n"), &[]).is(3, cannot);
    check(&Dir::new().answering(format!("{}\n", "[".repeat(100_000))), &[]).is(3, cannot);
    check(&Dir::new().answering(&WELL[..WELL.len() / 2]), &[])
        .is(3, "UPDATER UNKNOWN - the answer breaks off after ");
    let other = "{\"ok\":true,\"status\":{\"version\":2}}\n";
    check(&Dir::new().answering(other), &[])
        .is(3, "UPDATER UNKNOWN - the status document has version 2");
    let refusal =
        "{\"ok\":false,\"error\":{\"code\":\"busy\",\"message\":\"too many | clients\"}}\n";
    check(&Dir::new().answering(refusal), &[])
        .is(3, "UPDATER UNKNOWN - the daemon refused: too many / clients");
}

#[test]
fn a_flood_is_unknown_at_once_and_in_bounded_memory() {
    let flood = |mut stream: UnixStream| while stream.write_all(&[b'x'; 65_536]).is_ok() {};
    let run = check(&Dir::new().daemon(flood), &[])
        .is(3, "UPDATER UNKNOWN - the answer is over 4 MiB long");
    assert!(run.took < Duration::from_secs(5), "{run:?}");
}

#[test]
fn an_answer_that_comes_in_pieces_is_an_answer() {
    let slowly = |mut stream: UnixStream| {
        for piece in WELL.as_bytes().chunks(300) {
            let _ = stream.write_all(piece);
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    check(&Dir::new().daemon(slowly), &[]).is(0, "UPDATER OK");
}

#[test]
fn no_permission_is_unknown() {
    let dir = Dir::new();
    let socket = dir.answering(WELL);
    set_permissions(&socket, Permissions::from_mode(0o600)).expect("it is ours");
    let run = if nix::unistd::Uid::effective().is_root() {
        // root may connect to anything: be nobody, who may not be able to run the binary where cargo put it
        let plugin = dir.at("check_updater");
        copy(PLUGIN, &plugin).expect("there is room");
        let have = Command::new("setpriv").arg("--version").stdout(Stdio::null()).status();
        if !have.is_ok_and(|status| status.success()) {
            // not eprintln!, which the runner hides of a test that passes
            let _ = writeln!(
                std::io::stderr(),
                "*** SKIPPED no_permission_is_unknown: root, and no setpriv (apt-get install util-linux)"
            );
            return;
        }
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        finish(Command::new("setpriv").args(nobody).arg(&plugin).arg("-s").arg(&socket))
    } else {
        set_permissions(&socket, Permissions::from_mode(0o000)).expect("it is ours");
        check(&socket, &[])
    };
    run.is(3, "UPDATER UNKNOWN - no permission to ask ");
}

#[test]
fn a_path_no_socket_can_have_is_unknown() {
    let dir = Dir::new();
    check(&dir.at(&"x".repeat(200)), &[])
        .is(3, "UPDATER UNKNOWN - cannot connect: path must be shorter");
}

// --- its own time ----------------------------------------------------------------------------------------------------

/// Runs with a timeout of 1 s against a daemon that never gives an answer.
fn times_out(socket: &std::path::Path, why: &str) {
    let run = check(socket, &["-t", "1"])
        .is(3, &format!("UPDATER UNKNOWN - no answer within 1 s: {why}"));
    assert!(
        run.took >= Duration::from_secs(1) && run.took < Duration::from_secs(1) + GRACE,
        "{run:?}"
    );
}

fn mute(stream: UnixStream) {
    std::thread::sleep(Duration::from_secs(60));
    drop(stream);
}

#[test]
fn a_mute_daemon_costs_the_timeout_and_no_more() {
    times_out(&Dir::new().daemon(mute), "the answer is not there");
}

#[test]
fn a_trickle_does_not_prolong_the_timeout() {
    let trickle = |mut stream: UnixStream| {
        while stream.write_all(b"{").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    times_out(&Dir::new().daemon(trickle), "the answer is not there, or not whole");
}

#[test]
fn a_backlog_that_is_full_does_not_either() {
    use nix::sys::socket::{bind, connect, listen, socket};
    let dir = Dir::new();
    let path = dir.at("s");
    let address = UnixAddr::new(&path).expect("it is short");
    let new = |flags| {
        socket(AddressFamily::Unix, SockType::Stream, flags, None).expect("a descriptor is free")
    };
    let listener = new(SockFlag::SOCK_CLOEXEC);
    bind(std::os::fd::AsRawFd::as_raw_fd(&listener), &address).expect("the folder is ours");
    listen(&listener, Backlog::new(0).expect("0 is allowed")).expect("it is bound");
    let mut waiting = Vec::new();
    let full = loop {
        let client = new(SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK);
        match connect(std::os::fd::AsRawFd::as_raw_fd(&client), &address) {
            Ok(()) => waiting.push(client),
            Err(error) => break error,
        }
        assert!(waiting.len() < 10_000);
    };
    assert_eq!(full, nix::errno::Errno::EAGAIN);
    times_out(&path, "nobody accepts the connection");
}

#[test]
fn the_timeout_may_mean_another_state() {
    let dir = Dir::new();
    let socket = dir.daemon(mute);
    for (timeout, code, word) in
        [("0.2:0", 0, "OK"), ("0.2:warning", 1, "WARNING"), ("0.2:CRITICAL", 2, "CRITICAL")]
    {
        check(&socket, &["-t", timeout])
            .is(code, &format!("UPDATER {word} - no answer within 0.2 s: "));
    }
}

#[test]
fn a_standard_output_nobody_reads_does_not_hold_it_either() {
    let dir = Dir::new();
    let socket = dir.answering(WELL);
    let fifo = dir.at("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().expect("coreutils are there");
    assert!(made.success());
    let mut full = OpenOptions::new().read(true).write(true).open(&fifo).expect("it was made");
    full.write_all(&[b'x'; 65_536]).expect("a pipe takes 64 KiB");
    let start = Instant::now();
    let mut run = Command::new(PLUGIN);
    let run = run
        .arg("-s")
        .arg(&socket)
        .args(["-t", "1"])
        .stdout(full.try_clone().expect("a descriptor is free"));
    let mut child = run.stderr(Stdio::null()).spawn().expect("it can be run");
    let code = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status.code();
        }
        if start.elapsed() > Duration::from_secs(10) {
            child.kill().expect("it is our child");
            child.wait().expect("it is our child");
            panic!("it still runs");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(code, Some(3));
}

// --- the command line, and its standard streams --------------------------------------------------------------------

#[test]
fn misuse_is_unknown_on_standard_output() {
    let dir = Dir::new();
    let socket = dir.answering(WELL);
    for wrong in [
        &["--nonsense"] as &[&str],
        &["stray"],
        &["-w"],
        &["-w", "20:10"],
        &["-c", "abc"],
        &["--queue-warning", "10s"],
        &["--workers-critical", ""],
        &["-t", "soon"],
        &["-t", "0"],
        &["-t", "5:maybe"],
        &["-w", "1", "-w", "2"],
        &["-s"],
    ] {
        let run = check(&socket, wrong).is(3, "UPDATER UNKNOWN - ");
        assert!(run.stdout.contains("Usage: check_updater"), "{run:?}");
        assert!(run.stdout.lines().count() <= 23, "{run:?}");
    }
    use std::os::unix::ffi::OsStrExt;
    let not_utf8 = std::ffi::OsStr::from_bytes(b"\xff");
    finish(Command::new(PLUGIN).arg("-w").arg(not_utf8)).is(3, "UPDATER UNKNOWN - ");
}

#[test]
fn help_and_version_exit_3_on_standard_output() {
    for help in ["-h", "--help"] {
        let run = finish(Command::new(PLUGIN).arg(help));
        assert_eq!((run.code, run.stderr.as_str()), (Some(3), ""));
        assert!(
            run.stdout.contains("--docs-rate-critical RANGE")
                && run.stdout.lines().all(|line| line.len() <= 80)
        );
    }
    for version in ["-V", "--version"] {
        let run = finish(Command::new(PLUGIN).arg(version)).is(3, "check_updater ");
        assert_eq!(run.stdout.lines().count(), 1);
    }
}

#[test]
fn the_exit_code_holds_where_nobody_can_be_told() {
    let dir = Dir::new();
    let socket = dir.answering(answer(|d| d.state = State::Paused));
    write(dir.at("x.sh"), "\"$@\" >&-\n").expect("the folder is ours");
    finish(Command::new("sh").arg(dir.at("x.sh")).arg(PLUGIN).arg("-s").arg(&socket)).is(1, "");
    write(dir.at("y.sh"), "\"$@\" >&- 2>&- <&-\n").expect("the folder is ours");
    finish(Command::new("sh").arg(dir.at("y.sh")).arg(PLUGIN).arg("-s").arg(&socket)).is(1, "");
    write(dir.at("z.sh"), "\"$@\" >/dev/full\n").expect("the folder is ours");
    finish(Command::new("sh").arg(dir.at("z.sh")).arg(PLUGIN).arg("-s").arg(&socket)).is(1, "");
}
