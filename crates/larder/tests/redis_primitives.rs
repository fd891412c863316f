//! Counters, locks and rates on real servers, alone and on a cluster, and when the server dies.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod redis_rig;

use larder::redis::{Allowance, RateLimit, Redis};
use larder_rig::{Cluster, Flavour, Server};
use redis_rig::{as_larder, connect, start, until};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(2);
const HOUR: Duration = Duration::from_secs(3600);

/// What `docs/concepts/redis.md` says the primitives need.
const RIGHTS: &str = "on >secret ~larder:* resetchannels -@all +ping +get +set +unlink +exists +incrby +pttl +pexpire +time +eval +evalsha +cluster|slots +asking";

async fn on(server: &Server) -> Redis {
    connect(&as_larder(&server.url()), DEADLINE).await
}

fn server(flavour: Flavour) -> Server {
    Server::configure(flavour).user("larder", RIGHTS).start().unwrap()
}

fn installed() -> Vec<Server> {
    Flavour::installed().into_iter().map(server).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_counts_each_once_and_ends_when_it_began_to() {
    for server in installed() {
        let redis = on(&server).await;
        let tasks = (0..8).map(|_| {
            let redis = redis.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    redis.add("visits", 1, HOUR).await.unwrap();
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(redis.count("visits").await.unwrap(), 400);
        assert_eq!(redis.add("visits", -100, Duration::from_millis(1)).await.unwrap(), 300);
        let left = server.ask(&["PTTL", "larder:c:visits"]).unwrap().number().unwrap();
        assert!((3_000_000..=3_600_000).contains(&left), "{left} ms: a later call does not change its end");
        redis.add("short", 5, Duration::from_millis(20)).await.unwrap();
        until("its end", async || match redis.count("short").await.unwrap() {
            0 => Ok(()),
            more => Err(more),
        })
        .await;
        assert_eq!(redis.add("short", 2, HOUR).await.unwrap(), 2, "it began anew");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_holds_a_lock_and_each_fence_is_above_the_last() {
    for server in installed() {
        let (redis, other) = (on(&server).await, on(&server).await);
        let mut lock = redis.lock("report", HOUR).await.unwrap().unwrap();
        assert!(other.lock("report", HOUR).await.unwrap().is_none());
        assert!(other.lock("another", HOUR).await.unwrap().is_some());
        assert!(lock.renew(HOUR).await.unwrap());
        let first = lock.fence();
        assert!(lock.release().await.unwrap());
        let lock = other.lock("report", HOUR).await.unwrap().unwrap();
        assert!(lock.fence() > first);
        let second = lock.fence();
        drop(lock);
        let take = async |lasts| match redis.lock("report", lasts).await.unwrap() {
            Some(lock) => Ok(lock),
            None => Err("held"),
        };
        let mut lapsed =
            until("given back when dropped", async || take(Duration::from_millis(20)).await).await;
        assert!(lapsed.fence() > second);
        let holder = until("over by itself", async || take(HOUR).await).await;
        assert!(holder.fence() > lapsed.fence());
        assert!(
            !lapsed.renew(HOUR).await.unwrap() && !lapsed.release().await.unwrap(),
            "it is another's now"
        );
        assert!(redis.lock("report", HOUR).await.unwrap().is_none(), "which was not given back by that");
        assert!(redis.lock("", HOUR).await.unwrap_err().is_unusable());
    }
}

/// The story: the server restarts empty while a lock is held. Another takes it: two hold it, as documented. The fence of
/// the second is above the first's all the same, so where the work takes effect the first can be refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgot_a_lock_gives_it_away_with_a_higher_fence() {
    let server = server(Flavour::Redis7);
    let redis = on(&server).await;
    let held = redis.lock("report", HOUR).await.unwrap().unwrap();
    redis.add("visits", 7, HOUR).await.unwrap();
    server.kill();
    until("gone", async || match redis.lock("other", HOUR).await {
        Err(error) if error.is_unsent() => Ok(()),
        other => Err(other),
    })
    .await;
    assert!(redis.add("visits", 1, HOUR).await.unwrap_err().is_unsent(), "surely not counted");
    server.restart_empty().unwrap();
    let again = until("back", async || redis.lock("report", HOUR).await).await.expect("it was forgotten");
    assert!(again.fence() > held.fence());
    assert_eq!(redis.count("visits").await.unwrap(), 0);
}

/// The answer is lost, so it may have been taken; if it was, it is given back without waiting for its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_may_have_been_taken_is_given_back() {
    let server = start(Flavour::Redis7);
    let redis = connect(&server.url(), Duration::from_millis(100)).await;
    redis.lock("warm", HOUR).await.unwrap().unwrap().release().await.unwrap();
    redis.add("visits", 1, HOUR).await.unwrap();
    server.pause();
    let late = redis.lock("report", HOUR).await.unwrap_err();
    assert!(late.is_indeterminate(), "{late}");
    assert!(redis.add("visits", 1, HOUR).await.unwrap_err().is_indeterminate());
    server.resume();
    // The server carries out what it was sent when it wakes, in order: taken, then given back; counted.
    let visits = until("counted, late", async || match redis.count("visits").await {
        Ok(n) if n > 1 => Ok(n),
        other => Err(other),
    });
    assert_eq!(visits.await, 2, "once");
    let take = async || match redis.lock("report", HOUR).await {
        Ok(Some(lock)) => Ok(lock),
        other => Err(other),
    };
    until("given back", take).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_grants_a_burst_then_one_after_another() {
    for server in installed() {
        let redis = on(&server).await;
        let limit = RateLimit::per(10, HOUR);
        for left in (0..10).rev() {
            assert_eq!(redis.take("mails", 1, limit).await.unwrap(), Allowance::Granted { left });
        }
        let Allowance::Refused { retry_after } = redis.take("mails", 1, limit).await.unwrap() else {
            panic!("an eleventh was granted");
        };
        assert!(retry_after <= HOUR / 10 && retry_after > HOUR / 11, "{retry_after:?}");
        let never = redis.take("mails", 11, limit).await.unwrap();
        assert_eq!(never, Allowance::Refused { retry_after: Duration::MAX });
        // Nothing is always granted, also where nothing was ever taken.
        assert_eq!(redis.take("none", 0, limit).await.unwrap(), Allowance::Granted { left: 10 });
        let quick = RateLimit::per(1_000, Duration::from_secs(1)).burst(1);
        until("one a millisecond", async || match redis.take("quick", 1, quick).await.unwrap() {
            Allowance::Granted { .. } => Ok(()),
            refused => Err(refused),
        })
        .await;
        let ms = server.ask(&["PTTL", "larder:r:mails"]).unwrap().number().unwrap();
        assert!(ms > 0 && ms <= 3_600_000, "{ms}: it ends by itself");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_them_on_a_cluster() {
    let cluster = Cluster::arranged(Flavour::Redis7, |setup| setup.user("larder", RIGHTS)).unwrap();
    let redis = connect(&as_larder(&cluster.url()), DEADLINE).await;
    for n in 0..50 {
        let name = format!("}}n{n} {{odd}}");
        assert_eq!(redis.add(&name, 3, HOUR).await.unwrap(), 3);
        let lock = redis.lock(&name, HOUR).await.unwrap().unwrap();
        assert!(redis.lock(&name, HOUR).await.unwrap().is_none() && lock.fence() > 0);
        let granted = redis.take(&name, 1, RateLimit::per(2, HOUR)).await.unwrap();
        assert_eq!(granted, Allowance::Granted { left: 1 });
    }
}
