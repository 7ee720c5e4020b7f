//! What the parent and its children say to each other, one message at a time, over a pair of
//! sockets that keep messages apart.
//!
//! The parent believes nothing that it cannot check: a message that does not read is an error, a
//! claim number is compared with the one that was dealt, and who speaks is known by the
//! descriptor, never by what is said.

mod wire;

use std::ffi::OsString;

use spool::{Begin, Kind};
use wire::{Reader, Writer};

/// Instead of a place in a file.
const NO_END: u64 = u64::MAX;

/// From the parent to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Take this share of a delta.
    Deal(Share),
    /// All shares are in: commit if the configuration says so, and merge their rejects.
    Finish(Finish),
    /// The delta of this claim number is given up: read no more of it, and say
    /// [`Report::ShareFailed`] once what is under way is answered and the checkpoint written; or
    /// [`Report::Spoiled`], if it is to be finished and goes on growing.
    Abandon {
        /// The delta's claim number.
        claim: u64,
    },
    /// The disk is full while no delta is at work: make room in `done/`, as far as that is allowed.
    Prune,
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
    /// What it is a share of.
    pub kind: Kind,
    /// Whether no newer document may be overwritten.
    pub guarded: bool,
    /// Where it begins in its file.
    pub begin: Begin,
    /// Up to where it is read, if a line ends there; `None`: to the end, wherever that comes to be.
    pub end: Option<u64>,
    /// The highest version in any receipt when it was claimed.
    pub version: u64,
    /// The delta's name.
    pub name: OsString,
}

/// The last thing to be done for a delta before it is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// The delta's claim number.
    pub claim: u64,
    /// How many shares it had.
    pub of: u32,
    /// The member of a line by whose value the lines were divided; `None`: by their number.
    pub key: Option<String>,
    /// What was claimed.
    pub kind: Kind,
    /// Whether no newer document may be overwritten.
    pub guarded: bool,
    /// Where it begins in its file.
    pub begin: Begin,
    /// The delta's name.
    pub name: OsString,
    /// Whether it is to be given up as a whole: then nothing is committed.
    pub failed: bool,
    /// Shares of which a later delta's were dealt. If there are any, it is finished as what was read,
    /// though it may have grown: to read it anew would bring back the old.
    pub passed: Vec<u64>,
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
        /// Whether it was read as far as was said, and no further, so that all the others of this
        /// delta end there, too.
        bounded: bool,
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
        /// How old it is, and which versions it was given now: one for all its lines, or more where
        /// they are of several claims; [`ORIGINS`] at most.
        origins: Vec<Origin>,
    },
    /// What [`Order::Finish`] asked for is not done: the delta is longer than what its shares have
    /// read. All of them must be dealt again.
    Grown {
        /// The delta's claim number.
        claim: u64,
    },
    /// What [`Order::Finish`] asked for is not done: the delta is not what its shares have read, for
    /// this reason, and is to be given up.
    Spoiled {
        /// The delta's claim number.
        claim: u64,
        /// One line, for people.
        reason: String,
    },
}

/// So many origins fit a message.
pub const ORIGINS: usize = 256;

/// How old lines of a delta are that is settled, and when they were delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Origin {
    /// The claim number that they first had; 0 if nobody knows.
    pub claim: u64,
    /// The lowest version that they were given, of one that was retried; 0: none was, or nobody knows.
    pub lowest: u64,
    /// The highest, or the highest that they may have been given; 0: none was.
    pub highest: u64,
}

impl Origin {
    fn numbers(&self) -> [u64; 3] {
        [self.claim, self.lowest, self.highest]
    }

    /// Those of which these are the numbers, one behind the other.
    fn all(numbers: &[u64]) -> Result<Vec<Origin>, Garbled> {
        let origins = numbers.chunks(3).map(|numbers| match *numbers {
            [claim, lowest, highest] => Ok(Origin { claim, lowest, highest }),
            _ => Err(Garbled),
        });
        origins.collect()
    }
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
    /// Lines that a newer document had made void.
    pub superseded: u64,
}

