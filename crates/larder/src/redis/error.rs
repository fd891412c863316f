//! Why Redis could not do what was asked, and above all: whether it may have done it.

use std::fmt;

/// An operation on Redis that failed.
///
/// What matters is what became of it: [`RedisError::is_unsent`] and [`RedisError::is_refused`] say that it surely had
/// no effect; [`RedisError::is_indeterminate`] that it may have had one.
#[derive(Clone, Debug)]
pub struct RedisError {
    kind: Kind,
    code: Option<Box<str>>,
    /// An error reply to a command inside of a script.
    inside: bool,
    /// Where a cluster says to go, as it says it.
    elsewhere: Option<(u16, Box<str>)>,
    message: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unusable,
    Unsent,
    Refused,
    Late,
    Lost,
    Unintelligible,
}

/// Error replies that a server gives before it begins: nothing of a command, nor of a script, has happened.
const BEFORE_BEGINNING: [&str; 14] = [
    "ASK",
    "BUSY",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "LOADING",
    "MASTERDOWN",
    "MOVED",
    "NOAUTH",
    "NOPERM",
    "NOSCRIPT",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "WRONGPASS",
];
/// Those a script's own commands can only be given before the script has written.
const BEFORE_WRITING: [&str; 4] = ["MISCONF", "NOREPLICAS", "OOM", "READONLY"];

impl RedisError {
    /// A URL, a variable or an option that cannot be used. The message must not repeat what may hold a password.
    pub(super) fn unusable(message: impl Into<String>) -> Self {
        Self::of(Kind::Unusable, message)
    }

    /// Nothing was sent.
    pub(crate) fn unsent(message: impl Into<String>) -> Self {
        Self::of(Kind::Unsent, message)
    }

    /// Sent, and not answered in time.
    pub(super) fn late(deadline: std::time::Duration) -> Self {
        Self::of(Kind::Late, format!("no answer within {deadline:?}"))
    }

    /// Sent, and the connection ended before the answer.
    pub(super) fn lost(error: &redis::RedisError) -> Self {
        let mut lost = Self::of(Kind::Lost, describe(error));
        lost.code = error.code().map(Into::into);
        lost
    }

    /// Carried out, and the answer is not what was expected. Says nothing of the answer: it may be a user's value.
    pub(crate) fn unintelligible(expected: &str) -> Self {
        Self::of(Kind::Unintelligible, format!("the answer is not what was expected: {expected}"))
    }

    /// An error reply to a command: it did nothing.
    pub(super) fn reply(error: &redis::RedisError) -> Self {
        let mut refused = Self::of(Kind::Refused, describe(error));
        refused.code = error.code().map(Into::into);
        refused.elsewhere = error.redirect_node().map(|(host, slot)| (slot, host.into()));
        refused.inside = error.detail().is_some_and(|detail| detail.contains("@user_script"));
        refused
    }

    /// An error reply to a script, which may have written before it failed, unless it never began.
    pub(super) fn after_script(self) -> Self {
        if self.message.contains("Error compiling script") {
            let message = "the server is too old for the script: expected Redis 7 or later, or Valkey";
            return RedisError { message: message.into(), ..self };
        }
        let clean =
            |code| BEFORE_WRITING.contains(&code) || (!self.inside && BEFORE_BEGINNING.contains(&code));
        let began = self.kind == Kind::Refused && !self.code().is_some_and(clean);
        if began { RedisError { kind: Kind::Lost, ..self } } else { self }
    }

    /// The slot and the address a cluster names in MOVED and ASK.
    pub(super) fn elsewhere(&self) -> Option<(u16, &str)> {
        self.elsewhere.as_ref().map(|(slot, host)| (*slot, &**host))
    }

    fn of(kind: Kind, message: impl Into<String>) -> Self {
        RedisError { kind, code: None, inside: false, elsewhere: None, message: message.into().into() }
    }

    /// Whether a URL, a variable or an option cannot be used.
    pub fn is_unusable(&self) -> bool {
        self.kind == Kind::Unusable
    }

    /// Whether nothing was sent: there is no connection, or the handle is closed.
    pub fn is_unsent(&self) -> bool {
        matches!(self.kind, Kind::Unsent | Kind::Unusable)
    }

    /// Whether the server answered that it will not, and did nothing.
    pub fn is_refused(&self) -> bool {
        self.kind == Kind::Refused
    }

    /// Whether it may have taken effect: sent, and without an answer that tells.
    pub fn is_indeterminate(&self) -> bool {
        matches!(self.kind, Kind::Late | Kind::Lost | Kind::Unintelligible)
    }

    /// Whether the deadline passed before an answer.
    pub fn is_late(&self) -> bool {
        self.kind == Kind::Late
    }

    /// The word an error reply begins with, such as `OOM` or `READONLY`.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }
}

/// What the client library says, without what a server may repeat of a command's arguments.
pub(super) fn describe(error: &redis::RedisError) -> String {
    use redis::ErrorKind;
    let detail = match error.kind() {
        // These quote the value that did not fit.
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse => return "unintelligible answer".to_owned(),
        ErrorKind::Io => return format!("{error}"),
        _ => error.detail().unwrap_or_default(),
    };
    let end = detail.find(", with args").unwrap_or(detail.len());
    let detail: String = detail[..end].chars().take(160).collect();
    match error.code() {
        Some(code) => format!("{code} {detail}").trim_end().to_owned(),
        None => format!("{} {detail}", error.category()).trim_end().to_owned(),
    }
}

impl fmt::Display for RedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Unusable => "unusable",
            Kind::Unsent => "not sent",
            Kind::Refused => "refused",
            Kind::Late => "late",
            Kind::Lost => "interrupted",
            Kind::Unintelligible => "unintelligible",
        };
        write!(f, "redis: {what}: {}", self.message)
    }
}

impl std::error::Error for RedisError {}

#[cfg(test)]
mod tests {
    use super::RedisError;

    fn reply(line: &str) -> RedisError {
        let value = redis::parse_redis_value(line.as_bytes()).unwrap();
        RedisError::reply(&value.extract_error().unwrap_err())
    }

    #[test]
    fn an_error_reply_is_no_effect_and_that_of_a_script_that_began_is_a_doubt() {
        assert!(reply("-OOM command not allowed\r\n").is_refused());
        assert!(reply("-OOM command not allowed\r\n").after_script().is_refused());
        let inside = "script: f0, on @user_script:1.\r\n";
        assert!(reply(&format!("-OOM command not allowed {inside}")).after_script().is_refused());
        assert!(reply("-NOPERM no\r\n").after_script().is_refused());
        assert!(reply(&format!("-NOPERM no {inside}")).after_script().is_indeterminate());
        assert!(reply("-ERR value is not an integer\r\n").is_refused());
        assert!(reply("-ERR value is not an integer\r\n").after_script().is_indeterminate());
        let old = "-ERR Error compiling script (new function): user_script:1: unexpected symbol near '#'\r\n";
        let old = reply(old).after_script();
        assert!(old.is_refused() && old.to_string().contains("Redis 7"), "{old}");
        assert!(RedisError::unsent("no connection").after_script().is_unsent());
    }

    #[test]
    fn what_a_server_repeats_of_the_arguments_is_left_out() {
        let error = reply("-ERR unknown command 'FOO', with args beginning with: 'secret' \r\n");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(error.to_string().contains("unknown command"), "{error}");
    }
}
