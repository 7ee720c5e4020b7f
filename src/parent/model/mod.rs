//! The machine, model-checked: whatever can happen to it, in every order, for a few workers, shares,
//! mishaps and reloads, by stateright. What is walked through is the machine that runs in
//! production, not a model of it; the model is the [`world`] around it, which lives by its [`moves`]
//! and does what the machine says. [`rules`] tells what must hold in every state. And since a
//! checker that finds nothing may also be one that sees nothing, it is shown machines with a bug
//! ([`lies`]), each of which it must find.
//!
//! How far it is walked, in each state all that may come next: deaths, hangs, refusals, lies, deltas
//! that fail or grow, orders to reload and to stop; `∞` is without end.
//!
//! | walk | workers, then | monitor | shares | mishaps | reloads | deltas | waits | states |
//! | --- | --- | --- | --- | --- | --- | --- | --- | --- |
//! | one worker, a delta | 1, 1 | yes | 1 | 1 | 1 | 1 | 0 | 9,001 |
//! | one worker, no delta | 1, 1 | yes | | 1 | 1 | 0 | 1 | 10,253 |
//! | two workers, two shares | 2, 1 | no | 2 | 1 | 1 | 1 | 0 | 24,312 |
//! | two workers, three shares | 2 | no | 3 | 2 | 0 | 1 | 1 | 35,852 |
//! | without end | 1, 1 | no | 1 | 1 | ∞ | ∞ | 1 | 42,423 |
//! | two reloads | 1, 2 | no | 1 | 1 | 2 | 1 | 0 | 13,052 |
//! | three that ask | 1, 1 | yes | 1 | 0 | 3 | 1 | 0 | 2,067 |
//! | deadly lines (two) | 1 | no | 1 | 4 | 0 | 1 | 1 | 23,854 |
//! | a start | 1 | no | | 5 | 0 | 0 | 4 | 8,394 |
//! | a feed that stops | 2 | no | 2 | 2 | 0 | 2 | 0 | 8,994 |
//! | a daemon that holds | 1, 1 | yes | 1 | 1 | 1 | 2 | 0 | 13,116 |
//! | two deltas, one ahead | 2 | no | 2 | 1 | 0 | 2 | 0 | 3,689 |
//! | the same, and a reload | 2, 1 | no | 2 | 0 | 1 | 2 | 0 | 5,553 |
//! | three deltas | 2 | no | 2 | 1 | 0 | 3 | 0 | 13,378 |
//!
//! `more_of_everything` goes further, 5.3 million states in a few minutes, where it is asked to:
//! `cargo --config profile.dev.package.parent.opt-level=3 test -p parent -- --ignored --nocapture`.

mod lies;
mod moves;
mod restate;
mod rules;
mod world;

use stateright::{Checker, HasDiscoveries, Model, Property};
use std::collections::BTreeSet;

use super::{Phase, Plan, Reload};
use lies::Lie;
use moves::Move;
use rules::Known;
use world::{Budget, Fault, Hand, World};

/// What is explored.
#[derive(Debug, Clone)]
struct Setup {
    workers: u32,
    /// So many there are in the other configuration.
    others: u32,
    /// A daemon has one, `feed` has none.
    monitor: bool,
    shares: u32,
    /// Shares may end where they should not.
    strays: bool,
    /// So many lines of a share there are to die of.
    lines: u64,
    stop_on_failed: bool,
    /// It begins with the first fork; else when everybody is ready.
    from_the_start: bool,
    /// What children say is heard when they have been told to leave, or killed, too.
    late: bool,
    /// Workers tell every kind of lie.
    all_lies: bool,
    budget: Budget,
}

/// A daemon with two workers, to which nothing happens.
const DAEMON: Setup = Setup {
    workers: 2,
    others: 1,
    monitor: true,
    shares: 2,
    strays: false,
    lines: 1,
    stop_on_failed: false,
    from_the_start: false,
    late: false,
    all_lies: false,
    budget: Budget { mishaps: 0, asks: 0, claims: 0, passes: 0 },
};

/// One mishap, one reload, one delta, and once the time that something takes.
const ONCE_EACH: Budget = Budget { mishaps: 1, asks: 1, claims: 1, passes: 1 };

