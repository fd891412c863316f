//! The model's own tests: small bounds, every weakening, every configuration.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::catalogue::{self, Size};
use super::report::{CheckedConfiguration, CheckedWeakening, Report};
use super::weakening::{self, About};
use std::collections::BTreeSet;

fn caught(about: &About) {
    let configuration =
        catalogue::ALL.iter().find(|c| c.name == about.configuration).expect(about.configuration);
    let checked = configuration.check(Some(about.weak), Size::Small, &|_| ());
    let story = checked
        .story
        .unwrap_or_else(|| panic!("{} broke no promise in {} states", about.name, checked.states));
    assert!(!story.steps.is_empty() && story.steps.iter().all(|step| !step.is_empty()), "{story:?}");
}

fn order(order: u8) {
    let all: Vec<_> = weakening::ALL.iter().filter(|about| about.order == order).collect();
    assert!(!all.is_empty(), "order {order} is broken by no weakening");
    all.into_iter().for_each(caught);
}

macro_rules! orders {
    ($($test:ident: $order:literal,)*) => {
        $(#[test]
        fn $test() {
            order($order);
        })*
    };
}

orders! {
    a_broken_stamp_is_caught: 1,
    a_broken_rule_is_caught: 2,
    a_broken_hit_is_caught: 3,
    a_broken_apply_is_caught: 4,
    a_broken_renewal_is_caught: 5,
    a_broken_start_is_caught: 6,
    a_broken_intent_is_caught: 7,
    a_broken_token_is_caught: 8,
    a_broken_hold_off_is_caught: 9,
    a_broken_nonce_is_caught: 10,
    a_broken_assumption_is_caught: 0,
}

/// Keeps every promise, and shows everything it is there to show.
fn sound(name: &str) {
    let configuration = catalogue::ALL.iter().find(|c| c.name == name).expect(name);
    let checked = configuration.check(None, Size::Small, &|_| ());
    assert!(checked.passed(), "{name}: {:?} {:?}", checked.findings, checked.story);
}

#[test]
fn the_core_is_sound() {
    ["hit", "sequencer", "store", "pair", "start", "tags", "gaps", "transactions", "drift", "returns"]
        .into_iter()
        .for_each(sound);
}

// `guard` and `failover` have millions of states in any bounds that catch their weakenings. The command explores them;
// here the other configurations of the same two models stand for them.
#[test]
fn guards_tokens_and_replicas_are_sound() {
    ["guard-start", "session", "replica", "replay"].into_iter().for_each(sound);
}

#[test]
fn failovers_are_sound() {
    ["failovers", "empty", "database"].into_iter().for_each(sound);
}

#[test]
fn names_are_unique_and_every_weakening_has_its_configuration() {
    let configurations: BTreeSet<_> = catalogue::ALL.iter().map(|c| c.name).collect();
    let weakenings: BTreeSet<_> = weakening::ALL.iter().map(|about| about.name).collect();
    assert_eq!(configurations.len(), catalogue::ALL.len());
    assert_eq!(weakenings.len(), weakening::ALL.len());
    assert!(configurations.is_disjoint(&weakenings));
    assert!(weakening::ALL.iter().all(|about| configurations.contains(about.configuration)));
}

#[test]
fn a_report_says_what_was_explored_and_tells_the_story() {
    let configuration = catalogue::ALL.iter().find(|c| c.name == "returns").unwrap();
    let about = weakening::ALL.iter().find(|about| about.name == "return_on_first_node").unwrap();
    let sound = configuration.check(None, Size::Small, &|_| ());
    let states = sound.states;
    let broken = configuration.check(Some(about.weak), Size::Small, &|_| ());
    let mut report = Report::default();
    report.configurations.push(CheckedConfiguration::new(configuration, Size::Small, sound));
    report.weakenings.push(CheckedWeakening::new(about, broken));
    assert!(report.passed());
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(json["states"], states);
    assert_eq!(json["configurations"][0]["complete"], true);
    assert_eq!(json["weakenings"][0]["caught"], true);
    assert_eq!(json["weakenings"][0]["property"], "fresh after return");
    let text = report.text(true);
    assert!(
        text.contains("write(..) of version 1 returns") && text.contains("broken: fresh after return"),
        "{text}"
    );
}

#[test]
fn a_weakening_that_breaks_nothing_fails_the_report() {
    let configuration = catalogue::ALL.iter().find(|c| c.name == "returns").unwrap();
    let mut report = Report::default();
    report
        .weakenings
        .push(CheckedWeakening::new(&weakening::ALL[0], configuration.check(None, Size::Small, &|_| ())));
    assert!(!report.passed());
    assert!(report.text(true).contains("NOT CAUGHT"));
}
