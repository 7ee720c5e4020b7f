//! `solr-updater run` with a spool of its own, asked as anybody would ask it.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;
use crate::cluster::Cluster;
use crate::data::Data;
use crate::process::{Run, cpu_of, end, look, tree};
use crate::workshop::{Workshop, log};

/// A daemon; it is stopped when this goes.
pub(crate) struct Daemon {
    child: Child,
    spool: PathBuf,
    sockets: PathBuf,
    patience: Duration,
}

impl Daemon {
    /// With the ordinary configuration: where Solr is, and where the spool is.
    pub(crate) fn start(
        workshop: &Workshop,
        cluster: &Cluster<'_>,
        collection: &str,
    ) -> Result<Daemon> {
        Daemon::at(workshop, &cluster.urls, collection)
    }

    /// The same with the Solr at these URLs.
    pub(crate) fn at(workshop: &Workshop, urls: &[String], collection: &str) -> Result<Daemon> {
        let dir = workshop.dir.join("daemon");
        let spool = dir.join("spool");
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&spool)?;
        // the kernel takes 107 bytes of socket path, and a checkout may lie deep
        let sockets =
            std::env::temp_dir().join(format!("solr-updater-bench-{}", std::process::id()));
        fs::create_dir_all(&sockets)?;
        let config = dir.join("solr-updater.toml");
        fs::write(
            &config,
            format!(
                "[spool]\ndir = {:?}\n\n[solr]\nurls = {:?}\ncollection = {collection:?}\n\n\
                 [monitor]\nstatus = {{ socket = {:?} }}\ncontrol = {{ socket = {:?}, mode = \"0600\" }}\n",
                spool,
                urls,
                sockets.join("status"),
                sockets.join("control"),
            ),
        )?;
        let child = Command::new(workshop.program("solr-updater")?)
            .args(["run", "-c"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log(workshop, "ours-daemon")?)
            .spawn()?;
        let mut daemon = Daemon { child, spool, sockets, patience: workshop.patience() };
        let deadline = Instant::now() + Duration::from_secs(60);
        let up = |s: &Value| {
            s["workers"].as_array().is_some_and(|w| w.iter().all(|w| w["state"] == "idle"))
        };
        while !daemon.asker().and_then(|mut asker| asker.status()).is_ok_and(|s| up(&s)) {
            if daemon.child.try_wait()?.is_some() || Instant::now() > deadline {
                return Err("the daemon does not come up: see logs/ours-daemon.log".into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(daemon)
    }

    /// A connection to its status socket.
    pub(crate) fn asker(&self) -> Result<Asker> {
        let stream = UnixStream::connect(self.status_socket())?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Asker { stream: BufReader::new(stream), line: String::new() })
    }

    pub(crate) fn status_socket(&self) -> PathBuf {
        self.sockets.join("status")
    }

    pub(crate) fn spool(&self) -> &Path {
        &self.spool
    }

    /// A delivery may take so long.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Feeds one delta through a daemon that waits for it: from the rename until it is in `done/`.
    pub(crate) fn feed(
        workshop: &Workshop,
        cluster: &Cluster<'_>,
        collection: &str,
        data: &Data,
    ) -> Result<Run> {
        let daemon = Daemon::start(workshop, cluster, collection)?;
        let aside = daemon.spool.join(".delta");
        fs::copy(&data.path, &aside)?;
        let pid = daemon.child.id();
        let processes = tree(pid);
        let mut peaks = HashMap::new();
        let (solr, cpu) = (cluster.cpu(), cpu_of(&processes));
        let start = Instant::now();
        fs::rename(&aside, daemon.spool.join("incoming/delta.jsonl"))?;
        let done = daemon.spool.join("done/delta.jsonl");
        let mut failed = None;
        let mut looked = start;
        while !done.exists() && failed.is_none() {
            thread::sleep(Duration::from_millis(2));
            if looked.elapsed() > Duration::from_millis(50) {
                look(pid, &mut peaks);
                looked = Instant::now();
            }
            if start.elapsed() > daemon.patience || daemon.spool.join("failed/delta.jsonl").exists()
            {
                failed = Some("the delta is not in done/".to_owned());
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        let server_cpu_s = cluster.cpu() - solr;
        let cpu_s = cpu_of(&processes) - cpu;
        look(pid, &mut peaks);
        if failed.is_none() && tree(pid).len() != processes.len() {
            failed = Some("a worker died meanwhile".into());
        }
        let peak_mib = peaks.values().sum::<f64>() / 1024.0;
        Ok(Run { seconds, cpu_s, server_cpu_s, peak_mib, failed })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        end(&mut self.child);
        let _ = fs::remove_dir_all(&self.sockets);
    }
}

/// Asks for the status, again and again on one connection.
pub(crate) struct Asker {
    stream: BufReader<UnixStream>,
    line: String,
}

impl Asker {
    pub(crate) fn status(&mut self) -> Result<Value> {
        self.stream.get_mut().write_all(b"status\n")?;
        self.line.clear();
        self.stream.read_line(&mut self.line)?;
        let mut answer: Value = serde_json::from_str(&self.line)?;
        Ok(answer["status"].take())
    }

    /// One of `totals`.
    pub(crate) fn total(&mut self, name: &str) -> Result<u64> {
        let status = self.status()?;
        status["totals"][name].as_u64().ok_or_else(|| format!("no totals.{name}: {status}").into())
    }
}
