//! How many requests at once a leader is worth: as few as bring what more would not. A leader with
//! many processors takes several side by side; one that is short of them does each of two at once
//! slower than one after the other. Nobody tells, so it is tried: for a moment with one more, or one
//! less, in turn with what was found before, by what all workers together get through.
//!
//! No clock here, and no socket: what was posted goes in with its time.

use scoreboard::Posted;

/// What is compared lasts so long, in milliseconds, and has so many requests for each lane.
const EPOCH: u64 = 250;
const REQUESTS: u64 = 4;
/// Longer than this it never lasts.
const LONGEST: u64 = 2000;
/// Before the first trial, in milliseconds; after one that found something; after one that was in
/// vain, twice as long each time.
const FIRST: u64 = 5000;
const FOUND: u64 = 500;
const IN_VAIN: u64 = 4000;
const MOST: u64 = 60_000;
/// One more must bring so much; so much of it must be left with one less.
const GAIN: f64 = 1.07;
const KEEP: f64 = 0.97;
/// What needs no second look.
const CLEAR: (f64, f64) = (0.8, 1.3);
/// Whether the epochs of a trial, in turn, are with the level that is tried: whatever drifts, drifts
/// for both.
const TRIAL: [bool; 6] = [false, true, true, false, false, true];

/// The search for the level that all lanes have.
#[derive(Debug, Clone)]
pub(crate) struct Climb {
    level: usize,
    most: usize,
    /// Where the epoch began.
    begin: Option<(u64, Posted)>,
    /// No trial before this.
    rests_until: Option<u64>,
    pause: u64,
    up: bool,
    /// The rates of the epochs of this trial so far.
    rates: Vec<f64>,
}

impl Climb {
    /// Never more than `most`.
    pub(crate) fn new(level: usize, most: usize) -> Climb {
        let most = most.max(1);
        Climb {
            level: level.clamp(1, most),
            most,
            begin: None,
            rests_until: None,
            pause: FIRST,
            up: true,
            rates: Vec::new(),
        }
    }

    /// What happens now is not to be compared with what was before.
    pub(crate) fn begin_anew(&mut self) {
        self.begin = None;
        self.rates.clear();
    }

    /// The level at present: found, or tried.
    pub(crate) fn level(&self) -> usize {
        match self.rests_until.is_some() && TRIAL.get(self.rates.len()) == Some(&true) {
            true => self.other(),
            false => self.level,
        }
    }

    fn other(&self) -> usize {
        if self.up { self.level + 1 } else { self.level - 1 }
    }

    /// All workers have posted so much by now, on so many lanes.
    pub(crate) fn observe(&mut self, now: u64, posted: Posted, lanes: usize) {
        let Some((began, before)) = self.begin else {
            self.begin = Some((now, posted));
            return;
        };
        if self.most == 1 {
            return;
        }
        let time = now.saturating_sub(began);
        let requests = posted.requests.wrapping_sub(before.requests);
        if time < EPOCH || requests < REQUESTS * lanes as u64 && time < LONGEST {
            return;
        }
        self.begin = Some((now, posted));
        let rests_until = *self.rests_until.get_or_insert(now + self.pause);
        if now < rests_until {
            return;
        }
        self.up = match self.level {
            1 => true,
            level if level >= self.most => false,
            _ => self.up,
        };
        self.rates.push(posted.bytes.wrapping_sub(before.bytes) as f64 / time as f64);
        if let Some(better) = self.verdict() {
            self.rates.clear();
            match better {
                true => (self.level, self.pause) = (self.other(), FOUND),
                false => {
                    (self.up, self.pause) = (!self.up, (2 * self.pause).clamp(IN_VAIN, MOST));
                }
            }
            self.rests_until = Some(now + self.pause);
        }
    }

    /// Whether the level that is tried is better, as soon as it can be told.
    fn verdict(&self) -> Option<bool> {
        let pairs = self.rates.chunks_exact(2).enumerate().map(|(n, pair)| match n {
            1 => pair[0] / pair[1],
            _ => pair[1] / pair[0],
        });
        let mut ratios: Vec<f64> = pairs.filter(|ratio| ratio.is_finite()).collect();
        let enough = if self.up { GAIN } else { KEEP };
        if self.rates.len() == TRIAL.len() {
            ratios.sort_by(f64::total_cmp);
            return Some(ratios.get(ratios.len() / 2).is_some_and(|ratio| *ratio >= enough));
        }
        match ratios[..] {
            [ratio] if self.rates.len() == 2 && ratio < CLEAR.0 => Some(false),
            [ratio] if self.rates.len() == 2 && ratio > CLEAR.1 => Some(true),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds for a minute from this one on; `rate`: bytes a millisecond with so many at once. Answers
    /// how long each level was in use, in ms.
    fn feed(climb: &mut Climb, minute: u64, rate: impl Fn(usize) -> f64) -> Vec<u64> {
        let (mut bytes, mut requests, mut used) = (0.0, 0, vec![0; 20]);
        let mut noise = minute + 1;
        for now in (minute * 60_000..(minute + 1) * 60_000).step_by(10) {
            // up to a tenth more or less
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let noise = 0.9 + (noise >> 33) as f64 / f64::from(1 << 31) * 0.2;
            bytes += 10.0 * rate(climb.level()) * noise;
            requests += 1;
            used[climb.level()] += 10;
            climb.observe(now, Posted { bytes: bytes as u64, requests }, 2);
        }
        used
    }

    #[test]
    fn what_brings_nothing_is_hardly_ever_tried() {
        let mut climb = Climb::new(1, 8);
        let used = feed(&mut climb, 0, |n| [0.0, 1000.0, 890.0, 800.0][n.min(3)]);
        assert!(used[1] > 54_000, "{used:?}");
    }

    #[test]
    fn it_climbs_as_far_as_there_is_something_to_be_had() {
        for (processors, most) in [(4, 8), (16, 6)] {
            let mut climb = Climb::new(1, most);
            let best = processors.min(most);
            let used = feed(&mut climb, 0, |n| 1000.0 * n.min(processors) as f64);
            assert!(used[best] > 40_000, "{processors} of {most}: {used:?}");
        }
    }

    #[test]
    fn it_comes_down_when_the_leader_has_other_work() {
        let mut climb = Climb::new(1, 8);
        feed(&mut climb, 0, |n| 1000.0 * n.min(4) as f64);
        assert!(climb.level() >= 3);
        for minute in 1..20 {
            climb.begin_anew();
            feed(&mut climb, minute, |n| 1000.0 / (1.0 + n as f64 / 10.0));
        }
        assert_eq!(climb.level, 1);
    }

    #[test]
    fn without_a_choice_there_is_no_trial() {
        let used = feed(&mut Climb::new(1, 1), 0, |_| 1000.0);
        assert_eq!(used[1], 60_000);
    }
}
