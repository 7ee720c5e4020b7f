//! The crew: the living children, each with its pidfd and the parent's end of its pipe.

use orders::{Message, Plea, Report};
use slog::Logger;
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::socket::{Received, Sent, receive_message, send_message};
use sys::{Interest, Signal};

use crate::machine::{ChildId, Event};
use crate::slots::Post;

/// So many messages are heard of one child in one turn: a babbler must not keep the others out.
const HEARD: usize = 64;

struct Member {
    post: Post,
    generation: u64,
    process: sys::Child,
    /// `None`: told to leave, or it has closed its end.
    pipe: Option<OwnedFd>,
    /// What did not fit into the pipe yet.
    unsent: VecDeque<Vec<u8>>,
}

/// All children that are not reaped yet.
#[derive(Default)]
pub(crate) struct Crew {
    members: BTreeMap<ChildId, Member>,
}

impl Crew {
    pub(crate) fn hire(
        &mut self,
        child: ChildId,
        post: Post,
        generation: u64,
        process: sys::Child,
        pipe: OwnedFd,
    ) {
        let unsent = VecDeque::new();
        self.members.insert(child, Member { post, generation, process, pipe: Some(pipe), unsent });
    }

    /// What to poll for.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Interest)> {
        self.members.values().filter_map(|m| {
            let interest = if m.unsent.is_empty() { Interest::Read } else { Interest::ReadWrite };
            Some((m.pipe.as_ref()?.as_fd(), interest))
        })
    }

    /// Sends a message, or keeps it until there is room for it.
    pub(crate) fn send(&mut self, child: ChildId, message: &impl Message) {
        if let Some(member) = self.members.get_mut(&child) {
            member.unsent.push_back(message.encode());
            member.flush();
        }
    }

    /// The child reads end-of-file: it is to leave.
    pub(crate) fn close(&mut self, child: ChildId) {
        if let Some(member) = self.members.get_mut(&child) {
            member.flush();
            member.pipe = None;
        }
    }

    pub(crate) fn kill(&mut self, child: ChildId, log: &Logger) {
        if let Some(member) = self.members.get(&child) {
            if let Err(e) = member.process.signal(Signal::Kill) {
                slog::error!(log, "cannot kill a child"; "pid" => member.process.pid(), "error" => %e);
            }
        }
    }

    /// The child of this process id has been reaped. Answers who it was, and what it had still to
    /// say.
    pub(crate) fn bury(&mut self, pid: i32) -> Option<(ChildId, Vec<Event>)> {
        let child = self.child(pid)?;
        let mut member = self.members.remove(&child)?;
        let mut last_words = Vec::new();
        member.hear(child, &mut last_words);
        Some((child, last_words))
    }

    /// What the children say, and room for what waits to be sent.
    pub(crate) fn hear(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for (child, member) in &mut self.members {
            member.flush();
            member.hear(*child, &mut events);
        }
        events
    }

    /// Generation and slot of a worker.
    pub(crate) fn worker(&self, child: ChildId) -> Option<(u64, u32)> {
        let member = self.members.get(&child)?;
        match member.post {
            Post::Worker(slot) => Some((member.generation, slot)),
            Post::Monitor => None,
        }
    }

    /// Which child has this process id.
    pub(crate) fn child(&self, pid: i32) -> Option<ChildId> {
        Some(*self.members.iter().find(|(_, m)| m.process.pid() == pid)?.0)
    }

    /// A child's process id.
    pub(crate) fn pid(&self, child: ChildId) -> Option<i32> {
        Some(self.members.get(&child)?.process.pid())
    }
}

impl Member {
    fn flush(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        while let Some(message) = self.unsent.front() {
            match send_message(pipe.as_fd(), message) {
                Sent::Full => return,
                Sent::Done | Sent::Gone => drop(self.unsent.pop_front()),
            }
        }
    }

    fn hear(&mut self, child: ChildId, events: &mut Vec<Event>) {
        for _ in 0..HEARD {
            let Some(pipe) = &self.pipe else { return };
            match receive_message(pipe.as_fd()) {
                Received::Message(bytes) => events.push(self.understand(child, &bytes)),
                Received::Nothing => return,
                Received::Closed => {
                    self.pipe = None;
                    events.push(Event::HungUp { child });
                }
            }
        }
    }

    fn understand(&self, child: ChildId, bytes: &[u8]) -> Event {
        let event = match self.post {
            Post::Worker(_) => Report::decode(bytes).map(|report| Event::Report { child, report }),
            Post::Monitor => Plea::decode(bytes).map(|plea| Event::Plea { child, plea }),
        };
        event.unwrap_or(Event::Garbled { child })
    }
}
