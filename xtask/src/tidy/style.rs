//! The rules on how a file reads: its head, its length, its name, nothing left unfinished, no waiting in tests.

use super::{Finding, Source};
use crate::seeded::names;

/// Look again at a file longer than this.
const LINES_MAX: usize = 600;
/// Names that say nothing of what a module is for.
const EMPTY_NAMES: [&str; 4] = ["manager", "helper", "util", "common"];
/// What is left behind in unfinished code. Written apart, so that this file does not find itself.
const UNFINISHED: [&str; 3] = ["todo!(", "unimplemented!(", "#[ignore"];
const UNFINISHED_NOTE: &str = concat!("FIX", "ME");

/// Every module says first what it is, who may call it and what it never does.
pub(crate) fn module_doc(source: &Source) -> Vec<Finding> {
    let covered = ["crates/", "examples/", "xtask/"].iter().any(|folder| source.path.starts_with(folder));
    let first = source.lines().find(|(_, line)| !line.trim().is_empty());
    if !covered || !source.in_src() || first.is_some_and(|(_, line)| line.starts_with("//!")) {
        return Vec::new();
    }
    let message = "opens without `//!`: say first what the module is, who may call it, what it never does";
    vec![Finding::error(&source.path, 1, message)]
}

/// Warns of long files.
pub(crate) fn file_length(source: &Source) -> Vec<Finding> {
    let length = source.length();
    if length <= LINES_MAX {
        return Vec::new();
    }
    let message = format!("{length} lines, over {LINES_MAX}: look whether two things live here");
    vec![Finding::warning(&source.path, LINES_MAX + 1, message)]
}

/// Refuses module names that say nothing, for files, folders and inline modules.
pub(crate) fn module_name(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    let stem = source.path.trim_end_matches(".rs");
    // Below the crate's own folder; what the crates are called is not this rule's.
    if let Some(name) = stem.split('/').skip(1).find(|part| is_empty_name(part)) {
        found.push(empty_name(source, 1, name));
    }
    for (line, code) in source.code_lines() {
        let words: Vec<&str> = code.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
        let inline = words.windows(2).find(|pair| matches!(pair, ["mod", name] if is_empty_name(name)));
        if let (Some([_, name]), true) = (inline, code.contains('{')) {
            found.push(empty_name(source, line, name));
        }
    }
    found
}

fn is_empty_name(name: &str) -> bool {
    let singular = name.strip_suffix('s').unwrap_or(name);
    EMPTY_NAMES.contains(&singular) || EMPTY_NAMES.contains(&name)
}

fn empty_name(source: &Source, line: usize, name: &str) -> Finding {
    Finding::error(
        &source.path,
        line,
        format!(
            "a module named `{name}`: name it after what is in it, or move each thing to where it belongs"
        ),
    )
}

/// Refuses what marks unfinished work: the code is done, or it is not there.
pub(crate) fn unfinished(source: &Source) -> Vec<Finding> {
    let code = source.code_lines().flat_map(|(line, code)| {
        let marks = UNFINISHED.iter().filter(move |mark| code.replace(' ', "").contains(*mark));
        marks.map(move |mark| (line, *mark))
    });
    let notes = source.comment_lines().filter(|(_, text)| text.contains(UNFINISHED_NOTE));
    let all = code.chain(notes.map(|(line, _)| (line, UNFINISHED_NOTE)));
    all.map(|(line, mark)| {
        let message = format!("`{mark}`: finish it, or take it out and write an issue");
        Finding::error(&source.path, line, message)
    })
    .collect()
}

/// Refuses sleeping in test files: a test that waits for time is slow, and wrong on a busy machine.
pub(crate) fn sleep_in_test(source: &Source) -> Vec<Finding> {
    if !source.in_test_file() {
        return Vec::new();
    }
    let sleeps = source.code_lines().filter(|(_, code)| calls_sleep(code));
    sleeps
        .map(|(line, _)| {
            let message = "`sleep(` in a test: give it a clock to advance, or wait for the event itself";
            Finding::error(&source.path, line, message)
        })
        .collect()
}