/// A command for the parent, by way of the monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Read the configuration again.
    Reload,
    /// Leave at a batch boundary.
    Stop,
    /// Send nothing more, over restarts too.
    Pause,
    /// Go on.
    Resume,
    /// Give up a delta that waits or is being delivered: what is left of it goes to `failed/`.
    Cancel(OsString),
    /// Deliver once more what is left of these: rejected lines, and failed deltas.
    Retry {
        /// Of which deltas.
        which: Which,
        /// Also over newer documents.
        force: bool,
    },
    /// Give up for good what is left of these.
    Drop(Which),
}

/// Which deltas are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one of this name.
    One(OsString),
    /// All of which something is left.
    All,
}

/// What a command was done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// So many failed deltas.
    pub deltas: u64,
    /// The rejected lines of so many.
    pub rejects: u64,
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
    pub result: Result<Done, (String, String)>,
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
                .key(&s.key)
                .numbers(&s.poison)
                .number(s.kind.number())
                .number(s.guarded)
                .number(s.begin.line)
                .number(s.begin.offset)
                .number(s.end.unwrap_or(NO_END))
                .number(s.version)
                .name(&s.name)
                .done(),
            Order::Abandon { claim } => Writer::new(b'a').number(*claim).done(),
            Order::Prune => Writer::new(b'p').done(),
            Order::Finish(f) => {
                let writer = Writer::new(b'f').number(f.claim).number(f.of).key(&f.key);
                let writer = writer.number(f.failed).number(f.kind.number()).number(f.guarded);
                let writer = writer.number(f.begin.line).number(f.begin.offset);
                writer.numbers(&f.passed).name(&f.name).done()
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
                key: r.key()?,
                poison: r.numbers()?,
                kind: kind_of(&mut r)?,
                guarded: r.number()? != 0,
                begin: Begin { line: r.number()?, offset: r.number()? },
                end: Some(r.number()?).filter(|end| *end != NO_END),
                version: r.number()?,
                name: r.name()?,
            }),
            b'f' => Order::Finish(Finish {
                claim: r.number()?,
                of: r.small()?,
                key: r.key()?,
                failed: r.number()? != 0,
                kind: kind_of(&mut r)?,
                guarded: r.number()? != 0,
                begin: Begin { line: r.number()?, offset: r.number()? },
                passed: r.numbers()?,
                name: r.name()?,
            }),
            b'a' => Order::Abandon { claim: r.number()? },
            b'p' => Order::Prune,
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
            Report::ShareDone { claim, share, bounded } => {
                Writer::new(b'd').number(*claim).number(*share).number(*bounded).done()
            }
            Report::ShareFailed { claim, share, reason } => {
                Writer::new(b'x').number(*claim).number(*share).text(reason).done()
            }
            Report::Finished { claim, sums, origins } => Writer::new(b'f')
                .number(*claim)
                .number(sums.lines)
                .number(sums.docs)
                .number(sums.deletes)
                .number(sums.skipped)
                .number(sums.rejected)
                .number(sums.superseded)
                .numbers(&origins.iter().flat_map(Origin::numbers).collect::<Vec<_>>())
                .done(),
            Report::Grown { claim } => Writer::new(b'g').number(*claim).done(),
            Report::Spoiled { claim, reason } => {
                Writer::new(b's').number(*claim).text(reason).done()
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Report, Garbled> {
        let (kind, mut r) = Reader::new(bytes)?;
        let report = match kind {
            b'r' => Report::Ready,
            b'n' => Report::Refused(r.text()?),
            b'd' => Report::ShareDone {
                claim: r.number()?,
                share: r.small()?,
                bounded: r.number()? != 0,
            },
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
                    superseded: r.number()?,
                },
                origins: Origin::all(&r.numbers()?)?,
            },
            b'g' => Report::Grown { claim: r.number()? },
            b's' => Report::Spoiled { claim: r.number()?, reason: r.text()? },
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
                let begin = |kind| Writer::new(kind).number(*number);
                match command {
                    Command::Reload => begin(b'l').done(),
                    Command::Stop => begin(b's').done(),
                    Command::Pause => begin(b'u').done(),
                    Command::Resume => begin(b'e').done(),
                    Command::Cancel(name) => begin(b'c').name(name).done(),
                    Command::Retry { which, force } => {
                        which.write(begin(b't').number(*force)).done()
                    }
                    Command::Drop(which) => which.write(begin(b'd')).done(),
                }
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
            b'u' => Plea::Command { number: r.number()?, command: Command::Pause },
            b'e' => Plea::Command { number: r.number()?, command: Command::Resume },
            b'c' => Plea::Command { number: r.number()?, command: Command::Cancel(r.name()?) },
            b't' => {
                let (number, force) = (r.number()?, r.number()? != 0);
                let which = Which::read(&mut r)?;
                Plea::Command { number, command: Command::Retry { which, force } }
            }
            b'd' => {
                Plea::Command { number: r.number()?, command: Command::Drop(Which::read(&mut r)?) }
            }
            _ => return Err(Garbled),
        };
        r.end(plea)
    }
}

