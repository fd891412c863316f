//! A model of the protocol, explored exhaustively.

mod check;
mod core;
mod failover;
mod guard;
mod replica;
mod session;
mod weakening;

use self::core::Core;
use std::process::ExitCode;
use weakening::Weakening as W;

/// Checks the model.
pub(crate) fn run() -> ExitCode {
    let hit = Core {
        nodes: 1,
        readers: &[0, 0],
        writes: 2,
        delta: 2,
        tags: 1,
        slots: 1,
        flights: true,
        memo: true,
        ..Core::default()
    };
    let renew1 = Core {
        nodes: 1,
        readers: &[0],
        writes: 2,
        delta: 2,
        tags: 1,
        slots: 1,
        sequencer: true,
        other: true,
        ..Core::default()
    };
    let renew = Core {
        nodes: 2,
        readers: &[0],
        writes: 2,
        delta: 2,
        tags: 1,
        slots: 1,
        sequencer: true,
        ..Core::default()
    };
    let store = Core {
        nodes: 2,
        readers: &[0, 1],
        loaders: 2,
        lookers: true,
        writes: 2,
        delta: 1,
        tags: 1,
        slots: 1,
        store: true,
        rollback: true,
        ..Core::default()
    };
    let start = Core {
        nodes: 2,
        readers: &[0, 1],
        loaders: 2,
        lookers: true,
        writes: 2,
        delta: 1,
        tags: 1,
        slots: 1,
        store: true,
        restart: true,
        ..Core::default()
    };
    let tags = Core { nodes: 1, readers: &[0, 0], writes: 3, delta: 1, tags: 2, slots: 1, ..Core::default() };
    let gaps = Core {
        nodes: 1,
        readers: &[0],
        writes: 3,
        delta: 1,
        tags: 2,
        slots: 2,
        gaps: true,
        ..Core::default()
    };
    let dirty = Core {
        nodes: 1,
        readers: &[0, 0],
        writes: 2,
        delta: 1,
        tags: 2,
        slots: 2,
        transactions: true,
        ..Core::default()
    };
    let drift = Core {
        nodes: 1,
        readers: &[0],
        writes: 2,
        delta: 2,
        margin: 1,
        drift: 3,
        tags: 1,
        slots: 1,
        ..Core::default()
    };
    let returns = Core {
        nodes: 2,
        readers: &[0],
        writes: 2,
        delta: 1,
        tags: 1,
        slots: 1,
        returns: true,
        ..Core::default()
    };
    let all = [
        ("hit", hit),
        ("renew1", renew1),
        ("renew", renew),
        ("store", store),
        ("start", start),
        ("tags", tags),
        ("gaps", gaps),
        ("dirty", dirty),
        ("drift", drift),
        ("returns", returns),
    ];
    let weak = [
        W::StampAfterSnapshot,
        W::PromotionRestamps,
        W::FillInTransaction,
        W::FloorNotRaised,
        W::SlotsDroppedBeforeFloor,
        W::FloorBeforeSlots,
        W::UnheldTargetSkipped,
        W::FloorZeroAtStart,
        W::LeaseAfterRule,
        W::LeaseInclusive,
        W::RenewedInPlace,
        W::FollowerSkipsRule,
        W::ClockStopsInSuspend,
        W::PublishBeforeSlots,
        W::GapIgnored,
        W::ApplyErrorIgnored,
        W::LeaseFromReply,
        W::BusyLockSkipped,
        W::SnapshotBeforeLock,
        W::HeadNotApplied,
        W::LeaseOverwritten,
        W::HeadAndFloorFromTwoAnswers,
        W::ReturnOnFirstNode,
    ];
    let only: Vec<String> = std::env::args().skip(1).collect();
    if only.iter().any(|o| o == "guard") {
        for (w, r) in [(1, true), (2, false), (2, true)] {
            let g = guard::Guard { weak: None, writers: w, delta: 1, deadline: 2, restart: r };
            for weak in [
                None,
                Some(W::IntentNotWaitedFor),
                Some(W::IntentIsAFlag),
                Some(W::OrphanClearedEarly),
                Some(W::ExpiryIsNoInvalidation),
                Some(W::StartWithoutIntents),
            ] {
                show(&format!("{weak:?}"), check::check(guard::Guard { weak, ..g.clone() }, &|_| ()));
            }
        }
    }
    if only.iter().any(|o| o == "session") {
        for weak in [
            None,
            Some(W::TokenIsBorn),
            Some(W::TokenIsApplied),
            Some(W::TokenBeforeSnapshot),
            Some(W::TokenWithoutSequencer),
            Some(W::TokenAfterRule),
        ] {
            show(&format!("{weak:?}"), check::check(session::Session { weak, writes: 2 }, &|_| ()));
        }
    }
    if only.iter().any(|o| o == "replica") {
        for (delta, lag, replay) in [(1, 2, false), (2, 1, false), (2, 2, true)] {
            for weak in [
                None,
                Some(W::HoldOffMissing),
                Some(W::HoldOffDecidedAtFill),
                Some(W::HeldOffLoadShared),
                Some(W::LagLeftOutOfBound),
                Some(W::ReplayReadAfterSnapshot),
            ] {
                show(
                    &format!("{delta} {lag} {replay} {weak:?}"),
                    check::check(replica::Replica { weak, writes: 2, delta, lag, replay }, &|_| ()),
                );
            }
        }
    }
    if only.iter().any(|o| o.starts_with("failover")) {
        let f = failover::Failover { writes: 2, delta: 1, failovers: 1, ..Default::default() };
        for (n, f) in [
            ("plain", f.clone()),
            ("two", failover::Failover { failovers: 2, ..f.clone() }),
            ("loaders", failover::Failover { both_load: true, ..f.clone() }),
            ("empty", failover::Failover { empty: true, foreign: true, ..f.clone() }),
            ("db", failover::Failover { database: true, ..f.clone() }),
        ] {
            if only.len() > 1 && !only.iter().any(|o| o == n) {
                continue;
            }
            for weak in [
                None,
                Some(W::AbsentStampIsZero),
                Some(W::EpochNotCompared),
                Some(W::NonceNotCompared),
                Some(W::BeatWithoutNonce),
                Some(W::HeadByPosition),
                Some(W::OwnAppendForgotten),
                Some(W::OwnAppendOverwritten),
                Some(W::AppendWithoutLink),
                Some(W::SeenEpochAdopted),
                Some(W::HeadOfAnotherEpoch),
                Some(W::LeaseKeptOnMismatch),
            ] {
                let c = check::check(failover::Failover { weak, ..f.clone() }, &|n| {
                    if n > 30_000_000 {
                        std::process::exit(3)
                    }
                });
                show(&format!("{n} {weak:?}"), c);
            }
        }
    }
    for (name, core) in all {
        if !only.is_empty() && !only.iter().any(|o| o == name) {
            continue;
        }
        let c = check::check(core.clone(), &|n| {
            if n > 60_000_000 {
                std::process::exit(3)
            }
        });
        println!(
            "{name}: {} states {} gen depth {} {:?} passed {}",
            c.states,
            c.generated,
            c.depth,
            c.time,
            c.passed()
        );
        for f in &c.findings {
            if !f.holds {
                println!("   {} {}", f.kind, f.property);
            }
        }
        if let Some(s) = c.story {
            println!("{}", s.property);
            for st in s.steps {
                println!("  {st}");
            }
            println!("{}", s.end);
        }
        if only.len() > 1 || std::env::var("WEAK").is_ok() {
            for w in weak {
                let c = check::check(Core { weak: Some(w), ..core.clone() }, &|n| {
                    if n > 60_000_000 {
                        std::process::exit(3)
                    }
                });
                if let Some(s) = c.story {
                    println!("   {w:?}: {} {} states depth {} {:?}", s.property, c.states, c.depth, c.time);
                    if std::env::var("WEAK").is_ok_and(|x| x == format!("{w:?}")) {
                        for st in s.steps {
                            println!("  {st}");
                        }
                        println!("{}", s.end);
                    }
                }
            }
        }
    }
    ExitCode::SUCCESS
}

fn show(name: &str, c: check::Checked) {
    println!(
        "{name}: {} states {} gen depth {} {:?} passed {}",
        c.states,
        c.generated,
        c.depth,
        c.time,
        c.passed()
    );
    for f in &c.findings {
        if !f.holds {
            println!("   {} {}", f.kind, f.property);
        }
    }
    if let (Some(s), true) = (c.story, std::env::var("STORY").is_ok()) {
        println!("{}", s.property);
        for st in s.steps {
            println!("  {st}");
        }
        println!("{}", s.end);
    }
}
