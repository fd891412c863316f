//! Options of a run that the command line sets instead of the seed; and the flags that say what was set.
//!
//! A shrunk history is replayed by these flags, so each option that a seed draws has one.

use crate::fault::Fault;
use crate::options::{Capture, JournalKind, Options};
use clap::{ArgAction, Args, value_parser};
use std::str::FromStr;

/// What the command line sets. What it does not, the seed draws.
#[derive(Clone, Debug, Default, PartialEq, Args)]
#[command(next_help_heading = "Options of a run, instead of what the seed draws")]
pub(crate) struct Overrides {
    /// The kinds of faults that strike, separated by commas, or `none`, or `all`.
    #[arg(long, value_name = "KINDS")]
    pub(crate) faults: Option<Faults>,
    /// Nodes at the beginning.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=8))]
    pub(crate) nodes: Option<u32>,
    /// Rows belong to tenants in turn.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=16))]
    pub(crate) tenants: Option<u32>,
    /// Rows of the database, each in every region.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=10_000))]
    pub(crate) rows: Option<u32>,
    /// Rows of a tenant that share a tag and a prefix.
    #[arg(long, value_name = "ROWS", value_parser = value_parser!(u32).range(1..=10_000))]
    pub(crate) group: Option<u32>,
    /// The bound of the level.
    #[arg(long, value_name = "MS", value_parser = value_parser!(u64).range(10..=60_000))]
    pub(crate) bound_ms: Option<u64>,
    /// Until an entry expires.
    #[arg(long, value_name = "MS", value_parser = value_parser!(u64).range(1..=86_400_000))]
    pub(crate) ttl_ms: Option<u64>,
    /// Operations per simulated second, of all nodes together.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=100_000))]
    pub(crate) ops_per_s: Option<u64>,
    /// The share of operations that write.
    #[arg(long, value_name = "0..=1", value_parser = share)]
    pub(crate) write_share: Option<f64>,
    /// Where the journal is. What cannot happen there is left out of the faults, and on Redis there is no outbox.
    #[arg(long, value_name = "WHERE")]
    pub(crate) journal: Option<JournalKind>,
    /// How invalidations reach the journal.
    #[arg(long, value_name = "HOW")]
    pub(crate) capture: Option<Capture>,
    /// Whether there is a second tier.
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    pub(crate) store: Option<bool>,
    /// Simulated time with faults.
    #[arg(long, value_name = "MS", value_parser = value_parser!(u64).range(0..=86_400_000))]
    pub(crate) faulty_ms: Option<u64>,
    /// Simulated time without faults, after that. The last look needs some ten seconds.
    #[arg(long, value_name = "MS", value_parser = value_parser!(u64).range(0..=86_400_000))]
    pub(crate) quiet_ms: Option<u64>,
    /// Records the journal keeps.
    #[arg(long, value_name = "RECORDS", value_parser = value_parser!(u64).range(1..))]
    pub(crate) retention: Option<u64>,
    /// Memory of a node's first tier.
    #[arg(long, value_name = "KIB", value_parser = value_parser!(u64).range(16..=1_048_576))]
    pub(crate) memory_kib: Option<u64>,
    /// Invalidated names a node remembers.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=1_000_000))]
    pub(crate) targets_max: Option<u64>,
    /// How often faults strike, relative to usual.
    #[arg(long, value_name = "0..=100", value_parser = intensity)]
    pub(crate) intensity: Option<f64>,
    /// Loads of a node at the database at once.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=10_000))]
    pub(crate) loads_max: Option<u64>,
    /// Every so many rows one is only written under guards; 0 for none, and so when a journal may lose records.
    #[arg(long, value_name = "ROWS", value_parser = value_parser!(u32).range(0..=10_000))]
    pub(crate) guarded_every: Option<u32>,
}

/// Kinds of faults, as one flag names them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl FromStr for Faults {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Faults(Vec::new())),
            "all" => Ok(Faults(Fault::ALL.to_vec())),
            names => names.split(',').map(named).collect::<Result<_, _>>().map(Faults),
        }
    }
}

