//! Machines with a bug: the true one, whose events are kept from it, whose actions are changed or
//! whose memory is tampered with. The checker must see every one of them, or it sees nothing.

use crate::machine::*;

/// What is wrong with the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// Nothing: the machine as it is.
    None,
    /// What a dead worker had is not given back.
    KeepsADeadOnesShare,
    /// What a leaving worker has is dealt again before it is gone.
    DealsTooSoon,
    /// What a worker is given waits for another one still.
    DealsTwice,
    /// The death of one that has something in hand is not heard of.
    MissesADeath,
    /// Whoever is to be killed is not.
    ForgetsToKill,
    /// A child that leaves has no deadline.
    LeavingForEver,
    /// A child that starts has no deadline.
    StartingForEver,
    /// A vacant slot is never due.
    NeverReplaces,
    /// One that is killed is replaced before it is reaped.
    ReplacesTheLiving,
    /// What is due is not done.
    SleepsOn,
    /// Whoever asked for a reload is forgotten when it is refused.
    ForgetsWhoAsked,
    /// Each answer is given twice.
    AnswersTwice,
    /// The configuration that was read is lost.
    LosesTheFile,
    /// A new generation is in force before it is ready.
    AdoptsTooSoon,
    /// The old generation stays when the new one is in force.
    KeepsTheOld,
    /// A reload begins when what is left of the last one is still leaving.
    ReloadsInAReload,
    /// Each reload says again that the daemon is ready.
    ReadyAgain,
    /// A delta is settled when the first of its shares is in.
    SettlesTooSoon,
    /// A delta is settled twice.
    SettlesTwice,
    /// A delta that has grown is settled as it was.
    ReadsNothingAgain,
    /// A share of a later delta is dealt while the same one of an earlier delta is not in.
    RunsTooFar,
    /// One is dealt beyond a delta that is given up.
    RunsBeyondWhatFailed,
    /// One is dealt of a delta that is divided otherwise.
    SeesNoBarrier,
    /// One is dealt while whoever finishes the earlier delta may say that it has grown.
    TellsNobody,
    /// A later delta is settled first.
    SettlesTheLaterFirst,
    /// One death of a line counts as two.
    CountsADeathTwice,
    /// A line that two have died of is read again.
    ForgetsPoison,
    /// The end comes when the monitor is still there.
    EndsTooSoon,
    /// Whoever is told to stop takes a minute more.
    StopsLate,
}

