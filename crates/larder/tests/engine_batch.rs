//! Many keys at once: order, duplicates, overlapping batches, and keys that fail on their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::{Batch, Error, Loaded, Outcome, Region, Segments, Source, key, tag};
use rig::{Answer, Down, Rig, TTL, eventual, ms, secs, settle};

fn keys(range: std::ops::Range<u64>) -> Vec<Segments> {
    range.map(|n| key![n]).collect()
}

async fn read(rig: &Rig, region: &Region<u64>, keys: Vec<Segments>) -> Vec<Result<Outcome<u64>, Error>> {
    region.get_many_or_load(keys, rig.origin.load_many()).await
}

#[tokio::test(start_paused = true)]
async fn answers_come_in_the_order_asked_and_a_key_asked_for_twice_is_answered_twice() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    let load = async |batch: Batch<u64>| {
        let twice = |key: &Segments| (key.clone(), key.to_string().parse::<u64>().unwrap() * 2);
        let mut answers: Vec<_> = batch.keys().map(twice).collect();
        // In another order than asked for.
        answers.reverse();
        Ok::<_, Down>(answers)
    };
    let asked = [key![3], key![1], key![3], key![2], key![1]];
    let answers = region.get_many_or_load(asked, load).await;
    let values: Vec<u64> = answers.iter().map(|answer| **answer.as_ref().unwrap()).collect();
    assert_eq!(values, [6, 2, 6, 4, 2]);
    assert_eq!((rig.stats().counts.loads, rig.stats().misses()), (1, 3), "distinct keys count");
}

#[tokio::test(start_paused = true)]
async fn nothing_asked_for_is_nothing_loaded() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    assert!(read(&rig, &region, vec![]).await.is_empty());
    assert_eq!(rig.origin.loads(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_in_no_tier_is_loaded() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    read(&rig, &region, keys(0..2)).await;
    rig.stored(2).await;
    let other = rig.another().await.region::<u64>("slots", eventual()).unwrap();
    other.get(key![0]).await.unwrap().unwrap();
    rig.origin.write();
    let gets = rig.store.calls().gets;
    let answers = read(&rig, &other, keys(0..4)).await;
    let from: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap().source()).collect();
    assert_eq!(from, [Source::Memory, Source::Store(0), Source::Loader, Source::Loader]);
    assert_eq!(rig.origin.batches().last().unwrap(), &keys(2..4));
    assert_eq!(rig.store.calls().gets, gets + 1, "one question for all");
}

