//! What a worker still reaches when it has read its secrets: the spool, and what the C library
//! reads to find the address of a name. All else it gives up before its first delta (sys/confine.rs).
//!
//! In the spool it may touch any folder: one that a person has made anew must not be closed to it,
//! and a rule for `active/` alone would hold the folder that was there. It still moves nothing from
//! one folder to another, makes nothing but ordinary files, and starts no program.

use std::path::{Path, PathBuf};

use spool::Spool;
use sys::confine::{Reach, log_folder};

/// Whole folders: the files in them are replaced while we run, and a rule would hold the old ones.
/// What is in them for others' eyes only their modes keep from us, as ever.
const OF_THE_SYSTEM: &[&str] = &[
    // resolv.conf, hosts, nsswitch.conf, gai.conf, ld.so.cache, localtime
    "/etc",
    // what nsswitch.conf names is a library, loaded when the first name is looked up
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    // `localtime` and `strflocaltime` of a program in jq
    "/usr/share/zoneinfo",
    // where /etc/resolv.conf may lead to
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/connman",
];

/// Files that may be links to somewhere else: their folder there.
const MAY_BE_ELSEWHERE: &[&str] =
    &["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/localtime"];

/// All that it reaches: the log file's folder too, if there is one.
pub(crate) fn reach(spool: &Spool, log: Option<&Path>) -> Reach {
    let elsewhere = MAY_BE_ELSEWHERE.iter().filter_map(|file| folder_of(Path::new(file)));
    let read = OF_THE_SYSTEM.iter().map(PathBuf::from).chain(elsewhere).collect();
    // Of its folders any may be a link to another one.
    let write = [spool.dir().to_owned()].into_iter().chain(spool.folders());
    let write = write.chain(log_folder(log)).collect();
    Reach { read, write, connects: true }
}

/// Where a file really lies.
fn folder_of(file: &Path) -> Option<PathBuf> {
    Some(file.canonicalize().ok()?.parent()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_writes_in_the_spool_alone_and_reads_what_leads_to_solr() {
        let spool = Spool::at(Path::new("/var/spool/solr-updater"));
        let reach = reach(&spool, None);
        assert!(reach.write.iter().all(|folder| folder.starts_with(spool.dir())), "{reach:?}");
        assert_eq!(reach.write.len(), 6, "the spool and its five folders, which may be links");
        for file in MAY_BE_ELSEWHERE {
            let is_there = |real: &Path| reach.read.iter().any(|folder| real.starts_with(folder));
            assert!(Path::new(file).canonicalize().map_or(true, |real| is_there(&real)), "{file}");
        }
        let outside = ["/", "/var", "/home", "/root", "/proc", "/dev", "/tmp", "/run", "/usr"];
        assert!(!reach.read.iter().any(|read| outside.iter().any(|o| read == Path::new(o))));
        assert!(reach.connects);
        let log = super::reach(&spool, Some(Path::new("/var/log/x.log"))).write;
        assert_eq!(log[6..], [Path::new("/var/log").canonicalize().unwrap()]);
    }
}
