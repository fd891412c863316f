//! Seeded bugs: known mistakes, written where they would be made, that tests and the simulator must catch.
//!
//! `if seeded_bug!("name") { the mistake }` is `if false` in every ordinary build. Built with
//! `--cfg larder_seeded_bugs`, all of them are compiled in and the environment variable `LARDER_SEEDED_BUG` says, once
//! for the process, which one is made. `cargo xtask seeded-bugs` and `larder-sim -- --seeded-bugs` do that.

/// Whether the known mistake of this name is to be made; `false` at compile time unless built to make them.
#[doc(hidden)]
#[macro_export]
macro_rules! seeded_bug {
    ($name:literal) => {
        $crate::seeded::is_made($name)
    };
}

/// Never, in an ordinary build.
#[cfg(not(larder_seeded_bugs))]
#[inline(always)]
pub const fn is_made(_name: &str) -> bool {
    false
}

/// Whether the process was started to make this mistake.
#[cfg(larder_seeded_bugs)]
pub fn is_made(name: &str) -> bool {
    static MADE: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    MADE.get_or_init(|| std::env::var("LARDER_SEEDED_BUG").ok()).as_deref() == Some(name)
}
