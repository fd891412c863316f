//! The staleness oracle: what had been acknowledged before a read began, and whether the read knew it.
//!
//! The users of the load generator tell it every acknowledged write and ask it about every read. It never asks the
//! database or the cache, so it cannot share their mistakes. It errs on the read's side: a write counts as
//! acknowledged from the moment the writer's user has told it, never before.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::db::write::Written;
use crate::domain::{AppointmentId, Availability, BranchId, CompanyId, DayKey, Slot, StaffId, Status};
use crate::time::{HOUR_MINUTES, Minute};

/// Locks, so that users seldom wait for each other.
const SHARDS: usize = 64;

/// What versions are known of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    Day(DayKey),
    /// An hour of a branch, counted from 1970. Its versions are those of its day, as far as they touched the hour.
    Hour(BranchId, i64),
    Company(CompanyId),
}

impl Subject {
    /// What a read of availability is about: the day, or the hour of it that was asked for.
    pub(crate) fn of(day: DayKey, hour: Option<u8>) -> Subject {
        match hour {
            None => Subject::Day(day),
            Some(hour) => Subject::Hour(day.branch, day.day.at(i64::from(hour) * HOUR_MINUTES).hour()),
        }
    }
}

/// What the oracle says of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// How long, when the read began, a newer version than the one it returned had been acknowledged.
    pub(crate) stale_for: Option<Duration>,
    /// It offered a slot that was known to be taken when it began.
    pub(crate) offered_taken: bool,
}

/// The oracle; share it in an `Arc`.
#[derive(Debug)]
pub(crate) struct Oracle {
    shards: Vec<Mutex<HashMap<Subject, Known>>>,
}

/// What is known of one subject.
#[derive(Debug, Default)]
struct Known {
    /// Acknowledged versions, rising, each with the moment it became known, rising too.
    acknowledged: Vec<(i64, Instant)>,
    /// Versions that reads of the strictest kind have shown, in the same form.
    shown: Vec<(i64, Instant)>,
    /// Bookings that touch it and hold their time, in no order.
    taken: Vec<Taken>,
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    appointment: AppointmentId,
    staff: StaffId,
    starts: Minute,
    ends: Minute,
    /// The day's version from which on it holds this time.
    version: i64,
    since: Instant,
}

