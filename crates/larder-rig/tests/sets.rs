//! A cluster and a Sentinel set of the rig: what clients meet while they change.
#![allow(clippy::unwrap_used, clippy::panic)]

use larder_rig::{Cluster, Flavour, Sentinel, Server};

fn answer(server: &Server, words: &[&str]) -> String {
    match server.ask(words) {
        Ok(reply) => reply.text(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_slot_on_the_move_is_answered_with_ask_then_with_moved() {
    for flavour in Flavour::installed() {
        let cluster = Cluster::start(flavour).unwrap();
        let slot = cluster.slot("{a}name").unwrap();
        let old = cluster.master(slot).unwrap();
        old.ask(&["SET", "{a}name", "value"]).unwrap();
        let moving = cluster.begin_move(slot).unwrap();
        assert_eq!(answer(old, &["GET", "{a}name"]), "value");
        assert!(answer(old, &["GET", "{a}other"]).contains("ASK "), "{flavour}");
        moving.carry().unwrap();
        assert!(answer(old, &["GET", "{a}name"]).contains("ASK "), "{flavour}");
        moving.finish().unwrap();
        assert!(answer(old, &["GET", "{a}name"]).contains("MOVED "), "{flavour}");
        assert_eq!(answer(cluster.master(slot).unwrap(), &["GET", "{a}name"]), "value");
    }
}

#[test]
fn a_replica_takes_over_in_order_and_after_kill() {
    for flavour in Flavour::installed() {
        let cluster = Cluster::start(flavour).unwrap();
        let slot = cluster.slot("a").unwrap();
        let (first, second) = (cluster.master(slot).unwrap().port(), cluster.replica(slot).unwrap().port());
        cluster.hand_over(slot).unwrap();
        assert_eq!(cluster.master(slot).unwrap().port(), second);
        let dead = cluster.kill_master(slot).unwrap();
        cluster.settle().unwrap();
        assert_eq!(cluster.master(slot).unwrap().port(), first);
        dead.restart().unwrap();
        cluster.settle().unwrap();
        assert_eq!(cluster.replica(slot).unwrap().port(), second, "{flavour}");
    }
}

#[test]
fn sentinels_hand_over_and_promote_after_kill() {
    for flavour in Flavour::installed() {
        let set = Sentinel::start(flavour).unwrap();
        let first = set.master().unwrap();
        set.hand_over().unwrap();
        assert_ne!(set.master().unwrap().port(), first.port());
        assert!(answer(first, &["SET", "name", "value"]).contains("READONLY"), "{flavour}");
        let dead = set.kill_master().unwrap();
        set.settle().unwrap();
        assert_eq!(set.master().unwrap().port(), first.port());
        dead.restart().unwrap();
        set.settle().unwrap();
    }
}
