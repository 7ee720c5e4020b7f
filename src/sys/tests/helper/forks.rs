//! The processes that sys's tests watch: `sys-forks SCENE [ARGUMENT…]`. It has one thread, as the
//! parent has, and says on standard output what became of the scene. No scene outlives its alarm.
#![allow(clippy::disallowed_methods, reason = "one scene needs a thread, to be refused beside it")]

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sys::files::Lock;
use sys::{Child, Fork, Interest, Newborn, Signal, Signals, poll, reap, role};

fn main() {
    nix::unistd::alarm::set(10);
    let mut arguments = std::env::args().skip(1);
    let scene = arguments.next().unwrap_or_default();
    let mut argument = || arguments.next().expect("the scene needs an argument");
    match scene.as_str() {
        "fork-beside-a-thread" => fork_beside_a_thread(),
        "live-with-a-child" => live_with_a_child(),
        "adopt-orphans" => adopt_orphans(),
        "signal-a-newborn" => signal_a_newborn(),
        "watch-blocked-signals" => watch_blocked_signals(),
        "fifty-deaths" => fifty_deaths(),
        "stop-and-death-by" => stop_and_death_by(argument().parse().expect("a number")),
        "panic-in-a-role" => panic_in_a_role(argument().into()),
        "print-and-fork" => print_and_fork(),
        "count-fds" => count_fds(),
        "log-to-stderr" => log_to_stderr(),
        "log-to-a-full-file" => log_to_a_full_file(argument().as_ref()),
        "leave-a-lock-to-a-child" => leave_a_lock_to_a_child(argument().as_ref()),
        "drop-a-lock-in-a-child" => drop_a_lock_in_a_child(argument().as_ref()),
        "listen" => listen(argument().as_ref(), &argument(), &argument()),
        _ => panic!("no scene {scene:?}"),
    }
}

/// Forks a child that plays `part`.
fn fork(part: impl FnOnce(Newborn) -> i32) -> Child {
    match sys::fork().expect("one thread, so it forks") {
        Fork::Parent(child) => child,
        Fork::Child(newborn) => role(|| part(newborn)),
    }
}

/// Waits for the next death.
fn death() -> sys::Ended {
    for _ in 0..5000 {
        if let Some((_, ended)) = reap() {
            return ended;
        }
        wait(1);
    }
    panic!("no child has died");
}

fn wait(ms: u64) {
    poll(&[], Some(Duration::from_millis(ms))).expect("poll");
}

/// Waits until whoever runs the test closes our standard input.
fn until_told() {
    let _ = io::stdin().read(&mut [0]); // its end is all there is to hear
}

fn fork_beside_a_thread() {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || stopped.recv().is_ok());
    match sys::fork() {
        Ok(Fork::Parent(_)) => println!("beside a thread: forked"),
        Ok(Fork::Child(_)) => role(|| 0),
        Err(e) => println!("beside a thread: {e}"),
    }
    drop(stop);
    thread.join().expect("it does not panic");
    while sys::threads().expect("/proc is there") > 1 {
        wait(1);
    }
    fork(|_| 0);
    println!("alone: {}", death());
}

fn live_with_a_child() {
    // With its signals blocked for ever, and stuck: only SIGKILL can end it. It says its pid
    // itself, so that the test knows it has come as far as that.
    fork(|_| {
        println!("{}", sys::pid());
        wait(10_000);
        1
    });
    until_told();
}

/// Children that are gone as soon as they have forked: it depends on who is quicker whether theirs
/// are tied to them by then. Those are not init's then, but ours.
fn adopt_orphans() {
    const PAIRS: usize = 200;
    nix::sys::prctl::set_child_subreaper(true).expect("anybody may");
    for _ in 0..PAIRS {
        fork(|_| {
            fork(|_| {
                wait(10_000);
                1
            });
            0
        });
    }
    for _ in 0..2 * PAIRS {
        death(); // soon, or it fails
    }
    println!("all are gone");
}

/// The child is sent SIGTERM before it has a handler of its own.
fn signal_a_newborn() {
    let signals = Signals::watch(&[Signal::Terminate, Signal::Child]).expect("signals");
    let hear = |signals: &Signals, ms| {
        poll(&[(signals.as_fd(), Interest::Read)], Some(Duration::from_millis(ms))).expect("poll");
        signals.take()
    };
    match sys::fork().expect("one thread") {
        Fork::Child(newborn) => role(move || {
            wait(100); // the signal is sent meanwhile
            drop(signals); // the parent's
            let own = Signals::watch(&[Signal::Terminate]).expect("signals");
            newborn.unblock_signals();
            if hear(&own, 2000) == [Signal::Terminate] { 7 } else { 1 }
        }),
        Fork::Parent(child) => {
            child.signal(Signal::Terminate).expect("it lives");
            println!("the parent hears {:?}", hear(&signals, 5000));
            println!("the child: {}", death());
        }
    }
}

