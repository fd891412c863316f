//! Session tokens: whoever has seen something on one node sees it on every other, whatever the region's level.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use larder::{Cache, Policy, Reached, Region, Source, Target, Token, key, tag};
use larder_core::port::Journal;
use larder_core::{Epoch, Link};
use rig::{NS, Origin, Rig, eventual};

async fn read(region: &Region<u64>, origin: &Origin) -> u64 {
    *region.get_or_load(key![1], origin.load()).await.unwrap()
}

fn target() -> Target {
    Target::key("slots", key![1])
}

/// Two nodes; on the second nothing renews but its readers, and the value as it was is in its memory.
async fn two_nodes(policy: Policy) -> (Rig, Region<u64>, Cache, Region<u64>) {
    let rig = Rig::of(|builder, store| builder.store(store.clone())).await;
    rig.journal.set_deaf(true);
    let there = Cache::builder(NS).clock(std::sync::Arc::new(rig.clock.clone())).journal(rig.journal.clone());
    let there = there.build().await.unwrap();
    let (here, far) = (rig.region(policy.clone()), there.region("slots", policy).unwrap());
    assert_eq!(read(&far, &rig.origin).await, 1);
    (rig, here, there, far)
}

/// The story of order 8. A booking commits together with its record (an outbox). A reader on one node loads and sees
/// it, although that node has not applied the record; then the load balancer sends the reader to another node, which
/// has the old value in memory. What the first node had applied, or what the value was born with, would not help the
/// second: both are older than the record.
#[tokio::test(start_paused = true)]
async fn what_was_seen_on_one_node_is_not_unseen_on_another() {
    let (rig, here, there, far) = two_nodes(eventual()).await;
    let version = rig.origin.write();
    rig.records.append(NS, &[target()], &"booked".into()).await.unwrap();
    assert_eq!(read(&here, &rig.origin).await, version, "loaded: this node had nothing");
    let token = rig.cache.token().await.unwrap();

    assert_eq!(read(&far, &rig.origin).await, 1, "eventual: without the token, the old value");
    assert_eq!(there.reach(&token).await.unwrap(), Reached::Applied);
    assert_eq!(read(&far, &rig.origin).await, version);
}

