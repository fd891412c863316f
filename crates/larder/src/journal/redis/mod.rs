//! The journal on Redis or Valkey, for origins without SQL.
//!
//! An append is one script on keys of one slot: one round trip, alone, behind Sentinel and on a cluster. Its claim is
//! weaker than that of a journal in the origin's database, and stands in `docs/concepts/redis-journal.md`: a failover
//! may lose acknowledged records, and what no living node knew of is lost in silence. Answers come from a master,
//! never from a replica.

mod codec;
mod durability;
mod handle;
mod names;
mod scripts;

pub use durability::Durability;
pub use handle::{RedisJournal, RedisJournalOptions};
