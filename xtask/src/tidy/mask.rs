//! Separates Rust text into code and comments, so that no rule trips over a string or a sentence.
//!
//! Not a parser: it knows comments, strings, raw strings and characters, which is all that can hide code-like text.
//! Line breaks stay where they are, so line numbers agree.

/// The two readings of a file.
#[derive(Debug, Default)]
pub(crate) struct Masked {
    /// Code alone: comments are gone, strings are empty.
    pub(crate) code: String,
    /// Comments alone.
    pub(crate) comments: String,
}

/// What the text at hand is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum In {
    Code,
    LineComment,
    /// Block comments nest.
    BlockComment(usize),
    /// A string closed by a quote and this many `#`; `None` where backslashes escape.
    String(Option<usize>),
}

/// Separates `text`.
pub(crate) fn mask(text: &str) -> Masked {
    let chars: Vec<char> = text.chars().collect();
    let mut masked = Masked::default();
    let mut state = In::Code;
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let rest = chars.get(at..).unwrap_or_default();
        let (next, taken) = match state {
            In::Code => step_in_code(rest, previous(&chars, at)),
            In::LineComment => (if c == '\n' { In::Code } else { state }, 1),
            In::BlockComment(depth) => step_in_block(rest, depth),
            In::String(hashes) => step_in_string(rest, hashes),
        };
        for &c in rest.iter().take(taken) {
            masked.put(c, state, next);
        }
        state = next;
        at += taken;
    }
    masked
}

impl Masked {
    fn put(&mut self, c: char, state: In, next: In) {
        let comment = |state| matches!(state, In::LineComment | In::BlockComment(_));
        let code = state == In::Code && next == In::Code;
        for (text, wanted) in [(&mut self.code, code), (&mut self.comments, comment(state) || comment(next))]
        {
            text.push(if wanted || c == '\n' { c } else { ' ' });
        }
    }
}

fn previous(chars: &[char], at: usize) -> Option<char> {
    at.checked_sub(1).and_then(|before| chars.get(before)).copied()
}

fn step_in_code(rest: &[char], previous: Option<char>) -> (In, usize) {
    let in_word = previous.is_some_and(|c| c.is_alphanumeric() || c == '_');
    match rest {
        ['/', '/', ..] => (In::LineComment, 2),
        ['/', '*', ..] => (In::BlockComment(1), 2),
        ['"', ..] => (In::String(None), 1),
        ['\'', ..] => (In::Code, character(rest)),
        ['r', ..] | ['b', 'r', ..] | ['c', 'r', ..] if !in_word => raw_string(rest),
        _ => (In::Code, 1),
    }
}

/// The length of a character literal that could hide a quote; 1 where it is a lifetime or an ordinary character.
fn character(rest: &[char]) -> usize {
    match rest {
        ['\'', '\\', _, '\'', ..] => 4,
        ['\'', '"' | '{' | '}' | '/', '\'', ..] => 3,
        _ => 1,
    }
}

fn raw_string(rest: &[char]) -> (In, usize) {
    let prefix = if rest.first() == Some(&'r') { 1 } else { 2 };
    let hashes = rest.iter().skip(prefix).take_while(|&&c| c == '#').count();
    if rest.get(prefix + hashes) == Some(&'"') {
        (In::String(Some(hashes)), prefix + hashes + 1)
    } else {
        (In::Code, 1)
    }
}

fn step_in_block(rest: &[char], depth: usize) -> (In, usize) {
    match rest {
        ['/', '*', ..] => (In::BlockComment(depth + 1), 2),
        ['*', '/', ..] if depth == 1 => (In::Code, 2),
        ['*', '/', ..] => (In::BlockComment(depth - 1), 2),
        _ => (In::BlockComment(depth), 1),
    }
}

fn step_in_string(rest: &[char], hashes: Option<usize>) -> (In, usize) {
    match (rest, hashes) {
        (['\\', _, ..], None) => (In::String(None), 2),
        (['"', ..], None) => (In::Code, 1),
        (['"', after @ ..], Some(hashes)) if after.iter().take_while(|&&c| c == '#').count() >= hashes => {
            (In::Code, 1 + hashes)
        }
        _ => (In::String(hashes), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::mask;

    fn code(text: &str) -> String {
        mask(text).code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        assert_eq!(code("a // b\nc"), "a c");
        assert_eq!(code("a /* b /* c */ d */ e"), "a e");
        assert_eq!(code(r#"f("x // \" y", g)"#), "f( , g)");
        assert_eq!(code("f(r#\"x \" y\"#, g)"), "f( , g)");
        assert_eq!(code("f(br\"x\", b\"y\", c\"z\")"), "f( , b , c )");
    }

    #[test]
    fn characters_and_lifetimes_do_not_open_strings() {
        assert_eq!(code("f('\"', x, '\\'', y)").replace(' ', ""), "f('\"',x,'\\'',y)");
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
        assert_eq!(code("let r = bar\"x\".len();"), "let r = bar .len();");
    }

    #[test]
    fn comments_can_be_read_alone_and_lines_stay() {
        let masked = mask("let a = \"// no\"; // yes\n/* two\nlines */ b");
        assert_eq!(masked.comments.lines().count(), 3);
        assert_eq!(masked.code.lines().count(), 3);
        assert!(masked.comments.contains("// yes") && masked.comments.contains("two"));
        assert!(!masked.comments.contains("no") && !masked.comments.contains('b'));
    }
}
