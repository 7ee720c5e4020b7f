//! Lines beyond the mark that are done: when a share is given up, what was confirmed out of order
//! is not sent again by whoever goes on.

/// Some lines of a share, by their number in it, from 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Beyond {
    /// First and last of each run of them, in their order.
    runs: Vec<(u64, u64)>,
}

impl Beyond {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Adds a line that comes after all there are.
    pub fn push(&mut self, line: u64) {
        match self.runs.last_mut() {
            Some((_, last)) if *last + 1 == line => *last = line,
            Some((_, last)) if *last >= line => {}
            _ => self.runs.push((line, line)),
        }
    }

    /// Those before this one are of no use any more.
    pub fn cut(&mut self, line: u64) {
        let gone = self.runs.partition_point(|(_, last)| *last < line);
        self.runs.drain(..gone);
    }

    /// All of them, in their order.
    pub fn lines(&self) -> impl Iterator<Item = u64> + use<'_> {
        self.runs.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// Whether this line is among them.
    pub fn contains(&self, line: u64) -> bool {
        let n = self.runs.partition_point(|(first, _)| *first <= line);
        n.checked_sub(1).is_some_and(|n| line <= self.runs[n].1)
    }

    /// `3-7,9`
    pub(crate) fn to_text(&self) -> String {
        let run = |(first, last): &(u64, u64)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        };
        self.runs.iter().map(run).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn of_text(text: &str) -> Option<Beyond> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for run in text.split(',').filter(|run| !run.is_empty()) {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            let after = runs.last().is_none_or(|(_, before)| *before < first);
            if !after || first > last {
                return None;
            }
            runs.push((first, last));
        }
        Some(Beyond { runs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beyond_of(text: &str) -> Beyond {
        Beyond::of_text(text).unwrap()
    }

    #[test]
    fn lines_are_found_again() {
        let lines = [3, 4, 5, 9, 11, 12, u64::MAX - 1];
        let mut beyond = Beyond::default();
        lines.iter().for_each(|line| beyond.push(*line));
        beyond.push(4); // it is there
        assert!(beyond.lines().eq(lines));
        assert_eq!(beyond.to_text(), format!("3-5,9,11-12,{}", u64::MAX - 1));
        for line in (0..15).chain([u64::MAX - 2, u64::MAX - 1, u64::MAX]) {
            assert_eq!(beyond.contains(line), lines.contains(&line), "{line}");
        }
        assert_eq!(Beyond::of_text(&beyond.to_text()), Some(beyond));
        let mut cut = beyond_of("3-5,9,11-12");
        cut.cut(5);
        assert_eq!(cut.to_text(), "3-5,9,11-12");
        cut.cut(10);
        assert_eq!(cut.to_text(), "11-12");
        cut.cut(13);
        assert!(cut.is_empty());
        assert_eq!(Beyond::of_text(""), Some(Beyond::default()));
        for text in ["x", "5-3", "3,3", "9,4", "1-", "-1", "1-2-3"] {
            assert_eq!(Beyond::of_text(text), None, "{text}");
        }
    }
}
