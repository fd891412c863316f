//! Many runs, on as many threads as asked for, until they are done, time is up, or somebody wants an end.

use crate::args::Stories;
use crate::attempt::{self, COMES_BACK};
use crate::options::Options;
use crate::oracle::Violation;
use crate::overrides::Overrides;
use crate::run::Outcome;
use crate::signals::Interrupt;
use crate::tally::Tally;
use crate::work::Work;
use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A run that takes longer is taken for one that never ends. They take a second or so.
const HANGS: Duration = Duration::from_secs(90);

/// How often the display changes.
const REDRAW: Duration = Duration::from_millis(200);

/// How much there is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Budget {
    Runs(u64),
    Time(Duration),
}

/// What is to be run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The first seed.
    pub(crate) base: u64,
    pub(crate) budget: Budget,
    pub(crate) jobs: u64,
    pub(crate) overrides: Overrides,
    /// Play these with each seed, instead of what the seed draws.
    pub(crate) stories: Option<Stories>,
    /// One run that fails is enough.
    pub(crate) first: bool,
}

impl Plan {
    /// What is run at this place.
    pub(crate) fn work(&self, at: u64) -> Work {
        let seed = self.base.wrapping_add(at / self.each());
        match &self.stories {
            Some(Stories(stories)) => Work::told(stories[at as usize % stories.len()], seed),
            None => Work::drawn(self.overrides.over(Options::drawn(seed))),
        }
    }

    /// Runs of each seed.
    pub(crate) fn each(&self) -> u64 {
        self.stories.as_ref().map_or(1, |Stories(stories)| stories.len().max(1) as u64)
    }

    fn has(&self, at: u64, passed: Duration) -> bool {
        match self.budget {
            Budget::Runs(runs) => at / self.each() < runs,
            Budget::Time(time) => passed < time,
        }
    }
}

struct Under {
    since: Instant,
    work: Work,
}

/// Runs it all; `show` is told now and then how far it has come.
pub(crate) fn run(plan: &Plan, interrupt: &Interrupt, mut show: impl FnMut(&Tally)) -> Tally {
    let began = Instant::now();
    let (send, outcomes) = mpsc::channel::<(u64, Outcome)>();
    let mut under_way: BTreeMap<u64, Under> = BTreeMap::new();
    let mut tally = Tally::default();
    let mut next = 0;
    loop {
        let is_enough = interrupt.is_asked() || (plan.first && !tally.failed.is_empty());
        while !is_enough && (under_way.len() as u64) < plan.jobs && plan.has(next, began.elapsed()) {
            let (at, work, send) = (next, plan.work(next), send.clone());
            next += 1;
            under_way.insert(at, Under { since: Instant::now(), work: work.clone() });
            begin(at, work, send);
        }
        if under_way.is_empty() {
            break;
        }
        if let Ok((at, outcome)) = outcomes.recv_timeout(REDRAW) {
            // One that was given up for lost may still come.
            if under_way.remove(&at).is_some() {
                tally.add(outcome);
            }
        }
        for lost in give_up(&mut under_way) {
            tally.add(lost);
        }
        tally.took = began.elapsed();
        show(&tally);
    }
    tally.took = began.elapsed();
    tally.is_interrupted = interrupt.is_asked();
    tally
}

fn begin(at: u64, work: Work, send: mpsc::Sender<(u64, Outcome)>) {
    let (spare, reply) = (work.clone(), send.clone());
    if !attempt::start(work, false, move |outcome| _ = reply.send((at, outcome))) {
        let none = Violation::outside("a thread starts", "the system has none to give".to_owned());
        let _ = send.send((at, spare.broken(none)));
    }
}

/// Those that will never come back. Their threads are left behind, and end with the program.
fn give_up(under_way: &mut BTreeMap<u64, Under>) -> Vec<Outcome> {
    let mut lost = Vec::new();
    under_way.retain(|_, run| {
        let is_lost = run.since.elapsed() > HANGS;
        if is_lost {
            let what = format!("still running after {} s", HANGS.as_secs());
            lost.push(run.work.clone().broken(Violation::outside(COMES_BACK, what)));
        }
        !is_lost
    });
    lost
}
