//! The named ways in which the protocol is weakened. Each breaks one of the ten orders of `design.md` §1, or one
//! assumption beside them, and must be caught.

/// One way to break the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Weakening {
    StampAfterSnapshot,
    PromotionRestamps,
    FillInTransaction,
    FloorNotRaised,
    SlotsDroppedBeforeFloor,
    FloorBeforeSlots,
    UnheldTargetSkipped,
    FloorZeroAtStart,
    LeaseAfterRule,
    LeaseInclusive,
    RenewedInPlace,
    FollowerSkipsRule,
    ClockStopsInSuspend,
    PublishBeforeSlots,
    GapIgnored,
    ApplyErrorIgnored,
    LeaseFromReply,
    BusyLockSkipped,
    SnapshotBeforeLock,
    HeadNotApplied,
    LeaseOverwritten,
    HeadAndFloorFromTwoAnswers,
    ReturnOnFirstNode,
}