fn kind_of(reader: &mut Reader<'_>) -> Result<Kind, Garbled> {
    Kind::of_number(reader.number()?).ok_or(Garbled)
}

impl Which {
    /// No delta has an empty name.
    fn write(&self, writer: Writer) -> Writer {
        match self {
            Which::One(name) => writer.name(name),
            Which::All => writer.name("".as_ref()),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Which, Garbled> {
        let name = reader.name()?;
        Ok(if name.is_empty() { Which::All } else { Which::One(name) })
    }
}

impl Message for Answer {
    fn encode(&self) -> Vec<u8> {
        match &self.result {
            Ok(done) => Writer::new(b'y')
                .number(self.number)
                .number(done.deltas)
                .number(done.rejects)
                .done(),
            Err((code, message)) => {
                Writer::new(b'n').number(self.number).text(code).text(message).done()
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Answer, Garbled> {
        let (kind, mut r) = Reader::new(bytes)?;
        let number = r.number()?;
        let result = match kind {
            b'y' => Ok(Done { deltas: r.number()?, rejects: r.number()? }),
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
            let (claim, name, kind, guarded) = (u64::MAX, name.clone(), Kind::Rest, true);
            let poison = vec![7; key.iter().len() * 9];
            let begin = Begin { line: 5, offset: u64::MAX };
            let (end, version) = (key.iter().next().map(|_| 77), 5);
            let share = Share {
                claim,
                share: 3,
                of: 4,
                key,
                poison,
                kind,
                guarded,
                begin,
                end,
                version,
                name,
            };
            let (kind, failed) = (Kind::Rejects, true);
            let (key, name) = (share.key.clone(), share.name.clone());
            let passed = (0..256).filter(|_| key.is_some()).collect();
            let finish =
                Finish { claim: 1, of: 256, key, kind, guarded, begin, name, failed, passed };
            there_and_back(Order::Finish(finish));
            there_and_back(Order::Deal(share));
        }
        there_and_back(Order::Abandon { claim: 7 });
        there_and_back(Order::Prune);
        there_and_back(Report::Ready);
        there_and_back(Report::Refused("no right to read /etc/x".into()));
        there_and_back(Report::ShareDone { claim: 7, share: 1, bounded: true });
        there_and_back(Report::ShareFailed { claim: 7, share: 1, reason: "gone".into() });
        let sums = Sums { lines: 5, docs: 4, deletes: 3, skipped: 2, rejected: 1, superseded: 6 };
        let origin = |claim| Origin { claim, lowest: 5, highest: u64::MAX };
        for count in [0, 1, ORIGINS as u64] {
            let origins = (0..count).map(origin).collect();
            there_and_back(Report::Finished { claim: 7, sums, origins });
        }
        there_and_back(Report::Grown { claim: 7 });
        there_and_back(Report::Spoiled { claim: 7, reason: "cut".into() });
        there_and_back(Plea::Ready);
        there_and_back(Plea::Refused("no".into()));
        for command in [Command::Reload, Command::Stop, Command::Pause, Command::Resume] {
            there_and_back(Plea::Command { number: 9, command });
        }
        for which in [Which::One("a b.jsonl".into()), Which::All] {
            let retry = Command::Retry { which: which.clone(), force: true };
            there_and_back(Plea::Command { number: 9, command: retry });
            there_and_back(Plea::Command { number: 9, command: Command::Drop(which) });
        }
        there_and_back(Plea::Command { number: 9, command: Command::Cancel("x.jsonl".into()) });
        there_and_back(Answer { number: 9, result: Ok(Done { deltas: 1, rejects: 2 }) });
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