fn named(name: &str) -> Result<Fault, String> {
    Fault::named(name.trim()).ok_or_else(|| {
        let names: Vec<String> = Fault::ALL.into_iter().map(Fault::name).collect();
        format!("no kind of fault is called {name:?}: expected none, all, or some of {}", names.join(", "))
    })
}

fn share(text: &str) -> Result<f64, String> {
    within(text, 1.0)
}

fn intensity(text: &str) -> Result<f64, String> {
    within(text, 100.0)
}

fn within(text: &str, most: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("expected a number in 0..={most}"))?;
    if (0.0..=most).contains(&number) { Ok(number) } else { Err(format!("expected a number in 0..={most}")) }
}

/// One line for each option that is its own flag: how it is set, and how it is told.
macro_rules! each_plain {
    ($with:ident) => {
        $with!(
            nodes,
            tenants,
            rows,
            group,
            bound_ms,
            ttl_ms,
            ops_per_s,
            write_share,
            store,
            faulty_ms,
            quiet_ms,
            retention,
            memory_kib,
            targets_max,
            intensity,
            loads_max,
            guarded_every
        )
    };
}

impl Overrides {
    /// These options, as far as the command line leaves them to the seed.
    pub(crate) fn over(&self, mut drawn: Options) -> Options {
        macro_rules! set {
            ($($field:ident),*) => { $(if let Some(value) = self.$field { drawn.$field = value; })* };
        }
        if let Some(journal) = self.journal {
            drawn.journal = journal;
            if journal == JournalKind::Redis {
                drawn.capture = Capture::Direct;
            }
        }
        if let Some(Faults(faults)) = &self.faults {
            drawn.faults.clone_from(faults);
        }
        drawn = drawn.possible();
        if drawn.loses_records() {
            drawn.guarded_every = 0;
        }
        each_plain!(set);
        if let Some(capture) = self.capture {
            drawn.capture = capture;
        }
        drawn
    }

    /// Whether every run is the full mix.
    pub(crate) fn is_full_mix(&self) -> bool {
        *self == Overrides::default()
    }
}

/// The flags that give these options, and what the seed draws anyway needs none.
pub(crate) fn flags(wanted: &Options) -> String {
    let drawn = Options::drawn(wanted.seed);
    let mut flags = vec![format!("--seed {}", wanted.seed)];
    if wanted.faults != drawn.faults {
        let names: Vec<String> = wanted.faults.iter().map(|fault| fault.name()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(",") };
        flags.push(format!("--faults {names}"));
    }
    macro_rules! tell {
        ($($field:ident),*) => {
            $(if wanted.$field != drawn.$field {
                flags.push(format!("--{} {}", stringify!($field).replace('_', "-"), wanted.$field));
            })*
        };
    }
    each_plain!(tell);
    if wanted.journal != drawn.journal {
        flags.push(format!("--journal {}", wanted.journal.name()));
    }
    if wanted.capture != drawn.capture {
        flags.push(format!("--capture {}", wanted.capture.name()));
    }
    flags.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Only {
        #[arg(long)]
        seed: u64,
        #[command(flatten)]
        overrides: Overrides,
    }

    #[test]
    fn the_flags_that_are_told_give_the_options_they_were_told_for() {
        for seed in 0..200 {
            let wanted = Options { seed, write_share: 0.015, ..Options::drawn(seed ^ 0x5555) };
            let typed = flags(&wanted);
            let only = Only::try_parse_from(std::iter::once("x").chain(typed.split(' '))).unwrap();
            let got = only.overrides.over(Options::drawn(only.seed));
            assert_eq!(format!("{got:?}"), format!("{wanted:?}"), "{typed}");
        }
    }

    #[test]
    fn guards_are_left_out_when_the_journal_may_lose_records() {
        let drawn = Options { guarded_every: 3, ..Options::drawn(7) };
        let all = Overrides { faults: Some(Faults(Fault::ALL.to_vec())), ..Overrides::default() };
        assert_eq!(all.over(drawn.clone()).guarded_every, 0);
        assert_eq!(Overrides { guarded_every: Some(5), ..all }.over(drawn).guarded_every, 5);
    }

    #[test]
    fn what_the_seed_draws_needs_no_flag() {
        assert_eq!(flags(&Options::drawn(7)), "--seed 7");
    }
}
