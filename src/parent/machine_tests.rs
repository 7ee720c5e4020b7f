//! The machine, driven by a world that does what it is told, or dies at any moment.

use super::*;
use std::collections::BTreeSet;

const PLAN: Plan = Plan { workers: 2, stop_timeout: 25_000, stop_on_failed: false };

/// Children as the machine sees them: what it told them, and what they have in hand.
struct World {
    machine: Machine,
    now: u64,
    /// Living children: post, generation, whether their pipe is closed.
    alive: BTreeMap<ChildId, (Post, u64, bool)>,
    /// What living workers have been told to do.
    work: BTreeMap<ChildId, Order>,
    abandoned: Vec<(ChildId, Order)>,
    answers: Vec<(ChildId, Answer)>,
    asked: Vec<Command>,
    told: Vec<Tell>,
    configure: bool,
    settle: Option<(u64, Settled)>,
    settled: Vec<(u64, Settled)>,
    adopted: u32,
    refused: Vec<String>,
    ready: bool,
    exit: Option<i32>,
}

fn claim_of(order: &Order) -> Option<u64> {
    match order {
        Order::Deal(share) => Some(share.claim),
        Order::Finish(finish) => Some(finish.claim),
        Order::Abandon { claim } => Some(*claim),
        Order::Prune => None,
    }
}

/// A delta that waits until those before it are settled.
fn claimed(claim: u64, kind: Kind, shares: u32) -> Event {
    Event::Claimed { claim, kind, shares, follows: false, passed: Vec::new() }
}

/// One that may run ahead.
fn follows(claim: u64) -> Event {
    let (kind, shares, passed) = (Kind::Delta, PLAN.workers, Vec::new());
    Event::Claimed { claim, kind, shares, follows: true, passed }
}

impl World {
    fn new(plan: Plan) -> World {
        World::around(Machine::new(plan, true))
    }

    fn around(machine: Machine) -> World {
        let mut world = World {
            machine,
            now: 1_000,
            alive: BTreeMap::new(),
            work: BTreeMap::new(),
            abandoned: Vec::new(),
            answers: Vec::new(),
            asked: Vec::new(),
            told: Vec::new(),
            configure: false,
            settle: None,
            settled: Vec::new(),
            adopted: 0,
            refused: Vec::new(),
            ready: false,
            exit: None,
        };
        world.step(Event::Time);
        world
    }

    /// One that is up and running.
    fn running(plan: Plan) -> World {
        let mut world = World::new(plan);
        world.all_ready();
        assert!(world.ready);
        world
    }

    fn step(&mut self, event: Event) {
        let actions = self.machine.step(event, self.now);
        let answered = actions.iter().position(|a| matches!(a, Action::Answer { .. }));
        let after = actions.iter().skip(answered.unwrap_or(actions.len()));
        let late = |a: &Action| matches!(a, Action::Adopt | Action::Refuse { .. });
        assert!(!after.into_iter().any(late), "answered before the status says so: {actions:?}");
        for action in actions {
            match action {
                Action::Fork { child, post, generation } => {
                    let double =
                        self.alive.values().any(|(p, g, _)| (*p, *g) == (post, generation));
                    assert!(!double, "two in {post:?} of generation {generation}");
                    self.alive.insert(child, (post, generation, false));
                }
                Action::Send { child, order } => self.take(child, order),
                Action::Answer { child, answer } => self.answers.push((child, answer)),
                Action::Close { child } => {
                    self.alive.get_mut(&child).expect("closed, but not alive").2 = true;
                }
                Action::Kill { child } => assert!(self.alive.contains_key(&child)),
                Action::Ask { command, .. } => self.asked.push(command),
                Action::Configure => self.configure = true,
                Action::Adopt => self.adopted += 1,
                Action::Refuse { reason } => self.refused.push(reason),
                Action::Settle { claim, settled, .. } => {
                    let of_it = self.work.values().find(|order| claim_of(order) == Some(claim));
                    assert_eq!(of_it, None, "settled while it is at work");
                    let before = self.settled.iter().map(|(claim, _)| *claim).max();
                    assert!(before < Some(claim), "{claim} after {before:?}");
                    self.settle = Some((claim, settled));
                }
                Action::Ready => self.ready = true,
                Action::Tell(tell) => self.told.push(tell),
                Action::Exit { code } => {
                    assert!(self.alive.is_empty(), "ended before its children");
                    self.exit = Some(code);
                }
            }
        }
    }

    /// A worker takes an order. No share may be in two living hands, and none of a later delta in any
    /// while the same one of an earlier delta is.
    fn take(&mut self, child: ChildId, order: Order) {
        let (_, _, closed) = self.alive[&child];
        assert!(!closed, "sent to one that was told to leave");
        if let Order::Abandon { .. } = order {
            self.abandoned.push((child, order));
            return;
        }
        let double = self.work.values().any(|o| *o == order);
        assert!(!double, "{order:?} is in two hands");
        if let Order::Deal(share) = &order {
            let earlier = |o: &&Order| matches!(o, Order::Deal(s) if s.share == share.share && s.claim < share.claim);
            assert_eq!(self.work.values().find(earlier), None, "{share:?} comes too soon");
        }
        let before = self.work.insert(child, order);
        assert_eq!(before, None, "one worker, two orders");
    }

