//! A place for one daemon: a folder with its configuration, spool, sockets and log in it, and the
//! programs run there.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use super::{Disk, Faults, PATIENCE, skipped};

pub const DAEMON: &str = env!("CARGO_BIN_EXE_solr-updater");

/// A folder of its own, removed at the end. Its path is short: a socket's has at most 107 bytes.
pub struct Site {
    dir: TempDir,
    urls: Vec<String>,
    collection: String,
    environment: Vec<(&'static str, PathBuf)>,
    /// Without root's rights to other people's files.
    plain: bool,
}

/// What a program did.
#[derive(Debug)]
pub struct Run {
    /// `None`: a signal ended it, or it had to be killed.
    pub code: Option<i32>,
    pub pid: u32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Fails unless it ended so.
    #[track_caller]
    pub fn code(self, code: i32) -> Run {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Fails unless one of its outputs has these words.
    #[track_caller]
    pub fn says(self, words: &str) -> Run {
        assert!(self.stdout.contains(words) || self.stderr.contains(words), "{words:?}: {self:#?}");
        self
    }
}

impl Site {
    /// A place whose daemon delivers into collection `c` of the Solr at `url`.
    pub fn new(url: impl Into<String>) -> Site {
        Site::for_collection(vec![url.into()], "c")
    }

    pub fn for_collection(urls: Vec<String>, collection: &str) -> Site {
        let dir = tempfile::Builder::new().prefix("su-").tempdir_in("/tmp").unwrap();
        let (environment, plain) = (Vec::new(), false);
        let site = Site { dir, urls, collection: collection.into(), environment, plain };
        std::fs::create_dir_all(site.spool("incoming")).unwrap();
        std::fs::create_dir(site.path("tmp")).unwrap();
        site.configure("");
        site
    }

    /// Gives it an empty spool on a small disk with these options (tmpfs(5)). `None`: this user may
    /// not mount anything here, and that is told.
    pub fn spool_on_disk(&self, options: &str) -> Option<Disk> {
        match Disk::mount(&self.spool(""), options) {
            Ok(disk) => {
                std::fs::create_dir(self.spool("incoming")).unwrap();
                Some(disk)
            }
            Err(why) => {
                skipped(&why);
                None
            }
        }
    }

    /// The same place; the file system fails its daemon as these say.
    pub fn with_faults(mut self) -> (Site, Faults) {
        let faults = Faults::none(self.dir.path());
        self.environment.extend(faults.environment());
        (self, faults)
    }

    /// The same place; its daemon may do with files what their modes say, though root runs the test.
    pub fn for_a_plain_user(mut self) -> Site {
        self.plain = nix::unistd::geteuid().is_root();
        self
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("u.toml")
    }

    pub fn status_socket(&self) -> PathBuf {
        self.path("status.sock")
    }

    pub fn control_socket(&self) -> PathBuf {
        self.path("control.sock")
    }

    pub fn log(&self) -> PathBuf {
        self.path("log")
    }

    /// Writes the configuration: two workers and short times, and over that what `changes` says,
    /// in TOML with dotted keys (`workers.count = 3`).
    pub fn configure(&self, changes: &str) {
        let base = format!(
            r#"
            spool.dir = "{spool}"
            solr.urls = {urls:?}
            solr.collection = "{collection}"
            workers.count = 2
            workers.stop_timeout = "10s"
            retry = {{ first = "20ms", most = "300ms" }}
            monitor.status.socket = "{status}"
            monitor.control = {{ socket = "{control}", group = "" }}
            "#,
            spool = self.path("spool").display(),
            urls = self.urls,
            collection = self.collection,
            status = self.status_socket().display(),
            control = self.control_socket().display(),
        );
        let mut config: toml::Table = base.parse().unwrap();
        merge(&mut config, changes.parse().expect("the changes are TOML"));
        self.write_config(&toml::to_string(&config).unwrap());
    }

    /// Writes the configuration word for word.
    pub fn write_config(&self, text: &str) {
        std::fs::write(self.config(), text).unwrap();
    }

    // --- the spool ------------------------------------------------------------------------------

