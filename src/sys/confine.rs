//! What a child gives up for good when it has been forked: new rights by a program that it would
//! start (`no_new_privs`), and with Landlock, where the kernel has it, all files but those that it
//! names, every TCP port to listen on, signals and abstract sockets that lead out (landlock(7)).
//!
//! A rule holds a file or folder that is there now, and all that ever comes below it; not one that
//! is put in its place later. It is kept for whatever the process starts, so a process that starts
//! programs of others must not confine itself. Of several threads it binds the one that calls: so
//! it is done before any is started. The parent never does it, and each generation begins anew.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};
use nix::errno::Errno;
use std::io;
use std::path::{Path, PathBuf};

/// All that a process still reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Files, and folders with all below them, that are read. What is not there is left out.
    pub read: Vec<PathBuf>,
    /// Folders below which files are read, made, written and removed.
    pub write: Vec<PathBuf>,
    /// Whether it makes TCP connections: to whom, no rule can tell.
    pub connects: bool,
}

/// Where a log file lies, or will: its folder, since a rotated one is opened anew by its name, which is another file.
pub fn log_folder(file: Option<&Path>) -> Option<PathBuf> {
    match file?.parent()? {
        here if here.as_os_str().is_empty() => Path::new(".").canonicalize().ok(),
        folder => folder.canonicalize().ok(),
    }
}

const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
const WRITE: BitFlags<AccessFs> =
    make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | MakeReg | RemoveFile | Truncate});

/// Which Landlock this kernel has, by the number of its interface; an error: it has none, and why.
pub fn landlock() -> Result<u64, &'static str> {
    const VERSION: libc::c_ulong = 1; // LANDLOCK_CREATE_RULESET_VERSION
    let none: *const libc::c_void = std::ptr::null();
    // SAFETY: with this flag nothing is read and nothing is made, a number comes back.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0usize, VERSION) };
    match Errno::result(version) {
        Ok(version) => Ok(version as u64),
        Err(Errno::ENOSYS) => Err("this kernel has no Landlock"),
        Err(Errno::EOPNOTSUPP) => Err("Landlock is not switched on: add it to lsm= for the kernel"),
        Err(Errno::EPERM) => Err("a filter of system calls forbids landlock_create_ruleset"),
        Err(_) => Err("Landlock does not answer"),
    }
}

/// Gives up all else, for good, as far as this kernel can. To be called while there is one thread.
pub fn confine(reach: &Reach) -> io::Result<()> {
    debug_assert_eq!(crate::threads().ok(), Some(1));
    nix::sys::prctl::set_no_new_privs()?;
    if landlock().is_err() {
        return Ok(()); // the parent tells that, once
    }
    #[cfg(coverage_of_children)]
    let reach = &crate::coverage::reached(reach);
    let rules = ruleset(reach).and_then(|rules| rules.restrict_self());
    rules.map(drop).map_err(io::Error::other)
}

/// (In an older kernel what it does not know is left out: truncation before 6.2, ports before 6.7,
/// signals before 6.12. What is newer than 6.12 is not asked for until it has been tried here.)
fn ruleset(reach: &Reach) -> Result<RulesetCreated, RulesetError> {
    let ports = match reach.connects {
        true => AccessNet::BindTcp.into(),
        false => AccessNet::from_all(ABI::V4),
    };
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(ports)?
        .scope(Scope::from_all(ABI::V6))?
        .create()?;
    let read = reach.read.iter().filter_map(|path| rule(path, READ));
    let write = reach.write.iter().filter_map(|path| rule(path, WRITE));
    read.chain(write).try_fold(rules, |rules, rule| rules.add_rule(rule))
}

/// A rule for what is there under this name; a link stands for what it leads to.
fn rule(path: &Path, access: BitFlags<AccessFs>) -> Option<PathBeneath<PathFd>> {
    let access = match path.is_dir() {
        true => access,
        false => access & AccessFs::from_file(ABI::V5),
    };
    Some(PathBeneath::new(PathFd::new(path).ok()?, access))
}
