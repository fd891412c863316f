//! One Rust file as the rules see it: where it is, its code and comments apart, which lines are test code.

use super::{mask::mask, paths};

/// A Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the root, with `/`.
    pub(crate) path: String,
    text: String,
    code: String,
    comments: String,
    /// By line: inside of an item under `#[cfg(test)]`.
    test_lines: Vec<bool>,
    /// Every path the code names, with `use` groups written out.
    pub(crate) paths: Vec<paths::Named>,
}

impl Source {
    /// Reads the text of the file at `path` (from the root).
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let masked = mask(text);
        let test_lines = test_lines(&masked.code);
        let paths = paths::named(&masked.code);
        let (code, comments) = (masked.code, masked.comments);
        Self { path: path.to_owned(), text: text.to_owned(), code, comments, test_lines, paths }
    }

    /// All of it, as it is.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Lines with their numbers, as they are.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.text)
    }

    /// Lines of code with their numbers: no comments, strings empty.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.code)
    }

    /// Lines of comment with their numbers.
    pub(crate) fn comment_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.comments)
    }

    /// How many lines.
    pub(crate) fn length(&self) -> usize {
        self.text.lines().count()
    }

    /// Whether the line is only compiled for tests.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.in_test_file() || line.checked_sub(1).and_then(|at| self.test_lines.get(at)) == Some(&true)
    }

    /// Whether the whole file is test code, by its place.
    pub(crate) fn in_test_file(&self) -> bool {
        self.path.ends_with("/tests.rs")
            || self.path.split('/').any(|part| part == "tests" || part == "benches")
    }

    /// Whether it is a module of a crate (`crates/larder/src/…`), not a test, a bench or a build script.
    pub(crate) fn in_src(&self) -> bool {
        self.path.split('/').any(|part| part == "src")
    }

    /// The module path inside the crate: `crates/larder/src/store/sqlite.rs` is `store`, `sqlite`.
    pub(crate) fn module(&self) -> Vec<String> {
        let Some((_, inside)) = self.path.split_once("/src/") else { return Vec::new() };
        let mut parts: Vec<&str> = inside.trim_end_matches(".rs").split('/').collect();
        if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) || parts.first() == Some(&"bin") {
            parts.pop();
        }
        parts.into_iter().map(str::to_owned).collect()
    }

    /// Whether the line, or the one above it, carries `tidy: allow(RULE)` and a reason.
    pub(crate) fn allows(&self, rule: &str, line: usize) -> bool {
        let marker = format!("tidy: allow({rule})");
        let reasoned = |text: &str| {
            text.split_once(&marker).is_some_and(|(_, reason)| reason.chars().any(char::is_alphabetic))
        };
        self.comment_lines().any(|(number, text)| (number == line || number + 1 == line) && reasoned(text))
    }
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// Marks the lines of each item under a `cfg` that names `test`, and of the whole file where that stands at its head.
fn test_lines(code: &str) -> Vec<bool> {
    let mut marks = vec![false; code.lines().count()];
    for (at, _) in code.match_indices("[cfg(") {
        let Some(rest) = code.get(at..) else { continue };
        let Some(end) = rest.find(")]") else { continue };
        if !names_test(rest.get(..end).unwrap_or_default()) {
            continue;
        }
        let whole_file = code.get(..at).is_some_and(|before| before.ends_with("#!"));
        let length =
            if whole_file { rest.len() } else { end + item_length(rest.get(end..).unwrap_or_default()) };
        let first = line_of(code, at);
        let last = line_of(code, at + length.min(rest.len()));
        for mark in marks.iter_mut().take(last + 1).skip(first) {
            *mark = true;
        }
    }
    marks
}

fn line_of(code: &str, at: usize) -> usize {
    code.get(..at).unwrap_or_default().matches('\n').count()
}

/// `test` as a word of the condition, and not negated.
fn names_test(condition: &str) -> bool {
    let words = condition.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    words.into_iter().any(|word| word == "test") && !condition.replace(' ', "").contains("not(test")
}

/// How far the item after an attribute reaches: to its closing brace, or to its semicolon or comma.
fn item_length(after: &str) -> usize {
    let (mut depth, mut square) = (0_usize, 0_usize);
    // The attribute's own `)]` comes first.
    for (at, c) in after.char_indices().skip(2) {
        match c {
            '[' | '(' => square += 1,
            ']' | ')' => square = square.saturating_sub(1),
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' | ',' if depth == 0 && square == 0 => return at + 1,
            _ => {}
        }
    }
    after.len()
}

#[cfg(test)]
mod tests {
    use super::Source;

    fn test_lines(text: &str) -> Vec<usize> {
        let source = Source::new("crates/x/src/a.rs", text);
        source.lines().map(|(line, _)| line).filter(|&line| source.is_test(line)).collect()
    }

    #[test]
    fn an_item_under_cfg_test_is_test_code_to_its_closing_brace() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { c() }\n}\nfn d() {}\n";
        assert_eq!(test_lines(text), [2, 3, 4, 5]);
    }

    #[test]
    fn a_single_statement_under_cfg_test_ends_at_its_semicolon() {
        let text = "#[cfg(any(test, feature = \"x\"))]\n#[allow(a, b)]\nuse a::{b, c};\nuse d;\n";
        assert_eq!(test_lines(text), [1, 2, 3]);
    }

    #[test]
    fn not_test_is_not_test_code_and_an_inner_attribute_covers_the_file() {
        assert_eq!(test_lines("#[cfg(not(test))]\nfn a() {}\n"), [0; 0]);
        assert_eq!(test_lines("#[cfg(unix)]\nfn a() {}\n"), [0; 0]);
        assert_eq!(test_lines("#![cfg(test)]\nfn a() {}\nfn b() {}\n"), [1, 2, 3]);
    }

    #[test]
    fn the_module_path_follows_from_the_file() {
        let module = |path| Source::new(path, "").module().join("::");
        assert_eq!(module("crates/larder/src/store/sqlite.rs"), "store::sqlite");
        assert_eq!(module("crates/larder/src/engine/mod.rs"), "engine");
        assert_eq!(module("crates/larder/src/lib.rs"), "");
        assert_eq!(module("crates/larder/tests/x.rs"), "");
    }

    #[test]
    fn an_exception_needs_a_reason() {
        let allows = |text| Source::new("a.rs", text).allows("layering", 2);
        assert!(allows("// tidy: allow(layering) it assembles them\nuse x;\n"));
        assert!(allows("\nuse x; // tidy: allow(layering): it assembles them\n"));
        assert!(!allows("// tidy: allow(layering)\nuse x;\n"));
        assert!(!allows("// tidy: allow(other) because\nuse x;\n"));
        assert!(!allows("let s = \"tidy: allow(layering) no\";\nuse x;\n"));
    }
}