impl Lie {
    /// The machine's step, with this wrong.
    pub(super) fn step(self, machine: &mut Machine, event: Event, now: u64) -> Vec<Action> {
        match (self, &event) {
            (Lie::MissesADeath, Event::Reaped { child, .. }) if has_a_share(machine, *child) => {
                return Vec::new();
            }
            (Lie::LosesTheFile, Event::Configured(_)) | (Lie::SleepsOn, Event::Time)
                if machine.phase == Phase::Running =>
            {
                return Vec::new();
            }
            _ => {}
        }
        let mut actions = machine.step(event.clone(), now);
        match self {
            Lie::None | Lie::MissesADeath | Lie::LosesTheFile | Lie::SleepsOn => {}
            Lie::KeepsADeadOnesShare => keep_share(machine, &event),
            Lie::DealsTooSoon => {
                let leaver = |action: &Action| match action {
                    Action::Close { child } => Some(*child),
                    _ => None,
                };
                let deltas = machine.deltas.iter_mut();
                deltas.for_each(|d| actions.iter().filter_map(leaver).for_each(|c| d.gone(c)));
            }
            Lie::DealsTwice => {
                let dealt = |action: &Action| match action {
                    Action::Send { child, order: Order::Deal(_) } => Some(*child),
                    _ => None,
                };
                let deltas = machine.deltas.iter_mut();
                deltas.for_each(|d| actions.iter().filter_map(dealt).for_each(|c| d.gone(c)));
            }
            Lie::ForgetsToKill => actions.retain(|action| killed(action).is_none()),
            Lie::LeavingForEver | Lie::StartingForEver | Lie::StopsLate => self.put_off(machine),
            Lie::NeverReplaces => {
                let vacant = machine.slots.iter_mut().filter(|slot| slot.holder.is_none());
                for slot in vacant {
                    slot.vacate(u64::MAX / 2, 0);
                }
            }
            Lie::ReplacesTheLiving => {
                for child in actions.iter().filter_map(killed) {
                    if let Some(slot) = machine.slots.of(child) {
                        slot.vacate(now, 0);
                    }
                }
            }
            Lie::ForgetsWhoAsked => {
                actions.retain(|action| match action {
                    Action::Answer { answer, .. } => answer.result.is_ok(),
                    _ => true,
                });
            }
            Lie::AnswersTwice => {
                let answers = actions.iter().filter(|a| matches!(a, Action::Answer { .. }));
                actions.extend(answers.cloned().collect::<Vec<_>>());
            }
            Lie::AdoptsTooSoon => {
                if let Reload::Starting(slots, _) = &machine.reload {
                    machine.slots = slots.clone();
                    machine.reload = Reload::None;
                    actions.push(Action::Adopt);
                }
            }
            Lie::KeepsTheOld => {
                for child in machine.children.values_mut().filter(|c| c.leaving) {
                    (child.life, child.leaving) = (Life::Ready, false);
                }
                actions.retain(|action| !matches!(action, Action::Close { .. }));
            }
            Lie::ReloadsInAReload => {
                let settled = machine.phase == Phase::Running && machine.reload == Reload::None;
                if machine.again && settled {
                    (machine.again, machine.reload) = (false, Reload::Reading);
                    actions.push(Action::Configure);
                }
            }
            Lie::ReadyAgain => {
                if actions.contains(&Action::Adopt) {
                    actions.push(Action::Ready);
                }
            }
            Lie::SettlesTooSoon => {
                if let (Event::Report { report: Report::ShareDone { .. }, .. }, Some(delta)) =
                    (&event, machine.deltas.front_mut())
                {
                    delta.set_finish(Finish::Settle(now));
                    machine.settle(now, &mut actions);
                }
            }
            Lie::SettlesTwice => {
                let settle = actions.iter().find(|a| matches!(a, Action::Settle { .. })).cloned();
                actions.extend(settle);
            }
            Lie::ReadsNothingAgain => {
                if let (Event::Report { report: Report::Grown { .. }, .. }, Some(delta)) =
                    (&event, machine.deltas.front_mut())
                {
                    delta.set_finish(Finish::Settle(now));
                    machine.settle(now, &mut actions);
                }
            }
            Lie::RunsTooFar | Lie::RunsBeyondWhatFailed => {
                self.run_ahead(machine, now, &mut actions)
            }
            Lie::SeesNoBarrier => machine.deltas.iter_mut().for_each(|d| d.follows = true),
            Lie::TellsNobody => {
                for action in &mut actions {
                    if let Action::Send { order: Order::Finish(finish), .. } = action {
                        finish.passed.clear();
                    }
                }
            }
            Lie::SettlesTheLaterFirst => {
                if let (Event::Claimed { .. }, 2..) = (&event, machine.deltas.len()) {
                    machine.deltas.swap(0, 1);
                }
            }
            Lie::CountsADeathTwice => {
                if let (Event::Suspect { child, line }, Some(delta)) =
                    (&event, machine.deltas.front_mut())
                {
                    delta.suspect(*child, *line);
                }
            }
            Lie::ForgetsPoison => {
                for action in &mut actions {
                    if let Action::Send { order: Order::Deal(share), .. } = action {
                        share.poison.clear();
                    }
                }
            }
            Lie::EndsTooSoon => {
                let monitors = machine.children.values().all(|c| c.post == Post::Monitor);
                if machine.phase == Phase::Draining && monitors {
                    actions.push(Action::Exit { code: 0 });
                }
            }
        }
        actions
    }

    /// Whoever is free takes what waits of the second delta.
    fn run_ahead(self, machine: &mut Machine, now: u64, actions: &mut Vec<Action>) {
        let (Some(oldest), Some(second)) = (machine.deltas.front(), machine.deltas.get(1)) else {
            return;
        };
        let wanted = |share: &u32| match self {
            Lie::RunsBeyondWhatFailed => oldest.failed.is_some() && oldest.is_in(*share),
            _ => oldest.failed.is_none() && !oldest.is_in(*share),
        };
        let Some(share) = second.waiting().into_iter().find(wanted) else { return };
        if let Some(child) = (0..machine.slots.workers).find_map(|slot| machine.free(slot, now)) {
            machine.deal_share(1, share, child, actions);
        }
    }

    fn put_off(self, machine: &mut Machine) {
        for child in machine.children.values_mut() {
            match (self, &mut child.life) {
                (Lie::LeavingForEver, Life::Leaving(by)) => *by = u64::MAX,
                (Lie::StartingForEver, Life::Starting(by)) => *by = u64::MAX,
                (Lie::StopsLate, Life::Leaving(by)) if machine.phase == Phase::Draining => {
                    *by += 60_000;
                }
                _ => {}
            }
        }
    }
}

fn has_a_share(machine: &Machine, child: ChildId) -> bool {
    machine.deltas.iter().any(|delta| delta.holders().contains(&child))
}

fn keep_share(machine: &mut Machine, event: &Event) {
    if let (Event::Reaped { child, .. }, Some(delta)) = (event, machine.deltas.front_mut()) {
        delta.waiting().into_iter().for_each(|share| delta.deal(share, *child));
    }
}

fn killed(action: &Action) -> Option<ChildId> {
    match action {
        Action::Kill { child } => Some(*child),
        _ => None,
    }
}
