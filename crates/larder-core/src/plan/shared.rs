//! The plan of one load among nodes: who loads, who waits for another node, for how long, and when to give that up.
//!
//! It decides when a key is loaded, never what may be served. So every doubt ends in a load: a store that fails or is
//! slow, a flight that brings nothing, an answer that comes again and again.

use crate::fences::Verdict;
use crate::port::{Claimed, Holder, Nanos};

const MS: Nanos = 1_000_000;

/// Whoever waits asks again after this long at the most, whatever it was told, and woken or not.
const ASK_AGAIN_MAX: Nanos = 1000 * MS;
/// And after this long at the least.
const ASK_AGAIN_MIN: Nanos = 20 * MS;
/// Questions in a row that no full wait came before, until the load begins without an answer.
const HASTY_MAX: u8 = 16;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SharedStep {
    /// Listen for the end of the key's flight, unless that is done; claim it, past this holder; then say what the answer
    /// was with [`SharedPlan::claimed`].
    Claim(Option<Holder>),
    /// Wait until woken, or until then; then say which with [`SharedPlan::waited`].
    Wait(Nanos),
    /// Look into the store; then say what was there with [`SharedPlan::looked`].
    Look,
    /// Load; if set, as the one who leads the key's flight, which is then to be left.
    Load(bool),
    /// Serve what the look found: another node has loaded it.
    Serve,
}

/// What a look into the store came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Looked {
    /// An entry that may be served, and is not due for a load.
    Serves,
    /// Nothing, or nothing that serves.
    Nothing,
    /// The store, or the journal that would confirm what it holds, could not be asked.
    Failed,
}

/// The state of one load that may be another node's to run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedPlan {
    may_wait: bool,
    give_up: Nanos,
    displaced: Option<Holder>,
    /// Whose landing is being looked at.
    landed: Option<Holder>,
    hasty: u8,
}

impl SharedPlan {
    /// A load that would wait for another node's until `give_up`, or, when it must not wait, not at all. `displaced` is
    /// the load of this process whose place it took.
    pub fn new(may_wait: bool, give_up: Nanos, displaced: Option<Holder>) -> Self {
        SharedPlan { may_wait, give_up, displaced, landed: None, hasty: 0 }
    }

    /// The first step.
    pub fn begin(&self) -> SharedStep {
        SharedStep::Claim(self.displaced)
    }

    /// The answer to a claim; `None` when the store could not be asked, or not in time. `verdict` is what the rule says,
    /// for the key itself, of the stamp in the answer, if there is one.
    pub fn claimed(&mut self, answer: Option<Claimed>, verdict: Verdict, now: Nanos) -> SharedStep {
        self.hasty += 1;
        match answer {
            Some(Claimed::Leads) => SharedStep::Load(true),
            None | Some(Claimed::Alone) => SharedStep::Load(false),
            Some(_) if self.hasty >= HASTY_MAX => SharedStep::Load(false),
            // Under an open intent nothing that is loaded is kept, by whomever.
            Some(_) if verdict == Verdict::Intended => SharedStep::Load(false),
            Some(Claimed::Waits { by, .. } | Claimed::Landed { by, .. }) if is_overtaken(verdict) => {
                SharedStep::Claim(Some(by))
            }
            Some(Claimed::Landed { by, .. }) => {
                self.landed = Some(by);
                SharedStep::Look
            }
            Some(Claimed::Waits { left, .. }) => {
                if !self.may_wait || now >= self.give_up {
                    return SharedStep::Load(false);
                }
                let left = crate::expiry::nanos(left).clamp(ASK_AGAIN_MIN, ASK_AGAIN_MAX);
                SharedStep::Wait(now.saturating_add(left).min(self.give_up))
            }
        }
    }

    /// The wait is over: somebody may have left the flight, or it is time to ask again.
    pub fn waited(&mut self, woken: bool, now: Nanos) -> SharedStep {
        if woken {
            self.landed = None;
            return SharedStep::Look;
        }
        if now >= self.give_up {
            return SharedStep::Load(false);
        }
        self.hasty = 0;
        SharedStep::Claim(None)
    }

