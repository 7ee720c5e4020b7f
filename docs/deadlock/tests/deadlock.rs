//! The demonstration shows what it says it does. It runs as a process of its own: whoever runs
//! these tests has threads, and is not forked.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The demonstration, its standard output in a pipe. Every process that it forks holds that pipe
/// too, so the pipe's end says that none of them is left.
fn demonstration() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deadlock"));
    command.arg("--quick").stdout(Stdio::piped());
    command
}

#[test]
fn a_child_forked_beside_a_logging_thread_hangs_and_our_own_never_does() {
    let start = Instant::now();
    let shown = demonstration().output().expect("the demonstration starts");
    let text = String::from_utf8(shown.stdout).expect("it prints text");
    println!("{text}");
    assert!(shown.status.success(), "{}", shown.status);
    assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());

    // Row by row: what it is about, then the thread's column, then the child's.
    let row = |name: &str| {
        let row = text.lines().find(|line| line.trim_start().starts_with(name));
        let cells = row.unwrap_or_else(|| panic!("no row {name}")).split("  ");
        let cells: Vec<&str> = cells.map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(cells.len(), 3, "{cells:?}");
        (cells[1].to_owned(), cells[2].to_owned())
    };
    let (thread, child) = row("monitor, afterwards");
    assert!(thread.starts_with("goes on") && child.starts_with("goes on"), "{thread} | {child}");
    let (thread, child) = row("worker's first line");
    assert!(thread.ends_with("nothing") && child.starts_with("comes"), "{thread} | {child}");
    let (thread, child) = row("worker now");
    assert!(thread.starts_with("hangs") && child.starts_with("gone"), "{thread} | {child}");

    // How many hang in the thread's column is chance.
    for pace in ["without a pause", "each 100 µs", "each ms", "never"] {
        assert_eq!(row(pace).1, "0 of 100", "{pace}");
    }
    assert!(text.contains("this process has 2 threads and must have one"));
}

#[test]
fn killed_in_the_middle_it_leaves_nobody_behind() {
    let mut demonstration = demonstration().spawn().expect("the demonstration starts");
    let mut stdout = demonstration.stdout.take().expect("it is a pipe");
    std::thread::sleep(Duration::from_millis(500)); // now a worker hangs in the first act
    demonstration.kill().expect("it runs");
    let killed = Instant::now();
    stdout.read_to_end(&mut Vec::new()).expect("a pipe can be read");
    assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
    demonstration.wait().expect("it is ours");
}
