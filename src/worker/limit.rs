//! `max_rejects`: when a delta has so many rejects that it is the delta, or the schema, that is
//! wrong, it stops; one mistake must not become a hundred million rejects.

use config::MaxRejects;
use scoreboard::{Board, Counts};
use spool::{Checkpoint, Spool};

use crate::share::Shop;

/// Why the delta of this share must stop, if it must. It is judged by what all its shares have
/// counted, as the scoreboard has it; of those whose workers have gone on, as their checkpoints have it.
pub(crate) fn exceeded(shop: &Shop, order: &orders::Share) -> Option<String> {
    let sum = counted(&shop.board, &shop.spool, order);
    let most = shop.config.spool.max_rejects;
    most.exceeded_by(sum.rejected, sum.lines).then(|| {
        let most = match most {
            MaxRejects::Percent(share) => format!("\"{share}%\""),
            MaxRejects::Lines(lines) => lines.to_string(),
        };
        let (rejected, lines) = (grouped(sum.rejected), grouped(sum.lines));
        format!("{rejected} of {lines} lines rejected, more than max_rejects = {most}")
    })
}

/// What the shares of a delta have counted. A share may stand in two cells, after a reload or in
/// the place of a dead worker: the one that is further on counts.
fn counted(board: &Board, spool: &Spool, order: &orders::Share) -> Counts {
    let claim = order.claim;
    let mut shares: Vec<(u64, Counts)> = board
        .worker_cells()
        .map(|cell| cell.tally())
        .filter(|tally| tally.claim == claim)
        .map(|tally| (tally.share, tally.counts))
        .collect();
    shares.sort_by_key(|(share, counts)| (*share, counts.lines));
    let mut sum = Counts::default();
    for share in 0..order.of {
        if shares.iter().all(|(of, _)| *of != u64::from(share)) {
            let left = Checkpoint::counts_at(&spool.checkpoint(claim, share));
            sum = sum.plus(left.ok().flatten().unwrap_or_default()); // it may not be begun
        }
    }
    for (n, (share, counts)) in shares.iter().enumerate() {
        if shares.get(n + 1).is_none_or(|next| next.0 != *share) {
            sum = sum.plus(*counts);
        }
    }
    sum
}

/// `1,234,567`
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{config, no_log};
    use convert::Converter;
    use scoreboard::Tally;
    use spool::Identity;

    fn shop() -> (tempfile::TempDir, Shop) {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::at(dir.path());
        spool.prepare().unwrap();
        let (config, board) = (config(&["http://localhost:8983/solr"]), Board::new().unwrap());
        board.parent().set_slots_most(2);
        let (cell, log) = (board.worker(1, 0), no_log());
        (
            dir,
            Shop {
                exec: None,
                converter: Converter::new(&config).unwrap(),
                config,
                spool,
                board,
                cell,
                log,
            },
        )
    }

    #[test]
    fn a_delta_is_judged_by_all_its_shares_each_counted_once() {
        let (_dir, mut shop) = shop();
        let board = shop.board;
        let publish = |generation, slot, claim, share, lines, rejected| {
            let counts = Counts { lines, rejected, ..Counts::default() };
            let tally = Tally { claim, share, counts, ..Tally::default() };
            board.worker(generation, slot).publish(&tally);
        };
        publish(1, 0, 7, 0, 2000, 200);
        publish(1, 1, 7, 1, 3678, 1034);
        publish(2, 0, 7, 0, 1000, 150); // the same share, less far
        publish(2, 1, 6, 1, 9000, 9000); // another delta
        let mut exceeded = |most, of| {
            shop.config.spool.max_rejects = most;
            let (key, poison, kind, guarded, begin, end, version, name) = Default::default();
            let order = orders::Share {
                claim: 7,
                share: 0,
                of,
                key,
                poison,
                kind,
                guarded,
                begin,
                end,
                version,
                name,
            };
            super::exceeded(&shop, &order)
        };
        assert_eq!(
            exceeded(MaxRejects::Percent(10.0), 2).unwrap(),
            "1,234 of 5,678 lines rejected, more than max_rejects = \"10%\""
        );
        assert_eq!(exceeded(MaxRejects::Percent(25.0), 2), None);
        assert_eq!(exceeded(MaxRejects::Lines(1234), 2), None);
        assert!(exceeded(MaxRejects::Lines(1233), 2).unwrap().ends_with("= 1233"));
        // A third share is in, and its worker has gone on to another delta.
        let counts = Counts { lines: 5_000, rejected: 1, ..Counts::default() };
        let (of, path) = (Identity { claim: 7, share: 2, of: 3, inode: 1, size: 9 }, (7, 2));
        let mark = Checkpoint { counts, ..Checkpoint::default() };
        mark.save(&Spool::at(_dir.path()).checkpoint(path.0, path.1), &of).unwrap();
        assert!(exceeded(MaxRejects::Lines(1234), 3).unwrap().starts_with("1,235 of 10,678"));
    }

    #[test]
    fn large_numbers_are_grouped() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(n), text);
        }
    }
}
