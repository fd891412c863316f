//! Counts tests from what `cargo nextest run` and `cargo test` print. Pure text in, numbers out.

use std::ops::AddAssign;

/// How many tests ran, and how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// Everything that ran.
    pub(crate) fn run(self) -> u64 {
        self.passed + self.failed
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Counts {
    /// `3 passed, 0 failed`, and `, 2 skipped` when some were.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// How nextest's closing line begins, and `cargo test`'s.
const NEXTEST: &str = "Summary [";
const CARGO_TEST: &str = "test result: ";

/// Sums every closing line in `output`. Where nextest closed the run only its lines count: it shows what a failed
/// test printed, and in that stands the closing line of the test binary for this one test.
pub(crate) fn in_output(output: &str) -> Counts {
    let (opening, read): (&str, fn(&str) -> Counts) =
        if by_nextest(output) { (NEXTEST, nextest) } else { (CARGO_TEST, cargo_test) };
    let mut total = Counts::default();
    for rest in output.lines().filter_map(|line| line.trim().strip_prefix(opening)) {
        total += read(rest);
    }
    total
}

fn by_nextest(output: &str) -> bool {
    output.lines().any(|line| line.trim_start().starts_with(NEXTEST))
}

/// `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
fn cargo_test(rest: &str) -> Counts {
    // A test that prints something like the closing line is not believed.
    if !rest.contains(" filtered out") {
        return Counts::default();
    }
    let rest = rest.split_once(". ").map_or(rest, |(_, counts)| counts);
    let mut counts = Counts::default();
    for (number, word) in rest.split(';').filter_map(numbered) {
        match word {
            "passed" => counts.passed += number,
            "failed" => counts.failed += number,
            "ignored" => counts.skipped += number,
            _ => {}
        }
    }
    counts
}

/// `0.1s] 5 tests run: 3 passed (1 slow, 1 flaky), 1 failed, 1 timed out, 2 skipped`
fn nextest(rest: &str) -> Counts {
    let Some((_, rest)) = rest.split_once("run: ") else { return Counts::default() };
    let mut counts = Counts::default();
    let mut depth = 0;
    // What stands in brackets describes the number before it, and must not be counted twice.
    let outside: String = rest
        .chars()
        .filter(|&c| {
            depth += i32::from(c == '(');
            let keep = depth == 0;
            depth -= i32::from(c == ')');
            keep
        })
        .collect();
    for (number, word) in outside.split(',').filter_map(numbered) {
        match word {
            "passed" => counts.passed += number,
            "skipped" => counts.skipped += number,
            // failed, exec failed, timed out, and whatever a later version adds: not passed is failed.
            _ => counts.failed += number,
        }
    }
    counts
}

fn numbered(part: &str) -> Option<(u64, &str)> {
    let (number, words) = part.trim().split_once(' ')?;
    Some((number.parse().ok()?, words.trim()))
}

/// The names of the tests that failed, in order, without repeats.
pub(crate) fn failed_tests(output: &str) -> Vec<String> {
    without_repeats(output, if by_nextest(output) { failed_in_nextest } else { failed_in_cargo_test })
}

/// Those of them that nextest stopped, because they took too long or another had failed; `cargo test` stops none.
pub(crate) fn stopped(output: &str) -> Vec<String> {
    const STOPS: [&str; 3] = ["TIMEOUT [", "SIGTERM [", "SIGKILL ["];
    without_repeats(output, |line| {
        let stop = STOPS.iter().any(|stop| line.trim_start().starts_with(stop));
        stop.then(|| failed_in_nextest(line)).flatten()
    })
}

fn without_repeats(output: &str, read: fn(&str) -> Option<&str>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in output.lines().filter_map(read) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// `        FAIL [   0.004s] (1/3) larder-core rule::tests::name` (also `TIMEOUT [`, `SIGABRT [` …)
fn failed_in_nextest(line: &str) -> Option<&str> {
    let (status, rest) = line.trim_start().split_once(" [")?;
    let bad = ["FAIL", "TIMEOUT", "LEAK-FAIL", "XFAIL"].contains(&status) || status.starts_with("SIG");
    let (_, name) = rest.split_once("] ").filter(|_| bad)?;
    let name = name.trim_start();
    Some(
        if name.starts_with('(') { name.split_once(") ").map_or(name, |(_, name)| name) } else { name }
            .trim(),
    )
}

/// `test rule::tests::name ... FAILED`
fn failed_in_cargo_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

#[cfg(test)]
mod tests {
    use super::{Counts, failed_tests, in_output, stopped};

    fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
        Counts { passed, failed, skipped }
    }

    #[test]
    fn sums_the_closing_lines_of_cargo_test() {
        let output = "\
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.20s
";
        assert_eq!(in_output(output), counts(7, 2, 1));
    }

    #[test]
    fn reads_the_summary_of_nextest_with_every_kind_of_failure() {
        let output = "     Summary [   0.112s] 9 tests run: 5 passed (1 slow, 1 flaky), 2 failed, 1 exec failed, 1 timed out, 3 skipped";
        assert_eq!(in_output(output), counts(5, 4, 3));
    }

    #[test]
    fn reads_the_summary_of_an_interrupted_nextest() {
        let output = "     Summary [   1.000s] 2/90 tests run: 2 passed, 0 skipped";
        assert_eq!(in_output(output), counts(2, 0, 0));
    }

    #[test]
    fn output_without_a_closing_line_counts_nothing() {
        assert_eq!(in_output("error: could not compile `larder`"), Counts::default());
    }

    #[test]
    fn prints_the_line_the_recogniser_reads() {
        assert_eq!(counts(12, 0, 0).to_string(), "12 passed, 0 failed");
        assert_eq!(counts(12, 1, 3).to_string(), "12 passed, 1 failed, 3 skipped");
    }

    #[test]
    fn what_a_failed_test_printed_is_not_counted_again() {
        let output = "\
    test rule::tests::old ... FAILED
    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 41 filtered out; finished in 0.00s
     Summary [   0.012s] 42 tests run: 41 passed, 1 failed, 0 skipped";
        assert_eq!(in_output(output), counts(41, 1, 0));
    }

    #[test]
    fn names_the_failed_tests_once_each() {
        let nextest = "\
        FAIL [   0.004s] (1/3) larder-core rule::tests::old_is_a_miss
        PASS [   0.004s] (2/3) larder-core rule::tests::new_is_a_hit
     TIMEOUT [  60.004s] (3/3) larder::reads follower_is_fresh
test rule::tests::old_is_a_miss ... FAILED
     Summary [  60.112s] 3 tests run: 1 passed, 1 failed, 1 timed out, 0 skipped
        FAIL [   0.004s] (1/3) larder-core rule::tests::old_is_a_miss
";
        let names = ["larder-core rule::tests::old_is_a_miss", "larder::reads follower_is_fresh"];
        assert_eq!(failed_tests(nextest), names);
        assert_eq!(stopped(nextest), names[1..]);
        let another_failed = "     SIGTERM [   3.908s] (9/9) larder::race waits\n";
        assert_eq!(stopped(another_failed), ["larder::race waits"]);
        let cargo_test = "test keys::tests::collide ... FAILED\ntest keys::tests::order ... ok\n";
        assert_eq!(failed_tests(cargo_test), ["keys::tests::collide"]);
    }
}
