//! The journal suite on every server this machine has: single ones, a cluster, and a master behind Sentinels.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod servers;

use larder::journal::{MemoryJournal, RedisJournal, RedisJournalOptions};
use larder::testing::journal_suite::JournalBench;
use larder_rig::{Flavour, Server};
use servers::{Prefixed, cluster, connected, own_word, sentinel, single};
use std::sync::{Arc, OnceLock};

const RECORDS_MAX: u64 = 40;

/// As two processes would: each its own connections.
fn opened_twice(url: &str) -> JournalBench {
    let word: Arc<str> = own_word().into();
    let open = || {
        let options = RedisJournalOptions::default().records_max(RECORDS_MAX);
        let journal = RedisJournal::with(&connected(url), options);
        Arc::new(Prefixed(Arc::new(journal), word.clone()))
    };
    JournalBench { a: open(), b: open(), records_max: RECORDS_MAX, keep: Box::new(()) }
}

/// Where a server is not installed, what it would have been asked is asked of the journal in memory. `larder-rig` says so.
fn without() -> JournalBench {
    let a = MemoryJournal::keeping(RECORDS_MAX);
    let b = a.clone();
    JournalBench { a: Arc::new(a), b: Arc::new(b), records_max: RECORDS_MAX, keep: Box::new(()) }
}

fn on(flavour: Flavour) -> JournalBench {
    single(flavour).map_or_else(without, |server| opened_twice(&server.url()))
}

fn redis_7() -> JournalBench {
    on(Flavour::Redis7)
}

fn redis_8() -> JournalBench {
    on(Flavour::Redis8)
}

fn valkey_9() -> JournalBench {
    on(Flavour::Valkey9)
}

fn on_the_cluster() -> JournalBench {
    cluster().map_or_else(without, |cluster| opened_twice(&cluster.url()))
}

fn behind_sentinels() -> JournalBench {
    sentinel().map_or_else(without, |sentinel| opened_twice(&sentinel.url()))
}

/// The least rights, as docs/concepts/redis-journal.md has them.
const RIGHTS: &str = "on >pw ~{larder:* &{larder:* -@all +ping +eval +evalsha +hget +hset +hlen +hexists +hdel +hgetall \
                      +hstrlen +xadd +xrange +xtrim +unlink +exists +publish +subscribe +time +pexpire +info";

fn with_the_least_rights() -> JournalBench {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let newest = Flavour::installed().pop()?;
        Some(Server::configure(newest).user("larder", RIGHTS).start().expect("a server"))
    });
    let url = |server: &Server| format!("redis://larder:pw@127.0.0.1:{}", server.port());
    server.as_ref().map_or_else(without, |server| opened_twice(&url(server)))
}

/// As two caches of one process may: clones of one handle.
fn cloned() -> JournalBench {
    let Some(server) = Flavour::installed().first().copied().and_then(single) else { return without() };
    let word: Arc<str> = own_word().into();
    let options = RedisJournalOptions::default().records_max(RECORDS_MAX);
    let journal = RedisJournal::with(&connected(&server.url()), options);
    let open = |journal| Arc::new(Prefixed(Arc::new(journal), word.clone()));
    JournalBench { a: open(journal.clone()), b: open(journal), records_max: RECORDS_MAX, keep: Box::new(()) }
}

mod on_redis_7 {
    larder::journal_suite!(super::redis_7);
}
mod on_redis_8 {
    larder::journal_suite!(super::redis_8);
}
mod on_valkey_9 {
    larder::journal_suite!(super::valkey_9);
}
mod on_a_cluster {
    larder::journal_suite!(super::on_the_cluster);
}
mod on_a_master_behind_sentinels {
    larder::journal_suite!(super::behind_sentinels);
}
mod with_rights {
    larder::journal_suite!(super::with_the_least_rights);
}
mod on_clones {
    larder::journal_suite!(super::cloned);
}
