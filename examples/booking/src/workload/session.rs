//! What a user has seen, and what their token stands for: a read that shows less is a violation of their session.
//!
//! Each user has one and takes it from node to node. It knows no node: the user asks for tokens, and brings them.

use std::collections::HashMap;

use larder::Token;

use crate::db::write::Written;
use crate::time::{HOUR_MINUTES, Minute};
use crate::workload::oracle::Subject;

/// A user who knows more than this forgets it all and begins anew: to look it up would cost more than the read.
const KNOWN_MAX: usize = 512;

/// The session of a user.
#[derive(Debug, Default)]
pub(crate) struct Session {
    token: Option<Token>,
    /// The node that was last seen to have come as far.
    at: Option<usize>,
    known: HashMap<Subject, Known>,
    /// What was shown or written since the last token was asked for.
    uncovered: Vec<Subject>,
}

/// Versions of a subject.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The newest that the token stands for: no read may show an older one.
    covered: i64,
    newest: i64,
}

impl Session {
    /// What to bring to this node; `None` if it was there a moment ago, or there is nothing to bring yet.
    pub(crate) fn token_for(&self, node: usize) -> Option<Token> {
        self.token.filter(|_| self.at != Some(node))
    }

    /// The node has come as far as the token.
    pub(crate) fn arrived(&mut self, node: usize) {
        self.at = Some(node);
    }

    /// Something was shown, asked for under the token of this moment. Whether it is older than what that stands for;
    /// `None` when it stands for nothing of this subject.
    ///
    /// The version of an hour's read is that of its whole day, which other hours raise too: such reads are held against
    /// what the user has written, and cover nothing themselves.
    pub(crate) fn is_violated(&mut self, subject: Subject, version: i64) -> Option<bool> {
        let covered = match subject {
            Subject::Hour(..) => self.known.get(&subject).map_or(0, |known| known.covered),
            Subject::Day(_) | Subject::Company(_) => self.note(subject, version),
        };
        (covered > 0).then_some(version < covered)
    }

    /// The user has changed something, and was given a token for it, or needs none.
    pub(crate) fn wrote(&mut self, written: &Written, keeps_sessions: bool, node: usize) {
        let branch = written.appointment.branch;
        for &(day, version) in &written.days {
            self.note(Subject::Day(day), version);
            let hours = written.touched.hours.iter();
            for hour in hours.filter(|hour| Minute(**hour * HOUR_MINUTES).day() == day.day) {
                self.note(Subject::Hour(branch, *hour), version);
            }
        }
        self.note(Subject::Company(written.appointment.company), written.company_version);
        if written.token.is_some() || !keeps_sessions {
            self.cover(written.token, node);
        }
    }

    /// This node was asked for a token after all that was shown so far; where no sessions are kept, what was shown counts
    /// without.
    pub(crate) fn cover(&mut self, token: Option<Token>, node: usize) {
        (self.token, self.at) = (token, Some(node));
        for subject in self.uncovered.drain(..) {
            if let Some(known) = self.known.get_mut(&subject) {
                known.covered = known.newest;
            }
        }
    }

    /// Remembers a version; what was covered of it before.
    fn note(&mut self, subject: Subject, version: i64) -> i64 {
        if self.known.len() >= KNOWN_MAX && !self.known.contains_key(&subject) {
            self.known.clear();
        }
        let known = self.known.entry(subject).or_default();
        if version > known.newest {
            known.newest = version;
            self.uncovered.push(subject);
        }
        known.covered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DayKey;
    use crate::time::Day;

    const DAY: Subject = Subject::Day(DayKey { company: 1, branch: 2, day: Day(20_000) });
    const HOUR: Subject = Subject::Hour(2, 480_010);

    #[test]
    fn what_was_seen_counts_once_a_token_stands_for_it() {
        let mut session = Session::default();
        assert_eq!(session.is_violated(DAY, 3), None);
        assert_eq!(session.is_violated(DAY, 2), None, "no token was asked for yet");
        session.cover(None, 0);
        assert_eq!(session.is_violated(DAY, 2), Some(true));
        assert_eq!(session.is_violated(DAY, 3), Some(false));
        assert_eq!(session.is_violated(DAY, 4), Some(false));
        assert_eq!(session.is_violated(DAY, 3), Some(false), "4 is not covered yet");
    }

    #[test]
    fn a_read_of_an_hour_covers_nothing() {
        let mut session = Session::default();
        assert_eq!(session.is_violated(HOUR, 3), None);
        session.cover(None, 0);
        assert_eq!(session.is_violated(HOUR, 2), None);
    }
}
