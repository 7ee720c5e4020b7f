//! What the proxy has been told to do to requests, and for how many of them.

use std::sync::{Mutex, MutexGuard};

use crate::kind::Kind;

/// What is done at present.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// One of the `net-` kinds.
    pub kind: Kind,
    /// To requests for this node; `None`: for every node.
    pub node: Option<usize>,
    /// To this share of them.
    pub chance: f64,
}

impl Plan {
    fn is_for(&self, node: usize) -> bool {
        self.node.is_none_or(|only| only == node)
    }
}

/// What one request meets, and a number that decides the details.
pub type Trick = (Kind, u64);

struct Inner {
    plan: Option<Plan>,
    rng: fastrand::Rng,
    made: u64,
}

/// The proxy's orders.
pub struct Mischief(Mutex<Inner>);

impl Mischief {
    /// None so far.
    pub fn new(rng: fastrand::Rng) -> Mischief {
        Mischief(Mutex::new(Inner { plan: None, rng, made: 0 }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// From now on this, or nothing.
    pub fn set(&self, plan: Option<Plan>) {
        self.inner().plan = plan;
    }

    /// Whether a connection to this node is refused.
    pub fn refuses(&self, node: usize) -> bool {
        let refuses = |plan: Plan| plan.kind == Kind::NetRefuse && plan.is_for(node);
        let plan = self.inner().plan;
        plan.is_some_and(refuses) && self.decide(node).is_some()
    }

    /// What a request for this node meets.
    pub fn decide(&self, node: usize) -> Option<Trick> {
        let mut inner = self.inner();
        let plan = inner.plan.filter(|plan| plan.is_for(node))?;
        let (met, dice) = (inner.rng.f64() < plan.chance, inner.rng.u64(..));
        inner.made += u64::from(met);
        met.then_some((plan.kind, dice))
    }

    /// How many requests have met something.
    pub fn made(&self) -> u64 {
        self.inner().made
    }
}
