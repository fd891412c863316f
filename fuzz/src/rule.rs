//! The rule: a node that is told a random history, compared with a list of everything it was told.
//!
//! The two agree on every entry. Only once more names are in force than the node has room for may it refuse what the
//! list calls fresh, since its floor has risen; and never what was born after the last thing it was told.

mod list;

use crate::input::{Input, seed};
use larder_core::{
    Act, Birth, Cause, Dependencies, Epoch, Fences, IntentId, Link, Path, Pattern, Record, Segments, Tag,
    Target, Tenant, Verdict, key, tag,
};
use list::{Born, Known, List};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// What the node has room for when it is asked for the least; pattern records have room of their own.
const ROOM: usize = 512;
/// Names told at once by one burst.
const BURST: u64 = 100;
/// More only take time.
const STEPS_MAX: usize = 300;
const BURSTS_MAX: usize = 10;
const ENTRIES_MAX: usize = 24;

struct Entry {
    own: Path,
    known: Known,
    dependencies: Dependencies,
    checked: AtomicU64,
    birth: Birth,
    born: Born,
}

struct Pair {
    node: Fences,
    list: List,
    /// All that were ever used, and those of records not yet told, for stamps.
    links: Vec<Link>,
    births: Vec<(Birth, Born)>,
    entries: Vec<Entry>,
    clock: u64,
    bursts: usize,
}

/// The input is a history, a byte for each step and then what the step needs.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut pair = Pair {
        node: Fences::new(9, 0),
        list: List::default(),
        links: Vec::new(),
        births: Vec::new(),
        entries: Vec::new(),
        clock: 0,
        bursts: 0,
    };
    if input.below(2) == 0 {
        pair.step(Step::Adopt, &mut Input::new(&[]));
    }
    for _ in 0..STEPS_MAX {
        if input.is_over() {
            break;
        }
        let step = STEPS[usize::from(input.below(STEPS.len() as u8))];
        pair.step(step, &mut input);
    }
    (0..pair.entries.len()).for_each(|at| pair.check(at));
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    Apply,
    Fence,
    Adopt,
    Misfit,
    Birth,
    Keep,
    Nest,
    Locate,
    Check,
    Burst,
    Open,
    Close,
}

const STEPS: [Step; 12] = [
    Step::Apply,
    Step::Fence,
    Step::Adopt,
    Step::Misfit,
    Step::Birth,
    Step::Keep,
    Step::Nest,
    Step::Locate,
    Step::Check,
    Step::Burst,
    Step::Open,
    Step::Close,
];

impl Pair {
    fn step(&mut self, step: Step, input: &mut Input<'_>) {
        self.clock += 1;
        self.node.lease().extend(self.clock);
        let mut trusted = true;
        match step {
            Step::Apply => trusted = self.apply(Act::Invalidate, &targets(input)),
            Step::Open => {
                let (intent, lasts) = (IntentId::new(input.below(3).into()), Duration::from_secs(1));
                trusted = self.apply(Act::Open { intent, lasts }, &targets(input));
            }
            Step::Close => {
                let intent = IntentId::new(input.below(3).into());
                trusted = self.apply(Act::Close { intent }, &targets(input));
            }
            Step::Fence => {
                let targets = targets(input);
                let birth = self.node.fence(&targets);
                self.list.tell(&targets);
                self.births.extend(birth.zip(self.list.birth()));
            }
            Step::Adopt => {
                self.adopt(input);
                trusted = false;
            }
            Step::Misfit => trusted = self.misfit(input),
            Step::Birth => self.births.extend(self.node.birth().zip(self.list.birth())),
            Step::Keep => self.keep(input, false),
            Step::Nest => self.keep(input, true),
            Step::Locate => self.locate(input),
            Step::Check => {
                let newest = self.entries.len().checked_sub(1);
                newest.into_iter().for_each(|at| self.check(at - usize::from(input.byte()) % (at + 1)));
            }
            Step::Burst => trusted = self.burst(input),
        }
        assert_eq!(self.node.lease().load().since(), trusted.then_some(self.clock), "the lease");
        assert_eq!(self.node.head(), self.list.head());
        assert_eq!(self.node.birth().map(|birth| birth.stamp), self.list.head());
        assert!(self.list.head().is_none_or(|head| self.node.has_reached(head)));
        let open: Vec<IntentId> = self.node.open_intents().iter().map(|intent| intent.id).collect();
        assert_eq!(open, self.list.open());
    }

