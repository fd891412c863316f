//! What the rules found, and how it is said: file and line first, so that editors can jump to it.

use serde_json::json;

/// Whether a finding fails the chore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Error,
    Warning,
}

/// One broken rule in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) rule: &'static str,
    pub(crate) severity: Severity,
    /// From the root, with `/`.
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
    /// What is there, and what to do instead.
    pub(crate) message: String,
}

impl Finding {
    /// An error; the table of rules fills in the rule's name.
    pub(crate) fn error(file: &str, line: usize, message: impl Into<String>) -> Self {
        Self { rule: "", severity: Severity::Error, file: file.to_owned(), line, message: message.into() }
    }

    /// A warning: said, and not failing.
    pub(crate) fn warning(file: &str, line: usize, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, line, message) }
    }

    /// With the name of its rule.
    pub(crate) fn of(self, rule: &'static str) -> Self {
        Self { rule, ..self }
    }
}

/// All findings of a run.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) found: Vec<Finding>,
    pub(crate) files: usize,
    pub(crate) median_lines: usize,
}

impl Findings {
    /// How many fail the chore.
    pub(crate) fn errors(&self) -> usize {
        self.found.iter().filter(|finding| finding.severity == Severity::Error).count()
    }

    /// One line on the whole.
    pub(crate) fn closing(&self) -> String {
        let errors = self.errors();
        let warnings = self.found.len() - errors;
        let (files, median) = (self.files, self.median_lines);
        format!("{files} files, median {median} lines; {errors} errors, {warnings} warnings")
    }

    /// A line per finding, then the closing line.
    pub(crate) fn text(&self) -> String {
        let mut lines: Vec<String> = self.found.iter().map(one_line).collect();
        lines.push(self.closing());
        lines.join("\n")
    }

    /// One object.
    pub(crate) fn json(&self) -> String {
        let found: Vec<_> = self
            .found
            .iter()
            .map(|finding| {
                json!({
                    "rule": finding.rule,
                    "severity": word(finding.severity),
                    "file": finding.file,
                    "line": finding.line,
                    "message": finding.message,
                })
            })
            .collect();
        json!({
            "passed": self.errors() == 0,
            "files": self.files,
            "median_lines": self.median_lines,
            "findings": found,
        })
        .to_string()
    }
}

fn one_line(finding: &Finding) -> String {
    let Finding { rule, severity, file, line, message } = finding;
    format!("{file}:{line}: {}[{rule}]: {message}", word(*severity))
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

#[cfg(test)]
mod tests {
    use super::{Finding, Findings};

    #[test]
    fn errors_fail_and_warnings_do_not() {
        let warning = Finding::warning("a.rs", 1, "long").of("file-length");
        let mut findings = Findings { found: vec![warning], files: 3, median_lines: 120 };
        assert_eq!(findings.errors(), 0);
        findings.found.push(Finding::error("b.rs", 7, "no").of("layering"));
        assert_eq!(findings.errors(), 1);
        assert_eq!(
            findings.text(),
            "a.rs:1: warning[file-length]: long\nb.rs:7: error[layering]: no\n\
             3 files, median 120 lines; 1 errors, 1 warnings"
        );
    }
}