/// To be started with SIGTERM blocked.
fn watch_blocked_signals() {
    let signals = Signals::watch(&[Signal::Terminate]).expect("signals");
    println!("ready");
    poll(&[(signals.as_fd(), Interest::Read)], Some(Duration::from_secs(5))).expect("poll");
    println!("heard {:?}", signals.take());
}

fn fifty_deaths() {
    let signals = Signals::watch(&[Signal::Child]).expect("signals");
    sys::with_signals_blocked(|| {
        let children: Vec<Child> = (0..50).map(|_| fork(|_| 0)).collect();
        // A zombie has no start time any more.
        let lives = |child: &Child| sys::files::process_start(child.pid()).is_some();
        while children.iter().any(lives) {
            wait(1);
        }
    })
    .expect("signals");
    println!("signals: {:?}", signals.take());
    println!("reaped: {}", std::iter::from_fn(reap).count());
}

/// The child stops, and when it is continued, this signal kills it.
fn stop_and_death_by(signal: i32) {
    let child = fork(|newborn| {
        newborn.unblock_signals();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP).expect("it can be stopped");
        // SAFETY: plain numbers; nix knows no real-time signals.
        unsafe { libc::raise(signal) };
        0
    });
    let stat = format!("/proc/{}/stat", child.pid());
    while !std::fs::read_to_string(&stat).expect("it lives").contains(") T ") {
        wait(1);
    }
    println!("stopped: {:?}", reap());
    child.signal(Signal::Continue).expect("it lives");
    println!("continued: {:?}", death());
}

/// A guard of the parent's, as a pid file would be.
struct Guard(PathBuf);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0); // the test looks
    }
}

fn panic_in_a_role(pidfile: PathBuf) {
    std::fs::write(&pidfile, "here").expect("a file can be written");
    let guard = Guard(pidfile);
    fork(|_| {
        std::panic::set_hook(Box::new(|_| {})); // nobody needs to read of it
        panic!("on purpose")
    });
    println!("{}, pidfile: {}", death(), guard.0.exists());
}

fn print_and_fork() {
    print!("once, "); // no line's end, so it is still in the buffer
    fork(|_| {
        print!("child, ");
        0
    });
    death();
    println!("parent");
}

fn fds() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc is there").count()
}

fn count_fds() {
    let before = fds();
    for _ in 0..200 {
        fork(|_| if fds() == before { 0 } else { 1 });
        assert_eq!(death(), sys::Ended::Exited(0), "the child has more than its parent had");
    }
    println!("before {before}, after {}", fds());
}

fn log_to_stderr() {
    let sink = sys::sink::Sink::stderr().expect("stderr");
    for n in 0..2000 {
        sink.line(format!("line {n:04} {}\n", "x".repeat(190)).as_bytes());
    }
    println!("{}", sink.dropped());
}

/// A file-size limit is a full disk: nine lines of 100 bytes fit and the half of one, then none;
/// then there is room again.
fn log_to_a_full_file(path: &Path) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    sys::limits::survive_large_files().expect("SIGXFSZ ignored");
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).expect("the limit");
    setrlimit(Resource::RLIMIT_FSIZE, 950, hard).expect("a lower limit");
    let sink = sys::sink::Sink::file(path).expect("the log");
    let line = |letter: char| format!("{}\n", letter.to_string().repeat(99));
    (0..20).for_each(|_| sink.line(line('x').as_bytes()));
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).expect("the old limit");
    (0..2).for_each(|_| sink.line(line('y').as_bytes()));
    println!("{}", sink.dropped());
}

fn leave_a_lock_to_a_child(path: &Path) {
    let lock = Lock::take(std::fs::File::create(path).expect("a file")).expect("nobody has it");
    fork(|_| {
        wait(10_000);
        1
    });
    drop(lock);
    println!("left");
    until_told();
}

fn drop_a_lock_in_a_child(path: &Path) {
    let lock = Lock::take(std::fs::File::create(path).expect("a file")).expect("nobody has it");
    match sys::fork().expect("one thread") {
        Fork::Child(_) => role(move || {
            drop(lock);
            0
        }),
        Fork::Parent(_) => {
            println!("{}", death());
            until_told();
            drop(lock);
        }
    }
}

/// Listens with this mode under this umask, both octal, until it is told to leave.
fn listen(path: &Path, mode: &str, umask: &str) {
    let octal = |text| u32::from_str_radix(text, 8).expect("octal");
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(octal(umask)));
    let listening = sys::socket::listen(path, octal(mode), None);
    match &listening {
        Ok(_) => println!("listening"),
        Err(e) => println!("{:?}", e.kind()),
    }
    io::stdout().flush().expect("stdout");
    until_told();
}
