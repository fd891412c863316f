//! What every store must do, one function per behaviour; see [`crate::store_suite`].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, missing_docs)]

use larder_core::port::{Store, Stored};
use std::any::Any;
use std::future::Future;
use std::sync::Arc;

/// A fresh store.
pub struct StoreBench {
    /// The store.
    pub store: Arc<dyn Store>,
    /// What must outlive it, such as a temporary directory.
    pub keep: Box<dyn Any + Send + Sync>,
}

/// Makes each behaviour of a store a test. Takes the path of a function that makes a fresh
/// [`StoreBench`](crate::testing::store_suite::StoreBench).
#[macro_export]
macro_rules! store_suite {
    ($make:path) => {
        $crate::store_suite!(@each $make:
            a_key_never_put_is_absent,
            entries_come_back_in_the_order_asked,
            a_key_asked_for_twice_is_answered_twice,
            what_was_put_is_there_once_the_put_completed,
            a_later_put_replaces,
            the_last_of_one_batch_wins,
            removed_keys_are_absent_and_others_stay,
            removing_what_is_not_there_is_fine,
            empty_batches_are_fine,
            keys_and_values_may_be_any_bytes,
            keys_that_begin_alike_are_different,
            a_large_entry_comes_back_whole,
            a_large_entry_and_a_small_one_take_each_others_place,
            thousands_of_keys_in_one_call,
            an_expiry_at_either_end_of_time_is_kept_or_dropped_but_never_an_error,
            usage_counts_the_entries,
            concurrent_callers_each_get_their_own,
            a_dropped_call_does_no_harm,
            a_closed_store_refuses,
        );
    };
    (@each $make:path: $($name:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::testing::store_suite::$name($make()).await;
            }
        )*
    };
}

/// Long after any test.
const FAR: u64 = 32_503_680_000_000;

fn entry(key: &[u8], bytes: &[u8]) -> Stored {
    Stored { key: key.to_vec(), bytes: bytes.to_vec(), expires_ms: FAR }
}

async fn put(store: &Arc<dyn Store>, entries: &[(&[u8], &[u8])]) {
    store.put_many(entries.iter().map(|(key, bytes)| entry(key, bytes)).collect()).await.expect("put");
}

async fn get(store: &Arc<dyn Store>, key: &[u8]) -> Option<Vec<u8>> {
    let mut found = store.get_many(&[key.to_vec()]).await.expect("get");
    assert_eq!(found.len(), 1, "one answer per key");
    let found = found.remove(0);
    assert_eq!(store.get(key).await.expect("get"), found, "asked for alone");
    found
}

pub async fn a_key_never_put_is_absent(bench: StoreBench) {
    assert_eq!(get(&bench.store, b"a").await, None);
}

