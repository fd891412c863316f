//! What the matrix and a node say to each other: a line each way, in any order, numbered.

use std::str::{FromStr, SplitWhitespace};

/// To a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Read this key.
    Read(u64),
    /// This key was written: invalidate it.
    Written(u64),
}

/// From a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The version read, and whether a cache had it.
    Value { version: u64, hit: bool },
    /// Everybody will know: the invalidation was recorded.
    Applied,
    /// It could not be recorded yet; the node goes on trying.
    Queued,
    /// Neither.
    Failed,
    /// The node is up.
    Ready,
}

/// A question or an answer, with the number of the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<T> {
    pub(super) id: u64,
    pub(super) said: T,
}

impl Line<Ask> {
    pub(super) fn text(self) -> String {
        match self.said {
            Ask::Read(key) => format!("{} read {key}\n", self.id),
            Ask::Written(key) => format!("{} written {key}\n", self.id),
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let id = next(&mut words)?;
        let said = match words.next()? {
            "read" => Ask::Read(next(&mut words)?),
            "written" => Ask::Written(next(&mut words)?),
            _ => return None,
        };
        Some(Self { id, said })
    }
}

impl Line<Answer> {
    pub(super) fn text(self) -> String {
        let id = self.id;
        match self.said {
            Answer::Value { version, hit } => format!("{id} value {version} {hit}\n"),
            Answer::Applied => format!("{id} applied\n"),
            Answer::Queued => format!("{id} queued\n"),
            Answer::Failed => format!("{id} failed\n"),
            Answer::Ready => format!("{id} ready\n"),
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let id = next(&mut words)?;
        let said = match words.next()? {
            "value" => Answer::Value { version: next(&mut words)?, hit: next(&mut words)? },
            "applied" => Answer::Applied,
            "queued" => Answer::Queued,
            "failed" => Answer::Failed,
            "ready" => Answer::Ready,
            _ => return None,
        };
        Some(Self { id, said })
    }
}

fn next<T: FromStr>(words: &mut SplitWhitespace<'_>) -> Option<T> {
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Answer, Ask, Line};

    #[test]
    fn what_is_written_is_read() {
        for said in [Ask::Read(7), Ask::Written(8)] {
            let line = Line { id: 3, said };
            assert_eq!(Line::<Ask>::parse(&line.text()), Some(line));
        }
        let value = Answer::Value { version: 9, hit: true };
        for said in [value, Answer::Applied, Answer::Queued, Answer::Failed, Answer::Ready] {
            let line = Line { id: 3, said };
            assert_eq!(Line::<Answer>::parse(&line.text()), Some(line));
        }
        assert_eq!(Line::<Ask>::parse("3 sing"), None);
    }
}