    /// What the worker in this slot has in hand: of a claim, a share, or that it is to be finished.
    fn hand(&self, slot: u32) -> Option<(u64, Option<u32>)> {
        match self.work.get(&self.worker(slot))? {
            Order::Deal(share) => Some((share.claim, Some(share.share))),
            Order::Finish(finish) => Some((finish.claim, None)),
            Order::Abandon { .. } | Order::Prune => None,
        }
    }

    /// The oldest delta moves to its place.
    fn move_it(&mut self) {
        let settled = self.settle.take().expect("it is to be settled");
        self.settled.push(settled);
        self.step(Event::Settled);
    }

    /// The worker in this slot finds its delta at fault.
    fn fail(&mut self, slot: u32) {
        let child = self.worker(slot);
        let Some(Order::Deal(Share { claim, share, .. })) = self.work.remove(&child) else {
            panic!("it has no share");
        };
        let report = Report::ShareFailed { claim, share, reason: "torn".into() };
        self.step(Event::Report { child, report });
    }

    fn die(&mut self, child: ChildId) {
        self.alive.remove(&child);
        self.work.remove(&child);
        self.step(Event::Reaped { child, ended: Ended::Killed(9) });
    }

    fn say_ready(&mut self, child: ChildId) {
        match self.alive[&child].0 {
            Post::Worker(_) => self.step(Event::Report { child, report: Report::Ready }),
            Post::Monitor => self.step(Event::Plea { child, plea: Plea::Ready }),
        }
    }

    fn all_ready(&mut self) {
        for child in self.alive.keys().copied().collect::<Vec<_>>() {
            self.say_ready(child);
        }
    }

    /// What those do that were told to leave.
    fn leavers_leave(&mut self) {
        let leavers: Vec<_> = self.alive.iter().filter(|(_, a)| a.2).map(|(id, _)| *id).collect();
        leavers.into_iter().for_each(|child| self.die(child));
    }

    /// A worker does what it was told.
    fn work(&mut self, child: ChildId) {
        match self.work.remove(&child) {
            Some(Order::Deal(s)) => {
                let report = Report::ShareDone { claim: s.claim, share: s.share, bounded: true };
                self.step(Event::Report { child, report });
            }
            Some(Order::Finish(f)) => {
                let report = Report::Finished {
                    claim: f.claim,
                    sums: Sums::default(),
                    origins: vec![Origin::default()],
                };
                self.step(Event::Report { child, report });
            }
            Some(Order::Abandon { .. } | Order::Prune) | None => {}
        }
    }

    /// A finisher finds that the delta has grown.
    fn grow(&mut self, child: ChildId) {
        if let Some(Order::Finish(finish)) = self.work.get(&child) {
            let report = Report::Grown { claim: finish.claim };
            let given_up = finish.failed;
            if !given_up {
                self.work.remove(&child);
                self.step(Event::Report { child, report });
            }
        }
    }

    fn worker(&self, slot: u32) -> ChildId {
        self.machine.slots().worker(slot).expect("somebody sits there")
    }

    fn monitor(&self) -> ChildId {
        let generation = self.machine.slots().generation;
        let of = |a: &(Post, u64, bool)| a.0 == Post::Monitor && a.1 == generation;
        *self.alive.iter().find(|(_, a)| of(a)).expect("a monitor").0
    }

    fn reload(&mut self, number: u64) {
        let child = self.monitor();
        let plea = Plea::Command { number, command: Command::Reload };
        self.step(Event::Plea { child, plea });
    }

    fn ask(&mut self, number: u64, command: Command) {
        let child = self.monitor();
        self.step(Event::Plea { child, plea: Plea::Command { number, command } });
    }

    fn deliver(&mut self, claim: u64) {
        self.step(claimed(claim, Kind::Delta, PLAN.workers));
        self.finish(claim);
    }

    fn finish(&mut self, claim: u64) {
        for _ in 0..10 {
            self.alive.keys().copied().collect::<Vec<_>>().into_iter().for_each(|c| self.work(c));
            if let Some((of, settled)) = self.settle.take() {
                assert_eq!(of, claim);
                self.settled.push((claim, settled));
                self.step(Event::Settled);
                return;
            }
        }
        panic!("never settled");
    }
}

#[test]
fn a_delta_that_is_not_what_was_read_is_given_up_after_its_rejects_are_merged() {
    let mut world = World::running(PLAN);
    world.step(claimed(1, Kind::Delta, PLAN.workers));
    for slot in 0..PLAN.workers {
        let child = world.worker(slot);
        world.work(child);
    }
    let (child, order) = world.work.pop_first().expect("somebody finishes it");
    assert!(matches!(order, Order::Finish(ref f) if !f.failed), "{order:?}");
    let spoiled = || Report::Spoiled { claim: 1, reason: "cut".into() };
    world.step(Event::Report { child, report: spoiled() });
    assert!(
        world.told.contains(&Tell::GivenUp { claim: 1, reason: "cut".into() }),
        "{:?}",
        world.told
    );
    let (child, order) = world.work.pop_first().expect("somebody finishes it again");
    assert!(matches!(order, Order::Finish(ref f) if f.failed), "{order:?}");
    world.work.insert(child, order);
    world.finish(1);
    assert_eq!(world.settled, [(1, Settled::Failed)]);
    // It is over: whoever says so now babbles.
    world.step(Event::Report { child, report: spoiled() });
    assert!(matches!(world.told.last(), Some(Tell::Babble { .. })), "{:?}", world.told);
}