    /// The next record; `false` when no history was adopted, so that none can be.
    fn apply(&mut self, act: Act, targets: &[Target]) -> bool {
        let head = self.list.head();
        let link = match head {
            Some(head) => Link { position: head.position + 1, nonce: self.clock, ..head },
            None => Link { epoch: Epoch::new(1), position: 1, nonce: self.clock },
        };
        let told = self.node.apply(&record(link, act, targets));
        assert_eq!(told.is_ok(), head.is_some());
        if told.is_ok() {
            self.list.apply(link, act, targets);
            self.links.push(link);
        }
        told.is_ok()
    }

    fn adopt(&mut self, input: &mut Input<'_>) {
        let old = pick(&self.links, input.byte());
        let link = match (input.below(4), old) {
            (0, Some(old)) => old,
            (1, Some(old)) => Link { position: old.position + 7, nonce: self.clock, ..old },
            (way, _) => Link { epoch: Epoch::new(way.into()), position: way.into(), nonce: self.clock },
        };
        // What is open there, if it is known here; or nothing.
        let open = if input.below(2) == 0 { self.node.open_intents() } else { Vec::new() };
        self.node.adopt(link, &open);
        self.list.adopt(link, !open.is_empty());
        self.links.push(link);
    }

    /// A record that does not follow, or was told already; whether the lease stays.
    fn misfit(&mut self, input: &mut Input<'_>) -> bool {
        let Some(head) = self.list.head() else { return true };
        let (way, targets) = (input.below(5), targets(input));
        let told_before = pick(&self.list.links(), input.byte()).unwrap_or(head);
        let link = match way {
            0 => told_before,
            1 => Link { position: head.position + 2, nonce: self.clock, ..head },
            2 => Link { epoch: Epoch::new(77), position: head.position + 1, ..head },
            3 => Link { nonce: !told_before.nonce, ..told_before },
            _ => Link { position: head.position.wrapping_sub(1), nonce: !self.clock, ..head },
        };
        let before = self.node.birth();
        let told = self.node.apply(&record(link, Act::Invalidate, &targets));
        // What lies below the floor may be forgotten, and is then not known to have been told.
        let forgotten = way == 0 && self.list.is_over(ROOM);
        assert!(told.is_ok() == (way == 0) || forgotten, "{link:?} after {head:?}");
        assert_eq!(self.node.birth(), before, "a misfit changed something");
        told.is_ok()
    }

    fn keep(&mut self, input: &mut Input<'_>, nested: bool) {
        let Some((mut birth, mut born)) = pick(&self.births, input.byte()) else { return };
        let (own, mut tags) = (path(input), tags(input));
        let mut known = Known { keys: Vec::new(), tags: Vec::new() };
        let mut inherited = None;
        if nested && !self.entries.is_empty() {
            let from = &self.entries[usize::from(input.byte()) % self.entries.len()];
            (birth, born) = (birth.min(from.birth), born.min(from.born));
            known = from.known.clone();
            inherited = Some(from.dependencies.clone());
        }
        let also = known.keys.clone();
        tags.truncate(3);
        let mut dependencies = self.node.dependencies(&own, &tags, &also);
        if let Some(inherited) = inherited {
            dependencies.inherit(&inherited);
        }
        let tenant = own
            .segments()
            .iter()
            .next()
            .map_or_else(Segments::empty, |(first, _)| Segments::builder().with(first).finish());
        known.keys.push(own.clone());
        known.tags.extend(tags.iter().map(|tag| tenant.join(tag.segments())));
        if self.entries.len() == ENTRIES_MAX {
            self.entries.remove(0);
        }
        self.entries.push(Entry { own, known, dependencies, checked: AtomicU64::new(0), birth, born });
    }

    /// A stamp as a store hands it back.
    fn locate(&mut self, input: &mut Input<'_>) {
        let Some(mut stamp) = pick(&self.links, input.byte()) else { return };
        match input.below(4) {
            0 => {}
            1 => stamp.nonce ^= 1 << 63,
            2 => stamp.epoch = Epoch::new(!stamp.epoch.get()),
            _ => stamp.position = stamp.position.wrapping_add(input.byte().into()),
        }
        let (found, listed) = (self.node.locate(stamp), self.list.locate(stamp));
        match (found, listed) {
            (Some(birth), Some(born)) => {
                assert_eq!(birth.stamp, stamp, "promotion never re-stamps");
                self.births.push((birth, born));
            }
            (None, None) => {}
            (None, Some(_)) => assert!(self.list.is_over(ROOM), "{stamp:?} is forgotten"),
            (Some(_), None) => panic!("{stamp:?} is of no history this node follows"),
        }
    }

