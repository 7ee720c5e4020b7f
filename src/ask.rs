//! Commands that ask a running daemon, over its sockets: one line there, one line back.

use serde::Deserialize;
use serde_json::value::RawValue;
use status::{Answer, Document};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::Trouble;
use crate::cli::Cli;

/// An answer is no longer than this, in bytes.
const LONGEST: u64 = 16 * 1024 * 1024;
/// Questions are answered at once, or the daemon is not well.
const QUESTION: Duration = Duration::from_secs(10);
/// A new generation has 30 s to be ready, and the last one may still be leaving.
const RELOAD: Duration = Duration::from_secs(120);

pub(crate) fn status(cli: &Cli, json: bool) -> Result<ExitCode, Trouble> {
    let mut daemon = Daemon::at(socket(cli, Which::Status), QUESTION)?;
    let line = daemon.ask("status")?;
    match Answer::parse(&line) {
        Ok(Answer::Status(_)) if json => {
            // As the daemon said it, members that are not known here included.
            #[derive(Deserialize)]
            struct WithStatus<'a> {
                #[serde(borrow)]
                status: &'a RawValue,
            }
            let answer: WithStatus =
                serde_json::from_slice(&line).map_err(|e| daemon.unreadable(e))?;
            print(&format!("{}\n", answer.status))
        }
        Ok(Answer::Status(document)) => print(&status::page(&document)),
        Ok(Answer::Refused(failure)) => Err(Trouble::new(1, failure.message)),
        Ok(Answer::Health(_) | Answer::Done) => Err(daemon.unreadable("not a status")),
        Err(e) => Err(daemon.unreadable(e)),
    }
}

pub(crate) fn reload(cli: &Cli) -> Result<ExitCode, Trouble> {
    Daemon::at(socket(cli, Which::Control), RELOAD)?.command("reload")?;
    print("reloaded\n")
}

pub(crate) fn pause(cli: &Cli) -> Result<ExitCode, Trouble> {
    Daemon::at(socket(cli, Which::Control), RELOAD)?.command("pause")?;
    print("paused: nothing is sent until `solr-updater resume`\n")
}

pub(crate) fn resume(cli: &Cli) -> Result<ExitCode, Trouble> {
    Daemon::at(socket(cli, Which::Control), RELOAD)?.command("resume")?;
    print("resumed\n")
}

pub(crate) fn stop(cli: &Cli) -> Result<ExitCode, Trouble> {
    let mut daemon = Daemon::at(socket(cli, Which::Control), RELOAD)?;
    let line = daemon.ask("status")?;
    let parent = match Answer::parse(&line) {
        Ok(Answer::Status(document)) => document.parent.pid as i32,
        Ok(_) => return Err(daemon.unreadable("not a status")),
        Err(e) => return Err(daemon.unreadable(e)),
    };
    let born = sys::files::process_start(parent);
    daemon.command("stop")?;
    // The connection ends when the monitor does, and a moment later the parent.
    let _ = daemon.stream.get_ref().set_read_timeout(None);
    let mut rest = Vec::new();
    let _ = daemon.stream.read_to_end(&mut rest);
    while born.is_some() && sys::files::process_start(parent) == born {
        let _ = sys::poll(&[], Some(Duration::from_millis(5)));
    }
    print("stopped\n")
}

pub(crate) fn print(text: &str) -> Result<ExitCode, Trouble> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(e) => ended(&e),
    }
}

/// What it means that nothing more can be printed.
pub(crate) fn ended(e: &io::Error) -> Result<ExitCode, Trouble> {
    match e.kind() {
        ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS), // `| head` has seen enough
        _ => Err(Trouble::new(1, format!("standard output: {e}"))),
    }
}

/// The daemon that commands go to; `None`: none runs, and the command line may do it itself. With
/// `--socket` it is that daemon or nobody.
pub(crate) fn daemon(cli: &Cli) -> Result<Option<Daemon>, Trouble> {
    let path = socket(cli, Which::Control);
    match UnixStream::connect(&path) {
        Err(e) if cli.socket.is_none() && is_nobody(&e) => Ok(None),
        stream => Daemon::on(path, stream, RELOAD).map(Some),
    }
}