pub async fn entries_come_back_in_the_order_asked(bench: StoreBench) {
    put(&bench.store, &[(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]).await;
    let keys = [b"c".to_vec(), b"x".to_vec(), b"a".to_vec(), b"b".to_vec()];
    let found = bench.store.get_many(&keys).await.unwrap();
    assert_eq!(found, [Some(b"3".to_vec()), None, Some(b"1".to_vec()), Some(b"2".to_vec())]);
}

pub async fn a_key_asked_for_twice_is_answered_twice(bench: StoreBench) {
    put(&bench.store, &[(b"a", b"1")]).await;
    let found = bench.store.get_many(&[b"a".to_vec(), b"a".to_vec()]).await.unwrap();
    assert_eq!(found, [Some(b"1".to_vec()), Some(b"1".to_vec())]);
}

pub async fn what_was_put_is_there_once_the_put_completed(bench: StoreBench) {
    for n in 0..50u32 {
        put(&bench.store, &[(&n.to_be_bytes(), b"v")]).await;
        assert!(get(&bench.store, &n.to_be_bytes()).await.is_some(), "entry {n}");
    }
}

pub async fn a_later_put_replaces(bench: StoreBench) {
    put(&bench.store, &[(b"a", b"old, and longer")]).await;
    put(&bench.store, &[(b"a", b"new")]).await;
    assert_eq!(get(&bench.store, b"a").await.as_deref(), Some(&b"new"[..]));
    assert_eq!(bench.store.usage().await.unwrap().0, 1);
}

pub async fn the_last_of_one_batch_wins(bench: StoreBench) {
    put(&bench.store, &[(b"a", b"1"), (b"b", b"1"), (b"a", b"2")]).await;
    assert_eq!(get(&bench.store, b"a").await.as_deref(), Some(&b"2"[..]));
    assert_eq!(bench.store.usage().await.unwrap().0, 2);
}

pub async fn removed_keys_are_absent_and_others_stay(bench: StoreBench) {
    put(&bench.store, &[(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]).await;
    bench.store.remove_many(&[b"a".to_vec(), b"c".to_vec()]).await.unwrap();
    let found = bench.store.get_many(&[b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]).await.unwrap();
    assert_eq!(found, [None, Some(b"2".to_vec()), None]);
}

pub async fn removing_what_is_not_there_is_fine(bench: StoreBench) {
    put(&bench.store, &[(b"a", b"1")]).await;
    bench.store.remove_many(&[b"x".to_vec(), b"x".to_vec()]).await.unwrap();
    bench.store.remove_many(&[b"a".to_vec(), b"a".to_vec()]).await.unwrap();
    assert_eq!(bench.store.usage().await.unwrap().0, 0);
}

pub async fn empty_batches_are_fine(bench: StoreBench) {
    bench.store.put_many(Vec::new()).await.unwrap();
    bench.store.remove_many(&[]).await.unwrap();
    assert_eq!(bench.store.get_many(&[]).await.unwrap(), Vec::<Option<Vec<u8>>>::new());
}

pub async fn keys_and_values_may_be_any_bytes(bench: StoreBench) {
    let long = vec![0xa5; 70_000];
    let odd: [&[u8]; 7] = [b"", b"\0", b"\0\0", b":*{}'\"", &[0xff, 0xfe], "é".as_bytes(), &long];
    for (i, key) in odd.iter().enumerate() {
        put(&bench.store, &[(key, odd[odd.len() - 1 - i])]).await;
    }
    for (i, key) in odd.iter().enumerate() {
        assert_eq!(get(&bench.store, key).await.as_deref(), Some(odd[odd.len() - 1 - i]), "key {i}");
    }
    assert_eq!(bench.store.usage().await.unwrap().0, odd.len() as u64);
}

pub async fn keys_that_begin_alike_are_different(bench: StoreBench) {
    put(&bench.store, &[(b"a", b"1"), (b"a\0", b"2"), (b"A", b"3"), (b"a ", b"4")]).await;
    for (key, value) in [(&b"a"[..], b"1"), (b"a\0", b"2"), (b"A", b"3"), (b"a ", b"4")] {
        assert_eq!(get(&bench.store, key).await.as_deref(), Some(&value[..]));
    }
}

pub async fn a_large_entry_comes_back_whole(bench: StoreBench) {
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n / 7) as u8).collect();
    put(&bench.store, &[(b"large", &large), (b"small", b"s")]).await;
    assert_eq!(get(&bench.store, b"large").await, Some(large));
    assert_eq!(get(&bench.store, b"small").await.as_deref(), Some(&b"s"[..]));
}

pub async fn a_large_entry_and_a_small_one_take_each_others_place(bench: StoreBench) {
    for round in 0..3u8 {
        let large = vec![round; 300_000];
        put(&bench.store, &[(b"k", &large)]).await;
        assert_eq!(get(&bench.store, b"k").await.as_ref(), Some(&large));
        assert_eq!(get(&bench.store, b"k").await, Some(large), "as one that is known to be large");
        put(&bench.store, &[(b"k", b"small")]).await;
        assert_eq!(get(&bench.store, b"k").await.as_deref(), Some(&b"small"[..]));
    }
    put(&bench.store, &[(b"k", &[7; 300_000])]).await;
    bench.store.remove_many(&[b"k".to_vec()]).await.unwrap();
    assert_eq!(get(&bench.store, b"k").await, None);
}

