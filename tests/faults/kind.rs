//! What may go wrong on purpose. A kind's name is what `ONLY=` takes, and the table prints; what
//! stands before the dash says which of the campaign's hands does it.

use std::time::Duration;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[rustfmt::skip]
pub enum Kind {
    WorkerKill, WorkerTerm, WorkerAbort, WorkerStop, WorkerHang,
    MonitorKill, MonitorTerm, MonitorAbort, MonitorStop,
    ParentKill, ParentTerm, ParentAbort, ParentStop,
    ReloadGood, ReloadBad,
    SolrKill, SolrStop, SolrRestart, SolrBoth,
    ZookeeperKill, ZookeeperStop,
    DiskFull,
    NetRefuse, NetCutBefore, NetCutWithin, NetCutAfter, NetDelay, NetStall,
    Net429, Net500, Net503, NetLie, NetHalf, NetGarbage, NetLate,
}

use Kind::*;

/// Each kind, its name, and how often it is chosen among those of the same hand.
const ALL: &[(Kind, &str, u32)] = &[
    (WorkerKill, "worker-kill", 30),  // SIGKILL
    (WorkerTerm, "worker-term", 8),   // SIGTERM
    (WorkerAbort, "worker-abort", 5), // SIGABRT
    (WorkerStop, "worker-stop", 6),   // SIGSTOP, some seconds, SIGCONT
    (WorkerHang, "worker-hang", 1),   // SIGSTOP, until the daemon has noticed
    (MonitorKill, "monitor-kill", 5),
    (MonitorTerm, "monitor-term", 2),
    (MonitorAbort, "monitor-abort", 2),
    (MonitorStop, "monitor-stop", 2),
    (ParentKill, "parent-kill", 12), // and it is started again, as systemd would
    (ParentTerm, "parent-term", 4),
    (ParentAbort, "parent-abort", 3),
    (ParentStop, "parent-stop", 4),
    (ReloadGood, "reload-good", 6), // another number of workers, other batches
    (ReloadBad, "reload-bad", 4),   // a mistake in the file, or a generation that cannot start
    (SolrKill, "solr-kill", 6),     // and it is started again
    (SolrStop, "solr-stop", 4),
    (SolrRestart, "solr-restart", 2), // SIGTERM
    (SolrBoth, "solr-both", 1),       // SIGKILL of both nodes
    (ZookeeperKill, "zookeeper-kill", 2),
    (ZookeeperStop, "zookeeper-stop", 1),
    (DiskFull, "disk-full", 1),          // the spool's
    (NetRefuse, "net-refuse", 2),        // no connection is taken
    (NetCutBefore, "net-cut-before", 2), // cut before Solr has the request
    (NetCutWithin, "net-cut-within", 3), // Solr gets half of the request
    (NetCutAfter, "net-cut-after", 4),   // Solr has done it, the answer is lost
    (NetDelay, "net-delay", 2),
    (NetStall, "net-stall", 1), // Solr has done it, no answer ever comes
    (Net429, "net-429", 1),
    (Net500, "net-500", 2),
    (Net503, "net-503", 2),
    (NetLie, "net-lie", 2),         // Solr has done it, the answer is an error
    (NetHalf, "net-half", 2),       // half of the answer
    (NetGarbage, "net-garbage", 3), // anything but the answer
    // Only if it is asked for: the request is held back for longer than the daemon waits, and then
    // it reaches Solr. No client can fence that; the README says which window remains.
    (NetLate, "net-late", 0),
];

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(kind, ..)| *kind == self).expect("all stand there").1
    }

    /// Its name, up to the dash.
    pub fn hand(self) -> &'static str {
        self.name().split('-').next().unwrap_or_default()
    }

    /// Whether a process of ours is ended by it.
    pub fn kills_ours(self) -> bool {
        matches!(self.hand(), "worker" | "monitor" | "parent")
            && !matches!(self, WorkerStop | WorkerHang | MonitorStop | ParentStop)
    }

    /// Whether a process of Solr's or ZooKeeper is ended by it.
    pub fn kills_theirs(self) -> bool {
        matches!(self, SolrKill | SolrRestart | SolrBoth | ZookeeperKill)
    }

    /// The kinds that these words mean, names or beginnings of names; all, where there are none.
    pub fn meant(words: &[String]) -> Result<Vec<Kind>, String> {
        let means = |word: &str, name: &str| {
            name == word || name.strip_prefix(word).is_some_and(|rest| rest.starts_with('-'))
        };
        let known = |word: &&String| ALL.iter().any(|(_, name, _)| means(word, name));
        if let Some(word) = words.iter().find(|word| !known(word)) {
            let names: Vec<&str> = ALL.iter().map(|(_, name, _)| *name).collect();
            return Err(format!("no fault is called {word:?}; there are {}", names.join(", ")));
        }
        let chosen = |(kind, name, weight): &(Kind, &str, u32)| {
            let named = words.iter().any(|word| means(word, name));
            (named || words.is_empty() && *weight > 0).then_some(*kind)
        };
        Ok(ALL.iter().filter_map(chosen).collect())
    }

    /// One of these, by their weights.
    pub fn choose(kinds: &[Kind], rng: &mut fastrand::Rng) -> Option<Kind> {
        let weight = |kind: &Kind| {
            ALL.iter().find(|(other, ..)| other == kind).map_or(0, |(.., weight)| (*weight).max(1))
        };
        let all: u32 = kinds.iter().map(weight).sum();
        let mut at = if all > 0 { rng.u32(..all) } else { return None };
        for kind in kinds {
            match at.checked_sub(weight(kind)) {
                Some(rest) => at = rest,
                None => return Some(*kind),
            }
        }
        None
    }
}

/// A number of seconds between these.
pub fn seconds(rng: &mut fastrand::Rng, from: f64, to: f64) -> Duration {
    Duration::from_secs_f64(from + rng.f64() * (to - from))
}

/// Random numbers of their own for each purpose: the same for the same seed.
pub fn random(seed: u64, purpose: &str, round: u64) -> fastrand::Rng {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (seed, purpose, round).hash(&mut hasher);
    fastrand::Rng::with_seed(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_word_means_a_kind_or_all_of_a_hand() {
        assert_eq!(Kind::meant(&words(&["worker-kill"])), Ok(vec![WorkerKill]));
        assert_eq!(Kind::meant(&words(&["reload"])), Ok(vec![ReloadGood, ReloadBad]));
        assert_eq!(Kind::meant(&words(&["net-late"])), Ok(vec![NetLate]));
        assert!(!Kind::meant(&[]).unwrap().contains(&NetLate), "it must be asked for");
        assert!(Kind::meant(&words(&["work"])).unwrap_err().contains("worker-kill"));
    }

    #[test]
    fn each_kind_stands_in_the_list_and_the_same_seed_chooses_the_same() {
        let all = Kind::meant(&[]).unwrap();
        let choices = |seed| {
            let mut rng = random(seed, "test", 1);
            (0..1000).map(|_| Kind::choose(&all, &mut rng).unwrap()).collect::<Vec<Kind>>()
        };
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
        assert!(all.iter().all(|kind| choices(7).contains(kind)), "none is never chosen");
        assert_eq!(Kind::choose(&[], &mut random(1, "", 0)), None);
    }
}