/// Where the daemon answers everybody.
pub(crate) fn status_socket(cli: &Cli) -> PathBuf {
    socket(cli, Which::Status)
}

enum Which {
    Status,
    Control,
}

/// `--socket`, else the configuration's, else the default: a configuration that cannot be read
/// does not keep anybody from asking a daemon that runs.
fn socket(cli: &Cli, which: Which) -> PathBuf {
    if let Some(path) = &cli.socket {
        return path.clone();
    }
    match (config::load(cli.config()), which) {
        (Ok(config), Which::Status) => config.monitor.status.path,
        (Ok(config), Which::Control) => config.monitor.control.path,
        (Err(mistakes), which) => {
            if cli.names_config() {
                eprintln!("{mistakes}\nsolr-updater: asking at the default socket");
            }
            match which {
                Which::Status => config::DEFAULT_STATUS_SOCKET.into(),
                Which::Control => config::DEFAULT_CONTROL_SOCKET.into(),
            }
        }
    }
}

/// A connection to a daemon's socket.
pub(crate) struct Daemon {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Daemon {
    pub(crate) fn at(path: PathBuf, patience: Duration) -> Result<Daemon, Trouble> {
        let stream = UnixStream::connect(&path);
        Daemon::on(path, stream, patience)
    }

    fn on(
        path: PathBuf,
        stream: io::Result<UnixStream>,
        patience: Duration,
    ) -> Result<Daemon, Trouble> {
        let stream = stream.map_err(|e| nobody(&path, &e))?;
        let limits =
            [stream.set_read_timeout(Some(patience)), stream.set_write_timeout(Some(patience))];
        match limits.into_iter().find_map(Result::err) {
            Some(e) => Err(nobody(&path, &e)),
            None => Ok(Daemon { path, stream: BufReader::new(stream) }),
        }
    }

    /// One line there, one line back.
    pub(crate) fn ask(&mut self, words: &str) -> Result<Vec<u8>, Trouble> {
        let mut line = Vec::new();
        self.stream
            .get_mut()
            .write_all(format!("{words}\n").as_bytes())
            .and_then(|()| (&mut self.stream).take(LONGEST).read_until(b'\n', &mut line))
            .map_err(|e| match e.kind() {
                ErrorKind::WouldBlock => {
                    let message = "the daemon does not answer: is it stopped, or its monitor?";
                    Trouble::new(1, format!("{}: {message}", self.path.display()))
                }
                _ => nobody(&self.path, &e),
            })?;
        match line.ends_with(b"\n") {
            true => Ok(line),
            false => Err(self.unreadable("it ends in the middle")),
        }
    }

    /// What it says of itself.
    pub(crate) fn document(&mut self) -> Result<Document, Trouble> {
        let line = self.ask("status")?;
        match Answer::parse(&line) {
            Ok(Answer::Status(document)) => Ok(*document),
            Ok(Answer::Refused(failure)) => Err(Trouble::new(1, failure.message)),
            Ok(Answer::Health(_) | Answer::Done) => Err(self.unreadable("not a status")),
            Err(e) => Err(self.unreadable(e)),
        }
    }

    fn command(&mut self, words: &str) -> Result<(), Trouble> {
        let line = self.ask(words)?;
        match Answer::parse(&line) {
            Ok(Answer::Done) => Ok(()),
            Ok(Answer::Refused(failure)) => Err(Trouble::new(1, failure.message)),
            Ok(Answer::Status(_) | Answer::Health(_)) => {
                Err(self.unreadable("not an answer to it"))
            }
            Err(e) => Err(self.unreadable(e)),
        }
    }

    pub(crate) fn unreadable(&self, why: impl std::fmt::Display) -> Trouble {
        Trouble::new(1, format!("{}: the answer cannot be read: {why}", self.path.display()))
    }
}

/// Whether nobody listens there.
fn is_nobody(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

fn nobody(path: &Path, e: &io::Error) -> Trouble {
    let remedy = match e.kind() {
        _ if is_nobody(e) => "no daemon runs there: start it, or name its socket with --socket",
        ErrorKind::PermissionDenied => "you may not: ask as a user who may use this socket",
        _ => "the daemon cannot be asked",
    };
    Trouble::new(1, format!("{}: {e}: {remedy}", path.display()))
}
