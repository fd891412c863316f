//! Finds `seeded_bug!("name")` in the text of a Rust file. Pure text in, names out; comments and strings are not code.
//!
//! For `seeded`, which makes the bugs, and for the rule of `tidy` on how they are named.

use crate::tidy::mask::mask;

/// One place at which a known mistake can be made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Counted from 1.
    pub(crate) line: usize,
    /// The bug's name; none where the argument is not one plain string in `snake_case`.
    pub(crate) name: Option<String>,
}

const MACRO: &str = "seeded_bug!";

/// Every use of the macro in `text`, in order.
pub(crate) fn calls(text: &str) -> Vec<Call> {
    if !text.contains(MACRO) {
        return Vec::new();
    }
    // The mask keeps a character for a character, so a place in the code is the same place in the text.
    let code: Vec<char> = mask(text).code.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let wanted: Vec<char> = MACRO.chars().collect();
    let mut found = Vec::new();
    for (at, window) in code.windows(wanted.len()).enumerate() {
        let inside_a_word =
            at.checked_sub(1).and_then(|before| code.get(before)).is_some_and(|&c| is_word(c));
        if window != wanted || inside_a_word {
            continue;
        }
        let line = 1 + code.iter().take(at).filter(|&&c| c == '\n').count();
        let argument: String = text.iter().skip(at + wanted.len()).collect();
        found.push(Call { line, name: name_of(&argument) });
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `("name")` at the head of `text`, white space aside.
fn name_of(text: &str) -> Option<String> {
    let rest = text.trim_start().strip_prefix('(')?.trim_start().strip_prefix('"')?;
    let (name, rest) = rest.split_once('"')?;
    let rest = rest.trim_start();
    let closed = rest.strip_prefix(',').unwrap_or(rest).trim_start().starts_with(')');
    (closed && is_snake_case(name)).then(|| name.to_owned())
}

/// Words of lower-case letters and digits, single underscores between them, a letter first.
fn is_snake_case(name: &str) -> bool {
    let plain =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.split('_').all(plain)
}

#[cfg(test)]
mod tests {
    use super::calls;

    fn names(text: &str) -> Vec<(usize, Option<String>)> {
        calls(text).into_iter().map(|call| (call.line, call.name)).collect()
    }

    fn named(line: usize, name: &str) -> (usize, Option<String>) {
        (line, Some(name.to_owned()))
    }

    #[test]
    fn finds_the_bugs_in_code_and_not_in_comments_or_strings() {
        let text = r#"//! Made with `seeded_bug!("not_me")`.
let late = larder_core::seeded_bug!("stamp_after_load") && !seeded_bug!( "b2" );
/* seeded_bug!("nor_me") */ if crate::seeded_bug!(
    "on_two_lines",
) {}
let text = "seeded_bug!(\"a string\")";
macro_rules! seeded_bug { ($name:literal) => {} }
not_a_seeded_bug!("other");
"#;
        assert_eq!(names(text), [named(2, "stamp_after_load"), named(2, "b2"), named(3, "on_two_lines")]);
    }

    #[test]
    fn letters_of_more_than_one_byte_do_not_shift_the_place() {
        assert_eq!(names("// «é»\nlet é = seeded_bug!(\"late\");\n"), [named(2, "late")]);
    }

    #[test]
    fn an_argument_that_is_not_one_name_in_snake_case_is_no_name() {
        for argument in [
            "(\"Late\")",
            "(\"two words\")",
            "(\"_late\")",
            "(\"late_\")",
            "(\"a__b\")",
            "(\"2b\")",
            "(\"\")",
            "(NAME)",
            "(\"a\", \"b\")",
            "[\"late\"]",
            "",
        ] {
            assert_eq!(names(&format!("seeded_bug!{argument};")), [(1, None)], "{argument}");
        }
    }
}
