//! The plan of a flight: the one running load of a key, and who may share it.

use crate::fences::Verdict;

/// Where a flight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Run by a reader that waits for it.
    Attended,
    /// Run in the background: its reader left, or would wait no longer.
    Detached,
    /// Over; its result is there.
    Settled,
}

/// What a reader that finds a flight (or none) does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// Starts a load of its own, which takes the key's place.
    Lead,
    /// Waits for the flight.
    Follow,
}

/// What a follower does with a flight's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Takes it.
    Take,
    /// The lease has lapsed: renew it, then judge again.
    Confirm,
    /// It was overtaken by an invalidation: load again.
    Again,
}

/// The state of one flight.
#[derive(Debug)]
pub struct FlightPlan {
    phase: Phase,
}

impl Default for FlightPlan {
    fn default() -> Self {
        FlightPlan { phase: Phase::Attended }
    }
}

impl FlightPlan {
    /// A reader comes. `verdict` is what the rule says of the flight's birth for the key itself: joining a load
    /// that is already known to be too old would mean to wait for it and then to load again.
    pub fn join(&self, verdict: Verdict) -> Joined {
        match (self.phase, verdict) {
            (Phase::Settled, _) | (_, Verdict::Invalidated | Verdict::BelowFloor) => Joined::Lead,
            // Under an open intent nothing that is loaded may be kept, and only those who came before a load began may
            // share it. To wait and then load together is one load more for each, instead of one load for each at once.
            (_, Verdict::Fresh | Verdict::Unconfirmed | Verdict::Intended) => Joined::Follow,
        }
    }

    /// The reader that ran the flight left or would wait no longer. True when someone must go on running it.
    pub fn detach(&mut self) -> bool {
        let running = self.phase == Phase::Attended;
        if running {
            self.phase = Phase::Detached;
        }
        running
    }

    /// The load ended.
    pub fn settle(&mut self) {
        self.phase = Phase::Settled;
    }

    /// What a follower does with the result, by what the rule and the lease say of the *load's* birth and the
    /// loaded entry's dependencies: the flight may have begun before the follower's read did. One that began after
    /// is as good as a load of the follower's own, which needs no check.
    pub fn follow(verdict: Verdict, load_began_after_read: bool) -> Followed {
        if crate::seeded_bug!("follower_skips_rule") {
            return Followed::Take;
        }
        match verdict {
            Verdict::Fresh => Followed::Take,
            _ if load_began_after_read => Followed::Take,
            Verdict::Unconfirmed => Followed::Confirm,
            Verdict::Invalidated | Verdict::BelowFloor | Verdict::Intended => Followed::Again,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flight_overtaken_by_an_invalidation_is_not_joined() {
        let plan = FlightPlan::default();
        assert_eq!(plan.join(Verdict::Fresh), Joined::Follow);
        assert_eq!(plan.join(Verdict::Unconfirmed), Joined::Follow);
        assert_eq!(plan.join(Verdict::Invalidated), Joined::Lead);
        assert_eq!(plan.join(Verdict::BelowFloor), Joined::Lead);
    }

    #[test]
    fn a_load_under_an_open_intent_is_waited_for_but_taken_only_by_those_who_came_before_it() {
        assert_eq!(FlightPlan::default().join(Verdict::Intended), Joined::Follow);
        assert_eq!(FlightPlan::follow(Verdict::Intended, false), Followed::Again);
        assert_eq!(FlightPlan::follow(Verdict::Intended, true), Followed::Take);
    }

    #[test]
    fn a_detached_flight_goes_on_once_and_a_settled_one_is_led_anew() {
        let mut plan = FlightPlan::default();
        assert!(plan.detach());
        assert!(!plan.detach());
        assert_eq!(plan.join(Verdict::Fresh), Joined::Follow);
        plan.settle();
        assert!(!plan.detach());
        assert_eq!(plan.join(Verdict::Fresh), Joined::Lead);
    }

    #[test]
    fn a_follower_takes_only_what_is_fresh_and_confirmed() {
        assert_eq!(FlightPlan::follow(Verdict::Fresh, false), Followed::Take);
        assert_eq!(FlightPlan::follow(Verdict::Unconfirmed, false), Followed::Confirm);
        assert_eq!(FlightPlan::follow(Verdict::Invalidated, false), Followed::Again);
        assert_eq!(FlightPlan::follow(Verdict::BelowFloor, false), Followed::Again);
    }

    #[test]
    fn a_load_that_began_after_the_read_is_as_good_as_its_own() {
        for verdict in Verdict::ALL {
            assert_eq!(FlightPlan::follow(verdict, true), Followed::Take);
        }
    }
}
