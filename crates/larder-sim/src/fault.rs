//! The faults there are, and which of them strike in a run.

use serde::Serialize;

/// One way in which the world goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// A thread is overtaken in the middle of synchronous code.
    Overtake,
    NodePause,
    NodeCrash,
    NodeJoin,
    ClockDrift,
    WallJump,
    ClockJump,
    JournalError,
    JournalHang,
    JournalLostAnswer,
    JournalSlow,
    JournalCompaction,
    /// The journal restarts and knows nobody who was there.
    JournalForgetsNodes,
    /// A journal on Redis fails over to a replica that had not heard of its newest records.
    JournalTailLoss,
    /// It starts with nothing.
    JournalEmptied,
    /// It starts from an old dump.
    JournalRestored,
    /// Two servers take themselves for the master.
    JournalSplit,
    StoreError,
    StoreHang,
    StoreSlow,
    StoreLose,
    StoreEvict,
    StoreDuplicate,
    StoreRollback,
    StoreSplit,
    StoreDamage,
    StoreSwap,
    /// The store forgets who leads a flight.
    FlightLost,
    /// The store grants a flight that another leads.
    FlightTwice,
    WakeDrop,
    HintDrop,
    HintDelay,
    HintRepeat,
    DbError,
    DbSlow,
    DbAbort,
    DbUnknownResult,
    DbLongTransaction,
    DbCommitLag,
    DbReplicaLag,
    DbFailover,
    DbFailoverLoss,
    Partition,
    ReaderCancelled,
}

impl Fault {
    pub(crate) const ALL: [Fault; 44] = [
        Fault::Overtake,
        Fault::NodePause,
        Fault::NodeCrash,
        Fault::NodeJoin,
        Fault::ClockDrift,
        Fault::WallJump,
        Fault::ClockJump,
        Fault::JournalError,
        Fault::JournalHang,
        Fault::JournalLostAnswer,
        Fault::JournalSlow,
        Fault::JournalCompaction,
        Fault::JournalForgetsNodes,
        Fault::JournalTailLoss,
        Fault::JournalEmptied,
        Fault::JournalRestored,
        Fault::JournalSplit,
        Fault::StoreError,
        Fault::StoreHang,
        Fault::StoreSlow,
        Fault::StoreLose,
        Fault::StoreEvict,
        Fault::StoreDuplicate,
        Fault::StoreRollback,
        Fault::StoreSplit,
        Fault::StoreDamage,
        Fault::StoreSwap,
        Fault::FlightLost,
        Fault::FlightTwice,
        Fault::WakeDrop,
        Fault::HintDrop,
        Fault::HintDelay,
        Fault::HintRepeat,
        Fault::DbError,
        Fault::DbSlow,
        Fault::DbAbort,
        Fault::DbUnknownResult,
        Fault::DbLongTransaction,
        Fault::DbCommitLag,
        Fault::DbReplicaLag,
        Fault::DbFailover,
        Fault::DbFailoverLoss,
        Fault::Partition,
        Fault::ReaderCancelled,
    ];

    /// Its name on the command line and in reports.
    pub(crate) fn name(self) -> String {
        let debug = format!("{self:?}");
        let mut name = String::new();
        for (at, c) in debug.char_indices() {
            if c.is_ascii_uppercase() && at > 0 {
                name.push('_');
            }
            name.push(c.to_ascii_lowercase());
        }
        name
    }

    /// The fault of this name.
    pub(crate) fn named(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name)
    }
}