#[test]
fn a_delta_goes_the_whole_way() {
    let mut world = World::running(PLAN);
    assert!(world.machine.wants_delta());
    world.deliver(1);
    world.deliver(2);
    assert_eq!(world.settled, [(1, Settled::Done), (2, Settled::Done)]);
    assert_eq!(world.machine.deadline(), None, "nothing is due while nothing happens");
}

/// The oldest delta, of which the first share is in, and one that runs ahead.
fn ahead(plan: Plan) -> World {
    let mut world = World::running(plan);
    world.step(claimed(1, Kind::Delta, 2));
    assert!(!world.machine.wants_delta(), "nobody could begin it");
    world.work(world.worker(0));
    assert!(world.machine.wants_delta());
    world.step(follows(2));
    assert_eq!((world.hand(0), world.hand(1)), (Some((2, Some(0))), Some((1, Some(1)))));
    world
}

#[test]
fn a_worker_goes_on_to_the_next_delta_and_they_settle_in_order() {
    let mut world = ahead(PLAN);
    world.work(world.worker(0));
    assert_eq!(world.hand(0), None);
    assert!(world.machine.wants_delta(), "one more may be begun");
    world.work(world.worker(1));
    // Whoever is free first finishes the first; the other goes on.
    let hands = [world.hand(0), world.hand(1)];
    assert_eq!(hands, [Some((1, None)), Some((2, Some(1)))]);
    let finish = world.work.values().find_map(|order| match order {
        Order::Finish(finish) => Some(finish.passed.clone()),
        _ => None,
    });
    assert_eq!(
        finish,
        Some(vec![0]),
        "it is not told what is dealt now: it is not read anew anyhow"
    );
    world.work(world.worker(1));
    assert_eq!(world.hand(1), None, "the second waits, complete");
    world.work(world.worker(0));
    world.move_it();
    world.finish(2);
    assert_eq!(world.settled, [(1, Settled::Done), (2, Settled::Done)]);
    assert_eq!(world.machine.deadline(), None);
}

#[test]
fn what_is_divided_otherwise_is_a_barrier() {
    let mut world = World::running(PLAN);
    world.step(claimed(1, Kind::Delta, 2));
    world.work(world.worker(0));
    world.step(claimed(2, Kind::Delta, 2));
    assert_eq!((world.hand(0), world.machine.wants_delta()), (None, false));
    world.step(follows(3)); // divided as that one, and behind it all the same
    assert_eq!(world.hand(0), None);
    world.finish(1);
    assert_eq!((world.hand(0), world.hand(1)), (Some((2, Some(0))), Some((2, Some(1)))));
}

#[test]
fn where_a_failed_delta_stops_those_behind_it_none_is_begun_before_its_end() {
    let mut world = World::running(Plan { stop_on_failed: true, ..PLAN });
    world.step(claimed(1, Kind::Delta, 2));
    world.work(world.worker(0));
    assert!(!world.machine.may_take_up());
    // One that is open already, since the configuration was another one.
    world.step(follows(2));
    assert_eq!(world.hand(0), None);
}

#[test]
fn a_delta_that_does_not_end_where_it_should_is_passed_by_none() {
    let mut world = World::running(PLAN);
    world.step(claimed(1, Kind::Delta, 2));
    let child = world.worker(0);
    world.work.remove(&child);
    let report = Report::ShareDone { claim: 1, share: 0, bounded: false };
    world.step(Event::Report { child, report });
    assert!(!world.machine.wants_delta());
    world.step(follows(2));
    assert_eq!(world.hand(0), None);
    world.work(world.worker(1));
    let grows = world.worker(0);
    world.grow(grows);
    assert!(world.work.values().all(|o| matches!(o, Order::Deal(s) if s.claim == 1)));
    assert!(world.work.values().all(|o| matches!(o, Order::Deal(s) if s.end.is_none())));
}

#[test]
fn nobody_may_say_of_a_delta_that_was_passed_that_it_has_grown() {
    let mut world = ahead(PLAN);
    world.work(world.worker(1));
    assert_eq!(world.hand(1), Some((1, None)));
    world.grow(world.worker(1));
    assert!(matches!(world.told.last(), Some(Tell::Babble { .. })));
    assert_eq!(world.hand(0), Some((2, Some(0))), "nothing is read anew");
    let child = world.worker(1);
    world.die(child);
    world.say_ready(world.worker(1));
    assert_eq!(world.hand(1), Some((1, None)));
    world.finish(1);
}

#[test]
fn a_delta_that_may_be_read_anew_is_not_passed() {
    let mut world = World::running(PLAN);
    world.step(claimed(1, Kind::Delta, 1));
    world.work(world.worker(0));
    assert_eq!(world.hand(0), Some((1, None)));
    assert!(!world.machine.wants_delta(), "whoever finishes it was told of none");
    world.grow(world.worker(0));
    assert_eq!(world.hand(0), Some((1, Some(0))));
}

