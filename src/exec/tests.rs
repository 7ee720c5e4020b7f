use super::*;
use std::time::Instant;

/// Long enough for a machine that has other things to do, and short enough to be sat out.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_secs(3);
const FOREVER: Duration = Duration::from_secs(100);

/// A converter that is this script.
struct Script {
    dir: tempfile::TempDir,
}

impl Script {
    fn new(text: &str) -> Script {
        let script = Script { dir: tempfile::tempdir().unwrap() };
        script.write(text);
        script
    }

    fn write(&self, text: &str) {
        let (new, path) = (self.path("new"), self.path("conv"));
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn exec(&self) -> Exec {
        self.exec_for(LONG)
    }

    fn exec_for(&self, timeout: Duration) -> Exec {
        // Run by the interpreter, or a test that forks meanwhile holds the script open (ETXTBSY).
        let text = self.read("conv");
        let shell =
            if text.starts_with("#!/usr/bin/env python3") { "/usr/bin/env" } else { "/bin/sh" };
        let path = self.path("conv").display().to_string();
        let words = match shell {
            "/bin/sh" => vec![shell.to_owned(), path],
            _ => ["/usr/bin/env", "-u", "PYTHONUNBUFFERED", "python3", &path]
                .map(str::to_owned)
                .to_vec(),
        };
        exec(&words, timeout)
    }
}

fn exec(words: &[String], timeout: Duration) -> Exec {
    let list: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    let text = format!(
        "[spool]\ndir = '/s'\n[solr]\nurls = ['http://a:8983/solr']\ncollection = 'c'\n\
         [convert]\nexec = [{}]\nexec_timeout = '{}ms'",
        list.join(", "),
        timeout.as_millis()
    );
    let config = config::parse(&text, "f.toml".as_ref()).unwrap();
    let Some(config::conversion::Convert::Exec(command)) = config.convert else { panic!() };
    let log = Logger::root(slog::Discard, slog::o!());
    Exec::new(&command, 1 << 20, Some(&log))
}

#[derive(Debug, Clone, PartialEq)]
enum Came {
    Answer(String, String),
    Failed(String, String),
}

/// Gives it all of these lines, and takes what becomes of them.
fn run(exec: &mut Exec, lines: &[String]) -> (Vec<Came>, Vec<Trouble>) {
    run_until(exec, lines, |_| false)
}

/// The same; it also ends with the first trouble that is enough.
fn run_until(
    exec: &mut Exec,
    lines: &[String],
    mut is_enough: impl FnMut(&Trouble) -> bool,
) -> (Vec<Came>, Vec<Trouble>) {
    let (mut came, mut troubles, mut lines) = (Vec::new(), Vec::new(), lines.iter());
    let begin = Instant::now();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    loop {
        assert!(begin.elapsed() < FOREVER, "{came:?} {troubles:?}");
        while exec.has_room() {
            let Some(line) = lines.next() else { break };
            exec.give(line.as_bytes());
        }
        if let Err(trouble) = exec.pump(lines.len() == 0, sys::clock::now_ms()) {
            troubles.push(trouble.clone());
            if is_enough(&trouble) {
                return (came, troubles);
            }
        }
        while let Some(said) = exec.said() {
            let one = match said {
                Said::Answer { line, answer } => Came::Answer(text(line), text(answer)),
                Said::Failed { line, reason } => Came::Failed(text(line), reason.into()),
            };
            let is_bad = matches!(&one, Came::Answer(_, answer) if answer.starts_with("bad"));
            if is_bad && !exec.is_sure() {
                exec.ask_again();
                break;
            }
            came.push(one);
            exec.pop();
        }
        if lines.len() == 0 && !exec.is_busy() {
            return (came, troubles);
        }
        let wait = exec.next_event(sys::clock::now_ms()).unwrap_or(Duration::from_millis(200));
        let _ = sys::poll(&exec.watched(), Some(wait));
    }
}

fn lines(n: usize) -> Vec<String> {
    (0..n).map(line).collect()
}

/// All lines but these have their answer, in order; these have failed, for reasons with these words.
#[track_caller]
fn all_but(came: &[Came], lines: &[String], failed: &[usize], words: &str) {
    assert_eq!(came.len(), lines.len(), "{came:?}");
    for (n, (came, line)) in came.iter().zip(lines).enumerate() {
        match (came, failed.contains(&n)) {
            (Came::Failed(l, reason), true) => {
                assert_eq!(l, line);
                assert!(reason.contains(words), "{n}: {reason}");
            }
            (Came::Answer(l, answer), false) => {
                assert_eq!((l, answer), (line, &format!("+{line}")))
            }
            other => panic!("line {n}: {other:?}"),
        }
    }
}

fn line(n: usize) -> String {
    format!("{{\"n\":{n}}}")
}

fn plus(n: usize) -> String {
    format!("+{}", line(n))
}

/// Gives it all of these lines, and takes the answers of so many.
fn take(exec: &mut Exec, lines: &[String], many: usize) -> Vec<Came> {
    lines.iter().for_each(|line| exec.give(line.as_bytes()));
    let (mut came, begin) = (Vec::new(), Instant::now());
    while came.len() < many {
        assert!(begin.elapsed() < FOREVER, "{came:?}");
        exec.pump(true, sys::clock::now_ms()).unwrap();
        let Some(Said::Answer { line, answer }) = exec.said() else {
            let wait = exec.next_event(sys::clock::now_ms()).unwrap_or(Duration::from_millis(200));
            let _ = sys::poll(&exec.watched(), Some(wait));
            continue;
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        came.push(Came::Answer(text(line), text(answer)));
        exec.pop();
    }
    came
}

/// A converter in Python, whose lines are the body of its loop. It writes down each start.
fn python(flush: bool, body: &str) -> Script {
    let script = Script::new("");
    let starts = script.path("starts").display().to_string();
    script.write(&format!(
        "#!/usr/bin/env python3\nimport sys, os, time, json\nopen({starts:?}, 'a').write('x')\n\
         for line in sys.stdin:\n    line = line[:-1]\n    n = json.loads(line)['n']\n{body}\n    \
         print('+' + line, flush={})\n",
        if flush { "True" } else { "False" }
    ));
    script
}

/// In such a body: line 9 is not answered before the test has said so.
const WAITS: &str =
    "    while n == 9 and not os.path.exists(sys.argv[0] + '.go'): time.sleep(0.01)";

/// A converter that says all behind line 4 at once, when it has line 9 and the test has said so.
fn at_once(body: &str) -> Script {
    python(
        true,
        &format!(
            "{body}\n{WAITS}\n    print('+' + line if line else '', flush=n < 5 or n == 9)\n    continue"
        ),
    )
}

#[test]
fn lines_go_in_and_answers_come_out_in_order() {
    let script = python(true, "");
    let (mut exec, lines) = (script.exec(), lines(50_000));
    for _ in 0..3 {
        let (came, troubles) = run(&mut exec, &lines);
        all_but(&came, &lines, &[], "");
        assert_eq!(troubles, []);
    }
    assert_eq!(script.read("starts"), "x", "one that answers at once is never started again");
}

#[test]
fn answers_in_a_buffer_are_had_by_closing_its_input() {
    let script = python(false, "");
    let (mut exec, lines) = (script.exec(), lines(20_000));
    for _ in 0..2 {
        let (came, troubles) = run(&mut exec, &lines);
        all_but(&came, &lines, &[], "");
        assert_eq!(troubles, []);
    }
    assert_eq!(script.read("starts").len(), 3, "one line first, and once for each delta");
}

#[test]
fn one_that_takes_its_time_is_soon_left_in_peace() {
    let script = python(true, "    time.sleep(0.3)");
    let mut exec = script.exec();
    let mut starts = 0;
    // (A busy machine may make it look slower still.)
    for _ in 0..20 {
        let (came, _) = run(&mut exec, &lines(2));
        all_but(&came, &lines(2), &[], "");
        if std::mem::replace(&mut starts, script.read("starts").len()) == starts {
            return;
        }
    }
    panic!("it was started {starts} times");
}

#[test]
fn a_line_it_dies_at_is_found_and_no_other_is_blamed() {
    for flush in [true, false] {
        let script = python(flush, "    if n in (700, 701, 4000): sys.exit('no ' + str(n))");
        let lines = lines(5_000);
        let (came, troubles) = run(&mut script.exec(), &lines);
        all_but(&came, &lines, &[700, 701, 4000], "exit status 1, saying \"no ");
        assert_eq!(troubles, []);
        assert!(script.read("starts").len() < 80, "{} starts", script.read("starts").len());
    }
}

#[test]
fn a_line_it_is_killed_or_hangs_at_is_told_so() {
    for (fate, words) in [
        ("kill -9 $$", "exec: it was ended by signal 9, twice"),
        ("sleep 1000", "exec: it hung for 3s, twice"),
        // One that leaves in order is not blamed for the lines that another may have.
        ("exit 0", "exec: it ended without an answer, twice"),
    ] {
        let script = Script::new(&format!(
            "while read -r l; do case \"$l\" in *:7}}) {fate};; esac; echo \"+$l\"; done"
        ));
        let lines = lines(20);
        let (came, troubles) = run(&mut script.exec_for(SHORT), &lines);
        all_but(&came, &lines, &[7], words);
        assert_eq!(troubles, []);
    }
}

#[test]
fn a_carriage_return_within_a_line_ends_it_for_nobody() {
    // JSON takes one for white space; a Java, Node or .NET that reads lines, and Python's open(), for an end.
    let script = Script::new(
        "#!/usr/bin/env python3\nfor line in open(0):\n    print('+' + line[:-1], flush=True)",
    );
    let mut given = lines(20);
    given[7] = "{\r\"n\":\r\n7}\r".into();
    let (came, troubles) = run(&mut script.exec(), &given);
    given[7] = "{ \"n\":  7} ".into();
    all_but(&came, &given, &[], "");
    assert_eq!(troubles, []);
}

#[test]
fn last_words_without_an_end_leave_the_next_ones_to_be_heard() {
    let script = python(
        true,
        "    if n == 7:\n        died = sys.argv[0] + '.died'\n        \
         words = 'short words\\n' if os.path.exists(died) else 600 * 'x'\n        \
         open(died, 'w')\n        sys.stderr.write(words)\n        sys.exit(3)",
    );
    let lines = lines(20);
    let (came, troubles) = run(&mut script.exec(), &lines);
    all_but(&came, &lines, &[7], "exit status 3, saying \"short words\"");
    assert_eq!(troubles, []);
}

#[test]
fn a_last_line_is_at_fault_if_another_is_answered_afterwards() {
    let script = python(true, "    if n == 9: sys.exit(3)");
    let lines = lines(10);
    let (came, troubles) = run(&mut script.exec(), &lines);
    all_but(&came, &lines, &[9], "exit status 3");
    assert_eq!(troubles, []);
}

#[test]
fn one_that_fails_at_three_lines_in_a_row_is_at_fault_itself() {
    let script = python(
        true,
        "    if os.path.exists(sys.argv[0] + '.down') and n > 4: sys.exit('the database is away')",
    );
    let (mut exec, lines) = (script.exec(), lines(20));
    std::fs::write(script.path("conv.down"), "").unwrap();
    let (came, troubles) = run_until(&mut exec, &lines, |_| true);
    all_but(&came, &lines[..5], &[], "");
    let Trouble::Outage(why) = &troubles[0] else { panic!("{troubles:?}") };
    assert!(why.ends_with("fails at 3 lines in a row: it ended with exit status 1, saying \"the database is away\""), "{why}");
    // Mended, nothing is lost.
    std::fs::remove_file(script.path("conv.down")).unwrap();
    let (came, troubles) = run(&mut exec, &[]);
    all_but(&came, &lines[5..], &[], "");
    assert_eq!(troubles, []);
}

#[test]
fn one_that_never_answers_is_an_outage_and_rejects_nothing() {
    for (text, words) in [
        ("exit 3", "answers nothing: it ended with exit status 3"),
        ("exec sleep 1000", "answers nothing: it hung for 3s"),
        ("cat >/dev/null", "answers nothing: it ended without an answer"),
        ("while read l; do echo a; echo b; done", "answers nothing: it gave 2 lines for 1"),
        ("exec cat /dev/zero", "more bytes than spool.max_line"),
    ] {
        let script = Script::new(text);
        let (mut exec, lines, mut n) = (script.exec_for(SHORT), lines(3), 0);
        let (came, troubles) = run_until(&mut exec, &lines, |_| {
            n += 1;
            n == 2
        });
        assert_eq!(came, []);
        for trouble in troubles {
            let Trouble::Outage(why) = &trouble else { panic!("{trouble:?}") };
            assert!(why.contains(words), "{text}: {why}");
        }
        script.write("exec sed -u s/^/+/");
        let (came, _) = run(&mut exec, &[]);
        all_but(&came, &lines, &[], "");
    }
}

#[test]
fn a_bad_first_line_blocks_no_others() {
    let script = python(true, "    if n == 0: sys.exit(1)");
    let lines = lines(10);
    let (came, troubles) = run(&mut script.exec(), &lines);
    all_but(&came, &lines, &[0], "exit status 1");
    assert!(
        matches!(&troubles[..], [Trouble::Outage(_), ..]),
        "it had answered nothing: {troubles:?}"
    );
}

#[test]
fn what_cannot_be_started_is_told_why() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("conv").display().to_string();
    let mut exec = exec(std::slice::from_ref(&path), LONG);
    let told = |exec: &mut Exec| match &run_until(exec, &lines(1), |_| true).1[..] {
        [Trouble::Outage(why)] => why.clone(),
        other => panic!("{other:?}"),
    };
    assert!(told(&mut exec).starts_with(&format!("cannot start {path}: No such file")));
    std::fs::write(&path, "#!/bin/sh\n").unwrap();
    assert!(told(&mut exec).contains("chmod +x"));
    assert_eq!(
        Exec::judge(&exec.command).unwrap_err().to_string(),
        format!("f.toml:7:10: convert.exec: {path}: may not be executed: chmod +x")
    );
}

#[test]
fn more_answers_than_lines_spoil_the_delta_where_nobody_knows_whose_they_are() {
    // As few as come back together are asked for again, until it is known who has two.
    let body = "    if n == 5: print('{}')";
    let script = python(false, body);
    let (came, troubles) = run(&mut script.exec(), &lines(10));
    all_but(&came, &lines(10), &[5], "lines for 1");
    assert_eq!(troubles, []);
    // Line 5's second answer was taken for line 6.
    let script = python(true, &format!("{body}\n{WAITS}"));
    let mut exec = script.exec();
    let came = take(&mut exec, &lines(10), 8);
    assert_eq!(came.last(), Some(&Came::Answer(line(7), plus(6))));
    std::fs::write(script.path("conv.go"), "").unwrap();
    let (came, troubles) = run_until(&mut exec, &[], |t| matches!(t, Trouble::Spoiled(_)));
    assert_eq!(troubles, [Trouble::Spoiled(SPOILED.into())]);
    assert!(came.len() < 2, "the last line is not done");
}

#[test]
fn an_answer_too_many_that_is_read_late_spoils_nothing_that_was_taken_before() {
    for (extra, at) in [("bad: no price", 5), ("{}", 5), ("{}", 9)] {
        let script = at_once(&format!("    if n == {at}: print({extra:?})"));
        let (mut exec, lines) = (script.exec(), lines(10));
        let mut came = take(&mut exec, &lines, 5);
        std::fs::write(script.path("conv.go"), "").unwrap();
        let (others, troubles) = run(&mut exec, &[]);
        came.extend(others);
        all_but(&came, &lines, &[at], "it gave 2 lines for 1");
        assert_eq!(troubles, []);
    }
}

#[test]
fn an_answer_too_many_among_the_taken_ones_spoils_the_delta_whatever_comes_behind() {
    // Another answer, one like all others, one more at the end, a line that fails when it is asked for again.
    for body in [
        "    if n == 2: print('{}')",
        "    if n == 2: print()\n    if n: line = ''",
        "    if n in (2, 9): print('{}')",
        "    if n == 2: print('{}')\n    if n == 6 and os.path.getsize(os.path.dirname(sys.argv[0]) + '/starts') > 1: sys.exit(1)",
    ] {
        let script = at_once(body);
        let mut exec = script.exec();
        let mut came = take(&mut exec, &lines(10), 5);
        std::fs::write(script.path("conv.go"), "").unwrap();
        let (others, troubles) = run_until(&mut exec, &[], |t| matches!(t, Trouble::Spoiled(_)));
        came.extend(others);
        assert_eq!(troubles, [Trouble::Spoiled(SPOILED.into())], "{body}: {came:?}");
        assert!(came.len() < 10, "{body}: the last line is not done");
    }
}

#[test]
fn one_that_is_still_at_work_may_have_more_to_say() {
    let body = "    if n == 2:\n        print('+' + line, flush=True)\n        \
                until = time.process_time() + 0.03\n        \
                while time.process_time() < until: pass\n        line = ''";
    let script = python(true, body);
    let lines = lines(3);
    let (came, troubles) = run(&mut script.exec(), &lines);
    all_but(&came, &lines, &[2], "it gave 2 lines for 1");
    assert_eq!(troubles, []);
}

#[test]
fn one_that_never_rests_is_waited_for_only_so_long() {
    let script = Script::new(
        "#!/usr/bin/env python3\nimport os, select\nwhile True:\n    \
         if not select.select([0], [], [], 0)[0]: continue\n    got = os.read(0, 1 << 16)\n    \
         if not got: break\n    \
         os.write(1, b''.join(b'+' + line + b'\\n' for line in got.splitlines()))\n",
    );
    let lines = lines(3);
    let (came, troubles) = run(&mut script.exec(), &lines);
    all_but(&came, &lines, &[], "");
    assert_eq!(troubles, []);
}

#[test]
fn a_wrong_answer_is_asked_for_again_alone_and_found_to_be_one_of_two() {
    let script = python(true, "    if n == 5: print('bad: no price')");
    let lines = lines(10);
    let (came, troubles) = run(&mut script.exec(), &lines);
    all_but(&came, &lines, &[5], "it gave 2 lines for 1");
    assert_eq!(troubles, []);
}

#[test]
fn one_that_takes_so_many_lines_and_no_more_is_started_again() {
    let script = python(true, "    if n % 100 == 99: print('+' + line, flush=True); sys.exit(0)");
    let lines = lines(450);
    let (came, troubles) = run(&mut script.exec(), &lines);
    all_but(&came, &lines, &[], "");
    assert_eq!(troubles, []);
}

#[test]
fn an_answer_may_lack_its_newline_at_the_end() {
    let script = Script::new(
        "#!/usr/bin/env python3\nimport sys\nsys.stdout.write('\\n'.join('+' + l[:-1] for l in sys.stdin))\n",
    );
    let lines = lines(10);
    let (came, troubles) = run(&mut script.exec(), &lines);
    all_but(&came, &lines, &[], "");
    assert_eq!(troubles, []);
}

#[test]
fn it_sees_nothing_of_ours() {
    let script = Script::new(
        "#!/usr/bin/env python3\nimport os, sys, json, signal\nfor line in sys.stdin:\n    \
         fds = [f for f in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + f)]\n    \
         ours = [n for n in os.environ if n in ('NOTIFY_SOCKET', 'CREDENTIALS_DIRECTORY', 'WATCHDOG_USEC')]\n    \
         status = [l.split()[1] for l in open('/proc/self/status') if l[:6] in ('SigBlk', 'SigIgn')]\n    \
         status = [hex(int(s, 16) & ~(1 << 12 | 1 << 24 | 3 << 31)) for s in status]\n    \
         print(json.dumps([sorted(fds), ours, status, os.getpgrp() == os.getpid()]), flush=True)\n",
    );
    let open = std::fs::File::open("/dev/null").unwrap();
    let (came, _) = run(&mut script.exec(), &lines(1));
    drop(open);
    // (Python itself ignores SIGPIPE and SIGXFSZ; 32 and 33 are the C library's own.)
    let expected = r#"[["0", "1", "2"], [], ["0x0", "0x0"], true]"#;
    assert_eq!(came, [Came::Answer("{\"n\":0}".into(), expected.into())]);
}

#[test]
fn all_that_it_has_started_ends_with_it() {
    let script =
        Script::new("sleep 1000 & echo $! > \"$0.pid\"; while read l; do echo \"+$l\"; done");
    let mut exec = script.exec();
    run(&mut exec, &lines(2));
    let pid = script.read("conv.pid").trim().to_owned();
    let is_alive = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains("sleep") && !stat.contains(") Z ")
    };
    assert!(is_alive());
    drop(exec);
    let begin = Instant::now();
    while is_alive() {
        assert!(begin.elapsed() < FOREVER);
        let _ = sys::poll(&[], Some(Duration::from_millis(5)));
    }
}

#[test]
fn what_nobody_wants_any_more_is_forgotten() {
    let script = python(true, "    time.sleep(n and 0.2)");
    let mut exec = script.exec();
    run(&mut exec, &lines(1));
    exec.give(b"{\"n\":5}");
    exec.pump(true, sys::clock::now_ms()).unwrap();
    exec.forget();
    let (came, _) = run(&mut exec, &lines(1));
    all_but(&came, &lines(1), &[], "");
}

#[test]
fn a_line_that_failed_while_nothing_worked_has_its_tries_when_all_works_again() {
    // It fails at so many tries, whatever the line, and then at line 5 alone.
    let script = python(
        true,
        "    with open(sys.argv[0] + '.tries', 'a') as f: f.write('x' if n > 3 else '')\n    \
         tries = os.path.getsize(sys.argv[0] + '.tries')\n    \
         if n > 3 and tries < 12 or n == 5: sys.exit('away')",
    );
    let lines = lines(20);
    let (came, troubles) = run(&mut script.exec(), &lines);
    all_but(&came, &lines, &[5], "exit status 1");
    assert!(!troubles.is_empty());
}