    fn check(&self, at: usize) {
        let entry = &self.entries[at];
        let listed = self.list.verdict(entry.born, &entry.known);
        let verdicts = [&entry.checked, &entry.checked, &AtomicU64::new(0)]
            .map(|checked| self.node.check(entry.birth, &entry.dependencies, checked, || entry.own.clone()));
        for verdict in verdicts {
            let overflown =
                verdict == Verdict::BelowFloor && self.list.is_over(ROOM) && !self.list.is_newest(entry.born);
            assert!(
                verdict == listed || overflown,
                "{verdict:?}, and the list says {listed:?}, of {:?} born {:?}",
                entry.known,
                entry.birth
            );
        }
    }

    /// Records of names never used before, one each; entries may carry some of them.
    fn burst(&mut self, input: &mut Input<'_>) -> bool {
        self.bursts += 1;
        if self.bursts > BURSTS_MAX || self.list.head().is_none() {
            return true;
        }
        let (first, patterns) = (u64::from(input.byte()) * BURST, input.below(4) == 0);
        (first..first + BURST).all(|n| {
            self.clock += 1;
            self.node.lease().extend(self.clock);
            let name = if patterns { Target::pattern("q", numbered(n)) } else { Target::tag(tag!["n", n]) };
            self.apply(Act::Invalidate, &[name])
        })
    }
}

/// Matches the key of this number.
fn numbered(n: u64) -> Pattern {
    Pattern::new().exact(n)
}

fn record(link: Link, act: Act, targets: &[Target]) -> Record {
    Record { link, act, targets: targets.to_vec(), cause: Cause::default() }
}

fn pick<T: Copy>(from: &[T], at: u8) -> Option<T> {
    // From the end: what is new is what is looked at.
    from.len().checked_sub(1).map(|last| from[last - usize::from(at) % from.len()])
}

fn tenant(input: &mut Input<'_>) -> Tenant {
    if input.below(3) == 0 { Tenant::named("t") } else { Tenant::common() }
}

/// Few enough that targets and keys meet.
fn segments(input: &mut Input<'_>) -> Segments {
    match input.below(10) {
        0 => key![],
        1 => key![7],
        2 => key![71],
        3 => key!["7"],
        4 => key!["71"],
        5 => key![7, "a"],
        6 => key![7, "a", 1],
        7 => key![7, ""],
        8 => key!["r", 7],
        _ => key![u64::from(input.byte())],
    }
}

fn path(input: &mut Input<'_>) -> Path {
    let region = if input.below(3) == 0 { "q" } else { "r" };
    Path::of_region(&tenant(input), region).below(&segments(input))
}

fn tags(input: &mut Input<'_>) -> Vec<Tag> {
    (0..input.below(3)).map(|_| one_tag(input)).collect()
}

fn one_tag(input: &mut Input<'_>) -> Tag {
    match input.below(4) {
        0 => tag!["n", u64::from(input.byte()) * BURST + u64::from(input.byte())],
        1 => tag![],
        2 => tag!["branch", 7],
        _ => tag!["branch", 71],
    }
}

fn targets(input: &mut Input<'_>) -> Vec<Target> {
    let patterns = ["*", "**", "7", "7*", "?", "7/*", "*/a/**", "71"];
    (0..input.below(4))
        .map(|_| match input.below(8) {
            0 => Target::Everything,
            1 | 2 => Target::Key(path(input)),
            3 => Target::Prefix(path(input)),
            4 => Target::everything().within(&tenant(input)),
            5 | 6 => {
                let tenant = tenant(input);
                Target::tag(one_tag(input)).within(&tenant)
            }
            _ => {
                let text = patterns[usize::from(input.below(patterns.len() as u8))];
                let pattern = Pattern::parse(text).expect("a pattern");
                Target::Pattern(Path::of_region(&tenant(input), "r"), pattern)
            }
        })
        .collect()
}