#[test]
fn nothing_is_begun_beyond_a_delta_that_fails_before_that_is_settled() {
    let mut world = ahead(PLAN);
    world.fail(1);
    // It is finished now, and dated by that; whoever was ahead goes on with what it has.
    assert_eq!((world.hand(0), world.hand(1)), (Some((2, Some(0))), Some((1, None))));
    world.work(world.worker(0));
    assert_eq!((world.hand(0), world.machine.wants_delta()), (None, false));
    world.work(world.worker(1));
    assert_eq!((world.hand(0), world.hand(1)), (None, None), "not before it has moved");
    world.move_it();
    assert_eq!(world.hand(1), Some((2, Some(1))));
    world.finish(2);
    assert_eq!(world.settled, [(1, Settled::Failed), (2, Settled::Done)]);
}

#[test]
fn who_cancels_what_is_ahead_gives_up_that_alone() {
    let mut world = ahead(PLAN);
    let asker = Asker { monitor: world.monitor(), number: 7 };
    world.step(Event::Cancel { claim: 2, asker: Some(asker) });
    assert_eq!(world.abandoned, [(world.worker(0), Order::Abandon { claim: 2 })]);
    assert_eq!(world.told.last(), Some(&Tell::Cancelled { claim: 2 }));
    world.fail(0);
    assert_eq!((world.hand(0), world.answers.len()), (None, 0), "it is settled in its turn");
    world.work(world.worker(1));
    world.finish(1);
    world.finish(2);
    assert_eq!(world.settled, [(1, Settled::Done), (2, Settled::Failed)]);
    assert!(matches!(&world.answers[..], [(_, Answer { number: 7, result: Ok(_) })]));
}

#[test]
fn the_shares_of_one_who_dies_ahead_wait_again_and_its_lines_count_for_its_delta() {
    let mut world = ahead(PLAN);
    let child = world.worker(0);
    for _ in 0..2 {
        let child = world.worker(0);
        world.step(Event::Suspect { child, line: 3 });
        world.die(child);
        world.now += 200; // the second replacement waits a little
        world.step(Event::Time);
        world.say_ready(world.worker(0));
    }
    assert_ne!(world.worker(0), child);
    let order = &world.work[&world.worker(0)];
    assert!(matches!(order, Order::Deal(s) if (s.claim, s.share) == (2, 0) && s.poison == [3]));
    // And it is not believed of the other delta.
    let child = world.worker(0);
    let report = Report::ShareDone { claim: 1, share: 0, bounded: true };
    world.step(Event::Report { child, report });
    assert!(matches!(world.told.last(), Some(Tell::Babble { .. })));
}

#[test]
fn no_more_than_some_deltas_are_open_at_once() {
    let mut world = ahead(PLAN);
    for claim in 3..=OPEN as u64 {
        assert!(!world.machine.wants_delta(), "nobody could begin it");
        world.work(world.worker(0));
        assert!(world.machine.wants_delta());
        world.step(follows(claim));
    }
    world.work(world.worker(0));
    assert!(!world.machine.wants_delta());
    for claim in 1..=OPEN as u64 {
        world.finish(claim);
    }
    assert!(world.settled.iter().map(|(claim, _)| *claim).eq(1..=OPEN as u64));
}

#[test]
fn what_was_ahead_before_a_restart_is_ahead_after_it_and_nothing_passed_is_read_again() {
    let mut world = World::running(PLAN);
    let (kind, shares, passed) = (Kind::Delta, 2, vec![0]);
    world.step(Event::Claimed { claim: 1, kind, shares, follows: false, passed });
    assert_eq!((world.hand(0), world.hand(1)), (None, Some((1, Some(1)))));
    assert!(world.machine.may_take_up());
    world.step(follows(2));
    assert_eq!(world.hand(0), Some((2, Some(0))));
    world.work(world.worker(1));
    let passed = world.work.values().find_map(|order| match order {
        Order::Finish(finish) => Some(finish.passed.clone()),
        _ => None,
    });
    assert_eq!(passed, Some(vec![0]), "it is not to be read anew");
    world.finish(1);
    world.finish(2);
}

#[test]
fn a_dead_workers_share_goes_to_its_replacement() {
    let mut world = World::running(PLAN);
    world.step(claimed(1, Kind::Delta, 2));
    let first = world.worker(1);
    world.die(first);
    let second = world.worker(1);
    assert_ne!(first, second);
    assert!(!world.work.contains_key(&second), "it is not ready yet");
    world.say_ready(second);
    assert!(matches!(&world.work[&second], Order::Deal(s) if s.share == 1));
    world.finish(1);
}

#[test]
fn a_hung_worker_is_replaced_only_when_it_is_gone() {
    let mut world = World::running(PLAN);
    world.step(claimed(1, Kind::Delta, 2));
    let hung = world.worker(0);
    world.step(Event::Silent { child: hung });
    world.step(Event::Silent { child: hung });
    assert_eq!(world.machine.hangs, 1);
    assert_eq!(world.worker(0), hung);
    world.die(hung);
    assert_ne!(world.worker(0), hung);
}

