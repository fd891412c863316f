//! The scripts, each a file beside this one: what runs on the server, all or nothing.

use crate::redis::Script;

pub(super) struct Scripts {
    pub(super) append: Script,
    pub(super) read: Script,
    pub(super) history: Script,
    pub(super) roll: Script,
    pub(super) attend: Script,
    pub(super) attendance: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Scripts {
            append: Script::new(include_str!("scripts/append.lua")),
            read: Script::new(include_str!("scripts/read.lua")),
            history: Script::new(include_str!("scripts/history.lua")),
            roll: Script::new(include_str!("scripts/roll.lua")),
            attend: Script::new(include_str!("scripts/attend.lua")),
            attendance: Script::new(include_str!("scripts/attendance.lua")),
        }
    }
}
