//! Those who are connected. There are so many seats, fewer than there are descriptors, and the
//! control socket's are counted apart: whoever fills the status socket drives out strangers, never
//! an administrator. Who waits for the parent keeps his seat.

use interprocess::os::unix::uds_local_socket::Stream;
use std::collections::{BTreeMap, BTreeSet};

use crate::client::{Client, Rights};

/// So many clients at once, at most.
const MOST: usize = 1024;
/// So many, even if the limit of open files is no limit for anybody.
const FEWEST: usize = 16;
/// So many are accepted on a socket in one turn.
const ACCEPTS: usize = 64;
/// Descriptors that clients leave to the monitor: sockets, log, signals, a folder and what is in it.
const SPARE: u64 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seats {
    ask: usize,
    command: usize,
}

impl Seats {
    /// What this limit of open files leaves.
    fn under(limit: u64) -> Seats {
        let all = limit.saturating_sub(SPARE).clamp(FEWEST as u64, MOST as u64) as usize;
        Seats { ask: all - all / 8, command: all / 8 }
    }

    fn of(self, rights: Rights) -> usize {
        match rights {
            Rights::Ask => self.ask,
            Rights::Command => self.command,
        }
    }
}

pub(crate) struct Clients {
    seats: Seats,
    by_id: BTreeMap<u64, Client>,
    next: u64,
}

impl Clients {
    /// Nobody yet; `limit` is that of open files.
    pub(crate) fn under(limit: u64) -> Clients {
        Clients { seats: Seats::under(limit), by_id: BTreeMap::new(), next: 0 }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Client)> {
        self.by_id.iter().map(|(id, client)| (*id, client))
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Client> {
        self.by_id.get_mut(&id)
    }

    /// These in the order in which they are heard: whoever has had no turn for the longest comes first, a
    /// newcomer before all, so that a thousand who flood do not keep him waiting.
    pub(crate) fn by_turn(&self, ids: BTreeSet<u64>) -> Vec<u64> {
        let mut ids = Vec::from_iter(ids);
        ids.sort_by_key(|id| self.by_id.get(id).map_or(0, Client::last_turn));
        ids
    }

    /// Takes one out, to talk with it.
    pub(crate) fn take(&mut self, id: u64) -> Option<Client> {
        self.by_id.remove(&id)
    }

    /// Puts it back on its seat.
    pub(crate) fn put(&mut self, id: u64, client: Client) {
        self.by_id.insert(id, client);
    }

    /// So many may be accepted in one turn: nobody loses the seat before there was a turn to hear him.
    pub(crate) fn newcomers(&self, rights: Rights) -> usize {
        ACCEPTS.min(self.seats.of(rights) / 2)
    }

    /// So many commands may wait for the parent: half of the seats are left to those who ask why.
    pub(crate) fn may_wait(&self) -> usize {
        self.seats.command / 2
    }

    /// Gives it a seat; the one that has been silent longest loses it. Where nobody may be driven
    /// out the newcomer is sent away.
    pub(crate) fn admit(&mut self, stream: Stream, rights: Rights, now: u64) {
        if self.make_room(rights) {
            self.by_id.insert(self.next, Client::new(stream, rights, now));
            self.next += 1;
        }
    }

    /// Lets go whom this limit of open files has no seat for, or else one who may only ask: there
    /// was no descriptor left. Answers whether anybody went.
    pub(crate) fn shed(&mut self, limit: u64) -> bool {
        let before = self.by_id.len();
        self.seats = Seats::under(limit);
        self.make_room(Rights::Ask);
        self.make_room(Rights::Command);
        self.by_id.len() < before || self.let_go(Rights::Ask)
    }

    /// Sees to it that there is a seat for one more; whether there is.
    fn make_room(&mut self, rights: Rights) -> bool {
        let taken = self.by_id.values().filter(|c| c.rights() == rights).count();
        (self.seats.of(rights)..=taken).all(|_| self.let_go(rights))
    }

    fn let_go(&mut self, rights: Rights) -> bool {
        let may_go = |c: &Client| c.rights() == rights && !c.is_waiting();
        let longest = self.iter().filter(|(_, c)| may_go(c)).min_by_key(|(_, c)| c.last_heard());
        let longest = longest.map(|(id, _)| id);
        longest.and_then(|id| self.by_id.remove(&id)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    fn full(clients: &mut Clients, rights: Rights) -> usize {
        let before = clients.by_id.len();
        for at in 0..200 {
            let stream = Stream::from(OwnedFd::from(UnixStream::pair().unwrap().0));
            clients.admit(stream, rights, at);
        }
        clients.by_id.len() - before
    }

    #[test]
    fn there_are_fewer_seats_than_descriptors() {
        assert_eq!(Seats::under(256), Seats { ask: 168, command: 24 });
        assert_eq!(Seats::under(1024), Seats { ask: 840, command: 120 });
        assert_eq!(Seats::under(u64::MAX), Seats { ask: 896, command: 128 });
        assert_eq!(Seats::under(0), Seats { ask: 14, command: 2 });
    }

    #[test]
    fn strangers_drive_out_strangers_the_longest_silent_first() {
        let mut clients = Clients::under(164);
        assert_eq!(full(&mut clients, Rights::Command), 12);
        assert_eq!(full(&mut clients, Rights::Ask), 88);
        let strangers = clients.by_id.values().filter(|c| c.rights() == Rights::Ask);
        assert_eq!(strangers.map(Client::last_heard).min(), Some(200 - 88));
        assert_eq!(clients.iter().filter(|(_, c)| c.rights() == Rights::Command).count(), 12);
    }

    #[test]
    fn whoever_has_had_no_turn_for_the_longest_is_heard_first() {
        let mut clients = Clients::under(164);
        full(&mut clients, Rights::Command);
        let ids: BTreeSet<u64> = clients.iter().map(|(id, _)| id).take(4).collect();
        let [a, b, c, d] = Vec::from_iter(ids.clone())[..] else { panic!("there are more") };
        for (id, turn) in [(a, 7), (b, 3), (c, 7)] {
            clients.get_mut(id).unwrap().has_had(turn);
        }
        assert_eq!(clients.by_turn(ids), [d, b, a, c]);
    }

    #[test]
    fn whoever_waits_for_the_parent_keeps_his_seat() {
        let mut clients = Clients::under(164);
        full(&mut clients, Rights::Command);
        clients.by_id.values_mut().for_each(Client::wait);
        let before: Vec<u64> = clients.iter().map(|(id, _)| id).collect();
        assert_eq!(full(&mut clients, Rights::Command), 0);
        assert_eq!(clients.iter().map(|(id, _)| id).collect::<Vec<_>>(), before);
        assert!(!clients.shed(0), "nobody may go");
    }

    #[test]
    fn where_descriptors_run_out_somebody_goes() {
        let mut clients = Clients::under(1024);
        full(&mut clients, Rights::Ask);
        assert!(clients.shed(164));
        assert_eq!(clients.by_id.len(), 87, "with room for one more");
        assert!(clients.shed(164));
        assert_eq!(clients.by_id.len(), 86);
    }
}
