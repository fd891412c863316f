//! One round of the race, the same for every engine:
//!
//! 1. a reader starts a load; the loader reads the origin and is held;
//! 2. perhaps a second reader joins;
//! 3. the origin is written and the key invalidated, and that is acknowledged;
//! 4. perhaps a reader comes only now;
//! 5. the loader is let go and everything runs to its end;
//! 6. is the value from before the write a hit?
//!
//! Rounds run on a runtime of one thread, so that yielding until nothing moves is enough to let everything
//! settle.

use crate::Failure;
use crate::race::stage::{Load, Origin};
use std::future::Future;
use std::sync::Arc;

/// How often to yield until every task that can run has run: far more than any engine here has steps.
const YIELDS: usize = 256;

/// A cache under one way of loading and one way of invalidating.
pub(crate) trait Contender: Send + Sync + 'static {
    /// Brings the key to where the held load begins; for a background refresh, a value past its soft TTL.
    fn prepare(&self, _key: u64, _load: Load) -> impl Future<Output = Result<(), Failure>> + Send {
        async { Ok(()) }
    }

    /// Reads through the cache, loading on a miss (or refreshing); returns the version it was given.
    fn read(&self, key: u64, load: Load) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Invalidates the key; returns when that is acknowledged.
    fn invalidate(&self, key: u64) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The version that a read without a loader hits, if it is a hit.
    fn hit(&self, key: u64) -> impl Future<Output = Result<Option<u64>, Failure>> + Send;
}

/// Who else reads during a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Second {
    /// Nobody.
    None,
    /// A reader that came before the write; it may be given the old value, and must not leave it behind.
    Before,
    /// A reader that came after the invalidation was acknowledged; it must not be given the old value either.
    After,
}

/// Plays a round on a key nobody used before. True if the value from before the write was left behind as a hit,
/// or was handed to a reader that began after the invalidation.
pub(crate) async fn play<C: Contender>(
    contender: &Arc<C>,
    key: u64,
    second: Second,
) -> Result<bool, Failure> {
    let origin = Origin::default();
    origin.write();
    contender.prepare(key, origin.load()).await?;
    origin.write();

    let (load, hold) = origin.held_load();
    let first = spawn_read(contender, key, load);
    let release = hold.reached().await?;
    let before = match second {
        Second::Before => Some(spawn_read(contender, key, origin.load())),
        Second::None | Second::After => None,
    };
    settle().await;

    origin.write();
    contender.invalidate(key).await?;

    let after = match second {
        Second::After => Some(spawn_read(contender, key, origin.load())),
        Second::None | Second::Before => None,
    };
    settle().await;

    // The loader may have been cancelled by the invalidation; then it holds nothing and there is nobody to tell.
    let _ = release.send(());
    first.await??;
    if let Some(reader) = before {
        reader.await??;
    }
    let handed_late = match after {
        Some(reader) => reader.await?? < origin.version(),
        None => false,
    };
    settle().await;

    let left_behind = contender.hit(key).await?.is_some_and(|version| version < origin.version());
    Ok(left_behind || handed_late)
}

/// The same without the write: what was loaded must be a hit, or a round that leaves nothing behind proves
/// nothing about this engine.
///
/// # Errors
/// It is not.
pub(crate) async fn control<C: Contender>(contender: &Arc<C>, key: u64) -> Result<(), Failure> {
    let origin = Origin::default();
    origin.write();
    contender.prepare(key, origin.load()).await?;
    origin.write();
    let (load, hold) = origin.held_load();
    let first = spawn_read(contender, key, load);
    let release = hold.reached().await?;
    settle().await;
    let _ = release.send(());
    first.await??;
    settle().await;
    match contender.hit(key).await? {
        Some(version) if version == origin.version() => Ok(()),
        found => Err(format!(
            "control round: without a write the loaded version {} should be a hit, found {found:?}",
            origin.version()
        )
        .into()),
    }
}

type Reading = tokio::task::JoinHandle<Result<u64, Failure>>;

fn spawn_read<C: Contender>(contender: &Arc<C>, key: u64, load: Load) -> Reading {
    let contender = Arc::clone(contender);
    tokio::spawn(async move { contender.read(key, load).await })
}

/// Lets every task run until it waits for something that this round controls.
async fn settle() {
    for _ in 0..YIELDS {
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::sync::Mutex;

    /// The textbook mistake: look, load, store, with nothing between to notice an invalidation.
    #[derive(Default)]
    struct Naive(Mutex<HashMap<u64, u64>>);

    impl Contender for Naive {
        async fn read(&self, key: u64, load: Load) -> Result<u64, Failure> {
            if let Some(version) = self.hit(key).await? {
                return Ok(version);
            }
            let version = load.run().await;
            self.0.lock().unwrap().insert(key, version);
            Ok(version)
        }

        async fn invalidate(&self, key: u64) -> Result<(), Failure> {
            self.0.lock().unwrap().remove(&key);
            Ok(())
        }

        async fn hit(&self, key: u64) -> Result<Option<u64>, Failure> {
            Ok(self.0.lock().unwrap().get(&key).copied())
        }
    }

    /// Never stores anything.
    struct Forgetful;

    impl Contender for Forgetful {
        async fn read(&self, _key: u64, load: Load) -> Result<u64, Failure> {
            Ok(load.run().await)
        }

        async fn invalidate(&self, _key: u64) -> Result<(), Failure> {
            Ok(())
        }

        async fn hit(&self, _key: u64) -> Result<Option<u64>, Failure> {
            Ok(None)
        }
    }

    #[tokio::test]
    async fn the_textbook_mistake_is_caught_with_and_without_a_second_reader() {
        let naive = Arc::new(Naive::default());
        control(&naive, 0).await.unwrap();
        assert!(play(&naive, 1, Second::None).await.unwrap());
        assert!(play(&naive, 2, Second::Before).await.unwrap());
        assert!(play(&naive, 3, Second::After).await.unwrap());
    }

    #[tokio::test]
    async fn a_cache_that_stores_nothing_is_clean_but_fails_its_control() {
        let forgetful = Arc::new(Forgetful);
        assert!(!play(&forgetful, 1, Second::None).await.unwrap());
        assert!(!play(&forgetful, 2, Second::After).await.unwrap());
        assert!(control(&forgetful, 3).await.is_err());
    }
}
