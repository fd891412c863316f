//! The outbox: invalidations that commit with the data. A row is durable before it is visible; numbers are drawn when a
//! row is written, so rows become visible out of order.

use crate::sched::Time;
use larder_core::{Cause, Target, seeded_bug};

#[derive(Default)]
pub(super) struct Outbox {
    rows: Vec<Row>,
    drawn: u64,
    /// The highest number ever moved. Only the mistake of reading on from it looks at it.
    moved: u64,
}

struct Row {
    id: u64,
    targets: Vec<Target>,
    cause: Cause,
    visible_at: Option<Time>,
}

impl Outbox {
    pub(super) fn add(&mut self, targets: Vec<Target>, cause: Cause) -> u64 {
        self.drawn += 1;
        self.rows.push(Row { id: self.drawn, targets, cause, visible_at: None });
        self.drawn
    }

    pub(super) fn show(&mut self, id: u64, now: Time) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.id == id) {
            row.visible_at = Some(now);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What a query sees now.
    pub(super) fn visible(&self) -> Vec<u64> {
        let early = seeded_bug!("publish_before_visible");
        let beyond = if seeded_bug!("cursor_outbox") { self.moved } else { 0 };
        let seen = |row: &&Row| (early || row.visible_at.is_some()) && row.id > beyond;
        self.rows.iter().filter(seen).map(|row| row.id).collect()
    }

    /// Takes out those of these rows that are there.
    pub(super) fn take(&mut self, ids: &[u64]) -> Vec<(Vec<Target>, Cause)> {
        let mut taken = Vec::new();
        self.rows.retain(|row| {
            let is_taken = ids.contains(&row.id);
            if is_taken {
                taken.push((row.targets.clone(), row.cause.clone()));
            }
            !is_taken
        });
        self.moved = ids.iter().copied().fold(self.moved, u64::max);
        taken
    }

    /// What became visible after `kept_until` is lost, and so is what never did.
    pub(super) fn fail_over(&mut self, kept_until: Time) {
        self.rows.retain(|row| row.visible_at.is_some_and(|at| at <= kept_until));
    }
}