fn calls_sleep(code: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices("sleep(").any(|(at, _)| !code.get(..at).unwrap_or_default().ends_with(word))
}

/// Who makes the bugs finds them by their names in the text: each is one plain word, written where it is made.
pub(crate) fn seeded_bug_name(source: &Source) -> Vec<Finding> {
    let nameless = names::calls(source.text()).into_iter().filter(|call| call.name.is_none());
    nameless
        .map(|call| {
            let message = "a seeded bug without a name: expected `seeded_bug!(\"name_in_snake_case\")`";
            Finding::error(&source.path, call.line, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{
        Finding, Source, file_length, module_doc, module_name, seeded_bug_name, sleep_in_test, unfinished,
    };

    fn lines(rule: fn(&Source) -> Vec<Finding>, path: &str, text: &str) -> Vec<usize> {
        rule(&Source::new(path, text)).iter().map(|finding| finding.line).collect()
    }

    const SRC: &str = "crates/larder/src/engine/read.rs";
    const TEST: &str = "crates/larder/tests/reads.rs";

    #[test]
    fn a_module_opens_with_its_doc() {
        assert_eq!(lines(module_doc, SRC, "//! Reads.\nuse a;\n"), [0; 0]);
        assert_eq!(lines(module_doc, SRC, "\n//! Reads.\n"), [0; 0]);
        assert_eq!(lines(module_doc, SRC, "use a;\n//! Late.\n"), [1]);
        assert_eq!(lines(module_doc, SRC, ""), [1]);
        assert_eq!(lines(module_doc, TEST, "use a;\n"), [0; 0]);
    }

    #[test]
    fn a_long_file_is_a_warning() {
        assert_eq!(lines(file_length, SRC, &"x\n".repeat(600)), [0; 0]);
        assert_eq!(lines(file_length, SRC, &"x\n".repeat(601)), [601]);
    }

    #[test]
    fn a_module_is_named_after_what_is_in_it() {
        assert_eq!(lines(module_name, SRC, "mod utility {}\nmod a;\n"), [0; 0]);
        assert_eq!(lines(module_name, "crates/larder/src/utils.rs", ""), [1]);
        assert_eq!(lines(module_name, "crates/larder/tests/common/mod.rs", ""), [1]);
        assert_eq!(lines(module_name, SRC, "x\npub(crate) mod helper {\n"), [2]);
    }

    #[test]
    fn unfinished_code_is_found_and_words_in_strings_are_not() {
        assert_eq!(lines(unfinished, SRC, "f(\"todo!()\"); // to do\n"), [0; 0]);
        let text = format!(
            "{}(\"later\");\n\n#[{}]\n// {}: x\n",
            "todo!",
            "ignore = \"slow\"",
            super::UNFINISHED_NOTE
        );
        assert_eq!(lines(unfinished, SRC, &text), [1, 3, 4]);
    }

    #[test]
    fn test_files_do_not_sleep() {
        assert_eq!(lines(sleep_in_test, TEST, "// sleep(1)\nno_sleep(1);\nclock.advance(1);\n"), [0; 0]);
        assert_eq!(
            lines(sleep_in_test, TEST, "x\nstd::thread::sleep(d);\ntokio::time::sleep(d).await;\n"),
            [2, 3]
        );
        assert_eq!(lines(sleep_in_test, SRC, "thread::sleep(d);\n"), [0; 0]);
    }

    #[test]
    fn a_seeded_bug_has_a_name_that_can_be_found() {
        let good = "if seeded_bug!(\"late\") {}\nif crate::seeded_bug!(\"late\") {}\n";
        assert_eq!(lines(seeded_bug_name, SRC, good), [0; 0]);
        let bad = "x\nif seeded_bug!(\"Late\") {}\nif seeded_bug!(LATE) {}\n";
        assert_eq!(lines(seeded_bug_name, SRC, bad), [2, 3]);
    }
}
