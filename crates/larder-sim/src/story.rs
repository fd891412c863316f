//! Tells a failed run as a story: of all that was written down, what concerns the row and the node of the broken promise.
//!
//! It reads the lines of a trace as people do, by their words; a line it does not understand it leaves out.

use crate::oracle::Violation;
use crate::run::Outcome;

/// Lines told, at most; the last ones matter most.
const LINES_MAX: usize = 60;

/// The story of the first broken promise, a line for each event.
pub(crate) fn tell(outcome: &Outcome) -> Vec<String> {
    let Some(broken) = outcome.violations.first() else { return Vec::new() };
    let lines: Vec<Line<'_>> = outcome.trace.iter().filter_map(|line| Line::parse(line)).collect();
    let targets = targets_of(broken, &lines);
    let matters = lines.into_iter().filter(|line| line.matters(broken, &targets));
    let mut told = Vec::new();
    let mut before: Option<(String, usize)> = None;
    for line in matters {
        let gist = line.gist();
        match &mut before {
            Some((same, times)) if *same == gist => {
                *times += 1;
                told.pop();
                told.push(format!("{} (and {times} before it)", line.full));
            }
            _ => {
                before = Some((gist, 0));
                told.push(line.full.to_owned());
            }
        }
    }
    let left_out = told.len().saturating_sub(LINES_MAX);
    let mut story = told.split_off(left_out);
    if left_out > 0 {
        story.insert(0, format!("({left_out} lines before these: see --trace)"));
    }
    story.push(closing(broken));
    story
}

/// What was broken, in one line.
pub(crate) fn closing(broken: &Violation) -> String {
    let row = broken.row.map(|row| format!(", row {row}")).unwrap_or_default();
    format!("{:>12.6} {:>5}  BROKEN: {}{row}: {}", broken.at, broken.node, broken.promise, broken.what)
}

/// How the invalidations of the row are written down where the row's number is not.
fn targets_of<'a>(broken: &Violation, lines: &[Line<'a>]) -> Vec<&'a str> {
    let Some(row) = broken.row else { return Vec::new() };
    let writes = lines.iter().filter(|line| line.names_row(row));
    writes.filter_map(|line| Some(&line.text[line.text.find('[')?..])).collect()
}

struct Line<'a> {
    full: &'a str,
    node: &'a str,
    text: &'a str,
}

impl<'a> Line<'a> {
    fn parse(full: &'a str) -> Option<Self> {
        let (_, rest) = full.trim_start().split_once(' ')?;
        let (node, text) = rest.trim_start().split_once("  ")?;
        Some(Line { full, node, text })
    }

    fn matters(&self, broken: &Violation, targets: &[&str]) -> bool {
        if self.is_of_the_world() {
            return true;
        }
        let is_there = self.node == broken.node;
        let is_read = self.text.starts_with("read of row") || self.text.starts_with("database answers");
        match broken.row {
            Some(row) if self.names_row(row) => is_there || !(is_read || self.text.starts_with("begins")),
            // What another row's write names is told by its record.
            Some(_) if self.text.starts_with("row ") => false,
            _ => {
                let is_record = targets.iter().any(|targets| self.text.ends_with(targets));
                is_record || (is_there && (self.is_of_a_life() || self.is_of_the_journal()))
            }
        }
    }

    /// What happened to everybody.
    fn is_of_the_world(&self) -> bool {
        let starts = [
            "fault: journal",
            "fault: db_failover",
            "failover",
            "the journal lost",
            "asks for another epoch",
        ];
        starts.iter().any(|start| self.text.starts_with(start))
    }

    /// What happened to a node as a whole.
    fn is_of_a_life(&self) -> bool {
        let starts = ["starts", "is killed", "is paused", "goes on", "cut off", "is overtaken", "its clock"];
        starts.iter().any(|start| self.text.starts_with(start))
    }

    fn is_of_the_journal(&self) -> bool {
        self.text.starts_with("journal")
    }

    /// Whether it is about this row.
    fn names_row(&self, row: u32) -> bool {
        let number = row.to_string();
        ["row ", "row: "].iter().any(|word| {
            self.text.match_indices(word).any(|(at, _)| {
                let rest = &self.text[at + word.len()..];
                rest.starts_with(&number) && !rest[number.len()..].starts_with(|c: char| c.is_ascii_digit())
            })
        })
    }

    /// What it says, without when.
    fn gist(&self) -> String {
        let text = self.text;
        let text = match (text.find(" begun "), text.find(": ")) {
            (Some(from), Some(to)) if from < to => format!("{}{}", &text[..from], &text[to..]),
            _ => text.to_owned(),
        };
        format!("{} {text}", self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    fn failed(trace: &[&str]) -> Outcome {
        let what = "version 0; 1 was acknowledged 400 ms before".to_owned();
        let broken = Violation { promise: "the bound", at: 3.5, node: "n1".to_owned(), row: Some(1), what };
        let trace = trace.iter().map(|line| (*line).to_owned()).collect();
        Outcome { trace, ..Outcome::broken(Options::drawn(1), broken) }
    }

    #[test]
    fn the_story_keeps_what_concerns_the_row_and_the_node() {
        let outcome = failed(&[
            "    1.000000    n1  starts, life 0",
            "    1.000000    n2  starts, life 0",
            "    1.100000    n2  row 1 version 1: [tag t0:row/1]",
            "    1.150000    n2  row 12 version 1: [tag t0:row/12]",
            "    1.200000    n2  appends 4: [tag t0:row/1]",
            "    1.250000    n2  appends 5: [tag t0:row/12]",
            "    1.300000 world  failover, 3 ms lost",
            "    2.000000    n1  read of row 1 begun 1.9: None",
            "    2.100000    n2  read of row 1 begun 2.0: None",
        ]);
        let story = tell(&outcome);
        let at: Vec<&str> =
            story.iter().map(|line| line.trim_start().split(' ').next().unwrap_or("")).collect();
        assert_eq!(
            at,
            ["1.000000", "1.100000", "1.200000", "1.300000", "2.000000", "3.500000"],
            "{story:#?}"
        );
        assert!(story[5].contains("BROKEN: the bound, row 1"), "{story:#?}");
    }

    #[test]
    fn the_same_read_again_and_again_is_one_line() {
        let line = |at: &str| format!("    {at}    n1  read of row 1 begun {at}: Some(version 0) Memory");
        let lines = [line("1.1"), line("1.2"), line("1.3")];
        let story = tell(&failed(&lines.iter().map(String::as_str).collect::<Vec<_>>()));
        assert_eq!(story.len(), 2, "{story:#?}");
        assert!(story[0].contains("1.3") && story[0].ends_with("(and 2 before it)"), "{story:#?}");
    }
}
