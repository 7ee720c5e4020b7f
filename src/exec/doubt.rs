//! The converter gave an answer too many, and some were taken before that was seen: which they could be, if it
//! was one of their lines that has two, is told by the answers that stood behind them. Those are kept here, and
//! their lines asked about again.

/// Answers that stood behind those taken, and are not believed.
pub(crate) struct Doubt {
    /// Each with its newline.
    answers: Vec<u8>,
    /// Where those begin that were not heard again.
    from: usize,
    /// So many lines had these answers; it was one more at least.
    lines: usize,
}

impl Doubt {
    pub(crate) fn new(answers: &[u8], lines: usize) -> Doubt {
        Doubt { answers: answers.to_vec(), from: 0, lines }
    }

    /// Whether the first line's answer, heard again, is what stood in its place; and there is another line that
    /// may have two.
    pub(crate) fn is_borne_out_by(&self, answer: &[u8]) -> bool {
        self.lines > 1 && self.first() == answer
    }

    /// The first line's answer was heard again.
    pub(crate) fn without_the_first(self) -> Doubt {
        Doubt {
            from: self.from + self.first().len() + 1,
            lines: self.lines.saturating_sub(1),
            ..self
        }
    }

    fn first(&self) -> &[u8] {
        let rest = &self.answers[self.from..];
        &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())]
    }
}
