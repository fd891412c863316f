//! The plan of one read that memory could not answer at once.
//!
//! Memory, then each store from the nearest, then the origin; a lapsed lease is renewed on the spot and the read
//! begins again; what cannot be confirmed is not served; what has expired is kept in mind as a fallback.

use crate::expiry::Life;
use crate::fences::Verdict;

/// What the reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    /// Whatever the tiers hold; never load.
    Lookup,
    /// The tiers, then the origin.
    Load,
}

/// What was found in one tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// Nothing, or nothing readable.
    Nothing,
    /// An entry, with what the rule (and the lease) said of it and the part of its life it is in.
    Entry(Verdict, Life),
    /// The tier could not be asked.
    Failed,
}

/// How a load ended, as the plan sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoadEnd {
    /// With something to serve: a value, or "there is none".
    Served,
    /// With an error, a panic, a timeout, or a refusal because limits were hit.
    Failed,
    /// The load goes on in the background; its soft timeout has passed.
    Slow,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Renew the lease, then say so with [`ReadPlan::confirmed`].
    Confirm,
    /// Look in memory, then say what was there with [`ReadPlan::found`].
    Memory,
    /// Look in this store, then say what was there with [`ReadPlan::found`].
    Store(usize),
    /// Load, alone or following a flight; then say how it ended with [`ReadPlan::loaded`].
    Load,
    /// The read is over.
    Serve(Serve),
}

/// How a read ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Serve {
    /// With the entry found last; when the second is set, after starting a refresh.
    Found(Life, bool),
    /// With what the load brought.
    Loaded,
    /// With the fallback found on the way, because the origin failed or is slow.
    Fallback,
    /// With nothing: it is in no tier.
    Nothing,
    /// With the load's error.
    Error,
}

/// Renewals tried in one read before the authority counts as out of reach.
const CONFIRMATIONS_MAX: u8 = 3;

/// The state of one read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReadPlan {
    want: Want,
    stores: usize,
    fail_safe: bool,
    place: Place,
    confirmations: u8,
    unconfirmable: bool,
    fallback: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Memory,
    Store(usize),
    Origin,
}

impl ReadPlan {
    /// A read over memory and this many stores. `fail_safe`: whether what has expired may be served when the
    /// origin fails.
    pub fn new(want: Want, stores: usize, fail_safe: bool) -> Self {
        let place = Place::Memory;
        ReadPlan { want, stores, fail_safe, place, confirmations: 0, unconfirmable: false, fallback: false }
    }

    /// The first step.
    pub fn begin(&self) -> Step {
        Step::Memory
    }

    /// Whether an entry found in this state of affairs is to be remembered as the fallback: one that may be
    /// served only if the origin fails. The engine keeps the first such entry of each tier, the nearest wins.
    pub fn keeps_fallback(&self, verdict: Verdict, life: Life) -> bool {
        let alive = life != Life::Over;
        // An invalidated entry is never a fallback: that is the promise. One that merely could not be confirmed is.
        self.fail_safe && alive && matches!(verdict, Verdict::Fresh | Verdict::Unconfirmed)
    }

    /// What the tier last asked held.
    pub fn found(&mut self, finding: Finding) -> Step {
        if let Finding::Entry(verdict, life) = finding {
            match verdict {
                Verdict::Fresh if life.is_served() => {
                    return Step::Serve(Serve::Found(life, life != Life::Fresh && self.want == Want::Load));
                }
                Verdict::Unconfirmed if life.is_served() && !self.unconfirmable => {
                    if self.confirmations < CONFIRMATIONS_MAX {
                        self.confirmations += 1;
                        return Step::Confirm;
                    }
                    self.unconfirmable = true;
                }
                _ => {}
            }
            self.fallback |= self.keeps_fallback(verdict, life);
        }
        self.onward()
    }

    /// Whether the renewal asked for succeeded. If so the read begins again: what was checked under the old
    /// lease counts for nothing.
    pub fn confirmed(&mut self, renewed: bool) -> Step {
        self.unconfirmable = !renewed;
        self.fallback = false;
        self.place = Place::Memory;
        Step::Memory
    }

    /// How the load ended.
    pub fn loaded(&mut self, end: LoadEnd) -> Step {
        Step::Serve(match end {
            LoadEnd::Served => Serve::Loaded,
            LoadEnd::Failed | LoadEnd::Slow if self.fallback => Serve::Fallback,
            LoadEnd::Failed | LoadEnd::Slow => Serve::Error,
        })
    }

