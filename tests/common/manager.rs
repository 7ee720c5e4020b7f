//! A service manager's end of the notify socket: what was said to it, in order, and by whom.

use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Mutex;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};

use super::wait_for_some;

/// One datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Who sent it, as the kernel says.
    pub pid: i32,
    /// Its lines, such as `READY=1`.
    pub lines: Vec<String>,
}

impl Notice {
    /// Whether a line of it is this.
    pub fn says(&self, line: &str) -> bool {
        self.lines.iter().any(|said| said == line)
    }

    /// What it says of this, such as `STATUS`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }
}

/// Who listens, and all that it has heard so far.
pub struct Manager {
    socket: UnixDatagram,
    heard: Mutex<Vec<Notice>>,
}

impl Manager {
    /// At this path.
    pub fn at(path: &Path) -> Manager {
        Manager::new(UnixDatagram::bind(path).unwrap())
    }

    /// At an abstract address, which no file system has.
    pub fn abstract_at(name: &str) -> Manager {
        let address = SocketAddr::from_abstract_name(name).unwrap();
        Manager::new(UnixDatagram::bind_addr(&address).unwrap())
    }

    fn new(socket: UnixDatagram) -> Manager {
        setsockopt(&socket, sockopt::PassCred, &true).unwrap();
        Manager { socket, heard: Mutex::default() }
    }

    fn receive(&self) -> Option<Notice> {
        let mut bytes = vec![0; 16 * 1024];
        let mut space = nix::cmsg_space!(nix::sys::socket::UnixCredentials);
        let mut into = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let got =
            recvmsg::<()>(self.socket.as_raw_fd(), &mut into, Some(&mut space), flags).ok()?;
        let who = got.cmsgs().unwrap().find_map(|message| match message {
            ControlMessageOwned::ScmCredentials(who) => Some(who.pid()),
            _ => None,
        });
        let length = got.bytes;
        let text = String::from_utf8(bytes[..length].to_vec()).expect("systemd wants UTF-8");
        let lines = text.lines().map(str::to_owned).collect();
        Some(Notice { pid: who.expect("the kernel says who"), lines })
    }

    /// All that was said so far.
    pub fn heard(&self) -> Vec<Notice> {
        let mut heard = self.heard.lock().unwrap();
        while let Some(notice) = self.receive() {
            heard.push(notice);
        }
        heard.clone()
    }

    /// How much was said so far.
    pub fn count(&self) -> usize {
        self.heard().len()
    }

    /// Waits until such a thing is said, from the `from`-th on; answers where that is.
    #[track_caller]
    pub fn hears(
        &self,
        what: &str,
        from: usize,
        is_it: impl Fn(&Notice) -> bool,
    ) -> (usize, Notice) {
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for_some(what, || {
                let heard = self.heard();
                let at = (from..heard.len()).find(|n| is_it(&heard[*n]))?;
                Some((at, heard[at].clone()))
            })
        }));
        found.unwrap_or_else(|cause| {
            eprintln!("what was said: {:#?}", self.heard());
            std::panic::resume_unwind(cause)
        })
    }

    /// The same of a line.
    #[track_caller]
    pub fn hears_line(&self, line: &str, from: usize) -> (usize, Notice) {
        self.hears(line, from, |notice| notice.says(line))
    }

    /// The same of words in the line for people.
    #[track_caller]
    pub fn hears_status(&self, words: &str, from: usize) -> (usize, Notice) {
        self.hears(words, from, |n| n.value("STATUS").is_some_and(|line| line.contains(words)))
    }
}