impl Setup {
    fn plan(&self) -> Plan {
        let stop_on_failed = self.stop_on_failed;
        Plan { workers: self.workers, stop_timeout: 25_000, stop_on_failed }
    }

    fn other_plan(&self) -> Plan {
        Plan { workers: self.others, stop_timeout: 10_000, ..self.plan() }
    }
}

/// The machine in its world, and what may be wrong with it.
struct Walk {
    setup: Setup,
    lie: Lie,
    known: Known,
}

impl Walk {
    fn new(setup: &Setup, lie: Lie) -> Walk {
        Walk { setup: setup.clone(), lie, known: Known::default() }
    }
}

impl Model for Walk {
    type State = World;
    type Action = Move;

    fn init_states(&self) -> Vec<World> {
        let Setup { monitor, budget, .. } = self.setup.clone();
        let mut world = World::new(self.setup.plan(), monitor, budget, self.lie);
        while !self.setup.from_the_start && !world.ready && world.fault.is_none() {
            let child = *world.kids.iter().find(|(_, kid)| !kid.ready).expect("not all are").0;
            world = world.after(&Move::Ready(child), &self.setup, self.lie);
        }
        vec![world]
    }

    fn actions(&self, world: &World, moves: &mut Vec<Move>) {
        world.moves(&self.setup, moves);
    }

    fn next_state(&self, world: &World, next: Move) -> Option<World> {
        Some(world.after(&next, &self.setup, self.lie))
    }

    fn properties(&self) -> Vec<Property<Walk>> {
        let rules = RULES.iter().map(|&(name, holds)| Property::always(name, holds));
        rules.chain(SIGHTS.iter().map(|&(name, is)| Property::sometimes(name, is))).collect()
    }
}

type Condition = fn(&Walk, &World) -> bool;

const ONE_HAND: &str = "a share is dealt to one living worker at most, and not when it is in";
const DELIVERED: &str = "nothing is settled that is not delivered or at fault";
const IN_TURN: &str =
    "no share of a later delta is out before the same one of every earlier delta is in for good";
const BARRIER: &str = "what is divided otherwise waits until what came before it is settled";
const IN_ORDER: &str = "deltas are finished and settled in the order of their claims";
const POISON: &str = "a line is to be rejected unread when two have died of it, and no sooner";
const ONE_SEAT: &str = "nobody sits down where somebody sits";
const ANSWERED: &str = "whoever asks is answered once, when the status says the same";
const ALL_READY: &str = "nothing is ready or in force before all children are ready";
const READY_ONCE: &str = "ready is told once";
const THE_END: &str = "the end comes when nobody lives any more";
const ALL_KNOWN: &str = "no child is forgotten";
const DEADLINE: &str = "nothing is waited for without a deadline";
const NOTHING_DUE: &str = "nothing that is due is left undone";
const LEAVING: &str = "whoever has no slot is leaving";
const IN_TIME: &str = "whoever is told to stop is through in time";
const REST: &str = "all comes to rest if nothing more happens to it";

/// What holds in every state.
const RULES: [(&str, Condition); 17] = [
    (ONE_HAND, |_, world| world.has_no(&[Fault::TwoHands, Fault::BadOrder])),
    (DELIVERED, |_, world| world.has_no(&[Fault::NotDelivered, Fault::StillInHand])),
    (IN_TURN, |_, world| world.has_no(&[Fault::RanAhead])),
    (BARRIER, |_, world| world.has_no(&[Fault::NoBarrier])),
    (IN_ORDER, |_, world| world.has_no(&[Fault::OutOfOrder])),
    (POISON, |_, world| world.has_no(&[Fault::NotPoison])),
    (ONE_SEAT, |_, world| world.has_no(&[Fault::TwoInASeat])),
    (ANSWERED, |_, world| world.has_no(&[Fault::AnsweredTwice, Fault::AnsweredTooSoon])),
    (ALL_READY, |_, world| world.has_no(&[Fault::NotAllReady])),
    (READY_ONCE, |_, world| world.has_no(&[Fault::ReadyTwice])),
    (THE_END, |_, world| world.has_no(&[Fault::EndedTooSoon])),
    (ALL_KNOWN, |_, world| world.has_no(&[Fault::Forgotten])),
    (DEADLINE, |_, world| world.nothing_waits_without_a_deadline()),
    (NOTHING_DUE, |_, world| world.nothing_that_is_due_is_left_undone()),
    (LEAVING, |_, world| world.who_has_no_slot_is_leaving()),
    (IN_TIME, |_, world| world.who_drains_is_through_in_time()),
    (REST, |walk, world| {
        world.fault.is_some() || walk.known.comes_to_rest(world, &walk.setup, walk.lie)
    }),
];

