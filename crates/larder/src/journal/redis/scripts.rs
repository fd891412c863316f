//! The scripts, each a file beside this one, or several in a row: what runs on the server, all or nothing.

use crate::redis::Script;

pub(super) struct Scripts {
    pub(super) append: Script,
    pub(super) read: Script,
    pub(super) read_attending: Script,
    pub(super) history: Script,
    pub(super) roll: Script,
    pub(super) attend: Script,
    pub(super) attendance: Script,
}

/// Files in a row. Run although memory is full: none takes more than what is bounded.
macro_rules! in_a_row {
    ($($file:literal),*) => { concat!("#!lua flags=allow-oom\n", $(include_str!($file)),*) };
}

impl Scripts {
    pub(super) fn new() -> Self {
        Scripts {
            append: Script::new(include_str!("scripts/append.lua")),
            read: Script::new(in_a_row!("scripts/read.lua")),
            read_attending: Script::new(in_a_row!(
                "scripts/presence.lua",
                "scripts/attending.lua",
                "scripts/read.lua"
            )),
            history: Script::new(include_str!("scripts/history.lua")),
            roll: Script::new(include_str!("scripts/roll.lua")),
            attend: Script::new(in_a_row!("scripts/presence.lua", "scripts/attend.lua")),
            attendance: Script::new(include_str!("scripts/attendance.lua")),
        }
    }
}
