//! A worker: takes its share of a delta from file to Solr, and never loses a line.
//!
//! A process of its own, forked ahead of work. Its main thread reads, converts and keeps the books;
//! `in_flight` post threads, started after the fork, bring batches to Solr and wait out whatever may
//! pass. It never renames a delta and never deals with another worker: what it leaves behind is a
//! checkpoint, a reject file, and messages to the parent. In the order of the data:
//!
//! - `desk` the main thread's loop: orders in, reports out
//! - `share` a share of a delta, open (with `asking`, where the operator's own converter is asked): `lines` (by
//!   `partition`; of a `text` that may have to be `unpack`ed, and may be `torn`), `papers` (whose line it is), the crate
//!   `convert`, `sorter` (into `batch`es), `window`, `rejects`, `limit`
//! - `posts`, `queue`, `lanes` what lies between main thread and post threads: a `lane` for each
//!   shard's leader, with its `flow` and `backoff`; `climb` finds how many requests at once are worth it
//! - `post` a post thread: `node`, `wire` (with `secrets`, `tls`), `receipt`
//! - `doubts` documents of which nobody can be sure, and the look at them at a share's end
//! - `guard` what may be carried out once only: with `versions`, written down in `intents`; and what
//!   comes late, which must not go over what is newer by its `age`
//! - `scout` a thread that looks who leads
//! - `schema` a thread that reads the collection's schema, against which lines are held
//! - `finish` a delta's end: commit, sums, `repeats`, `merge`
//! - `hold` what the machine cannot do at present
//! - `reach` what it has not given up, once it has begun

mod age;
mod backoff;
mod batch;
mod climb;
mod desk;
mod doubts;
mod finish;
mod flow;
mod given;
mod guard;
mod hold;
mod intents;
mod lane;
mod lanes;
mod limit;
mod lines;
mod merge;
mod node;
mod papers;
mod partition;
mod post;
mod posts;
mod probe;
mod queue;
mod reach;
mod receipt;
mod rejects;
mod repeats;
mod schema;
mod scout;
mod secrets;
mod share;
mod sorter;
mod text;
mod tls;
mod torn;
mod unpack;
mod versions;
mod window;
mod wire;

#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
#[cfg(test)]
mod pipeline_bench;
#[cfg(test)]
mod testing;

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use orders::{Message, Report};
use slog::{Logger, debug, error, warn};
use sys::{Signal, Signals};

use crate::desk::Desk;
use crate::posts::Posts;
use crate::secrets::Credentials;
use crate::share::Shop;
use config::conversion::Convert;
use convert::Converter;
use exec::Exec;

pub use crate::probe::{Survey, survey};
pub use crate::unpack::{Corrupt, Piece, Unpacker};

/// Everything a worker is given at birth.
pub struct Seat {
    /// The configuration of its generation.
    pub config: config::Config,
    /// Where the deltas are.
    pub spool: spool::Spool,
    /// Where it tells how it goes.
    pub board: scoreboard::Board,
    /// Its generation's number.
    pub generation: u64,
    /// Its slot's number.
    pub slot: u32,
    /// Its end of the pair of message sockets with the parent, non-blocking.
    pub pipe: OwnedFd,
    /// Its log.
    pub log: Logger,
    /// What the fork left to be done: all signals are blocked.
    pub newborn: sys::Newborn,
    /// What it does about a Solr that takes nothing.
    pub patience: Patience,
}

/// What a worker does when Solr cannot be reached, has no such collection or refuses the
/// credentials before there is any work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It waits, and the status says so: a daemon outlives a Solr that is away.
    Daemon,
    /// It refuses to work, and says why: somebody at a terminal waits for an answer.
    Feed,
}

/// A worker that somebody waits for probes Solr for so long. The parent kills one that is not ready
/// after 30 s, and would never hear why.
const PROBE: Duration = Duration::from_secs(20);

