//! The status, asked a thousand times a second beside a full delivery: how soon it is answered, and what
//! that costs the delivery.
//!
//! Deliveries with and without somebody who asks take turns, in pairs, and each pair's other one begins, so
//! that whatever drifts drifts for both; the slowdown is the median of the pairs' ratios. Who asks is one
//! thread of this program that sleeps between its questions and reads nothing of an answer but its end.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Result;
use crate::cluster::Cluster;
use crate::contenders::COLLECTION;
use crate::daemon::Daemon;
use crate::data::{self, Data};
use crate::null::Server;
use crate::process::cpu_of;
use crate::results::{median, round};
use crate::workshop::Workshop;

/// Between two questions.
const EVERY: Duration = Duration::from_millis(1);
/// What it should be: answers within so many milliseconds, 99 of 100; so much slower, in per cent.
const TARGETS: (f64, f64) = (5.0, 3.0);

/// Against the server that takes no time.
pub(crate) fn beside_null(workshop: &Workshop) -> Result<Value> {
    let server = Server::start(workshop)?;
    let daemon = Daemon::at(workshop, &[server.url()], COLLECTION)?;
    pairs(workshop, &daemon, &data::offers_of_150_bytes(workshop)?)
}

/// On a real SolrCloud.
pub(crate) fn beside_solr(workshop: &Workshop) -> Result<Value> {
    let cluster = Cluster::of(workshop, 2)?;
    cluster.fresh(COLLECTION, 2)?;
    let data = data::offers(workshop)?;
    let daemon = Daemon::start(workshop, &cluster, COLLECTION)?;
    let found = pairs(workshop, &daemon, &data)?;
    drop(daemon);
    let there = cluster.found(COLLECTION)?;
    cluster.drop(COLLECTION)?;
    match there == data.ids {
        true => Ok(found),
        false => Err(format!("{there} documents of {}", data.ids).into()),
    }
}

/// A delivery, and what was asked meanwhile.
struct Delivery {
    seconds: f64,
    answers: Answers,
    /// The monitor's processor time.
    monitor_s: f64,
}

/// In milliseconds.
#[derive(Default)]
struct Answers {
    /// From the question to the end of the answer.
    times: Vec<f64>,
    /// From when the question was due: what it waited for those before it, and for a processor, is in it.
    from_due: Vec<f64>,
}

fn pairs(workshop: &Workshop, daemon: &Daemon, data: &Data) -> Result<Value> {
    let pairs = if workshop.quick { 2 } else { 10 };
    deliver(daemon, data, "warm-up", false)?;
    let (mut ratios, mut plain, mut asked) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..pairs {
        let mut both = [None, None];
        let order = if pair % 2 == 0 { [false, true] } else { [true, false] };
        for asks in order {
            let name = format!("{pair:02}-{}", if asks { "asked" } else { "plain" });
            both[usize::from(asks)] = Some(deliver(daemon, data, &name, asks)?);
        }
        let [Some(without), Some(with)] = both else { unreachable!("both were delivered") };
        let ratio = with.seconds / without.seconds;
        println!(
            "  pair {:>2}: {:>6.2} s alone, {:>6.2} s with {} questions: {:+.1} %",
            pair + 1,
            without.seconds,
            with.seconds,
            with.answers.times.len(),
            (ratio - 1.0) * 100.0
        );
        ratios.push(ratio);
        plain.push(without.seconds);
        asked.push(with);
    }
    Ok(sum_up(data, &ratios, &plain, &asked))
}

