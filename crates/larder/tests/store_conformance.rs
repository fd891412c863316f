//! The store suite, on every store.
#![allow(clippy::expect_used)]

use larder::store::SqliteStore;
use larder::testing::FakeStore;
use larder::testing::store_suite::StoreBench;
use std::sync::Arc;

fn fake() -> StoreBench {
    StoreBench { store: Arc::new(FakeStore::new()), keep: Box::new(()) }
}

fn sqlite() -> StoreBench {
    let dir = tempfile::tempdir().expect("a directory");
    let store = SqliteStore::open(dir.path().join("cache.db")).expect("a store");
    StoreBench { store: Arc::new(store), keep: Box::new(dir) }
}

mod on_fake {
    larder::flights_suite!(super::fake);
    larder::store_suite!(super::fake);
}
mod on_sqlite {
    larder::store_suite!(super::sqlite);
}