/// A worker's whole life, from the fork to its exit code: 0 it left in order, 1 it could
/// not begin (the parent has [`Report::Refused`]) or could not go on.
///
/// A closed pipe and SIGTERM both mean to leave: what is under way is answered or abandoned, the
/// checkpoint written.
pub fn run(seat: Seat) -> i32 {
    seat.newborn.name(&format!("worker {}", seat.slot));
    let signals = match Signals::watch(&[Signal::Terminate]) {
        Ok(signals) => signals,
        Err(e) => {
            error!(seat.log, "a worker cannot watch for signals"; "error" => %e);
            return 1;
        }
    };
    seat.newborn.unblock_signals();
    sys::memory::give_back_what_is_freed(); // bodies, most of all
    let cell = seat.board.worker(seat.generation, seat.slot as usize);
    cell.take_over();
    cell.set_heartbeat(sys::clock::now_ms());
    let converter = match Converter::new(&seat.config) {
        Ok(converter) => converter,
        Err(mistakes) => return refuse(seat.pipe, mistakes.to_string(), &seat.log),
    };
    let exec = match &seat.config.convert {
        Some(Convert::Exec(command)) => match Exec::judge(command) {
            Ok(()) => Some(Exec::new(command, seat.config.spool.max_line, Some(&seat.log))),
            Err(mistakes) => return refuse(seat.pipe, mistakes.to_string(), &seat.log),
        },
        _ => None,
    };
    let shop = Shop {
        converter,
        exec,
        config: seat.config,
        spool: seat.spool,
        board: seat.board,
        cell,
        log: seat.log,
    };
    let leaders = (seat.slot == 0).then(|| seat.board.leaders(seat.generation));
    let turns = seat.board.turns(seat.generation, seat.slot as usize);
    leaders.iter().for_each(scoreboard::LeadersCell::take_over);
    match settle_in(&shop, seat.patience, turns, leaders) {
        Ok((posts, home)) => {
            let mut desk = Desk::new(shop, seat.pipe, signals, posts);
            desk.confined_to(home);
            if seat.patience == Patience::Daemon && seat.slot == 0 {
                desk.probe();
            }
            desk.run()
        }
        Err(reason) => refuse(seat.pipe, reason, &shop.log),
    }
}

/// Says why it cannot begin; the exit code.
fn refuse(pipe: OwnedFd, reason: String, log: &Logger) -> i32 {
    debug!(log, "cannot begin"; "reason" => &reason); // the parent tells it
    // The first message of all always fits.
    let _ = sys::socket::send_message(pipe.as_fd(), &Report::Refused(reason).encode());
    1
}

/// Which spool it is confined to, by device and inode; `None`: it is not.
type Home = Option<(u64, u64)>;

/// Reads secrets, sees to Solr if somebody waits for it, gives up what is not needed from here on, and
/// starts the post threads, which are bound by that too.
fn settle_in(
    shop: &Shop,
    patience: Patience,
    turns: scoreboard::Turns,
    leaders: Option<scoreboard::LeadersCell>,
) -> Result<(Posts, Home), String> {
    let credentials = Credentials::read(&shop.config.solr)?;
    if patience == Patience::Feed {
        probe::probe(&shop.config, &credentials, PROBE)?;
    }
    let home = confine(shop);
    let posts = Posts::start(&shop.config, &credentials, turns, leaders, &shop.log)
        .map_err(|e| format!("cannot start {} post threads: {e}", shop.config.batch.in_flight))?;
    Ok((posts, home))
}

/// Not where the operator's own converter is started: it would be bound, too. And not for `feed`,
/// whose deltas are links to anywhere.
fn confine(shop: &Shop) -> Home {
    if shop.exec.is_some() || shop.spool.follows_links() {
        return None;
    }
    if let Err(e) =
        sys::confine::confine(&reach::reach(&shop.spool, shop.config.log.file.as_deref()))
    {
        warn!(shop.log, "not confined"; "error" => %e);
        return None;
    }
    shop.spool.identity().ok()
}
