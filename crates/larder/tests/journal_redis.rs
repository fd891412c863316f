//! The journal suite on every server this machine has: single ones, a cluster, and a master behind Sentinels.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod servers;

use larder::journal::{MemoryJournal, RedisJournal, RedisJournalOptions};
use larder::redis::RedisOptions;
use larder::testing::journal_suite::JournalBench;
use larder_rig::{Flavour, Server};
use servers::{Prefixed, cluster, connected, own_word, sentinel, single};
use std::sync::{Arc, OnceLock};

const RECORDS_MAX: u64 = 40;

/// As two processes would: each its own connections.
fn opened_twice(url: &str) -> JournalBench {
    opened_twice_with(RedisOptions::parse(url).unwrap())
}

fn opened_twice_with(redis: RedisOptions) -> JournalBench {
    let word: Arc<str> = own_word().into();
    let open = || {
        let options = RedisJournalOptions::default().records_max(RECORDS_MAX);
        let journal = RedisJournal::with(&connected(redis.clone()), options);
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

/// Over TLS.
fn with_the_least_rights() -> JournalBench {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        // Of those there are, the one that is built with TLS.
        let flavour = Flavour::installed().into_iter().find(|flavour| *flavour == Flavour::Redis7)?;
        Some(Server::configure(flavour).tls().user("larder", RIGHTS).start().expect("a server"))
    });
    let options = |server: &Server| {
        let url = server.tls_url().unwrap().replacen("://", "://larder:pw@", 1);
        let roots = std::fs::read(server.authority().unwrap()).unwrap();
        RedisOptions::parse(&url).unwrap().root_certificates(roots)
    };
    server.as_ref().map_or_else(without, |server| opened_twice_with(options(server)))
}

/// As two caches of one process may: clones of one handle.
fn cloned() -> JournalBench {
    let Some(server) = Flavour::installed().first().copied().and_then(single) else { return without() };
    let word: Arc<str> = own_word().into();
    let options = RedisJournalOptions::default().records_max(RECORDS_MAX);
    let journal = RedisJournal::with(&connected(RedisOptions::parse(&server.url()).unwrap()), options);
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
mod with_rights_over_tls {
    larder::journal_suite!(super::with_the_least_rights);
}
mod on_clones {
    larder::journal_suite!(super::cloned);
}
