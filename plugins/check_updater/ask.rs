//! This asks: connect, one line out, one line back. It blocks wherever it likes, for the watchdog ends it; what it
//! bounds itself is the size of the answer. What cannot be had is told apart: nobody there is CRITICAL, for that is
//! what the check is for; not being let in, or not understanding the answer, is UNKNOWN.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use status::{Answer, Document};

use crate::options::Options;
use crate::report::{Report, State};
use crate::watchdog::{Stage, stage};

/// The longest answer taken, in bytes: thousands of workers and shards fit in it.
const MOST: usize = 4 << 20;

/// The answer, and how it came.
#[derive(Debug)]
pub struct Reply {
    /// What was said.
    pub document: Document,
    /// The length of the answer's line.
    pub bytes: usize,
    /// How long connect(2) took.
    pub connecting: Duration,
    /// How long it took from then to the end of the answer.
    pub answering: Duration,
}

/// Why there is no answer.
#[derive(Debug, PartialEq)]
pub struct Trouble {
    state: State,
    text: String,
}

impl Trouble {
    fn critical(text: String) -> Trouble {
        Trouble { state: State::Critical, text }
    }

    fn unknown(text: String) -> Trouble {
        Trouble { state: State::Unknown, text }
    }

    /// The trouble as a report, with the full text below where details are wanted.
    pub fn report(self, options: &Options) -> Report {
        let mut report = Report::new(self.state, self.text.clone());
        if options.verbose > 0 {
            report.details.push(format!("\\_[{}] {}", self.state.word(), self.text));
            report.details.push(
                "Look at: systemctl status solr-updater; journalctl -u solr-updater".to_owned(),
            );
        }
        report
    }
}

/// Asks the daemon behind `socket` for its status document.
pub fn ask(socket: &Path) -> Result<Reply, Trouble> {
    let start = Instant::now();
    stage(Stage::Connecting);
    let mut stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            Trouble::critical(format!("no daemon: no socket at {}", socket.display()))
        }
        ErrorKind::ConnectionRefused => {
            Trouble::critical(format!("no daemon: nobody listens at {}", socket.display()))
        }
        ErrorKind::PermissionDenied => {
            Trouble::unknown(format!("no permission to ask {}", socket.display()))
        }
        _ => Trouble::unknown(format!("cannot connect: {error}: {}", socket.display())),
    })?;
    let connecting = start.elapsed();
    stage(Stage::Asking);
    let _ = stream.write_all(b"status\n"); // a daemon may answer and close before it is asked: reading tells
    stage(Stage::Reading);
    let line = read_line(&mut stream)?;
    let answering = start.elapsed() - connecting;
    stage(Stage::Working);
    let document = match Answer::parse(&line) {
        Ok(Answer::Status(document)) => *document,
        Ok(Answer::Refused(failure)) => {
            return Err(Trouble::unknown(format!("the daemon refused: {}", failure.message)));
        }
        Ok(Answer::Health(_) | Answer::Done) => {
            return Err(Trouble::unknown("the answer has no status in it".to_owned()));
        }
        Err(unreadable) => return Err(Trouble::unknown(unreadable.to_string())),
    };
    Ok(Reply { document, bytes: line.len(), connecting, answering })
}

fn read_line(stream: &mut impl Read) -> Result<Vec<u8>, Trouble> {
    let mut line = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match stream.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(Trouble::unknown(format!("cannot read the answer: {error}"))),
        };
        let part = &buffer[..read];
        if let Some(end) = part.iter().position(|&byte| byte == b'\n') {
            line.extend_from_slice(&part[..end]);
            return Ok(line);
        }
        match (read, line.len()) {
            (0, 0) => {
                return Err(Trouble::critical(
                    "the daemon closed the connection without an answer".to_owned(),
                ));
            }
            (0, n) => {
                return Err(Trouble::unknown(format!("the answer breaks off after {n} bytes")));
            }
            (_, n) if n + read > MOST => {
                return Err(Trouble::unknown(format!(
                    "the answer is over {} MiB long",
                    MOST >> 20
                )));
            }
            (..) => line.extend_from_slice(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_where_it_ends() {
        assert_eq!(read_line(&mut b"one\ntwo\n".as_slice()), Ok(b"one".to_vec()));
        assert_eq!(read_line(&mut b"".as_slice()).unwrap_err().state, State::Critical);
        assert_eq!(
            read_line(&mut b"one".as_slice()),
            Err(Trouble::unknown("the answer breaks off after 3 bytes".into()))
        );
        let flood = read_line(&mut std::io::repeat(b'x'));
        assert_eq!(flood, Err(Trouble::unknown("the answer is over 4 MiB long".into())));
    }
}