#[tokio::test(start_paused = true)]
async fn overlapping_batches_load_each_key_once_and_share_it() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    rig.origin.hold();
    let spawn = |range: std::ops::Range<u64>| {
        let (region, loader) = (region.clone(), rig.origin.load_many());
        tokio::spawn(async move { region.get_many_or_load(keys(range), loader).await })
    };
    let first = spawn(0..3);
    rig.origin.reached().await;
    let second = spawn(1..5);
    rig.origin.reached().await;
    let third = spawn(0..5);
    let (handle, loader) = (region.clone(), rig.origin.load());
    let single = tokio::spawn(async move { handle.get_or_load(key![4], loader).await });
    rig.followers(2 + 5 + 1).await;
    settle().await;
    assert_eq!(rig.origin.batches(), [keys(0..3), keys(3..5)]);
    rig.origin.release();
    rig.origin.release();
    for batch in [first, second, third] {
        let answers = batch.await.unwrap();
        assert!(answers.iter().all(|answer| **answer.as_ref().unwrap() == 1));
    }
    assert_eq!(single.await.unwrap().unwrap().source(), Source::Flight);
    assert_eq!(rig.origin.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_batch_tells_what_it_loaded_from_what_it_waited_for() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    rig.origin.hold();
    let (handle, loader) = (region.clone(), rig.origin.load());
    let single = tokio::spawn(async move { handle.get_or_load(key![0], loader).await });
    rig.origin.reached().await;
    rig.origin.unhold();
    let (handle, loader) = (region.clone(), rig.origin.load_many());
    let batch = tokio::spawn(async move { handle.get_many_or_load(keys(0..2), loader).await });
    rig.followers(1).await;
    rig.origin.release();
    let answers = batch.await.unwrap();
    let from: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap().source()).collect();
    assert_eq!(from, [Source::Flight, Source::Loader]);
    single.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_key_fails_on_its_own() {
    let rig = Rig::new().await;
    let region = rig.region(eventual().negative_ttl(secs(30)));
    let load = async |batch: Batch<u64>| {
        let answers = batch.keys().filter_map(|key| match key.to_string().as_str() {
            "1" => Some((key.clone(), Loaded::Failed("no such branch".to_owned()))),
            "2" => Some((key.clone(), Loaded::Absent)),
            "3" => None,
            "4" => Some((key.clone(), Loaded::NotModified)),
            _ => Some((key.clone(), Loaded::Value(7))),
        });
        // And one nobody asked for: it carries no stamp, so it is not kept.
        Ok::<_, Down>(answers.chain([(key!["stray"], Loaded::Value(9))]).collect::<Vec<_>>())
    };
    let answers = region.get_many_or_load(keys(0..5), load).await;
    assert_eq!(**answers[0].as_ref().unwrap(), 7);
    assert_eq!(answers[1].as_ref().unwrap_err().to_string(), "the load failed: no such branch");
    assert!(answers[2].as_ref().unwrap_err().is_absent());
    assert!(answers[3].as_ref().unwrap_err().is_absent(), "left out is absent");
    assert!(answers[4].as_ref().unwrap_err().is_load(), "there was nothing to leave unmodified");
    assert!(region.get(key!["stray"]).await.unwrap().is_none());
    assert!(region.get(key![0]).await.unwrap().is_some());
    assert!(region.get(key![3]).await.unwrap_err().is_absent(), "remembered");
    assert!(region.get(key![1]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_loader_is_every_loaded_keys_and_hits_stay_hits() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    read(&rig, &region, keys(0..1)).await;
    for answer in [Answer::Error, Answer::Panic] {
        rig.origin.will(answer);
        let answers = read(&rig, &region, keys(0..3)).await;
        assert!(answers[0].is_ok());
        assert!(answers[1..].iter().all(|answer| answer.as_ref().unwrap_err().is_load()));
    }
    rig.origin.will(Answer::Version);
    assert!(read(&rig, &region, keys(0..3)).await.iter().all(Result::is_ok), "nothing is poisoned");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_cancelled_hands_its_load_over() {
    let rig = Rig::new().await;
    let region = rig.region(eventual());
    rig.origin.hold();
    let (handle, loader) = (region.clone(), rig.origin.load_many());
    let batch = tokio::spawn(async move { handle.get_many_or_load(keys(0..3), loader).await });
    rig.origin.reached().await;
    let (handle, loader) = (region.clone(), rig.origin.load());
    let follower = tokio::spawn(async move { handle.get_or_load(key![1], loader).await });
    rig.followers(1).await;
    batch.abort();
    rig.origin.release();
    assert_eq!(*follower.await.unwrap().unwrap(), 1);
    settle().await;
    assert!(region.get(key![2]).await.unwrap().is_some());
    assert_eq!((rig.origin.loads(), rig.stats().counts.loads_detached), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn keys_due_for_a_refresh_ride_along_and_delay_nobody_when_alone() {
    let rig = Rig::new().await;
    let region = rig.region(eventual().stale_while_revalidate(TTL));
    read(&rig, &region, keys(0..2)).await;
    rig.pass(TTL).await;
    rig.origin.write();
    rig.origin.hold();
    let stale = read(&rig, &region, keys(0..2)).await;
    assert!(stale.iter().all(|answer| answer.as_ref().unwrap().is_stale()), "nobody waits for the load");
    rig.origin.reached().await;
    rig.origin.release();
    settle().await;
    let fresh = read(&rig, &region, keys(0..2)).await;
    assert!(fresh.iter().all(|answer| **answer.as_ref().unwrap() == 2));
    assert_eq!((rig.origin.loads(), rig.stats().counts.refreshes), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_batch_falls_back_key_by_key() {
    let rig = Rig::new().await;
    let region = rig.region(eventual().fail_safe(secs(3600), secs(10)));
    read(&rig, &region, keys(0..1)).await;
    rig.pass(TTL).await;
    rig.origin.will(Answer::Error);
    for _ in 0..3 {
        let answers = read(&rig, &region, keys(0..2)).await;
        assert!(answers[0].as_ref().unwrap().is_degraded());
        assert!(answers[1].as_ref().unwrap_err().is_load());
    }
    let asked = rig.origin.batches();
    assert_eq!(asked[1], keys(0..2));
    assert!(asked[2..].iter().all(|asked| *asked == keys(1..2)), "the throttle is the key's own: {asked:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_batch_is_told_about_one_key_is_that_keys() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    region.put(key![3], 30).await.unwrap();
    region.expire(key![3]).await.unwrap();
    let load = async |batch: Batch<u64>| {
        batch.tag(&key![0], tag!["zero"]);
        batch.ttl(&key![1], secs(5));
        batch.do_not_store(&key![2]);
        assert_eq!((batch.previous(&key![3]), batch.previous(&key![0])), (Some(&30), None));
        batch.tag(&key!["not in it"], tag!["zero"]);
        Ok::<_, Down>(batch.keys().map(|key| (key.clone(), 1)).collect::<Vec<_>>())
    };
    region.get_many_or_load(keys(0..4), load).await;
    assert!(region.get(key![2]).await.unwrap().is_none());
    assert_eq!(region.get(key![1]).await.unwrap().unwrap().fresh_for(), secs(5));
    assert_eq!(region.get(key![3]).await.unwrap().unwrap().fresh_for(), TTL);
    rig.cache.invalidate([larder::Target::tag(tag!["zero"])]).await.unwrap();
    assert!(region.get(key![0]).await.unwrap().is_none());
    assert!(region.get(key![1]).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_keys_in_one_batch() {
    let rig = Rig::with_store().await;
    let region = rig.region(eventual());
    let answers = read(&rig, &region, keys(0..10_000)).await;
    assert!(answers.iter().all(Result::is_ok));
    let again = read(&rig, &region, keys(0..10_000)).await;
    assert!(again.iter().all(|answer| answer.as_ref().unwrap().source() == Source::Memory));
    assert_eq!((rig.origin.loads(), rig.stats().hits(), rig.stats().misses()), (1, 10_000, 10_000));
}

#[tokio::test(start_paused = true)]
async fn one_place_at_the_source_is_enough_for_a_batch_and_its_overtaken_keys() {
    let limits = larder::SourceLimits::concurrency(1);
    let rig = Rig::of(|builder, _| builder.source("db", limits)).await;
    let region = rig.region(eventual().source("db"));
    rig.origin.hold();
    let (handle, loader) = (region.clone(), rig.origin.load());
    let first = tokio::spawn(async move { handle.get_or_load(key![0], loader).await });
    rig.origin.reached().await;
    rig.lapse(ms(1));
    let (handle, loader) = (region.clone(), rig.origin.load_many());
    let batch = tokio::spawn(async move { handle.get_many_or_load(keys(0..2), loader).await });
    settle().await;
    rig.origin.unhold();
    rig.origin.write();
    region.invalidate(key![0]).await.unwrap();
    rig.origin.release();
    first.await.unwrap().unwrap();
    let answers = batch.await.unwrap();
    assert!(answers.iter().all(|answer| **answer.as_ref().unwrap() == 2));
}