const HANDED_OVER: &str = "a leaver has a share that another one is to have";
const GIVEN_UP: &str = "a delta that is at fault is to be settled";
const POISONED: &str = "one has a share of which it is to reject a line unread";
const GENERATIONS: &str = "one is ready and others of its generation are not";
const FATAL: &str = "the daemon gives up";
const STOPPED: &str = "the daemon ends as it was told to";
const TWO_ASK: &str = "two wait for the same reload";
const AHEAD: &str = "a share of a later delta is out while the oldest is not in";
const FAILED_BEHIND: &str = "the oldest is given up while a share of a later one is out";
const COMPLETE: &str = "all of a later delta is in before the oldest is settled";
const HOLDING: &str = "no delta is begun any more";

/// What must be seen on the way, or the moves do not lead where they should.
const SIGHTS: [(&str, Condition); 11] = [
    (HANDED_OVER, |_, world| world.kids.values().any(|kid| kid.told && kid.hand.is_some())),
    (GIVEN_UP, |_, world| world.settling && world.deltas.front().is_some_and(|d| d.failed)),
    (POISONED, |_, world| {
        let poisoned =
            |claim, share| world.truth(claim).is_some_and(|t| !t.poison(share).is_empty());
        let has = |hand| matches!(hand, Some(Hand::Share(claim, share)) if poisoned(claim, share));
        world.kids.values().any(|kid| has(kid.hand) && !kid.dying)
    }),
    (GENERATIONS, |_, world| match &world.machine.reload {
        Reload::Starting(coming, _) => {
            let ready = |id| world.kids.get(id).is_some_and(|kid| kid.ready);
            coming.holders().iter().any(ready)
        }
        Reload::None | Reload::Reading => false,
    }),
    (FATAL, |_, world| world.exit == Some(1)),
    (STOPPED, |_, world| world.exit == Some(0)),
    (TWO_ASK, |_, world| world.asked.len() == 2),
    (AHEAD, |_, world| world.deltas.front().is_some_and(|d| !d.is_in()) && world.is_ahead()),
    (FAILED_BEHIND, |_, world| world.deltas.front().is_some_and(|d| d.failed) && world.is_ahead()),
    (COMPLETE, |_, world| world.deltas.iter().skip(1).any(|later| later.is_in())),
    (HOLDING, |_, world| world.machine.holding && world.machine.phase == Phase::Running),
];