#[test]
fn one_that_hangs_and_then_dies_of_a_line_is_one_death() {
    let mut world = World::running(PLAN);
    world.step(claimed(1, Kind::Delta, 2));
    let child = world.worker(0);
    world.step(Event::Suspect { child, line: 7 });
    world.step(Event::Silent { child });
    world.step(Event::Suspect { child, line: 7 });
    world.die(child);
    let child = world.worker(0);
    world.say_ready(child);
    let poison = |world: &World| match &world.work[&world.worker(0)] {
        Order::Deal(share) => share.poison.clone(),
        other => panic!("{other:?} is no share"),
    };
    assert!(poison(&world).is_empty());
    world.step(Event::Suspect { child, line: 7 });
    world.die(child);
    world.now = world.machine.deadline().expect("the second replacement has to wait");
    world.step(Event::Time);
    world.say_ready(world.worker(0));
    assert_eq!(poison(&world), [7]);
}

#[test]
fn a_child_that_says_what_does_not_fit_is_killed() {
    let mut world = World::running(PLAN);
    world.step(claimed(7, Kind::Delta, 2));
    let child = world.worker(0);
    let report = Report::ShareDone { claim: 7, share: 1, bounded: true };
    world.step(Event::Report { child, report });
    assert!(matches!(world.told.last(), Some(Tell::Babble { .. })));
}

#[test]
fn a_reload_changes_nothing_until_every_new_child_is_ready() {
    let mut world = World::running(PLAN);
    world.step(claimed(1, Kind::Delta, 2));
    let old = [world.worker(0), world.worker(1)];
    world.reload(5);
    assert!(std::mem::take(&mut world.configure));
    world.step(Event::Configured(Ok(Plan { workers: 3, ..PLAN })));
    assert_eq!(world.alive.len(), 3 + 4);
    assert_eq!(world.worker(0), old[0]);
    assert!(world.answers.is_empty());
    world.all_ready();
    assert_eq!(world.adopted, 1);
    assert!(matches!(&world.answers[..], [(_, Answer { number: 5, result: Ok(_) })]));
    let new = world.worker(0);
    assert_ne!(new, old[0]);
    assert!(!world.work.contains_key(&new), "the old one still has the share");
    world.leavers_leave();
    assert!(world.work.contains_key(&new));
    world.finish(1);
    assert_eq!(world.alive.len(), 4);
}

#[test]
fn a_reload_that_fails_keeps_the_old_generation_and_says_why() {
    let mut world = World::running(PLAN);
    world.reload(1);
    world.step(Event::Configured(Err("x.toml:1:1: no".into())));
    assert_eq!(world.refused, ["x.toml:1:1: no"]);

    world.reload(2);
    world.step(Event::Configured(Ok(PLAN)));
    let new = *world.alive.keys().next_back().unwrap();
    world.die(new);
    assert_eq!(world.refused.len(), 2);
    assert!(world.answers.iter().all(|(_, a)| a.result.is_err()));
    world.leavers_leave();
    assert_eq!(world.alive.len(), 3);
    world.deliver(1);
}

#[test]
fn a_reload_in_a_reload_comes_after_it() {
    let mut world = World::running(PLAN);
    world.reload(1);
    world.configure = false;
    world.step(Event::Configured(Ok(PLAN)));
    world.step(Event::Hangup);
    assert!(!world.configure);
    world.all_ready();
    assert!(!world.configure, "the old generation has not left yet");
    world.leavers_leave();
    assert!(world.configure);
}

#[test]
fn draining_ends_in_the_middle_of_a_reload_too() {
    let mut world = World::running(PLAN);
    world.reload(1);
    world.step(Event::Configured(Ok(PLAN)));
    world.step(Event::Leave);
    assert!(world.answers.iter().any(|(_, a)| a.result.is_err()));
    for _ in 0..3 {
        world.leavers_leave();
        world.step(Event::Time);
    }
    assert_eq!(world.exit, Some(0));
}

#[test]
fn those_that_do_not_leave_are_killed_before_stop_timeout() {
    let mut world = World::running(PLAN);
    world.step(Event::Leave);
    let due = world.machine.deadline().expect("nothing is waited for without a deadline");
    assert!(due < world.now + PLAN.stop_timeout);
    world.now = due;
    world.step(Event::Time);
    assert_eq!(world.told.iter().filter(|t| matches!(t, Tell::Overdue { .. })).count(), 2);
}

#[test]
fn a_child_that_hangs_up_and_lives_on_has_no_new_share_and_is_killed() {
    let mut world = World::running(PLAN);
    let (mute, other) = (world.worker(0), world.worker(1));
    world.step(Event::HungUp { child: mute });
    world.step(claimed(1, Kind::Delta, 2));
    assert!(world.work.contains_key(&other) && !world.work.contains_key(&mute));
    let due = world.machine.deadline().expect("nothing is waited for without a deadline");
    world.now = due;
    world.step(Event::Time);
    assert_eq!(killed(&world), Some(mute));
    world.die(mute);
    assert_eq!(world.machine.deaths, 1);
    world.all_ready();
    world.finish(1);
}

