//! Without Solr: what the program itself can do, against a server that answers at once.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::{Value, json};

use crate::Result;
use crate::data::{self, Data};
use crate::process::{self, Window, cpu_of};
use crate::results::{median, round};
use crate::workshop::{Workshop, log};

pub(crate) fn run(workshop: &Workshop) -> Result<Value> {
    let mut found = Vec::new();
    for data in [data::offers_of_150_bytes(workshop)?, data::packages_again_and_again(workshop)?] {
        let mut runs: Vec<(usize, Vec<Figures>)> = vec![(1, Vec::new()), (2, Vec::new())];
        // one round more, to warm the page cache
        for number in 0..=workshop.rounds {
            for (workers, figures) in &mut runs {
                let measured = once(workshop, &data, *workers)?;
                if number > 0 {
                    measured.tell(&data, *workers);
                    figures.push(measured);
                }
            }
        }
        for (workers, figures) in &runs {
            let middle =
                |of: fn(&Figures) -> f64| median(&figures.iter().map(of).collect::<Vec<_>>());
            found.push(json!({
                "data": data.to_json(), "workers": workers,
                "lines_per_s": middle(|f| f.rate), "feeder_us": middle(|f| f.feeder_us),
                "server_us": middle(|f| f.server_us), "peak_mib": middle(|f| f.peak_mib),
                "all_lines_per_s": figures.iter().map(|f| f.rate).collect::<Vec<_>>(),
            }));
        }
    }
    Ok(json!(found))
}

struct Figures {
    rate: f64,
    feeder_us: f64,
    server_us: f64,
    peak_mib: f64,
}

impl Figures {
    fn tell(&self, data: &Data, workers: usize) {
        println!(
            "  {:<12} {workers} worker(s) {:>10} lines/s  CPU/line: feeder {:>5} µs, server {:>5} µs {:>5.0} MiB",
            data.name,
            round(self.rate),
            round(self.feeder_us),
            round(self.server_us),
            self.peak_mib
        );
    }
}

fn once(workshop: &Workshop, data: &Data, workers: usize) -> Result<Figures> {
    let server = Server::start(workshop)?;
    let mut command = Command::new(workshop.program("solr-updater")?);
    command.args(["feed", "--url", &server.url, "--collection", "c"]);
    command.args(["--workers", &workers.to_string()]).arg(&data.path);
    let pid = server.child.id();
    let name = format!("null-{}-{workers}", data.name);
    let run = process::run(workshop, &name, command, Window::Whole, &|| cpu_of(&[pid]))?;
    if let Some(why) = run.failed {
        return Err(format!("{}: {why}", data.name).into());
    }
    let taken = server.taken()?;
    if taken != data.lines {
        return Err(format!("{}: {taken} documents of {} lines", data.name, data.lines).into());
    }
    let micros = |seconds: f64| seconds * 1e6 / data.lines as f64;
    Ok(Figures {
        rate: data.lines as f64 / run.seconds,
        feeder_us: micros(run.cpu_s),
        server_us: micros(run.server_cpu_s),
        peak_mib: run.peak_mib,
    })
}

/// The server that takes no time; it ends with this.
pub(crate) struct Server {
    child: Child,
    url: String,
    _until: Option<ChildStdin>,
}

impl Server {
    pub(crate) fn start(workshop: &Workshop) -> Result<Server> {
        let mut child = Command::new(workshop.program("null-solr")?)
            .args(["--shards", "2"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log(workshop, "null-solr")?)
            .spawn()?;
        let until = child.stdin.take();
        let mut url = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut url)?;
        Ok(Server { child, url: url.trim().to_owned(), _until: until })
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    fn taken(&self) -> Result<u64> {
        let (_, body) = kit::http::get(&format!("{}/taken", self.url))?;
        let taken: Value = serde_json::from_slice(&body)?;
        taken["adds"].as_u64().ok_or_else(|| format!("null-solr says {taken}").into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
