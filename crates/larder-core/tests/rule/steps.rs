//! What happens to a node, drawn at random from a world small enough for things to meet.

use larder_core::{Pattern, Segments, Tag, Target, Tenant, key};
use proptest::prelude::*;
use proptest::sample::Index;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Adopt(Adopt),
    /// The record that follows; one seen before in this history, or a new one.
    Apply {
        seen_before: bool,
        targets: Vec<Target>,
    },
    /// The record that follows: an intent of one of three names is opened, or closed whether or not it is open.
    Intend {
        id: u64,
        open: bool,
        targets: Vec<Target>,
    },
    /// A record that does not follow, or was applied already.
    Misfit(Misfit, Vec<Target>),
    Fence(Vec<Target>),
    /// A load begins.
    Birth,
    /// A load ends, with this entry.
    Keep(Index, Shape),
    /// A load ends whose loader read other cached entries.
    Nest(Index, Shape, Vec<Index>),
    /// An entry comes from a store, with the stamp of some link ever seen.
    Find(Index, Twist, Shape),
    /// Some entries are looked at, each with its own memory of the last check.
    Check(Index, usize),
}

#[derive(Clone, Debug)]
pub(crate) enum Adopt {
    /// What is followed already.
    Head,
    /// Some place seen before: the journal was asked for what it still holds.
    Back(Index),
    Ahead(u64),
    OtherEpoch(u8, u64),
}

#[derive(Clone, Debug)]
pub(crate) enum Misfit {
    Duplicate(Index),
    /// Leaves out this many.
    Gap(u64),
    OtherEpoch(u8),
    /// The position of one applied, another nonce: a history that was rewound.
    Rewound(Index),
    /// Position 0, where no record can be.
    Zero,
}

/// What is wrong with a stored stamp.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Twist {
    Nothing,
    Nonce,
    Epoch,
    Later(u64),
    Earlier(u64),
}

/// What an entry is.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) tenant: Tenant,
    pub(crate) region: String,
    pub(crate) key: Segments,
    pub(crate) tags: Vec<Tag>,
}

fn tenant() -> impl Strategy<Value = Tenant> {
    prop_oneof![3 => Just(Tenant::common()), 1 => Just(Tenant::named("x"))]
}

fn region() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just("a".to_owned()), 1 => Just("ab".to_owned())]
}

/// `x` begins `xy` as text, and 7 is spelt like the text `7`, but none is the other.
fn segments() -> impl Strategy<Value = Segments> {
    let segment = prop_oneof![
        3 => Just(key!["x"]),
        1 => Just(key!["xy"]),
        1 => Just(key![""]),
        1 => Just(key![7u8]),
        1 => Just(key!["7"]),
        1 => Just(key![b"x".to_vec()])
    ];
    prop::collection::vec(segment, 0..4)
        .prop_map(|parts| parts.iter().fold(Segments::empty(), |key, part| key.join(part)))
}

fn tag() -> impl Strategy<Value = Tag> {
    segments().prop_map(Tag::new)
}

fn pattern() -> impl Strategy<Value = Pattern> {
    const TEXTS: [&str; 8] = ["*", "**", "x", "x*", "x/**", "*/x?", "7/*", "*/*/x"];
    let exact = segments().prop_map(|key| {
        key.iter().fold(Pattern::new(), |pattern, (segment, _)| pattern.exact(segment)).any()
    });
    prop_oneof![prop::sample::select(&TEXTS[..]).prop_map(|text| Pattern::parse(text).unwrap()), exact]
}

fn target() -> impl Strategy<Value = Target> {
    let anywhere = prop_oneof![
        1 => Just(Target::everything()),
        6 => (region(), segments()).prop_map(|(region, key)| Target::key(&region, key)),
        3 => (region(), segments()).prop_map(|(region, key)| Target::prefix(&region, key)),
        1 => region().prop_map(|region| Target::region(&region)),
        6 => tag().prop_map(Target::tag),
        4 => (region(), pattern()).prop_map(|(region, pattern)| Target::pattern(&region, pattern)),
    ];
    (anywhere, prop::option::weighted(0.3, tenant())).prop_map(|(target, tenant)| match tenant {
        Some(tenant) => target.within(&tenant),
        None => target,
    })
}

fn targets() -> impl Strategy<Value = Vec<Target>> {
    prop::collection::vec(target(), 1..4)
}

fn shape() -> impl Strategy<Value = Shape> {
    (tenant(), region(), segments(), prop::collection::vec(tag(), 0..3))
        .prop_map(|(tenant, region, key, tags)| Shape { tenant, region, key, tags })
}

fn adopt() -> impl Strategy<Value = Adopt> {
    prop_oneof![
        1 => Just(Adopt::Head),
        3 => any::<Index>().prop_map(Adopt::Back),
        1 => (1u64..5).prop_map(Adopt::Ahead),
        1 => (0u8..3, 0u64..9).prop_map(|(epoch, position)| Adopt::OtherEpoch(epoch, position)),
    ]
}

fn misfit() -> impl Strategy<Value = Misfit> {
    prop_oneof![
        3 => any::<Index>().prop_map(Misfit::Duplicate),
        1 => (1u64..4).prop_map(Misfit::Gap),
        1 => (0u8..3).prop_map(Misfit::OtherEpoch),
        1 => any::<Index>().prop_map(Misfit::Rewound),
        1 => Just(Misfit::Zero),
    ]
}

fn twist() -> impl Strategy<Value = Twist> {
    prop_oneof![
        4 => Just(Twist::Nothing),
        1 => Just(Twist::Nonce),
        1 => Just(Twist::Epoch),
        1 => (1u64..9).prop_map(Twist::Later),
        1 => (1u64..9).prop_map(Twist::Earlier),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        1 => adopt().prop_map(Step::Adopt),
        9 => (any::<bool>(), targets())
            .prop_map(|(seen_before, targets)| Step::Apply { seen_before, targets }),
        3 => (0u64..3, any::<bool>(), targets())
            .prop_map(|(id, open, targets)| Step::Intend { id, open, targets }),
        2 => (misfit(), targets()).prop_map(|(misfit, targets)| Step::Misfit(misfit, targets)),
        2 => targets().prop_map(Step::Fence),
        4 => Just(Step::Birth),
        6 => (index(), shape()).prop_map(|(birth, shape)| Step::Keep(birth, shape)),
        2 => (index(), shape(), prop::collection::vec(index(), 1..3))
            .prop_map(|(birth, shape, from)| Step::Nest(birth, shape, from)),
        5 => (index(), twist(), shape()).prop_map(|(link, twist, shape)| Step::Find(link, twist, shape)),
        6 => (index(), 1usize..9).prop_map(|(first, count)| Step::Check(first, count)),
    ]
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..80)
}
