//! Nothing is left when a journal or a store is closed or dropped. Alone in its file: it counts the threads and files
//! of the whole process.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

use larder::journal::{MemoryJournal, SqliteJournal};
use larder::store::SqliteStore;
use larder_core::port::{Journal, Store, Stored};
use larder_core::{Cause, Target};
use std::path::Path;

fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.join("comm")).ok());
    names.filter(|name| name.starts_with("larder-")).collect()
}

fn open_files(under: &Path) -> usize {
    let fds = std::fs::read_dir("/proc/self/fd").unwrap();
    fds.filter(|fd| std::fs::read_link(fd.as_ref().unwrap().path()).is_ok_and(|f| f.starts_with(under)))
        .count()
}

#[tokio::test]
async fn threads_and_files_are_gone_after_a_close_and_after_a_drop() {
    let dir = tempfile::tempdir().unwrap();
    for closed in [true, false] {
        for _ in 0..10 {
            let journal = SqliteJournal::open(dir.path().join("app.db")).unwrap();
            let clone = journal.clone();
            let store = SqliteStore::open(dir.path().join("cache.db")).unwrap();
            journal.append("ns", &[Target::everything()], &Cause::default()).await.unwrap();
            let entry = Stored { key: vec![1], bytes: vec![2], expires_ms: u64::MAX };
            store.put_many(vec![entry]).await.unwrap();
            let waiting = tokio::spawn(async move {
                loop {
                    clone.changed("ns").await;
                }
            });
            tokio::task::yield_now().await;
            // Each names itself when it first runs; these two have answered.
            assert!(threads().len() >= 2, "{:?}", threads());
            waiting.abort();
            let _ = waiting.await;
            if closed {
                journal.close().await;
                store.close().await;
                assert_eq!((threads(), open_files(dir.path())), (Vec::new(), 0));
            }
        }
        assert_eq!((threads(), open_files(dir.path())), (Vec::new(), 0));
    }
    MemoryJournal::new().close().await;
    assert_eq!(threads(), Vec::<String>::new());
}