    /// What a look came to.
    pub fn looked(&mut self, looked: Looked) -> SharedStep {
        match looked {
            Looked::Serves => SharedStep::Serve,
            Looked::Failed => SharedStep::Load(false),
            Looked::Nothing => SharedStep::Claim(self.landed.take()),
        }
    }
}

/// Whether what is loaded with a birth of this verdict is refused by the rule when it comes.
fn is_overtaken(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Invalidated | Verdict::BelowFloor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{Epoch, Link};
    use std::collections::HashSet;
    use std::time::Duration;

    const OTHER: Holder = Holder::new(7);
    const STAMP: Link = Link { epoch: Epoch::new(1), position: 1, nonce: 1 };
    const GIVE_UP: Nanos = 5000 * MS;

    /// A load with what an observer remembers of it.
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct Observed {
        plan: SharedPlan,
        step: SharedStep,
        now: Nanos,
        /// What was asked or done last, and what came of it.
        last: Last,
        asked: u32,
    }

    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    enum Last {
        Begun,
        Led,
        Refused,
        Waits(Verdict),
        Landed(Verdict),
        Looked(Looked),
        Waited,
    }

    fn answers() -> Vec<(Option<Claimed>, Verdict, Last)> {
        let mut answers = vec![
            (None, Verdict::Fresh, Last::Refused),
            (Some(Claimed::Alone), Verdict::Fresh, Last::Refused),
            (Some(Claimed::Leads), Verdict::Fresh, Last::Led),
        ];
        for verdict in Verdict::ALL {
            for left in [Duration::ZERO, Duration::from_secs(1), Duration::MAX] {
                let waits = Claimed::Waits { by: OTHER, stamp: STAMP, left };
                answers.push((Some(waits), verdict, Last::Waits(verdict)));
            }
            answers.push((Some(Claimed::Landed { by: OTHER, stamp: STAMP }), verdict, Last::Landed(verdict)));
        }
        answers
    }

    fn successors(at: &Observed) -> Vec<Observed> {
        let next = |last: Last, now: Nanos, choose: &dyn Fn(&mut SharedPlan) -> SharedStep| {
            let mut next = Observed { last, now, ..at.clone() };
            next.step = choose(&mut next.plan);
            next
        };
        match at.step {
            SharedStep::Load(_) | SharedStep::Serve => Vec::new(),
            SharedStep::Claim(_) => {
                let answered = answers().into_iter().map(|(answer, verdict, last)| {
                    let mut next = next(last, at.now, &|plan| plan.claimed(answer, verdict, at.now));
                    next.asked += 1;
                    next
                });
                answered.collect()
            }
            SharedStep::Look => [Looked::Serves, Looked::Nothing, Looked::Failed]
                .iter()
                .map(|looked| next(Last::Looked(*looked), at.now, &|plan| plan.looked(*looked)))
                .collect(),
            SharedStep::Wait(until) => {
                vec![
                    next(Last::Waited, at.now, &|plan| plan.waited(true, at.now)),
                    next(Last::Waited, until, &|plan| plan.waited(false, until)),
                ]
            }
        }
    }

    #[test]
    fn every_load_ends_in_time_and_nobody_waits_for_what_the_rule_will_refuse() {
        let mut seen = HashSet::new();
        let mut ends = HashSet::new();
        let mut pending = Vec::new();
        for may_wait in [true, false] {
            let plan = SharedPlan::new(may_wait, GIVE_UP, None);
            pending.push(Observed { step: plan.begin(), plan, now: 0, last: Last::Begun, asked: 0 });
        }
        while let Some(at) = pending.pop() {
            // How often it asked is not part of where it is.
            if !seen.insert(Observed { asked: 0, ..at.clone() }) {
                continue;
            }
            check(&at);
            if matches!(at.step, SharedStep::Load(_) | SharedStep::Serve) {
                ends.insert(at.step);
            }
            pending.extend(successors(&at));
        }
        assert_eq!(ends.len(), 3, "every way to end must be reached");
    }

    fn check(at: &Observed) {
        match at.step {
            SharedStep::Load(true) => assert_eq!(at.last, Last::Led),
            SharedStep::Load(false) => assert_ne!(at.last, Last::Led),
            SharedStep::Serve => assert_eq!(at.last, Last::Looked(Looked::Serves)),
            SharedStep::Wait(until) => {
                assert!(at.plan.may_wait && until <= GIVE_UP && until > at.now);
                assert!(
                    matches!(at.last, Last::Waits(Verdict::Fresh | Verdict::Unconfirmed)),
                    "{:?}",
                    at.last
                );
            }
            SharedStep::Look => {
                assert!(matches!(
                    at.last,
                    Last::Landed(Verdict::Fresh | Verdict::Unconfirmed) | Last::Waited
                ));
            }
            SharedStep::Claim(past) => {
                let overtaken = matches!(at.last, Last::Waits(v) | Last::Landed(v) if is_overtaken(v));
                assert!(past.is_none() || overtaken || at.last == Last::Looked(Looked::Nothing));
                assert!(at.now < GIVE_UP || at.last != Last::Waited);
            }
        }
    }

    #[test]
    fn a_store_that_always_says_the_same_is_not_asked_forever() {
        let waits = Claimed::Waits { by: OTHER, stamp: STAMP, left: Duration::ZERO };
        let landed = Claimed::Landed { by: OTHER, stamp: STAMP };
        for (answer, verdict) in [
            (waits, Verdict::Fresh),
            (waits, Verdict::Invalidated),
            (landed, Verdict::Fresh),
            (landed, Verdict::BelowFloor),
        ] {
            let mut plan = SharedPlan::new(true, GIVE_UP, None);
            let (mut step, mut asked) = (plan.begin(), 0);
            while !matches!(step, SharedStep::Load(_)) {
                step = match step {
                    SharedStep::Claim(_) => {
                        asked += 1;
                        plan.claimed(Some(answer), verdict, 0)
                    }
                    // Woken at once, each time, for nothing.
                    SharedStep::Wait(_) => plan.waited(true, 0),
                    _ => plan.looked(Looked::Nothing),
                };
            }
            assert_eq!((step, asked), (SharedStep::Load(false), HASTY_MAX));
        }
    }

    #[test]
    fn a_holder_that_prolongs_is_waited_for_until_the_load_s_own_deadline() {
        let waits = Claimed::Waits { by: OTHER, stamp: STAMP, left: Duration::from_millis(700) };
        let mut plan = SharedPlan::new(true, GIVE_UP, None);
        let (mut step, mut now, mut asked) = (plan.begin(), 0, 0);
        while !matches!(step, SharedStep::Load(_)) {
            step = match step {
                SharedStep::Wait(until) => {
                    now = until;
                    plan.waited(false, now)
                }
                _ => {
                    asked += 1;
                    plan.claimed(Some(waits), Verdict::Fresh, now)
                }
            };
        }
        assert_eq!((step, now), (SharedStep::Load(false), GIVE_UP));
        assert!((7..=9).contains(&asked), "asked {asked} times");
    }

    #[test]
    fn what_was_overtaken_is_passed_over_and_what_did_not_serve_is_not_looked_at_again() {
        let waits = Claimed::Waits { by: OTHER, stamp: STAMP, left: Duration::from_secs(1) };
        let mut plan = SharedPlan::new(true, GIVE_UP, None);
        assert_eq!(plan.claimed(Some(waits), Verdict::Invalidated, 0), SharedStep::Claim(Some(OTHER)));
        let landed = Claimed::Landed { by: OTHER, stamp: STAMP };
        assert_eq!(plan.claimed(Some(landed), Verdict::Fresh, 0), SharedStep::Look);
        assert_eq!(plan.looked(Looked::Nothing), SharedStep::Claim(Some(OTHER)));
        assert_eq!(plan.claimed(Some(Claimed::Leads), Verdict::Fresh, 0), SharedStep::Load(true));
    }
}