#[test]
fn a_stop_takes_no_longer_than_the_stop_timeout_in_force_for_the_old_generation_either() {
    let mut world = World::running(Plan { stop_timeout: 60_000, ..PLAN });
    world.reload(1);
    world.step(Event::Configured(Ok(Plan { stop_timeout: 10_000, ..PLAN })));
    world.all_ready();
    assert_eq!(world.adopted, 1);
    world.step(Event::Leave);
    world.now += 10_000;
    world.step(Event::Time);
    let mut workers = world.machine.children.values().filter(|c| c.post != Post::Monitor);
    assert!(workers.all(|c| c.life == Life::Killed), "old and new");
}

#[test]
fn a_storm_of_deaths_brings_no_deadline_nearer() {
    let mut world = World::running(Plan { workers: 50, ..PLAN });
    let leaver = world.worker(0);
    world.step(Event::Leave);
    let due = world.machine.deadline();
    let is_other = |(id, it): &(&ChildId, &(Post, u64, bool))| {
        **id != leaver && it.0 != Post::Monitor // which is there to the end
    };
    let others: Vec<ChildId> = world.alive.iter().filter(is_other).map(|(id, _)| *id).collect();
    others.into_iter().for_each(|child| world.die(child));
    assert_eq!(world.machine.deadline(), due);
    assert!(matches!(world.machine.children[&leaver].life, Life::Leaving(_)));
}

#[test]
fn a_feed_that_is_to_stop_at_a_failed_delta_ends() {
    let plan = Plan { stop_on_failed: true, ..PLAN };
    let mut world = World::around(Machine::new(plan, false));
    world.all_ready();
    world.step(claimed(1, Kind::Delta, 1));
    let child = world.worker(0);
    world.work.remove(&child);
    let report = Report::ShareFailed { claim: 1, share: 0, reason: "torn".into() };
    world.step(Event::Report { child, report });
    world.finish(1);
    assert_eq!(world.settled, [(1, Settled::Failed)]);
    world.leavers_leave();
    assert_eq!(world.exit, Some(0), "nobody could tell it to go on");
}

#[test]
fn a_daemon_whose_workers_are_stillborn_ends() {
    let mut world = World::new(PLAN);
    for _ in 0..STILLBORN {
        world.now = world.machine.deadline().unwrap_or(world.now).max(world.now);
        world.step(Event::Time);
        let child = world.worker(0);
        world.die(child);
    }
    assert!(matches!(world.told.last(), Some(Tell::Fatal { .. })));
    while let Some(child) = killed(&world) {
        world.die(child);
    }
    world.leavers_leave();
    world.leavers_leave();
    assert_eq!(world.exit, Some(1));
}

#[test]
fn a_failed_delta_takes_its_shares_back_before_it_is_settled() {
    let mut world = World::running(PLAN);
    world.step(claimed(1, Kind::Delta, 2));
    let (a, b) = (world.worker(0), world.worker(1));
    world.work.remove(&a);
    let report = Report::ShareFailed { claim: 1, share: 0, reason: "torn".into() };
    world.step(Event::Report { child: a, report });
    assert_eq!(world.settle, None);
    world.work.remove(&b);
    let report = Report::ShareFailed { claim: 1, share: 1, reason: "given up".into() };
    world.step(Event::Report { child: b, report });
    world.finish(1);
    assert_eq!(world.settled, [(1, Settled::Failed)]);
}

#[test]
fn a_cancelled_delta_is_settled_when_its_shares_are_back_and_then_it_is_answered() {
    let mut world = World::running(Plan { stop_on_failed: true, ..PLAN });
    world.step(claimed(1, Kind::Delta, 2));
    let (a, b) = (world.worker(0), world.worker(1));
    let asker = Asker { monitor: world.monitor(), number: 7 };
    world.step(Event::Cancel { claim: 1, asker: Some(asker) });
    assert!(matches!(world.told.last(), Some(Tell::Cancelled { .. })));
    for (share, child) in [(0, a), (1, b)] {
        assert_eq!((world.settle, world.answers.len()), (None, 0));
        world.work.remove(&child);
        let report = Report::ShareFailed { claim: 1, share, reason: "given up".into() };
        world.step(Event::Report { child, report });
    }
    world.finish(1);
    assert_eq!(world.settled, [(1, Settled::Failed)]);
    assert!(matches!(&world.answers[..], [(_, Answer { number: 7, result: Ok(_) })]));
    assert!(world.machine.wants_delta(), "who cancels has looked");
}

#[test]
fn what_is_delivered_already_cannot_be_cancelled() {
    let mut world = World::running(PLAN);
    world.step(claimed(1, Kind::Delta, 2));
    let (a, b) = (world.worker(0), world.worker(1));
    world.work(a);
    world.work(b);
    let asker = Asker { monitor: world.monitor(), number: 7 };
    world.step(Event::Cancel { claim: 1, asker: Some(asker) });
    let refused = |a: &Answer| matches!(&a.result, Err((code, _)) if code == "too_late");
    assert!(world.answers.is_empty(), "that depends on whoever finishes it");
    world.finish(1);
    assert!(matches!(&world.answers[..], [(_, a)] if refused(a)));
    assert_eq!(world.settled, [(1, Settled::Done)]);
}

