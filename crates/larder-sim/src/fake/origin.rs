//! Reading from the database, as a loader does.

use super::RowId;
use crate::fault::Fault;
use crate::sched::{MS, NodeRuntime, SECOND};
use crate::world::{Service, World};
use larder_core::seeded_bug;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A row as it was read; what caches hold. It says whose it is and which version, so that the oracle can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) tenant: u32,
    pub(crate) row: u32,
    pub(crate) version: u64,
    pub(crate) owner: u8,
}

/// One node's way to the database.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) world: World,
    pub(crate) rt: NodeRuntime,
}

/// The database did not answer.
#[derive(Debug)]
pub(crate) struct OriginError(pub(crate) &'static str);

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for OriginError {}

/// Counts a load for as long as it is at the database.
struct Place<'a>(&'a Origin);

impl<'a> Place<'a> {
    fn take(origin: &'a Origin) -> Self {
        let mut database = origin.world.database();
        let (now, most) = database.loading.entry((origin.rt.node, origin.rt.life)).or_default();
        *now += 1;
        *most = (*most).max(*now);
        drop(database);
        Place(origin)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut database = self.0.world.database();
        if let Some((now, _)) = database.loading.get_mut(&(self.0.rt.node, self.0.rt.life)) {
            *now -= 1;
        }
    }
}

impl Origin {
    /// The row as some server shows it at one moment between the call and the answer; `None` when it does not exist.
    pub(crate) async fn read(&self, id: RowId) -> Result<Option<Seen>, OriginError> {
        Ok(self.read_many(&[id]).await?.pop().flatten())
    }

    /// Several rows, as of one moment.
    pub(crate) async fn read_many(&self, ids: &[RowId]) -> Result<Vec<Option<Seen>>, OriginError> {
        let _place = Place::take(self);
        self.ask(ids, false).await
    }

    /// The row as the replica shows it, whatever it has replayed.
    pub(crate) async fn read_replica(&self, id: RowId) -> Result<Option<Seen>, OriginError> {
        let _place = Place::take(self);
        Ok(self.ask(&[id], true).await?.pop().flatten())
    }

    /// One row, not by a loader: no limit holds for it.
    pub(crate) async fn look(&self, id: RowId) -> Result<Option<Seen>, OriginError> {
        Ok(self.ask(&[id], false).await?.pop().flatten())
    }

    async fn ask(&self, ids: &[RowId], lagging: bool) -> Result<Vec<Option<Seen>>, OriginError> {
        let world = &self.world;
        // What a replica must have replayed: asked of the primary before the snapshot, and after the load was stamped.
        let needed = world.database().newest_commit;
        world.travel(&self.rt, Service::Database).await.map_err(|_| OriginError("unreachable"))?;
        if world.strikes(Fault::DbError, 0.02) {
            return Err(OriginError("the database refused the query"));
        }
        if world.strikes(Fault::DbSlow, 0.02) {
            world.sim().delay(100 * MS, 12 * SECOND).await;
        }
        let seen = {
            let mut database = world.database();
            database.reads += 1;
            let has_replica = world.options().has(Fault::DbReplicaLag);
            let replayed = database.replica_at >= needed || seeded_bug!("replica_without_check");
            let from_replica = lagging || (has_replica && replayed && world.sim().chance(0.5));
            let read = |id: &RowId| {
                let n = if from_replica { database.replica(*id) } else { database.primary(*id) };
                let version = &database.row(*id).versions[n as usize];
                let tenant = database.tenant_of(*id);
                (!version.gone).then_some(Seen { tenant, row: id.0, version: n, owner: version.owner })
            };
            ids.iter().map(read).collect()
        };
        world.note(self.rt.node, || format!("database answers {seen:?}"));
        world.travel(&self.rt, Service::Database).await.map_err(|_| OriginError("the answer was lost"))?;
        Ok(seen)
    }
}