#[tokio::test(start_paused = true)]
async fn a_write_gives_a_token_with_which_it_is_seen_everywhere() {
    let (rig, _here, there, far) = two_nodes(eventual()).await;
    let version = rig.origin.write();
    let token = rig.cache.invalidate([target()]).await.unwrap().token().unwrap();
    let text = token.to_string();
    assert_eq!(there.reach(&text.parse().unwrap()).await.unwrap(), Reached::Applied);
    assert_eq!(read(&far, &rig.origin).await, version);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_reached_before_costs_no_question() {
    let (rig, _here, there, _far) = two_nodes(eventual()).await;
    let token = rig.cache.token().await.unwrap();
    there.reach(&token).await.unwrap();
    let asked = rig.journal.calls();
    assert_eq!(there.reach(&token).await.unwrap(), Reached::Applied);
    assert_eq!(rig.journal.calls(), asked);
}

/// An old session: its token is from before what this node began with. A node that began later has everything before.
#[tokio::test(start_paused = true)]
async fn a_token_older_than_what_a_node_began_with_is_reached_and_one_of_an_older_epoch_is_not_known() {
    let rig = Rig::new().await;
    for _ in 0..3 {
        rig.cache.invalidate([target()]).await.unwrap();
    }
    let before = rig.cache.token().await.unwrap();
    rig.records.roll(NS, before.link().epoch).await.unwrap();
    let head = rig.records.history(NS).await.unwrap().head;
    let there = rig.another().await;
    let older = Token::new(NS, Link { position: 2, nonce: 5, ..head });
    assert_eq!(there.reach(&older).await.unwrap(), Reached::Applied);
    assert_eq!(there.reach(&before).await.unwrap(), Reached::Anew);
}

/// A node that is behind by a whole epoch finds out by the token.
#[tokio::test(start_paused = true)]
async fn a_token_of_a_newer_epoch_makes_a_node_that_is_behind_take_it_up() {
    let (rig, _here, there, far) = two_nodes(eventual()).await;
    let old = rig.records.history(NS).await.unwrap().head;
    rig.records.roll(NS, old.epoch).await.unwrap();
    let version = rig.origin.write();
    let token = rig.another().await.invalidate([target()]).await.unwrap().token().unwrap();
    assert_ne!(token.link().epoch, old.epoch);
    assert_eq!(there.reach(&token).await.unwrap(), Reached::Applied);
    assert_eq!(read(&far, &rig.origin).await, version);
}

/// What a stranger's token made this node distrust is distrusted again after a history was adopted, which forgets fences.
#[tokio::test(start_paused = true)]
async fn after_a_new_history_a_lost_token_makes_the_node_load_anew_again() {
    let (rig, _here, there, far) = two_nodes(eventual()).await;
    let foreign = Token::new(NS, Link { epoch: Epoch::new(9), position: 1, nonce: 1 });
    assert_eq!(there.reach(&foreign).await.unwrap(), Reached::Anew);
    let head = rig.records.history(NS).await.unwrap().head;
    rig.records.roll(NS, head.epoch).await.unwrap();
    there.sync().await.unwrap();
    read(&far, &rig.origin).await;
    assert!(far.get(key![1]).await.unwrap().is_some());
    assert_eq!(there.reach(&foreign).await.unwrap(), Reached::Anew);
    assert!(far.get(key![1]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_journal_is_an_error_and_never_a_pass() {
    let (rig, _here, there, _far) = two_nodes(eventual()).await;
    let token = rig.cache.invalidate([target()]).await.unwrap().token().unwrap();
    rig.journal.set_unreachable(true);
    assert!(there.reach(&token).await.unwrap_err().is_journal());
    assert!(there.token().await.unwrap_err().is_journal());
    rig.journal.set_unreachable(false);
    assert_eq!(there.reach(&token).await.unwrap(), Reached::Applied);
}

/// The journal lost its tail, and only the reader's cookie knows. What this node holds may be what the lost record
/// named.
#[tokio::test(start_paused = true)]
async fn a_token_of_a_lost_record_makes_the_node_load_anew_once() {
    let (rig, _here, there, far) = two_nodes(eventual()).await;
    let head = rig.cache.token().await.unwrap().link();
    let version = rig.origin.write();
    let beyond = Link { position: head.position + 7, nonce: 1, ..head };
    let rewound = Link { nonce: !head.nonce, ..head };
    let foreign = Link { epoch: Epoch::new(9), ..head };
    for (place, lost) in [beyond, rewound, foreign].into_iter().enumerate() {
        assert_eq!(there.reach(&Token::new(NS, lost)).await.unwrap(), Reached::Anew);
        let found = far.get_or_load(key![1], rig.origin.load()).await.unwrap();
        assert_eq!((*found, found.source()), (version, Source::Loader), "case {place}");
        // The same cookie again: what is there now was loaded after it was given out.
        assert_eq!(there.reach(&Token::new(NS, lost)).await.unwrap(), Reached::Anew);
        assert_eq!(far.get(key![1]).await.unwrap().unwrap().source(), Source::Memory);
    }
    // Any other place of that other history is as old.
    let token = Token::new(NS, Link { position: 3, nonce: 8, ..foreign });
    there.reach(&token).await.unwrap();
    assert!(far.get(key![1]).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_token_of_another_namespace_is_refused() {
    let rig = Rig::new().await;
    let link = rig.cache.token().await.unwrap().link();
    let error = rig.cache.reach(&Token::new("orders", link)).await.unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains(NS), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_reads_and_gives_the_tokens_of_its_namespace() {
    let rig = Rig::new().await;
    let acme = rig.cache.tenant("acme");
    let token = acme.invalidate([Target::tag(tag!["n", 1])]).await.unwrap().token().unwrap();
    assert_eq!(acme.reach(&token).await.unwrap(), Reached::Applied);
    assert_eq!(rig.cache.reach(&acme.token().await.unwrap()).await.unwrap(), Reached::Applied);
}