#[test]
fn what_goes_on_growing_is_given_up_when_whoever_finishes_it_says_so() {
    for dies in [false, true] {
        let mut world = World::running(PLAN);
        world.step(claimed(1, Kind::Delta, 1));
        world.work(world.worker(0));
        let asker = Asker { monitor: world.monitor(), number: 7 };
        world.step(Event::Cancel { claim: 1, asker: Some(asker) });
        let order = Order::Abandon { claim: 1 };
        assert_eq!(world.abandoned, [(world.worker(0), order.clone())]);
        if dies {
            world.die(world.worker(0)); // another is told, too
            assert_eq!(world.abandoned[1..], [(world.worker(1), order)]);
        }
        let at_it = world.worker(dies.into());
        world.work.remove(&at_it);
        let reason = "the delta is given up".into();
        world.step(Event::Report { child: at_it, report: Report::Spoiled { claim: 1, reason } });
        assert!(matches!(world.told.last(), Some(Tell::Cancelled { .. })));
        world.finish(1);
        assert_eq!(world.settled, [(1, Settled::Failed)]);
        assert!(matches!(&world.answers[..], [(_, Answer { number: 7, result: Ok(_) })]));
    }
}

#[test]
fn one_that_is_to_be_taken_up_again_is_given_up_before_a_line_of_it_is_sent() {
    let mut world = World::running(PLAN);
    world.step(Event::Cancel { claim: 5, asker: None });
    world.step(claimed(5, Kind::Delta, 2));
    assert!(world.work.values().all(|o| matches!(o, Order::Finish(f) if f.failed)));
    world.finish(5);
    assert_eq!(world.settled, [(5, Settled::Failed)]);
    world.deliver(6);
    assert_eq!(world.settled[1], (6, Settled::Done));
}

#[test]
fn who_waits_for_a_cancelled_delta_hears_of_it_when_the_daemon_leaves() {
    let mut world = World::running(PLAN);
    world.step(claimed(1, Kind::Delta, 2));
    let asker = Asker { monitor: world.monitor(), number: 7 };
    world.step(Event::Cancel { claim: 1, asker: Some(asker) });
    world.step(Event::Leave);
    let refused = |a: &Answer| matches!(&a.result, Err((code, _)) if code == "draining");
    assert!(matches!(&world.answers[..], [(_, a)] if refused(a)));
}

#[test]
fn rejected_lines_that_could_not_be_retried_hold_nothing_back() {
    let mut world = World::running(Plan { stop_on_failed: true, ..PLAN });
    world.step(claimed(1, Kind::Rejects, 2));
    for (share, child) in [world.worker(0), world.worker(1)].into_iter().enumerate() {
        world.work.remove(&child);
        let report = Report::ShareFailed { claim: 1, share: share as u32, reason: "gone".into() };
        world.step(Event::Report { child, report });
    }
    world.finish(1);
    assert!(world.machine.wants_delta());
}

#[test]
fn what_changes_the_spool_is_not_done_while_the_daemon_leaves() {
    let mut world = World::running(PLAN);
    let drop = Command::Drop(orders::Which::All);
    world.ask(1, drop.clone());
    assert_eq!((&world.asked[..], world.answers.len()), (&[drop.clone()][..], 0));
    world.step(Event::Leave);
    world.ask(2, drop);
    assert_eq!(world.asked.len(), 1);
    let refused = |a: &Answer| matches!(&a.result, Err((code, _)) if code == "draining");
    assert!(matches!(&world.answers[..], [(_, a @ Answer { number: 2, .. })] if refused(a)));
}

#[test]
fn a_failed_delta_holds_back_the_next_until_somebody_has_looked() {
    let mut world = World::running(Plan { stop_on_failed: true, ..PLAN });
    world.step(claimed(1, Kind::Delta, 2));
    for (share, child) in [world.worker(0), world.worker(1)].into_iter().enumerate() {
        world.work.remove(&child);
        let (share, reason) = (share as u32, "torn".into());
        let report = Report::ShareFailed { claim: 1, share, reason };
        world.step(Event::Report { child, report });
    }
    world.finish(1);
    assert!(world.machine.holding && !world.machine.wants_delta());
    world.step(Event::Looked);
    assert!(!world.machine.holding && world.machine.wants_delta());
}

#[test]
fn a_paused_daemon_claims_nothing_and_settles_what_is_in() {
    let mut world = World::running(PLAN);
    world.step(claimed(1, Kind::Delta, 2));
    world.machine.paused = true;
    [world.worker(0), world.worker(1)].into_iter().for_each(|child| world.work(child));
    world.finish(1);
    assert!(world.machine.delta().is_none() && !world.machine.wants_delta());
    world.step(Event::Looked);
    assert!(!world.machine.wants_delta(), "that a person has looked is no reason");
    world.machine.paused = false;
    assert!(world.machine.wants_delta());
}

#[test]
fn a_daemon_that_cannot_fork_ends_too() {
    let mut world = World::new(PLAN);
    for _ in 0..STILLBORN {
        world.now = world.machine.deadline().unwrap_or(world.now).max(world.now);
        world.step(Event::Time);
        let child = world.worker(0);
        world.alive.remove(&child);
        world.step(Event::NotForked { child, reason: "no memory".into() });
    }
    let fatal = |tell: &Tell| matches!(tell, Tell::Fatal { reason } if reason == "no memory");
    assert!(world.told.iter().any(fatal));
}

