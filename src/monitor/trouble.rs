//! What the health says of spool and log, where neither document nor scoreboard has the words.

use scoreboard::{Held, SpoolStep, WorkerCell};
use spool::Spool;
use std::io;

use crate::folders::Found;

/// What anybody cannot do with the spool: what it is, where, why, and what to do.
pub(crate) fn spool_trouble(
    found: &Found,
    spool: &Spool,
    parent: Option<(SpoolStep, i32)>,
    workers: &[WorkerCell],
) -> Option<String> {
    if let Some(error) = &found.error {
        return Some(format!("the spool cannot be read: {error}"));
    }
    let remedy = |errno| spool::remedy(&io::Error::from_raw_os_error(errno));
    if let Some((step, errno)) = parent {
        let (incoming, active, done) = (spool.incoming(), spool.active(), spool.done());
        let (incoming, active, done) = (incoming.display(), active.display(), done.display());
        let what = match step {
            SpoolStep::Look => format!("no delta can be found: in {incoming}"),
            SpoolStep::Claim => format!("no delta can be claimed: from {incoming} into {active}"),
            SpoolStep::Settle => format!("no delta can be settled: out of {active}"),
            SpoolStep::ClaimLate => format!(
                "what was appended to a delivered delta cannot be claimed: from {done} into {active}"
            ),
        };
        return Some(format!("{what}: {}", remedy(errno)));
    }
    let held = |(slot, cell): (usize, &WorkerCell)| Some((slot, cell.held()?));
    let is_the_spools = |(_, (held, _)): &(usize, (Held, i32))| *held != Held::Convert;
    let (slot, (held, errno)) = workers.iter().enumerate().filter_map(held).find(is_the_spools)?;
    let (what, folder) = match held {
        Held::Convert => return None,
        Held::Open => ("open its delta", spool.active()),
        Held::Read => ("read its delta", spool.active()),
        Held::Write => ("write checkpoint or rejects", spool.active()),
        Held::Intend => ("write down what is to be sent once only", spool.active()),
        Held::Merge => ("write a delta's rejects", spool.rejected()),
        Held::Finish => ("finish a delta", spool.active()),
    };
    Some(format!("worker {slot} cannot {what}: in {}: {}", folder.display(), remedy(errno)))
}

/// Why the operator's own converter does not work, where that holds a delta up.
pub(crate) fn converter_trouble(workers: &[WorkerCell]) -> Option<String> {
    let is_held = |cell: &WorkerCell| matches!(cell.held(), Some((Held::Convert, _)));
    let (slot, cell) = workers.iter().enumerate().find(|(_, cell)| is_held(cell))?;
    let why = cell.converter_error().read();
    Some(format!("the converter does not work, and its delta waits: worker {slot}: {why}"))
}

/// Lost log lines: told for a while, or one bad night would stay in the health for ever.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    seen: u64,
    /// When the last ones were lost, on the monotonic clock, in milliseconds.
    last: u64,
}

/// Ten minutes.
const TOLD: u64 = 600_000;

impl Losses {
    /// How many there are, if some were lost of late.
    pub(crate) fn look(&mut self, dropped: u64, now: u64) -> Option<u64> {
        if dropped != self.seen {
            (self.seen, self.last) = (dropped, now);
        }
        (dropped > 0 && now - self.last < TOLD).then_some(dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scoreboard::Board;

    #[test]
    fn lost_log_lines_are_told_for_a_while() {
        let mut losses = Losses::default();
        assert_eq!(losses.look(0, 1_000), None);
        assert_eq!(losses.look(3, 2_000), Some(3));
        assert_eq!(losses.look(3, 2_000 + TOLD - 1), Some(3));
        assert_eq!(losses.look(3, 2_000 + TOLD), None);
        assert_eq!(losses.look(4, 2_001 + TOLD), Some(4));
    }

    #[test]
    fn a_converter_that_does_not_work_is_told_and_is_no_trouble_with_the_spool() {
        let board = Board::new().unwrap();
        let cells = [board.worker(1, 0), board.worker(1, 1)];
        assert_eq!(converter_trouble(&cells), None);
        cells[1].converter_error().write("/bin/conv answers nothing: it hung for 30s");
        cells[1].set_held(Some((Held::Convert, -1)));
        let words = "the converter does not work, and its delta waits: worker 1: /bin/conv answers \
                     nothing: it hung for 30s";
        assert_eq!(converter_trouble(&cells), Some(words.to_owned()));
        let spool = Spool::at("/spool".as_ref());
        assert_eq!(spool_trouble(&Found::default(), &spool, None, &cells), None);
        cells[0].set_held(Some((Held::Write, 28)));
        assert!(spool_trouble(&Found::default(), &spool, None, &cells).is_some());
    }

    #[test]
    fn a_spool_that_cannot_be_used_is_told_with_folder_and_remedy() {
        let board = Board::new().unwrap();
        let cells = [board.worker(1, 0), board.worker(1, 1)];
        let spool = Spool::at("/spool".as_ref());
        let told = |parent| spool_trouble(&Found::default(), &spool, parent, &cells);
        assert_eq!(told(None), None);
        let full = "No space left on device (os error 28): make room there (df -h, df -i)";
        cells[1].set_held(Some((Held::Write, 28)));
        let words =
            format!("worker 1 cannot write checkpoint or rejects: in /spool/active: {full}");
        assert_eq!(told(None), Some(words));
        cells[0].set_held(Some((Held::Merge, 28)));
        let words = format!("worker 0 cannot write a delta's rejects: in /spool/rejected: {full}");
        assert_eq!(told(None), Some(words));
        let words =
            format!("no delta can be claimed: from /spool/incoming into /spool/active: {full}");
        assert_eq!(told(Some((SpoolStep::Claim, 28))), Some(words));
        let found = Found { error: Some("cannot read /spool/failed".into()), ..Found::default() };
        let words = "the spool cannot be read: cannot read /spool/failed".to_owned();
        assert_eq!(spool_trouble(&found, &spool, None, &cells), Some(words));
    }
}
