//! Where everything is: the programs, the data, the peers with what they need; and the machine.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::Result;
use crate::options::Options;

/// The only one that the venv gets, so that every run has the same.
const PYSOLR: &str = "pysolr==3.11.0";

/// The benchmark's folders and programs.
pub(crate) struct Workshop {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// target/bench in it: data, logs, results.
    pub(crate) dir: PathBuf,
    /// The built programs.
    bin: PathBuf,
    pub(crate) cluster_dir: PathBuf,
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) arenas: Vec<String>,
    pub(crate) contenders: Vec<String>,
}

/// What the Java peers run with.
pub(crate) struct Java {
    pub(crate) java: PathBuf,
    pub(crate) classpath: String,
}

impl Workshop {
    pub(crate) fn new(options: &Options) -> Result<Workshop> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
        let dir = root.join("target/bench");
        fs::create_dir_all(dir.join("logs"))?;
        let exe = std::env::current_exe()?;
        let bin = exe.parent().ok_or("this program is nowhere")?.to_owned();
        let cluster_dir = options.cluster.clone().unwrap_or(dir.join("solrcloud"));
        let cluster_dir = std::path::absolute(cluster_dir)?;
        let (quick, rounds) = (options.quick, options.rounds);
        let contenders = options.contenders.clone();
        let arenas = options.arenas.clone();
        Ok(Workshop { root, dir, bin, cluster_dir, quick, rounds, arenas, contenders })
    }

    /// Where the figures go: those with all data and all contenders are not mixed with any others.
    pub(crate) fn results(&self, whole: bool) -> PathBuf {
        self.dir.join(if whole { "results.json" } else { "results-part.json" })
    }

    /// Whether tests/with-solrcloud has started this.
    pub(crate) fn is_beside_solr(&self) -> bool {
        std::env::var_os("SOLRCLOUD_DIR").is_some_and(|dir| Path::new(&dir) == self.cluster_dir)
    }

    /// A program that was built with this one.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.bin.join(name);
        match path.exists() {
            true => Ok(path),
            false => Err(format!("{}: not built: cargo build --release", path.display()).into()),
        }
    }

    /// A run may take so long; then it counts as failed.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(if self.quick { 120 } else { 600 })
    }

    /// Compiles the Java peer against the jars that the SolrCloud itself runs on.
    pub(crate) fn java(&self) -> Result<Java> {
        let script = self.root.join("tests/solrcloud/solrcloud");
        let java = PathBuf::from(output(Command::new(&script).arg("java"))?);
        let jars = output(Command::new(&script).arg("classpath"))?;
        let classes = self.dir.join("classes");
        let source = self.root.join("benches/peers/Feed.java");
        if is_older(&classes.join("Feed.class"), &source)? {
            fs::create_dir_all(&classes)?;
            let javac = java.with_file_name("javac");
            let mut command = Command::new(javac);
            command.args(["-nowarn", "-cp", &jars, "-d"]).arg(&classes).arg(&source);
            output(&mut command)?;
        }
        Ok(Java { java, classpath: format!("{}:{jars}", classes.display()) })
    }

    /// A Python that has pysolr.
    pub(crate) fn python(&self) -> Result<PathBuf> {
        let venv = self.dir.join("venv");
        let python = venv.join("bin/python");
        let has =
            |python: &Path| output(Command::new(python).args(["-c", "import pysolr"])).is_ok();
        if !has(&python) {
            println!("setting up {PYSOLR} in {}", venv.display());
            output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
            let install = ["-m", "pip", "install", "--quiet", PYSOLR];
            output(Command::new(&python).args(install))?;
        }
        Ok(python)
    }
}

fn is_older(path: &Path, than: &Path) -> Result<bool> {
    let than = than.metadata()?.modified()?;
    Ok(path.metadata().and_then(|meta| meta.modified()).map_or(true, |time| time < than))
}

/// What a program prints, if it ends well.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.stdin(Stdio::null()).output().map_err(|e| format!("{name}: {e}"))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        let said: Vec<&str> = said.lines().rev().take(5).collect();
        let said: Vec<&str> = said.into_iter().rev().collect();
        let what: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        let what: String = what.join(" ").chars().take(200).collect();
        return Err(format!("{name} {what}: {}: {}", out.status, said.join("; ")).into());
    }
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// A log for what a run says on standard error, in place of an earlier one.
pub(crate) fn log(workshop: &Workshop, name: &str) -> Result<File> {
    Ok(File::create(workshop.dir.join("logs").join(format!("{name}.log")))?)
}

/// What it is measured on. (No names: only what the figures depend on.)
pub(crate) fn machine() -> Value {
    let cores = std::thread::available_parallelism().map_or(0, |n| n.get());
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let memory = text("/proc/meminfo");
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let memory =
        memory.and_then(|kib| kib.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    let cpus = text("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    json!({
        "cores": cores, "memory_mib": memory.map(|kib| kib / 1024),
        "processor": model.map(|(_, name)| name.trim()),
    })
}

/// The load before the run; whoever runs it is told if that is much.
pub(crate) fn load_before() -> Value {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Option<f64> = load.split(' ').next().and_then(|load| load.parse().ok());
    if load.is_some_and(|load| load > 0.5) {
        println!(
            "(load {}: something else runs here, the figures will tell of it)",
            load.unwrap_or(0.0)
        );
    }
    json!(load)
}
