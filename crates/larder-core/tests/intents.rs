//! Orders 6, 7 and 4 for intents: open before what may be served is said to be, a set of names and never a flag, kept
//! through starts and new histories, closed only after what the closing record names is raised; and orphans, which are
//! closed by whoever notices, and never before their writer has given up.

#![allow(clippy::unwrap_used, reason = "in a test, it fails the test")]

use larder_core::{
    Act, Birth, Cause, Epoch, Fences, Intent, IntentId, Link, Orphans, Path, Pattern, Record, Tag, Target,
    Tenant, Verdict, key, outwait, tag,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const LASTS: Duration = Duration::from_secs(10);
const LASTS_NS: u64 = 10_000_000_000;

fn link(epoch: u128, position: u64) -> Link {
    Link { epoch: Epoch::new(epoch), position, nonce: position.wrapping_mul(31) }
}

fn record(position: u64, act: Act, targets: &[Target]) -> Record {
    Record { link: link(1, position), act, targets: targets.to_vec(), cause: Cause::default() }
}

fn open(id: u64) -> Act {
    Act::Open { intent: IntentId::new(id), lasts: LASTS }
}

fn close(id: u64) -> Act {
    Act::Close { intent: IntentId::new(id) }
}

fn intent(id: u64, targets: &[Target]) -> Intent {
    Intent { id: IntentId::new(id), lasts: LASTS, targets: targets.into() }
}

fn node() -> Fences {
    let node = Fences::new(7, 1024);
    node.adopt(link(1, 0), &[]);
    node
}

fn path(name: &str) -> Path {
    Path::of_region(&Tenant::common(), "r").below(&key![name])
}

fn branch() -> Tag {
    tag!["branch", 7u8]
}

/// An entry that carries the branch's tag, with its memory of the last check.
struct Entry(Birth, &'static str, AtomicU64);

impl Entry {
    fn born(node: &Fences, name: &'static str) -> Self {
        Entry(node.birth().unwrap(), name, AtomicU64::new(0))
    }

    fn verdict(&self, node: &Fences) -> Verdict {
        let dependencies = node.dependencies(&path(self.1), &[branch()], &[]);
        node.check(self.0, &dependencies, &self.2, || path(self.1))
    }
}

fn kinds() -> Vec<Target> {
    vec![
        Target::everything(),
        Target::key("r", key!["a"]),
        Target::region("r"),
        Target::tag(branch()),
        Target::pattern("r", Pattern::parse("?").unwrap()),
    ]
}

/// Whatever it names it by, an open intent makes what it names a miss: what was there, and what is loaded while it is
/// open. The commit then finds all of it stale.
#[test]
fn what_an_open_intent_names_is_a_miss_whenever_it_was_born() {
    for kind in kinds() {
        let node = node();
        let before = Entry::born(&node, "a");
        assert_eq!(before.verdict(&node), Verdict::Fresh);
        node.apply(&record(1, open(5), std::slice::from_ref(&kind))).unwrap();
        let during = Entry::born(&node, "a");
        for _ in 0..2 {
            assert_eq!(before.verdict(&node), Verdict::Intended, "{kind}");
            assert_eq!(during.verdict(&node), Verdict::Intended, "{kind}");
        }
        node.apply(&record(2, close(5), std::slice::from_ref(&kind))).unwrap();
        assert_eq!(before.verdict(&node), Verdict::Invalidated, "{kind}");
        assert_eq!(during.verdict(&node), Verdict::Invalidated, "{kind}");
        assert_eq!(Entry::born(&node, "a").verdict(&node), Verdict::Fresh, "{kind}");
    }
}

#[test]
fn an_intent_leaves_alone_what_it_does_not_name() {
    let node = node();
    let other = Entry::born(&node, "b");
    node.apply(&record(1, open(5), &[Target::key("r", key!["a"])])).unwrap();
    assert_eq!(other.verdict(&node), Verdict::Fresh);
    assert_eq!(Entry::born(&node, "b").verdict(&node), Verdict::Fresh);
}

/// Two writers of one key. The first commits; the second has not written yet, and a reader who filled the cache in
/// between would hold what the second is about to replace.
#[test]
fn of_two_intents_on_one_target_the_second_outlives_the_first() {
    for (first, second) in [(5, 6), (6, 5)] {
        let node = node();
        let target = [Target::key("r", key!["a"])];
        node.apply(&record(1, open(5), &target)).unwrap();
        node.apply(&record(2, open(6), &target)).unwrap();
        node.apply(&record(3, close(first), &target)).unwrap();
        assert_eq!(Entry::born(&node, "a").verdict(&node), Verdict::Intended);
        node.apply(&record(4, close(second), &target)).unwrap();
        assert_eq!(Entry::born(&node, "a").verdict(&node), Verdict::Fresh);
    }
}

#[test]
fn closing_what_is_not_open_only_invalidates() {
    let node = node();
    let before = Entry::born(&node, "a");
    node.apply(&record(1, close(5), &[Target::tag(branch())])).unwrap();
    assert_eq!(before.verdict(&node), Verdict::Invalidated);
    assert_eq!(Entry::born(&node, "a").verdict(&node), Verdict::Fresh);
}

#[test]
fn a_record_applied_twice_opens_and_closes_once() {
    let node = node();
    let target = [Target::tag(branch())];
    let records = [record(1, open(5), &target), record(2, close(5), &target)];
    node.apply(&records[0]).unwrap();
    node.apply(&records[0]).unwrap();
    node.apply(&records[1]).unwrap();
    node.apply(&records[0]).unwrap();
    assert_eq!(node.open_intents(), []);
    assert_eq!(Entry::born(&node, "a").verdict(&node), Verdict::Fresh);
}

/// Order 6. The record that opened an intent may be long gone from the journal: a node that joins in the middle of the
/// write knows of it by the same answer that told it the head.
#[test]
fn a_node_that_begins_in_the_middle_of_a_write_knows_of_it() {
    let target = [Target::tag(branch())];
    let node = Fences::new(7, 1024);
    node.adopt(link(1, 40), &[intent(5, &target)]);
    assert_eq!(Entry::born(&node, "a").verdict(&node), Verdict::Intended);
    node.apply(&record(41, close(5), &target)).unwrap();
    assert_eq!(Entry::born(&node, "a").verdict(&node), Verdict::Fresh);
}

/// The answer is as of the head, and the records up to there come after: the one that opens it changes nothing, the one
/// that closes another is no trouble.
#[test]
fn records_replayed_up_to_the_head_agree_with_what_was_open_there() {
    let (mine, other) = ([Target::tag(branch())], [Target::key("r", key!["b"])]);
    let node = Fences::new(7, 1024);
    node.adopt(link(1, 0), &[intent(5, &mine)]);
    node.apply(&record(1, open(6), &other)).unwrap();
    node.apply(&record(2, open(5), &mine)).unwrap();
    node.apply(&record(3, close(6), &other)).unwrap();
    assert_eq!(node.open_intents(), [intent(5, &mine)]);
}

/// A write is acknowledged when its closing record is appended; a reader that begins then may meet this node in the middle
/// of applying it. It must find the intent, or what the record raised: never neither. Once the applying is made long (the
/// record names much before the key), once the look (the entry depends on much besides the key).
#[test]
fn no_reader_finds_the_intent_gone_before_what_its_closing_raised() {
    let fillers: Vec<Target> = (0..4_000u64).map(|n| Target::tag(tag!["filler", n])).collect();
    let tags: Vec<Tag> = (0..4_000u64).map(|n| tag!["other", n]).collect();
    for (fillers, tags) in [(&fillers[..], &[][..]), (&[][..], &tags[..])] {
        for _ in 0..40 {
            let node = Fences::new(7, 1 << 14);
            node.adopt(link(1, 0), &[]);
            let targets = [fillers, &[Target::key("r", key!["a"])]].concat();
            node.apply(&record(1, open(5), &targets)).unwrap();
            // Loaded under the intent: from before the write, as far as anyone knows.
            let dependencies = node.dependencies(&path("a"), tags, &[]);
            let born = node.birth().unwrap();
            let looks = AtomicU64::new(0);
            std::thread::scope(|scope| {
                let reader = scope.spawn(|| {
                    loop {
                        let verdict = node.check(born, &dependencies, &AtomicU64::new(0), || path("a"));
                        looks.fetch_add(1, Ordering::Relaxed);
                        assert!(!verdict.is_fresh(), "served in the middle of a commit");
                        if verdict == Verdict::Invalidated {
                            return;
                        }
                    }
                });
                while looks.load(Ordering::Relaxed) < 3 {
                    std::hint::spin_loop();
                }
                node.apply(&record(2, close(5), &targets)).unwrap();
                reader.join().unwrap();
            });
        }
    }
}

/// A new history replaces what is open by what the authority says is open.
#[test]
fn adopting_a_history_takes_its_intents_and_no_others() {
    let node = node();
    node.apply(&record(1, open(5), &[Target::tag(branch())])).unwrap();
    node.adopt(link(2, 1), &[]);
    assert_eq!(node.open_intents(), []);
    assert_eq!(Entry::born(&node, "a").verdict(&node), Verdict::Fresh);
}

/// An entry built from one that is about to be written is as little to be served.
#[test]
fn what_was_built_from_something_intended_is_intended() {
    for target in [Target::key("r", key!["a"]), Target::pattern("r", Pattern::parse("a").unwrap())] {
        let node = node();
        let born = node.birth().unwrap();
        node.apply(&record(1, open(5), &[target])).unwrap();
        let dependencies = node.dependencies(&path("built"), &[], &[path("a")]);
        let verdict = node.check(born, &dependencies, &AtomicU64::new(0), || path("built"));
        assert_eq!(verdict, Verdict::Intended);
    }
}

/// The writer counts from before the record was appended, whoever sees it from when it saw it, and longer by what their
/// clocks may differ. So nobody closes it while the writer may still commit.
#[test]
fn an_orphan_is_due_only_after_its_time_and_the_drift_of_clocks_since_it_was_first_seen() {
    let open = [intent(5, &[Target::tag(branch())])];
    let mut orphans = Orphans::default();
    let seen = 3_000;
    assert_eq!(orphans.due(&open, seen), []);
    assert_eq!(orphans.due(&open, seen + LASTS_NS), []);
    assert_eq!(orphans.due(&open, seen + outwait(LASTS_NS)), [], "strictly after");
    assert_eq!(orphans.due(&open, seen + outwait(LASTS_NS) + 1), open);
    assert_eq!(orphans.due(&open, seen + outwait(LASTS_NS) + 2), open, "until it is closed");
}

#[test]
fn an_intent_that_was_closed_counts_anew() {
    let open = [intent(5, &[Target::tag(branch())])];
    let mut orphans = Orphans::default();
    orphans.due(&open, 1);
    orphans.due(&[], 2);
    let late = outwait(LASTS_NS) * 2;
    assert_eq!(orphans.due(&open, late), []);
    assert_eq!(orphans.due(&open, late * 2), open);
}

#[test]
fn an_act_survives_its_numbers_and_an_unknown_one_is_refused() {
    let acts = [Act::Invalidate, open(u64::MAX), close(0)];
    for act in acts {
        let (kind, intent, lasts_ms) = act.to_numbers();
        assert_eq!(Act::from_numbers(kind, intent, lasts_ms), Ok(act));
    }
    let odd = Act::Open { intent: IntentId::new(1), lasts: Duration::from_micros(1_500) };
    assert_eq!(odd.to_numbers().2, 2, "never shorter than asked for");
    assert!(Act::from_numbers(3, 0, 0).is_err());
}
