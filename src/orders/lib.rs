//! What the parent and its children say to each other, one message at a time, over a pair of
//! sockets that keep messages apart.
//!
//! The parent believes nothing that it cannot check: a message that does not read is an error, a
//! claim number is compared with the one that was dealt, and who speaks is known by the
//! descriptor, never by what is said.

mod wire;

use std::ffi::OsString;

use wire::{Reader, Writer};

/// From the parent to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Take this share of a delta.
    Deal(Share),
    /// All shares are in: commit if the configuration says so, and merge their rejects.
    Finish(Finish),
    /// The delta of this claim number is given up: read no more of it, and say
    /// [`Report::ShareFailed`] once what is under way is answered and the checkpoint written.
    Abandon {
        /// The delta's claim number.
        claim: u64,
    },
}

/// One worker's lines of a delta: those with `line % of == share`, or whose `key` hashes so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The delta's claim number.
    pub claim: u64,
    /// Which share.
    pub share: u32,
    /// Of how many.
    pub of: u32,
    /// The member of a line by whose value the lines are divided; `None`: by their number.
    pub key: Option<String>,
    /// Lines, by their index, that end whoever converts them: they are rejected unread.
    pub poison: Vec<u64>,
    /// The delta's name in `active/`.
    pub name: OsString,
}

/// The last thing to be done for a delta before it is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// The delta's claim number.
    pub claim: u64,
    /// How many shares it had.
    pub of: u32,
    /// The delta's name in `active/`.
    pub name: OsString,
    /// Whether it is to be given up as a whole: then nothing is committed.
    pub failed: bool,
}

/// From a worker to the parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It can take a share.
    Ready,
    /// It cannot work, for this reason: one line, for people.
    Refused(String),
    /// A share is in: every line of it is done.
    ShareDone {
        /// The delta's claim number.
        claim: u64,
        /// Which share.
        share: u32,
    },
    /// A share cannot be delivered because the delta itself is at fault, for this reason.
    ShareFailed {
        /// The delta's claim number.
        claim: u64,
        /// Which share.
        share: u32,
        /// One line, for people.
        reason: String,
    },
    /// What [`Order::Finish`] asked for is done.
    Finished {
        /// The delta's claim number.
        claim: u64,
        /// Lines, documents, deletes, skipped and rejected lines of all its shares.
        sums: Sums,
    },
    /// What [`Order::Finish`] asked for is not done: the delta is longer than what its shares have
    /// read. All of them must be dealt again.
    Grown {
        /// The delta's claim number.
        claim: u64,
    },
}

/// What became of a delta's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// All lines, empty ones too.
    pub lines: u64,
    /// Documents that Solr has confirmed.
    pub docs: u64,
    /// Deletes that Solr has confirmed.
    pub deletes: u64,
    /// Lines that became nothing.
    pub skipped: u64,
    /// Lines in `rejected/`.
    pub rejected: u64,
}

/// A command for the parent, by way of the monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Read the configuration again.
    Reload,
    /// Leave at a batch boundary.
    Stop,
}

/// From the monitor to the parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plea {
    /// It answers on the sockets.
    Ready,
    /// It cannot work, for this reason.
    Refused(String),
    /// Somebody gave a command; the answer bears the same number.
    Command {
        /// The monitor's own number for it.
        number: u64,
        /// What is wanted.
        command: Command,
    },
}

/// The parent's answer to a [`Plea::Command`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The number that the command bore.
    pub number: u64,
    /// Done, or why not: a code for programs and a line for people.
    pub result: Result<(), (String, String)>,
}

/// A message that does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Garbled;

impl std::fmt::Display for Garbled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a message that does not read")
    }
}

impl std::error::Error for Garbled {}

/// What can travel as one message.
pub trait Message: Sized {
    /// The message's bytes, never none, at most [`sys::socket::MESSAGE`].
    fn encode(&self) -> Vec<u8>;
    /// The other way round; every byte must have its place.
    fn decode(bytes: &[u8]) -> Result<Self, Garbled>;
}

