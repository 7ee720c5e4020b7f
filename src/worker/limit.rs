//! `max_rejects`: when a delta has so many rejects that it is the delta, or the schema, that is
//! wrong, it stops; one mistake must not become a hundred million rejects.

use config::{Config, MaxRejects};
use scoreboard::{Board, Counts};

/// Why the delta of this claim must stop, if it must. It is judged by what all its shares have
/// counted, as the scoreboard has it.
pub(crate) fn exceeded(config: &Config, board: &Board, claim: u64) -> Option<String> {
    let sum = counted(board, claim);
    let most = config.spool.max_rejects;
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
fn counted(board: &Board, claim: u64) -> Counts {
    let mut shares: Vec<(u64, Counts)> = board
        .worker_cells()
        .map(|cell| cell.tally())
        .filter(|tally| tally.claim == claim)
        .map(|tally| (tally.share, tally.counts))
        .collect();
    shares.sort_by_key(|(share, counts)| (*share, counts.lines));
    let mut sum = Counts::default();
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
    use scoreboard::Tally;

    fn config(max_rejects: MaxRejects) -> Config {
        let url = "http://localhost:8983/solr".to_string();
        let mut config = Config::for_feed(vec![url], "c".into()).unwrap();
        config.spool.max_rejects = max_rejects;
        config
    }

    #[test]
    fn a_delta_is_judged_by_all_its_shares_each_counted_once() {
        let board = Board::new().unwrap();
        board.parent().set_slots_most(2);
        let publish = |generation, slot, claim, share, lines, rejected| {
            let counts = Counts { lines, rejected, ..Counts::default() };
            let tally = Tally { claim, share, counts, ..Tally::default() };
            board.worker(generation, slot).publish(&tally);
        };
        publish(1, 0, 7, 0, 2000, 200);
        publish(1, 1, 7, 1, 3678, 1034);
        publish(2, 0, 7, 0, 1000, 150); // the same share, less far
        publish(2, 1, 6, 1, 9000, 9000); // another delta
        let tenth = config(MaxRejects::Percent(10.0));
        assert_eq!(
            exceeded(&tenth, &board, 7).unwrap(),
            "1,234 of 5,678 lines rejected, more than max_rejects = \"10%\""
        );
        assert_eq!(exceeded(&config(MaxRejects::Percent(25.0)), &board, 7), None);
        assert_eq!(exceeded(&config(MaxRejects::Lines(1234)), &board, 7), None);
        assert!(exceeded(&config(MaxRejects::Lines(1233)), &board, 7).unwrap().ends_with("= 1233"));
    }

    #[test]
    fn large_numbers_are_grouped() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(n), text);
        }
    }
}