impl Oracle {
    /// Knows nothing yet: everything is at version 0.
    pub(crate) fn new() -> Oracle {
        Oracle { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// A write was acknowledged: call it as soon as the service has answered.
    pub(crate) fn acknowledged(&self, written: &Written) {
        let appointment = &written.appointment;
        for &(day, version) in &written.days {
            self.learn(Subject::Day(day), written, version);
            let hours =
                written.touched.hours.iter().filter(|hour| Minute(*hour * HOUR_MINUTES).day() == day.day);
            for hour in hours {
                self.learn(Subject::Hour(appointment.branch, *hour), written, version);
            }
        }
        let company = Subject::Company(appointment.company);
        self.shard(company).entry(company).or_default().acknowledge(written.company_version);
    }

    fn learn(&self, subject: Subject, written: &Written, version: i64) {
        let mut shard = self.shard(subject);
        let known = shard.entry(subject).or_default();
        let now = known.acknowledge(version);
        known.hold(written, version, now);
    }

    /// Judges an availability read that began at `began`. What is shown of an hour need not know of changes to other
    /// hours of the day.
    pub(crate) fn judge_availability(
        &self,
        hour: Option<u8>,
        read: &Availability,
        began: Instant,
    ) -> Verdict {
        let subject = Subject::of(read.day, hour);
        let shard = self.shard(subject);
        let Some(known) = shard.get(&subject) else { return Verdict::default() };
        let stale_for = known.stale_for(read.version, began);
        // A read that is not stale knew every booking there was.
        let offered_taken = stale_for.is_some() && known.offers_taken(read, began);
        Verdict { stale_for, offered_taken }
    }

    /// Judges a statistics read that began at `began`.
    pub(crate) fn judge_statistics(&self, company: CompanyId, version: i64, began: Instant) -> Verdict {
        let subject = Subject::Company(company);
        let shard = self.shard(subject);
        let stale_for = shard.get(&subject).and_then(|known| known.stale_for(version, began));
        Verdict { stale_for, offered_taken: false }
    }

    /// Judges a linearizable read of a whole day that began at `began` and has just been answered: whether it is older than
    /// a write acknowledged, or than what another such read was answered, before it began. Versions rise with each write,
    /// so a history in which no read is that is linearizable.
    pub(crate) fn breaks_order(&self, read: &Availability, began: Instant) -> bool {
        let subject = Subject::Day(read.day);
        let mut shard = self.shard(subject);
        let known = shard.entry(subject).or_default();
        let is_older = |versions: &[(i64, Instant)]| missed(versions, read.version, began).is_some();
        let breaks = is_older(&known.acknowledged) || is_older(&known.shown);
        note(&mut known.shown, read.version);
        breaks
    }

    fn shard(&self, subject: Subject) -> MutexGuard<'_, HashMap<Subject, Known>> {
        let mut hasher = DefaultHasher::new();
        subject.hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or(0);
        let shard = self.shards.get(index).unwrap_or(&self.shards[0]);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Notes a version; the clock is read under the lock, so moments rise with versions. A version that arrives after
    /// a newer one adds nothing: the newer one's acknowledgement covered it.
    fn acknowledge(&mut self, version: i64) -> Instant {
        note(&mut self.acknowledged, version)
    }

    fn stale_for(&self, version: i64, began: Instant) -> Option<Duration> {
        missed(&self.acknowledged, version, began)
    }

    fn hold(&mut self, written: &Written, version: i64, now: Instant) {
        let appointment = &written.appointment;
        self.taken.retain(|taken| taken.appointment != appointment.id);
        if appointment.status == Status::Booked {
            self.taken.push(Taken {
                appointment: appointment.id,
                staff: appointment.staff,
                starts: appointment.starts,
                ends: appointment.ends,
                version,
                since: now,
            });
        }
    }

    /// A slot of the read meets a booking newer than the read's version that was known before it began.
    fn offers_taken(&self, read: &Availability, began: Instant) -> bool {
        let newer = self.taken.iter().filter(|taken| taken.version > read.version && taken.since < began);
        newer.into_iter().any(|taken| {
            let first =
                read.slots.partition_point(|slot| slot.starts.plus(read.duration_minutes) <= taken.starts);
            let meets = |slot: &&Slot| slot.starts < taken.ends;
            read.slots.iter().skip(first).take_while(meets).any(|slot| slot.staff == taken.staff)
        })
    }
}

/// Adds a version, with this moment, to rising ones.
fn note(versions: &mut Vec<(i64, Instant)>, version: i64) -> Instant {
    let now = Instant::now();
    if versions.last().is_none_or(|(newest, _)| version > *newest) {
        versions.push((version, now));
    }
    now
}

/// For how long, at `began`, there had been a newer version.
fn missed(versions: &[(i64, Instant)], version: i64, began: Instant) -> Option<Duration> {
    let newer = versions.partition_point(|(known, _)| *known <= version);
    let (_, since) = versions.get(newer)?;
    (*since < began).then(|| began.duration_since(*since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Appointment, Touched};
    use crate::time::Day;

    const DAY: DayKey = DayKey { company: 1, branch: 2, day: Day(20_000) };

    fn written(id: AppointmentId, version: i64, starts: i64, status: Status) -> Written {
        let appointment = Appointment {
            id,
            company: 1,
            branch: 2,
            service: 3,
            staff: 4,
            customer: "x".to_owned(),
            starts: DAY.day.at(starts),
            ends: DAY.day.at(starts + 30),
            status,
            changes: 0,
        };
        let hours = [DAY.day.at(starts).hour()].into();
        Written {
            appointment,
            touched: Touched { company: 1, branch: 2, hours },
            days: vec![(DAY, version)],
            company_version: version,
            record: None,
            token: None,
        }
    }

    fn shown(version: i64, starts: &[i64]) -> Availability {
        let slots = starts.iter().map(|start| Slot { starts: DAY.day.at(*start), staff: 4 }).collect();
        Availability { day: DAY, version, duration_minutes: 30, slots }
    }

    /// An instant after every acknowledgement so far, without waiting for it.
    fn later(by: Duration) -> Instant {
        Instant::now() + by
    }

    #[test]
    fn a_stale_read_is_caught_and_measured() {
        let oracle = Oracle::new();
        oracle.acknowledged(&written(1, 1, 600, Status::Booked));
        let verdict = oracle.judge_availability(None, &shown(0, &[600, 630]), later(Duration::from_secs(5)));
        assert!(verdict.stale_for.unwrap() >= Duration::from_secs(5));
        assert!(verdict.stale_for.unwrap() < Duration::from_secs(60));
        assert!(verdict.offered_taken);
        let verdict = oracle.judge_statistics(1, 0, later(Duration::from_secs(2)));
        assert!(verdict.stale_for.unwrap() >= Duration::from_secs(2));
    }

    #[test]
    fn a_stale_hour_is_caught_but_need_not_know_of_other_hours() {
        let oracle = Oracle::new();
        oracle.acknowledged(&written(1, 1, 600, Status::Booked));
        oracle.acknowledged(&written(2, 2, 900, Status::Booked));
        let began = later(Duration::from_secs(5));
        let judge =
            |hour, version| oracle.judge_availability(Some(hour), &shown(version, &[600, 900]), began);
        assert!(judge(10, 0).stale_for.is_some() && judge(10, 0).offered_taken);
        assert_eq!(judge(10, 1), Verdict::default());
        assert!(judge(15, 1).stale_for.is_some() && judge(15, 1).offered_taken);
        assert_eq!(judge(12, 0), Verdict::default());
    }

    #[test]
    fn a_read_that_knew_everything_is_fresh() {
        let oracle = Oracle::new();
        oracle.acknowledged(&written(1, 1, 600, Status::Booked));
        let began = later(Duration::from_secs(5));
        assert_eq!(oracle.judge_availability(None, &shown(1, &[630]), began), Verdict::default());
        assert_eq!(oracle.judge_availability(None, &shown(2, &[630]), began), Verdict::default());
        assert_eq!(oracle.judge_statistics(1, 1, began), Verdict::default());
        assert_eq!(oracle.judge_statistics(9, 0, began), Verdict::default());
    }

    #[test]
    fn an_order_is_broken_by_a_write_and_by_a_read_that_came_before() {
        let oracle = Oracle::new();
        let before = Instant::now();
        oracle.acknowledged(&written(1, 1, 600, Status::Booked));
        let after = later(Duration::from_micros(1));
        assert!(oracle.breaks_order(&shown(0, &[]), after), "1 was acknowledged");
        assert!(!oracle.breaks_order(&shown(0, &[]), before), "not yet when this began");
        assert!(!oracle.breaks_order(&shown(3, &[]), after), "3 may be under way");
        let after = later(Duration::from_micros(1));
        assert!(oracle.breaks_order(&shown(2, &[]), after), "3 was shown before");
        assert!(!oracle.breaks_order(&shown(2, &[]), before), "not yet when this began");
    }

    #[test]
    fn a_write_acknowledged_after_the_read_began_does_not_count() {
        let oracle = Oracle::new();
        let began = Instant::now();
        oracle.acknowledged(&written(1, 1, 600, Status::Booked));
        assert_eq!(oracle.judge_availability(None, &shown(0, &[600]), began), Verdict::default());
    }

    #[test]
    fn staleness_counts_from_the_first_write_that_was_missed() {
        let oracle = Oracle::new();
        oracle.acknowledged(&written(1, 1, 600, Status::Booked));
        oracle.acknowledged(&written(2, 2, 700, Status::Booked));
        let began = later(Duration::from_secs(1));
        let (one, both) = (
            oracle.judge_availability(None, &shown(1, &[]), began),
            oracle.judge_availability(None, &shown(0, &[]), began),
        );
        assert!(both.stale_for > one.stale_for && one.stale_for.is_some());
    }

    #[test]
    fn an_older_version_acknowledged_late_changes_nothing() {
        let oracle = Oracle::new();
        oracle.acknowledged(&written(2, 2, 700, Status::Booked));
        oracle.acknowledged(&written(1, 1, 600, Status::Booked));
        assert_eq!(
            oracle.judge_availability(None, &shown(2, &[]), later(Duration::from_secs(1))),
            Verdict::default()
        );
    }

    #[test]
    fn a_slot_given_back_is_not_a_taken_one() {
        let oracle = Oracle::new();
        oracle.acknowledged(&written(1, 1, 600, Status::Booked));
        oracle.acknowledged(&written(1, 2, 600, Status::Cancelled));
        let verdict = oracle.judge_availability(None, &shown(0, &[600]), later(Duration::from_secs(1)));
        assert!(verdict.stale_for.is_some() && !verdict.offered_taken);
    }

    #[test]
    fn a_slot_that_only_overlaps_a_booking_is_taken_and_a_neighbour_is_not() {
        let oracle = Oracle::new();
        oracle.acknowledged(&written(1, 1, 615, Status::Booked));
        let began = later(Duration::from_secs(1));
        assert!(oracle.judge_availability(None, &shown(0, &[500, 600, 700]), began).offered_taken);
        assert!(oracle.judge_availability(None, &shown(0, &[630]), began).offered_taken);
        assert!(!oracle.judge_availability(None, &shown(0, &[585, 645]), began).offered_taken);
    }
}