pub async fn thousands_of_keys_in_one_call(bench: StoreBench) {
    let keys: Vec<Vec<u8>> = (0..5_000u32).map(|n| n.to_be_bytes().to_vec()).collect();
    let entries = keys.iter().map(|key| Stored { key: key.clone(), bytes: key.clone(), expires_ms: FAR });
    bench.store.put_many(entries.collect()).await.unwrap();
    let found = bench.store.get_many(&keys).await.unwrap();
    assert!(found.iter().zip(&keys).all(|(found, key)| found.as_ref() == Some(key)));
    bench.store.remove_many(&keys[..4_000]).await.unwrap();
    let left = bench.store.get_many(&keys).await.unwrap().into_iter().flatten().count();
    assert_eq!((left, bench.store.usage().await.unwrap().0), (1_000, 1_000));
}

pub async fn an_expiry_at_either_end_of_time_is_kept_or_dropped_but_never_an_error(bench: StoreBench) {
    for (key, expires_ms) in [(&b"a"[..], 0), (b"b", 1), (b"c", i64::MAX as u64), (b"d", u64::MAX)] {
        let entry = Stored { key: key.to_vec(), bytes: b"v".to_vec(), expires_ms };
        bench.store.put_many(vec![entry]).await.unwrap();
        let found = get(&bench.store, key).await;
        assert!(found.is_none() || found.as_deref() == Some(&b"v"[..]));
        assert!(found.is_some() || expires_ms < 2, "what has not expired is there");
    }
}

pub async fn usage_counts_the_entries(bench: StoreBench) {
    assert_eq!(bench.store.usage().await.unwrap().0, 0);
    put(&bench.store, &[(b"a", &[1; 10_000]), (b"b", b"2")]).await;
    let (entries, bytes) = bench.store.usage().await.unwrap();
    assert_eq!(entries, 2);
    assert!(bytes >= 10_000, "{bytes} bytes");
}

pub async fn concurrent_callers_each_get_their_own(bench: StoreBench) {
    let callers = (0..16u8).map(|n| {
        let store = Arc::clone(&bench.store);
        tokio::spawn(async move {
            for round in 0..20u8 {
                put(&store, &[(&[n], &[n, round]), (&[n, n], &[round])]).await;
                assert_eq!(get(&store, &[n]).await, Some(vec![n, round]));
                store.remove_many(&[vec![n, n]]).await.unwrap();
                assert_eq!(get(&store, &[n, n]).await, None);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    assert_eq!(bench.store.usage().await.unwrap().0, 16);
}

pub async fn a_dropped_call_does_no_harm(bench: StoreBench) {
    let keys = [b"a".to_vec()];
    for _ in 0..20 {
        poll_once(bench.store.put_many(vec![entry(b"a", b"1")])).await;
        poll_once(bench.store.get_many(&keys)).await;
        poll_once(bench.store.remove_many(&keys)).await;
        poll_once(bench.store.usage()).await;
    }
    put(&bench.store, &[(b"a", b"2")]).await;
    assert_eq!(get(&bench.store, b"a").await.as_deref(), Some(&b"2"[..]));
    assert_eq!(bench.store.usage().await.unwrap().0, 1);
}

async fn poll_once<F: Future + Unpin>(mut future: F) {
    std::future::poll_fn(|context| {
        let _ = std::pin::Pin::new(&mut future).poll(context);
        std::task::Poll::Ready(())
    })
    .await;
}

pub async fn a_closed_store_refuses(bench: StoreBench) {
    put(&bench.store, &[(b"a", b"1")]).await;
    bench.store.close().await;
    bench.store.close().await;
    let keys = [b"a".to_vec()];
    let error = bench.store.get_many(&keys).await.expect_err("closed");
    assert!(error.to_string().contains("closed"), "{error}");
    assert!(bench.store.put_many(vec![entry(b"a", b"2")]).await.is_err());
    assert!(bench.store.remove_many(&keys).await.is_err());
    assert!(bench.store.usage().await.is_err());
}
