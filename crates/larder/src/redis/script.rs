//! Lua scripts, sent by their hash, and whole when the server does not know them.

/// A script. Made once and kept: its hash is computed here.
pub(crate) struct Script {
    code: &'static str,
    hash: String,
}

impl Script {
    pub(crate) fn new(code: &'static str) -> Self {
        Script { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }

    /// The command that runs it by its hash.
    pub(super) fn by_hash(&self, keys: &[&[u8]], args: &[&[u8]]) -> redis::Cmd {
        Self::command("EVALSHA", &self.hash, keys, args)
    }

    /// The command that carries the whole script, and makes the server remember it.
    pub(super) fn whole(&self, keys: &[&[u8]], args: &[&[u8]]) -> redis::Cmd {
        Self::command("EVAL", self.code, keys, args)
    }

    fn command(name: &str, script: &str, keys: &[&[u8]], args: &[&[u8]]) -> redis::Cmd {
        let mut cmd = redis::cmd(name);
        cmd.arg(script).arg(keys.len()).arg(keys).arg(args);
        cmd
    }
}