#[test]
fn a_reload_asked_for_when_the_file_was_read_already_is_told_to_ask_again() {
    let mut world = World::running(PLAN);
    world.reload(1);
    world.step(Event::Configured(Ok(PLAN)));
    world.reload(2);
    let busy = |a: &Answer| matches!(&a.result, Err((code, _)) if code == "busy");
    assert!(matches!(&world.answers[..], [(_, a @ Answer { number: 2, .. })] if busy(a)));
    world.all_ready();
    assert!(matches!(&world.answers[1..], [(_, Answer { number: 1, result: Ok(_) })]));
}

#[test]
fn a_leaver_that_had_to_be_killed_is_no_death_and_deaths_are_counted_over_reloads() {
    let mut world = World::running(PLAN);
    let dead = world.worker(1);
    world.die(dead);
    world.all_ready();
    world.reload(1);
    world.step(Event::Configured(Ok(PLAN)));
    world.all_ready();
    while let Some(due) = world.machine.deadline() {
        world.now = due;
        world.step(Event::Time);
    }
    while let Some(child) = killed(&world) {
        world.die(child);
    }
    assert_eq!(world.machine.deaths, 1);
    let restarts: Vec<u64> = world.machine.slots().iter().map(|slot| slot.restarts).collect();
    assert_eq!(restarts, [0, 1, 0]);
}

/// Everything at any moment, for many seeds: a delta in hand is always settled in the end, no
/// share is ever in two living hands, nothing is waited for without a deadline, and the daemon
/// always ends when it is told to.
#[test]
fn whatever_dies_whenever_every_delta_is_settled_and_the_daemon_ends() {
    for seed in 1..=400u64 {
        let mut dice = Dice(seed);
        let mut world = World::running(PLAN);
        let mut claim = 0;
        for _ in 0..300 {
            world.now += dice.roll(400);
            let alive: Vec<ChildId> = world.alive.keys().copied().collect();
            let child = alive.get(dice.roll(alive.len().max(1) as u64) as usize).copied();
            match (dice.roll(13), child) {
                (0, Some(child)) => world.die(child),
                (1, _) => world.step(Event::Hangup),
                (2, Some(child)) => world.step(Event::Silent { child }),
                (3, _) => world.leavers_leave(),
                (4 | 5, Some(child)) => world.say_ready(child),
                (6..=8, Some(child)) => world.work(child),
                (9, Some(child)) => world.grow(child),
                (12, _) if claim > 0 => {
                    let claim = claim - dice.roll(claim.min(3));
                    if world.settled.iter().all(|(settled, _)| *settled != claim) {
                        world.step(Event::Cancel { claim, asker: None });
                    }
                }
                _ => world.step(Event::Time),
            }
            world_answers(&mut world, &mut dice, &mut claim);
        }
        // Left alone, it comes to rest.
        for _ in 0..400 {
            world.now = world.machine.deadline().unwrap_or(world.now).max(world.now);
            world.step(Event::Time);
            world.all_ready();
            world.leavers_leave();
            world.alive.keys().copied().collect::<Vec<_>>().into_iter().for_each(|c| world.work(c));
            while let Some(dead) = killed(&world) {
                world.die(dead);
            }
            if std::mem::take(&mut world.configure) {
                world.step(Event::Configured(Ok(PLAN)));
            }
            if let Some(settled) = world.settle.take() {
                world.settled.push(settled);
                world.step(Event::Settled);
            }
        }
        assert!(world.machine.delta().is_none(), "seed {seed}: never settled");
        assert_eq!(world.settled.len() as u64, claim, "seed {seed}");
        let generations: BTreeSet<u64> = world.alive.values().map(|a| a.1).collect();
        let crew = world.machine.slots().workers as usize + 1;
        assert_eq!((world.alive.len(), generations.len()), (crew, 1), "seed {seed}");
        world.step(Event::Leave);
        for _ in 0..3 {
            world.leavers_leave();
            world.step(Event::Time);
        }
        assert_eq!(world.exit, Some(0), "seed {seed}");
    }
}

/// The world's side of configuring, settling and claiming.
fn world_answers(world: &mut World, dice: &mut Dice, claim: &mut u64) {
    if world.configure && dice.roll(2) == 0 {
        world.configure = false;
        let plan = Plan { workers: 1 + dice.roll(3) as u32, ..PLAN };
        let read = if dice.roll(3) == 0 { Err("no".into()) } else { Ok(plan) };
        world.step(Event::Configured(read));
    }
    if world.settle.is_some() && dice.roll(3) == 0 {
        world.settle = None;
        world.step(Event::NotSettled);
    } else if let Some(settled) = world.settle.take() {
        world.settled.push(settled);
        world.step(Event::Settled);
    }
    if world.machine.wants_delta() && dice.roll(3) == 0 {
        *claim += 1;
        world.step(if dice.roll(4) == 0 {
            claimed(*claim, Kind::Delta, 2)
        } else {
            follows(*claim)
        });
    }
}

/// One that SIGKILL was sent to: the kernel does its part.
fn killed(world: &World) -> Option<ChildId> {
    let dead = world.machine.children.iter().find(|(_, c)| c.life == Life::Killed);
    dead.map(|(id, _)| *id)
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}