fn sum_up(data: &Data, ratios: &[f64], plain: &[f64], asked: &[Delivery]) -> Value {
    let all = |of: fn(&Answers) -> &Vec<f64>| {
        let mut all: Vec<f64> = asked.iter().flat_map(|d| of(&d.answers)).copied().collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let (times, from_due) = (all(|a| &a.times), all(|a| &a.from_due));
    let slower = (median(ratios).unwrap_or(f64::NAN) - 1.0) * 100.0;
    let seconds: f64 = asked.iter().map(|d| d.seconds).sum();
    let monitor_us =
        asked.iter().map(|d| d.monitor_s).sum::<f64>() * 1e6 / times.len().max(1) as f64;
    let rate = data.lines as f64 / median(plain).unwrap_or(f64::NAN);
    println!("  {} lines/s; {:.0} questions a second", round(rate), times.len() as f64 / seconds);
    let tell = |what: &str, times: &[f64]| {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|part| quantile(times, part));
        println!("  {what:<24} p50 {p50:>7.3} ms, p99 {p99:>7.3} ms, most {max:>7.3} ms");
        json!({"p50_ms": p50, "p99_ms": p99, "max_ms": max})
    };
    let answered = tell("answered", &times);
    let due = tell("from when it was due", &from_due);
    println!("  the monitor's processor time: {monitor_us:.0} µs an answer");
    let is_met = quantile(&times, 0.99) < TARGETS.0 && slower <= TARGETS.1;
    let verdict = if is_met { "met" } else { "MISSED" };
    println!(
        "  the delivery is slower by {slower:+.1} % (median of {}); p99 below {} ms and {} % at most: {verdict}",
        ratios.len(),
        TARGETS.0,
        TARGETS.1
    );
    json!({
        "data": data.to_json(), "lines_per_s": rate, "questions": times.len(),
        "questions_per_s": times.len() as f64 / seconds, "answered": answered, "from_due": due,
        "monitor_us": monitor_us, "slower_percent": slower, "ratios": ratios, "met": is_met,
    })
}

/// Of values in order.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = ((sorted.len() as f64 * part).ceil() as usize).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// From the rename into `incoming/` until the delta is in `done/`.
fn deliver(daemon: &Daemon, data: &Data, name: &str, asks: bool) -> Result<Delivery> {
    let name = format!("{name}.jsonl");
    let aside = daemon.spool().join(format!(".{name}"));
    fs::hard_link(&data.path, &aside)?; // a copy would keep the disk busy
    let monitor = daemon.asker()?.status()?["monitor"]["pid"].as_u64().ok_or("no monitor")? as u32;
    let over = AtomicBool::new(false);
    let (done, failed) =
        (daemon.spool().join("done").join(&name), daemon.spool().join("failed").join(&name));
    thread::scope(|scope| {
        let socket = daemon.status_socket();
        let over_there = &over;
        let asking = asks.then(|| scope.spawn(move || ask(&socket, over_there)));
        let cpu = cpu_of(&[monitor]);
        let start = Instant::now();
        let delivered = fs::rename(&aside, daemon.spool().join("incoming").join(&name));
        while delivered.is_ok()
            && !done.exists()
            && !failed.exists()
            && start.elapsed() < daemon.patience()
        {
            thread::sleep(Duration::from_millis(5));
        }
        let seconds = start.elapsed().as_secs_f64();
        over.store(true, Relaxed);
        let monitor_s = cpu_of(&[monitor]) - cpu;
        let answers = asking.map(|thread| thread.join().expect("it does not panic"));
        delivered?;
        if !done.exists() {
            return Err(format!("{name} is not in done/: see logs/ours-daemon.log").into());
        }
        Ok(Delivery { seconds, answers: answers.transpose()?.unwrap_or_default(), monitor_s })
    })
}

/// Asks on one connection until it is over.
fn ask(socket: &Path, over: &AtomicBool) -> io::Result<Answers> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let (mut answers, mut buffer) = (Answers::default(), vec![0; 64 * 1024]);
    let mut due = Instant::now();
    while !over.load(Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let asked = Instant::now();
        stream.write_all(b"status\n")?;
        loop {
            match stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n if buffer[n - 1] == b'\n' => break,
                _ => {}
            }
        }
        let now = Instant::now();
        answers.times.push(now.duration_since(asked).as_secs_f64() * 1e3);
        answers.from_due.push(now.saturating_duration_since(due).as_secs_f64() * 1e3);
        due += EVERY;
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hundred_values_99_are_not_above_the_99th() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|part| quantile(&hundred, part)), [50.0, 99.0, 100.0]);
        assert_eq!(quantile(&[7.0], 0.5), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