const fn number_of(step: Step) -> u8 {
    let mut at = 0;
    while STEPS[at] as u8 != step as u8 {
        at += 1;
    }
    at as u8
}

/// Histories in which each step means something, and such that the node's room overflows.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    use Step::{Adopt, Apply, Birth, Burst, Check, Close, Fence, Keep, Locate, Misfit, Nest, Open};
    let step = |step, rest: &[u8]| [&[number_of(step)], rest].concat();
    let apply = |rest: &[u8]| step(Apply, rest);
    let keep = |rest: &[u8]| [step(Birth, &[]), step(Keep, &[0]), rest.to_vec()].concat();
    // Key 7 of region r, of the common tenant: without a tag, and with the branch's.
    let (plain, tagged) = (keep(&[1, 1, 1, 0]), keep(&[1, 1, 1, 1, 2]));
    let (key_7, branch_7) = (apply(&[1, 1, 1, 1, 1]), apply(&[1, 5, 1, 2]));
    let look = step(Check, &[0]);
    let bursts = |kind| (0..6).flat_map(|n| step(Burst, &[n, kind])).collect::<Vec<u8>>();
    let again = [plain.clone(), look.clone()].concat();
    let misfits = [step(Misfit, &[1, 0, 0]), look.clone(), step(Misfit, &[0, 0, 0])].concat();
    let tenants = [apply(&[1, 4, 0]), look.clone(), apply(&[1, 4, 1])].concat();
    let located = [step(Locate, &[1, 0]), step(Keep, &[0, 1, 1, 1, 1, 2])].concat();
    let nested = [step(Nest, &[0, 0, 1, 2, 0, 0]), branch_7.clone(), step(Check, &[1])].concat();
    let text_71 = keep(&[1, 1, 4, 0]);
    let prefix_7 = apply(&[1, 3, 1, 1, 3]);
    let histories = [
        ("fresh", vec![&plain, &look]),
        ("key", vec![&plain, &key_7, &look]),
        ("tag", vec![&tagged, &look, &branch_7, &look]),
        ("another-tag", vec![&plain, &branch_7, &look, &look]),
        ("tenants", vec![&plain, &tenants, &look]),
        ("misfits", vec![&plain, &misfits, &look]),
        ("located", vec![&key_7, &branch_7, &located, &look]),
        ("nested", vec![&tagged, &nested, &look]),
        // 7 begins 71 as text, and not as a segment.
        ("text-head", vec![&text_71, &prefix_7, &look]),
    ];
    let mut seeds: Vec<_> = histories.iter().map(|(name, of)| seed(name, 0, &joined(of))).collect();
    for (name, told) in [
        ("pattern", apply(&[1, 7, 3, 1])),
        ("prefix", apply(&[1, 3, 1, 1, 0])),
        ("everything", apply(&[1, 0])),
        ("fence", step(Fence, &[1, 1, 1, 1, 1])),
        ("adopt", step(Adopt, &[1, 0])),
        ("open", step(Open, &[1, 1, 1, 1, 1, 1])),
        ("open-everything", step(Open, &[1, 1, 0])),
        ("open-pattern", step(Open, &[1, 1, 7, 3, 1])),
        ("open-and-close", [step(Open, &[1, 1, 1, 1, 1, 1]), again.clone(), step(Close, &[1, 0])].concat()),
        ("open-and-adopt", [step(Open, &[1, 1, 1, 1, 1, 1]), step(Adopt, &[1, 0, 0])].concat()),
        ("overflow", bursts(1)),
        ("overflow-of-patterns", bursts(0)),
    ] {
        seeds.push(seed(name, 0, &joined(&[&plain, &told, &look, &again, &key_7, &look])));
    }
    let pattern_7 = apply(&[1, 7, 3, 2]);
    seeds.push(seed("dropped", 0, &joined(&[&plain, &key_7, &look, &bursts(1), &look])));
    seeds.push(seed("dropped-pattern", 0, &joined(&[&plain, &pattern_7, &look, &bursts(0), &look])));
    seeds.push(seed("before-any-history", 1, &joined(&[&key_7, &plain, &step(Adopt, &[0, 2]), &again])));
    seeds
}

fn joined(steps: &[&Vec<u8>]) -> Vec<u8> {
    steps.iter().flat_map(|step| step.iter().copied()).collect()
}