/// Looks at every state there is; fails if one breaks a rule, or if these sights are not among them.
fn explore(what: &str, setup: &Setup, sights: &[&'static str]) {
    let walk = Walk::new(setup, Lie::None).checker().spawn_bfs().join();
    eprintln!("{what}: {} states", walk.unique_state_count());
    RULES.iter().for_each(|&(rule, _)| walk.assert_no_discovery(rule));
    sights.iter().for_each(|sight| drop(walk.assert_any_discovery(sight)));
}

#[test]
fn a_daemon_with_one_worker_and_a_delta() {
    let budget = Budget { passes: 0, ..ONCE_EACH };
    let setup = Setup { workers: 1, shares: 1, late: true, budget, ..DAEMON };
    explore("one worker, a delta", &setup, &[HANDED_OVER, GIVEN_UP, GENERATIONS, STOPPED]);
}

#[test]
fn a_daemon_with_one_worker_and_nothing_to_do() {
    let budget = Budget { claims: 0, ..ONCE_EACH };
    let setup = Setup { workers: 1, late: true, budget, ..DAEMON };
    explore("one worker, no delta", &setup, &[GENERATIONS, STOPPED]);
}

#[test]
fn two_workers_that_become_one_or_stay_two() {
    let budget = Budget { passes: 0, ..ONCE_EACH };
    let setup = Setup { monitor: false, late: true, budget, ..DAEMON };
    explore("two workers, two shares", &setup, &[HANDED_OVER, GIVEN_UP, GENERATIONS, STOPPED]);
}

#[test]
fn reloads_and_deltas_without_end() {
    let endless = Budget::ENDLESS;
    let setup = Setup {
        workers: 1,
        monitor: false,
        shares: 1,
        late: true,
        budget: Budget { mishaps: 1, asks: endless, claims: endless, passes: 1 },
        ..DAEMON
    };
    explore("without end", &setup, &[HANDED_OVER, GIVEN_UP, GENERATIONS, STOPPED]);
}

#[test]
fn three_shares_for_two_workers() {
    let setup = Setup {
        shares: 3,
        monitor: false,
        budget: Budget { mishaps: 2, asks: 0, claims: 1, passes: 1 },
        ..DAEMON
    };
    explore("two workers, three shares", &setup, &[GIVEN_UP, STOPPED]);
}

#[test]
fn reloads_in_reloads_in_mid_delta() {
    let setup = Setup {
        workers: 1,
        others: 2,
        monitor: false,
        shares: 1,
        budget: Budget { mishaps: 1, asks: 2, claims: 1, passes: 0 },
        ..DAEMON
    };
    explore("two reloads", &setup, &[HANDED_OVER, GENERATIONS, STOPPED]);
}

#[test]
fn reloads_in_reloads_asked_for_by_several() {
    let setup = Setup {
        workers: 1,
        shares: 1,
        late: true,
        budget: Budget { mishaps: 0, asks: 3, claims: 1, passes: 0 },
        ..DAEMON
    };
    explore("three that ask", &setup, &[HANDED_OVER, GENERATIONS, TWO_ASK, STOPPED]);
}

#[test]
fn lines_that_workers_die_of() {
    let setup = Setup {
        workers: 1,
        monitor: false,
        shares: 1,
        lines: 2,
        budget: Budget { mishaps: 4, asks: 0, claims: 1, passes: 1 },
        ..DAEMON
    };
    explore("deadly lines", &setup, &[POISONED, GIVEN_UP, STOPPED]);
}

#[test]
fn a_start_that_goes_wrong_again_and_again() {
    let setup = Setup {
        workers: 1,
        monitor: false,
        from_the_start: true,
        budget: Budget { mishaps: 5, asks: 0, claims: 0, passes: 4 },
        ..DAEMON
    };
    explore("a start", &setup, &[FATAL, STOPPED]);
}

#[test]
fn a_feed_that_stops_at_what_fails() {
    let setup = Setup {
        monitor: false,
        stop_on_failed: true,
        budget: Budget { mishaps: 2, asks: 0, claims: 2, passes: 0 },
        ..DAEMON
    };
    explore("a feed", &setup, &[GIVEN_UP, STOPPED]);
}

#[test]
fn a_worker_that_runs_ahead_of_another() {
    let setup = Setup {
        monitor: false,
        strays: true,
        budget: Budget { mishaps: 1, asks: 0, claims: 2, passes: 0 },
        ..DAEMON
    };
    explore("two deltas", &setup, &[AHEAD, FAILED_BEHIND, COMPLETE, STOPPED]);
}

#[test]
fn a_reload_while_one_runs_ahead() {
    let setup = Setup {
        monitor: false,
        late: true,
        budget: Budget { mishaps: 0, asks: 1, claims: 2, passes: 0 },
        ..DAEMON
    };
    explore("two deltas, a reload", &setup, &[AHEAD, HANDED_OVER, GENERATIONS, STOPPED]);
}

#[test]
fn three_deltas_of_which_one_may_be_a_barrier() {
    let setup = Setup {
        monitor: false,
        budget: Budget { mishaps: 1, asks: 0, claims: 3, passes: 0 },
        ..DAEMON
    };
    explore("three deltas", &setup, &[AHEAD, FAILED_BEHIND, COMPLETE, STOPPED]);
}

#[test]
fn a_daemon_that_holds_after_what_fails() {
    let setup = Setup {
        workers: 1,
        stop_on_failed: true,
        shares: 1,
        budget: Budget { mishaps: 1, asks: 1, claims: 2, passes: 0 },
        ..DAEMON
    };
    explore("a daemon that holds", &setup, &[GIVEN_UP, HOLDING, STOPPED]);
}

#[test]
#[ignore = "takes minutes; see above how it is run"]
fn more_of_everything() {
    let budget = |mishaps, asks, claims, passes| Budget { mishaps, asks, claims, passes };
    let one = Setup { workers: 1, shares: 1, ..DAEMON };
    let no_monitor = Setup { monitor: false, ..DAEMON };
    let reloads = Setup { others: 2, late: true, monitor: false, ..one.clone() };
    for (what, setup) in [
        ("one worker, two mishaps", Setup { budget: budget(2, 1, 1, 1), ..one.clone() }),
        (
            "one worker, asked twice",
            Setup { late: true, budget: budget(1, 2, 1, 1), ..one.clone() },
        ),
        ("a daemon that holds", Setup { stop_on_failed: true, budget: budget(2, 1, 2, 1), ..one }),
        ("two workers and a monitor", Setup { budget: ONCE_EACH, ..DAEMON }),
        ("two workers, two mishaps", Setup { budget: budget(2, 1, 1, 1), ..no_monitor.clone() }),
        ("three shares", Setup { shares: 3, budget: budget(3, 0, 2, 2), ..no_monitor.clone() }),
        ("three reloads", Setup { budget: budget(1, 3, 1, 1), ..reloads }),
        ("a start", Setup { from_the_start: true, budget: budget(5, 0, 0, 3), ..no_monitor }),
    ] {
        explore(what, &setup, &[STOPPED]);
    }
}

#[test]
fn a_machine_with_a_bug_is_found() {
    // What has to happen before it shows.
    let enough = |lie| match lie {
        Lie::ForgetsPoison => Budget { mishaps: 2, asks: 0, claims: 1, passes: 1 },
        Lie::RunsTooFar | Lie::SeesNoBarrier | Lie::TellsNobody | Lie::SettlesTheLaterFirst => {
            Budget { mishaps: 0, asks: 0, claims: 2, passes: 0 }
        }
        Lie::RunsBeyondWhatFailed => Budget { mishaps: 2, asks: 0, claims: 2, passes: 0 },
        Lie::ReloadsInAReload => Budget { mishaps: 0, asks: 2, claims: 0, passes: 0 },
        _ => ONCE_EACH,
    };
    for (lie, rule) in [
        (Lie::KeepsADeadOnesShare, REST),
        (Lie::DealsTooSoon, ONE_HAND),
        (Lie::DealsTwice, ONE_HAND),
        (Lie::MissesADeath, ALL_KNOWN),
        (Lie::ForgetsToKill, DEADLINE),
        (Lie::LeavingForEver, DEADLINE),
        (Lie::StartingForEver, DEADLINE),
        (Lie::NeverReplaces, DEADLINE),
        (Lie::ReplacesTheLiving, ONE_SEAT),
        (Lie::SleepsOn, NOTHING_DUE),
        (Lie::ForgetsWhoAsked, REST),
        (Lie::AnswersTwice, ANSWERED),
        (Lie::LosesTheFile, REST),
        (Lie::AdoptsTooSoon, ALL_READY),
        (Lie::KeepsTheOld, LEAVING),
        (Lie::ReloadsInAReload, ONE_SEAT),
        (Lie::ReadyAgain, READY_ONCE),
        (Lie::SettlesTooSoon, DELIVERED),
        (Lie::SettlesTwice, DELIVERED),
        (Lie::ReadsNothingAgain, DELIVERED),
        (Lie::RunsTooFar, IN_TURN),
        (Lie::RunsBeyondWhatFailed, IN_TURN),
        (Lie::SeesNoBarrier, BARRIER),
        (Lie::TellsNobody, IN_TURN),
        (Lie::SettlesTheLaterFirst, IN_ORDER),
        (Lie::CountsADeathTwice, POISON),
        (Lie::ForgetsPoison, POISON),
        (Lie::EndsTooSoon, THE_END),
        (Lie::StopsLate, IN_TIME),
    ] {
        let found = HasDiscoveries::AllOf(BTreeSet::from([rule]));
        let budget = enough(lie);
        let setup = match budget.claims {
            2.. => Setup { monitor: false, budget, ..DAEMON },
            _ => Setup { workers: 1, budget, ..DAEMON },
        };
        let walk = Walk::new(&setup, lie).checker().finish_when(found).spawn_bfs().join();
        assert!(walk.discovery(rule).is_some(), "{lie:?} is not seen: {rule}");
    }
}