impl Message for Order {
    fn encode(&self) -> Vec<u8> {
        match self {
            Order::Deal(s) => Writer::new(b'd')
                .number(s.claim)
                .number(s.share)
                .number(s.of)
                .name(s.key.as_deref().unwrap_or_default().as_ref()) // no member has no name
                .numbers(&s.poison)
                .name(&s.name)
                .done(),
            Order::Abandon { claim } => Writer::new(b'a').number(*claim).done(),
            Order::Finish(f) => {
                let failed = u64::from(f.failed);
                Writer::new(b'f').number(f.claim).number(f.of).number(failed).name(&f.name).done()
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Order, Garbled> {
        let (kind, mut r) = Reader::new(bytes)?;
        let order = match kind {
            b'd' => Order::Deal(Share {
                claim: r.number()?,
                share: r.small()?,
                of: r.small()?,
                key: Some(r.name()?.into_string().map_err(|_| Garbled)?).filter(|k| !k.is_empty()),
                poison: r.numbers()?,
                name: r.name()?,
            }),
            b'f' => Order::Finish(Finish {
                claim: r.number()?,
                of: r.small()?,
                failed: r.number()? != 0,
                name: r.name()?,
            }),
            b'a' => Order::Abandon { claim: r.number()? },
            _ => return Err(Garbled),
        };
        r.end(order)
    }
}

impl Message for Report {
    fn encode(&self) -> Vec<u8> {
        match self {
            Report::Ready => Writer::new(b'r').done(),
            Report::Refused(reason) => Writer::new(b'n').text(reason).done(),
            Report::ShareDone { claim, share } => {
                Writer::new(b'd').number(*claim).number(*share).done()
            }
            Report::ShareFailed { claim, share, reason } => {
                Writer::new(b'x').number(*claim).number(*share).text(reason).done()
            }
            Report::Finished { claim, sums } => Writer::new(b'f')
                .number(*claim)
                .number(sums.lines)
                .number(sums.docs)
                .number(sums.deletes)
                .number(sums.skipped)
                .number(sums.rejected)
                .done(),
            Report::Grown { claim } => Writer::new(b'g').number(*claim).done(),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Report, Garbled> {
        let (kind, mut r) = Reader::new(bytes)?;
        let report = match kind {
            b'r' => Report::Ready,
            b'n' => Report::Refused(r.text()?),
            b'd' => Report::ShareDone { claim: r.number()?, share: r.small()? },
            b'x' => {
                Report::ShareFailed { claim: r.number()?, share: r.small()?, reason: r.text()? }
            }
            b'f' => Report::Finished {
                claim: r.number()?,
                sums: Sums {
                    lines: r.number()?,
                    docs: r.number()?,
                    deletes: r.number()?,
                    skipped: r.number()?,
                    rejected: r.number()?,
                },
            },
            b'g' => Report::Grown { claim: r.number()? },
            _ => return Err(Garbled),
        };
        r.end(report)
    }
}

impl Message for Plea {
    fn encode(&self) -> Vec<u8> {
        match self {
            Plea::Ready => Writer::new(b'r').done(),
            Plea::Refused(reason) => Writer::new(b'n').text(reason).done(),
            Plea::Command { number, command } => {
                let kind = match command {
                    Command::Reload => b'l',
                    Command::Stop => b's',
                };
                Writer::new(kind).number(*number).done()
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Plea, Garbled> {
        let (kind, mut r) = Reader::new(bytes)?;
        let plea = match kind {
            b'r' => Plea::Ready,
            b'n' => Plea::Refused(r.text()?),
            b'l' => Plea::Command { number: r.number()?, command: Command::Reload },
            b's' => Plea::Command { number: r.number()?, command: Command::Stop },
            _ => return Err(Garbled),
        };
        r.end(plea)
    }
}

impl Message for Answer {
    fn encode(&self) -> Vec<u8> {
        match &self.result {
            Ok(()) => Writer::new(b'y').number(self.number).done(),
            Err((code, message)) => {
                Writer::new(b'n').number(self.number).text(code).text(message).done()
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Answer, Garbled> {
        let (kind, mut r) = Reader::new(bytes)?;
        let number = r.number()?;
        let result = match kind {
            b'y' => Ok(()),
            b'n' => Err((r.text()?, r.text()?)),
            _ => return Err(Garbled),
        };
        r.end(Answer { number, result })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn there_and_back<M: Message + PartialEq + std::fmt::Debug>(message: M) {
        let bytes = message.encode();
        assert_eq!(M::decode(&bytes).as_ref(), Ok(&message));
        for cut in 0..bytes.len() {
            // Cut short, it never reads as the whole.
            assert_ne!(M::decode(&bytes[..cut]).as_ref(), Ok(&message));
        }
        let longer = [&bytes[..], b"x"].concat();
        assert!(M::decode(&longer).is_err(), "{message:?} with a byte too many");
    }

    #[test]
    fn every_message_arrives_as_it_was_sent() {
        let name = OsString::from_vec(b"not utf-8: \xff\n.jsonl".to_vec());
        for key in [None, Some("sku".to_owned())] {
            let (claim, name) = (u64::MAX, name.clone());
            let poison = vec![7; key.iter().len() * 9];
            there_and_back(Order::Deal(Share { claim, share: 3, of: 4, key, poison, name }));
        }
        there_and_back(Order::Finish(Finish { claim: 1, of: 256, name, failed: true }));
        there_and_back(Order::Abandon { claim: 7 });
        there_and_back(Report::Ready);
        there_and_back(Report::Refused("no right to read /etc/x".into()));
        there_and_back(Report::ShareDone { claim: 7, share: 1 });
        there_and_back(Report::ShareFailed { claim: 7, share: 1, reason: "gone".into() });
        let sums = Sums { lines: 5, docs: 4, deletes: 3, skipped: 2, rejected: 1 };
        there_and_back(Report::Finished { claim: 7, sums });
        there_and_back(Report::Grown { claim: 7 });
        there_and_back(Plea::Ready);
        there_and_back(Plea::Refused("no".into()));
        there_and_back(Plea::Command { number: 9, command: Command::Reload });
        there_and_back(Plea::Command { number: 9, command: Command::Stop });
        there_and_back(Answer { number: 9, result: Ok(()) });
        there_and_back(Answer { number: 9, result: Err(("config".into(), "12:1: no".into())) });
    }

    #[test]
    fn a_long_reason_is_cut_to_fit_a_message() {
        let report = Report::Refused("ü".repeat(100_000));
        let bytes = report.encode();
        assert!(bytes.len() <= sys::socket::MESSAGE);
        assert!(matches!(Report::decode(&bytes), Ok(Report::Refused(r)) if r.starts_with("üü")));
    }

    #[test]
    fn garbage_is_refused_and_never_trusted_with_a_length() {
        for bytes in [&b""[..], b"d", b"q\0\0\0\0\0\0\0\0", &[b'n', 255, 255, 255, 255, b'x']] {
            assert_eq!(Report::decode(bytes), Err(Garbled), "{bytes:?}");
        }
    }
}