    /// A path in the spool.
    pub fn spool(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path("spool").join(name)
    }

    /// Hands a delta over as a producer should: written under a hidden name, then renamed.
    pub fn hand_over(&self, name: &str, text: impl AsRef<[u8]>) {
        self.try_hand_over(name, text).unwrap();
    }

    /// The same; an error, and nothing is handed over: the disk may be full.
    pub fn try_hand_over(&self, name: &str, text: impl AsRef<[u8]>) -> std::io::Result<()> {
        let hidden = self.spool("incoming").join(format!(".{name}"));
        let written = std::fs::write(&hidden, text);
        let moved =
            written.and_then(|()| std::fs::rename(&hidden, self.spool("incoming").join(name)));
        moved.inspect_err(|_| drop(std::fs::remove_file(hidden)))
    }

    /// Begins a delta under its own name, as a producer should not.
    pub fn hand_over_in_place(&self, name: &str) -> File {
        File::create(self.spool("incoming").join(name)).unwrap()
    }

    /// What lies in a folder of the spool, sorted, hidden names too.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.spool(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Whether a delta lies in `done/`, so is settled.
    pub fn is_done(&self, name: &str) -> bool {
        self.spool("done").join(name).exists()
    }

    /// A delta's rejects.
    pub fn rejects(&self, delta: &str) -> Vec<Value> {
        rejects(&self.spool("rejected").join(format!("{delta}.rejected.jsonl")))
    }

    // --- programs -------------------------------------------------------------------------------

    /// `solr-updater` with this place's configuration, not started yet. Its environment names a
    /// proxy that nobody is: only the configuration may say where Solr is.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(if self.plain { "setpriv" } else { DAEMON });
        if self.plain {
            command.args(["--inh-caps=-all", "--bounding-set=-all", DAEMON]); // of util-linux; it execs
        }
        command.arg("-c").arg(self.config()).args(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("TMPDIR", self.path("tmp")).env_remove("NOTIFY_SOCKET");
        command.envs(
            ["http_proxy", "HTTP_PROXY", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:9")),
        );
        command.current_dir(self.dir.path());
        command
    }

    /// Runs `solr-updater` to its end.
    pub fn run(&self, arguments: &[&str]) -> Run {
        finish(&mut self.command(arguments), b"")
    }

    pub fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Run {
        finish(&mut self.command(arguments), input)
    }

    /// Runs the plugin on this place's socket.
    pub fn check_updater(&self, arguments: &[&str]) -> Run {
        let plugin = Path::new(DAEMON).with_file_name("check_updater");
        assert!(plugin.exists(), "{} is missing: cargo build --workspace first", plugin.display());
        finish(Command::new(plugin).arg("-s").arg(self.status_socket()).args(arguments), b"")
    }
}

/// The objects of a reject file; none where there is no file.
pub fn rejects(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a reject is JSON")).collect()
}

/// Runs a command to its end; one that does not come to it is killed.
pub fn finish(command: &mut Command, input: &[u8]) -> Run {
    let file = || tempfile::tempfile().unwrap(); // a pipe could fill up
    let (mut stdin, mut stdout, mut stderr) = (file(), file(), file());
    stdin.write_all(input).unwrap();
    stdin.rewind().unwrap();
    let stdio = |file: &File| Stdio::from(file.try_clone().unwrap());
    command.stdin(stdin).stdout(stdio(&stdout)).stderr(stdio(&stderr));
    let mut child = command.spawn().expect("it can be run");
    let by = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > by => {
                let _ = child.kill();
                break child.wait().unwrap();
            }
            None => std::thread::sleep(std::time::Duration::from_millis(2)),
        }
    };
    let text = |file: &mut File| {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).expect("our programs write UTF-8")
    };
    Run {
        code: status.code(),
        pid: child.id(),
        stdout: text(&mut stdout),
        stderr: text(&mut stderr),
    }
}

fn merge(into: &mut toml::Table, changes: toml::Table) {
    for (key, value) in changes {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(table)), toml::Value::Table(changes)) => merge(table, changes),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}