    fn onward(&mut self) -> Step {
        let next = match self.place {
            Place::Memory => 0,
            Place::Store(n) => n + 1,
            Place::Origin => self.stores,
        };
        // What a store holds could not be confirmed either; only a fallback is worth looking for there.
        let skip = self.unconfirmable && (!self.fail_safe || self.fallback);
        if next < self.stores && !skip {
            self.place = Place::Store(next);
            return Step::Store(next);
        }
        self.place = Place::Origin;
        match self.want {
            Want::Lookup => Step::Serve(Serve::Nothing),
            Want::Load => Step::Load,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVES: [Life; 5] = [Life::Fresh, Life::RefreshDue, Life::Stale, Life::Fallback, Life::Over];

    fn findings() -> Vec<Finding> {
        let entries = Verdict::ALL.iter().flat_map(|v| LIVES.iter().map(|l| Finding::Entry(*v, *l)));
        entries.chain([Finding::Nothing, Finding::Failed]).collect()
    }

    /// One state of a read together with what an observer remembers of it.
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct Observed {
        plan: ReadPlan,
        step: Step,
        last: Option<Finding>,
        /// Something fit for a fallback was seen since the read began, or began again.
        kept: bool,
    }

    fn successors(at: &Observed) -> Vec<Observed> {
        let next = |choose: &dyn Fn(&mut Observed) -> Step| {
            let mut next = at.clone();
            next.step = choose(&mut next);
            next
        };
        match at.step {
            Step::Serve(_) => Vec::new(),
            Step::Memory | Step::Store(_) => findings()
                .into_iter()
                .map(|finding| {
                    next(&|o| {
                        let fit = matches!(
                            finding,
                            Finding::Entry(Verdict::Fresh | Verdict::Unconfirmed, life) if life != Life::Over
                        );
                        o.last = Some(finding);
                        o.kept = fit || (o.kept && at.step != Step::Memory);
                        o.plan.found(finding)
                    })
                })
                .collect(),
            Step::Confirm => [true, false].iter().map(|yes| next(&|o| o.plan.confirmed(*yes))).collect(),
            Step::Load => {
                let ends = [LoadEnd::Served, LoadEnd::Failed, LoadEnd::Slow];
                ends.iter().map(|end| next(&|o| o.plan.loaded(*end))).collect()
            }
        }
    }

    #[test]
    fn no_read_ever_serves_what_the_rule_refused() {
        let mut seen = std::collections::HashSet::new();
        let mut served = std::collections::HashSet::new();
        let mut pending = Vec::new();
        for want in [Want::Lookup, Want::Load] {
            for fail_safe in [false, true] {
                pending.extend((0..=2).map(|stores| {
                    let plan = ReadPlan::new(want, stores, fail_safe);
                    Observed { step: plan.begin(), plan, last: None, kept: false }
                }));
            }
        }
        while let Some(at) = pending.pop() {
            if !seen.insert(at.clone()) {
                continue;
            }
            if let Step::Serve(serve) = at.step {
                served.insert(std::mem::discriminant(&serve));
                check_end(&at, serve);
            }
            pending.extend(successors(&at));
        }
        assert_eq!(served.len(), 5, "every way for a read to end must be reached");
    }

    fn check_end(at: &Observed, serve: Serve) {
        match serve {
            Serve::Found(life, refresh) => {
                assert_eq!(at.last, Some(Finding::Entry(Verdict::Fresh, life)));
                assert!(life.is_served());
                assert!(!refresh || at.plan.want == Want::Load);
            }
            Serve::Fallback => assert!(at.plan.fail_safe && at.plan.want == Want::Load && at.kept),
            Serve::Loaded | Serve::Error => assert_eq!(at.plan.want, Want::Load),
            Serve::Nothing => assert_eq!(at.plan.want, Want::Lookup),
        }
    }

    #[test]
    fn an_unreachable_authority_sends_a_bounded_read_to_the_origin() {
        let mut plan = ReadPlan::new(Want::Load, 1, false);
        assert_eq!(plan.found(Finding::Entry(Verdict::Unconfirmed, Life::Fresh)), Step::Confirm);
        assert_eq!(plan.confirmed(false), Step::Memory);
        assert_eq!(plan.found(Finding::Entry(Verdict::Unconfirmed, Life::Fresh)), Step::Load);
    }
}
