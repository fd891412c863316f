//! One server and the lines to it: one for everything, and, from the first large value on, two for those.

use super::address::Address;
use super::error::RedisError;
use super::line::{Aim, Line};
use super::options::RedisOptions;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Which connections a command goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Ordinary,
    /// Large values, which would keep everything behind them waiting.
    Large,
}

pub(super) struct Node {
    aim: Aim,
    options: Arc<RedisOptions>,
    ordinary: Line,
    large: OnceLock<[Line; 2]>,
    turn: AtomicUsize,
}

impl Node {
    pub(super) fn at(aim: Aim, options: Arc<RedisOptions>) -> Self {
        let ordinary = Line::to(aim.clone(), Arc::clone(&options));
        Node { aim, options, ordinary, large: OnceLock::new(), turn: AtomicUsize::new(0) }
    }

    pub(super) fn line(&self, lane: Lane) -> &Line {
        match lane {
            Lane::Ordinary => &self.ordinary,
            Lane::Large => {
                let line = || Line::to(self.aim.clone(), Arc::clone(&self.options));
                &self.large.get_or_init(|| [line(), line()])[self.turn.fetch_add(1, Ordering::Relaxed) % 2]
            }
        }
    }

    /// Where it is, unless that changes.
    pub(super) fn address(&self) -> Option<&Address> {
        match &self.aim {
            Aim::Server(address) => Some(address),
            Aim::Master(_) => None,
        }
    }

    fn lines(&self) -> impl Iterator<Item = &Line> {
        std::iter::once(&self.ordinary).chain(self.large.get().into_iter().flatten())
    }

    /// Makes every connection anew.
    pub(super) fn renew(&self) {
        self.lines().for_each(Line::renew);
    }

    /// Makes every connection anew that leads elsewhere.
    pub(super) fn lead_to(&self, address: &Address) {
        self.lines().for_each(|line| line.lead_to(address));
    }

    pub(super) fn is_up(&self) -> bool {
        self.ordinary.is_up()
    }

    pub(super) fn made(&self) -> u64 {
        self.lines().map(Line::made).sum()
    }

    pub(super) fn fault(&self) -> Option<RedisError> {
        self.lines().find_map(Line::fault)
    }
}
