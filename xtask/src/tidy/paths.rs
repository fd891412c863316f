//! Every path that code names: `use` declarations with their groups written out, and paths inside expressions.
//! Works on masked code; knows no types and follows no re-exports.

/// A path in the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
    /// From a `use` declaration.
    pub(crate) imported: bool,
    /// How many inline modules (`mod x { … }`) it is in: `super` climbs out of these first.
    inline: usize,
}

impl Named {
    /// The path from the crate's root, seen from the file of `module`; none if it leads to another crate, or is a
    /// name in scope.
    pub(crate) fn in_crate(&self, module: &[String]) -> Option<Vec<String>> {
        let first = self.segments.first()?;
        if first == "crate" {
            return Some(self.segments.get(1..)?.to_vec());
        }
        let relative = |word: &&String| *word == "super" || *word == "self";
        let lead = self.segments.iter().take_while(relative).count();
        let up = self.segments.iter().take(lead).filter(|word| *word == "super").count();
        // Inside an inline module of the file, the path stays in the file's module until it has climbed out.
        let up = up.saturating_sub(self.inline);
        if lead == 0 {
            return None;
        }
        let mut path = module.get(..module.len().checked_sub(up)?)?.to_vec();
        path.extend(self.segments.get(lead..)?.iter().cloned());
        Some(path)
    }

    /// As it stands in the code.
    pub(crate) fn text(&self) -> String {
        self.segments.join("::")
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Token {
    line: usize,
    text: String,
}

/// All paths of two segments or more, and everything that is imported.
pub(crate) fn named(code: &str) -> Vec<Named> {
    let tokens = tokens(code);
    let mut walk = Walk { tokens: &tokens, at: 0, found: Vec::new(), depth: 0, modules: Vec::new() };
    walk.all();
    walk.found
}

fn tokens(code: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    for (index, text) in code.lines().enumerate() {
        let line = index + 1;
        let mut rest = text.trim_start();
        while let Some(c) = rest.chars().next() {
            let word = |c: char| c.is_alphanumeric() || c == '_';
            let length = if word(c) {
                rest.find(|c| !word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                c.len_utf8()
            };
            let (token, after) = rest.split_at(length);
            // `r#type` is the word `type`.
            let raw = token == "#" && found.last().is_some_and(|last| last.text == "r" && last.line == line);
            if raw {
                found.pop();
            } else {
                found.push(Token { line, text: token.to_owned() });
            }
            rest = after.trim_start();
        }
    }
    found
}

struct Walk<'a> {
    tokens: &'a [Token],
    at: usize,
    found: Vec<Named>,
    depth: usize,
    /// The brace depth at which each open inline module began.
    modules: Vec<usize>,
}

impl Walk<'_> {
    fn all(&mut self) {
        while let Some(token) = self.tokens.get(self.at) {
            match token.text.as_str() {
                "use" if self.is_name(1) || self.peek(1) == "::" || self.peek(1) == "{" => {
                    self.at += 1;
                    self.tree(&mut Vec::new());
                }
                "mod" if self.peek(2) == "{" => {
                    self.modules.push(self.depth);
                    self.depth += 1;
                    self.at += 3;
                }
                "{" => {
                    self.depth += 1;
                    self.at += 1;
                }
                "}" => {
                    self.depth = self.depth.saturating_sub(1);
                    self.modules.pop_if(|began| *began == self.depth);
                    self.at += 1;
                }
                _ if self.is_name(0) && self.peek(1) == "::" => self.expression(),
                _ => self.at += 1,
            }
        }
    }

    fn peek(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", |token| &token.text)
    }

    fn is_name(&self, ahead: usize) -> bool {
        self.peek(ahead).starts_with(|c: char| c.is_alphabetic() || c == '_')
    }

    fn found(&mut self, line: usize, segments: Vec<String>, imported: bool) {
        self.found.push(Named { line, segments, imported, inline: self.modules.len() });
    }

    /// `a::b::c` in code.
    fn expression(&mut self) {
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        let mut segments = vec![self.peek(0).to_owned()];
        self.at += 1;
        while self.peek(0) == "::" && self.is_name(1) {
            segments.push(self.peek(1).to_owned());
            self.at += 2;
        }
        self.found(line, segments, false);
    }

    /// One tree of a `use` declaration below `prefix`, up to what closes it.
    fn tree(&mut self, prefix: &mut Vec<String>) {
        let depth = prefix.len();
        let mut line = self.tokens.get(self.at).map_or(0, |token| token.line);
        loop {
            if self.is_name(0) || self.peek(0) == "*" {
                line = self.tokens.get(self.at).map_or(line, |token| token.line);
                prefix.push(self.peek(0).to_owned());
                self.at += 1;
            } else if self.peek(0) == "{" {
                self.group(prefix);
                prefix.truncate(depth);
                return;
            }
            if self.peek(0) != "::" {
                break;
            }
            self.at += 1;
        }
        if self.peek(0) == "as" {
            self.at += 2;
        }
        // `use a::{self}` imports `a`.
        if prefix.len() > 1 && prefix.last().is_some_and(|last| last == "self") {
            prefix.pop();
        }
        if !prefix.is_empty() {
            self.found(line, prefix.clone(), true);
        }
        prefix.truncate(depth);
    }

    fn group(&mut self, prefix: &mut Vec<String>) {
        self.at += 1;
        while !["}", ";", ""].contains(&self.peek(0)) {
            let before = self.at;
            self.tree(prefix);
            if self.peek(0) == "," || self.at == before {
                self.at += 1;
            }
        }
        self.at += usize::from(self.peek(0) == "}");
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    fn texts(code: &str) -> Vec<String> {
        named(code).iter().map(|path| format!("{}:{}", path.line, path.text())).collect()
    }

    #[test]
    fn use_groups_are_written_out() {
        let code = "use std::{fs, time::{Duration, Instant as Now},\n  io::*, net::{self}};\nuse a;";
        assert_eq!(
            texts(code),
            [
                "1:std::fs",
                "1:std::time::Duration",
                "1:std::time::Instant",
                "2:std::io::*",
                "2:std::net",
                "3:a"
            ]
        );
    }

    #[test]
    fn paths_in_expressions_are_found_and_single_names_are_not() {
        assert_eq!(texts("let x = crate::engine::run(y);\nz::<u8>();"), ["1:crate::engine::run", "2:z"]);
        assert_eq!(texts("impl Trait for a::B<c::D> {}"), ["1:a::B", "1:c::D"]);
        assert_eq!(texts("fn f() -> impl A + use<'_> {}"), [""; 0]);
        assert_eq!(texts("use r#type::x;"), ["1:type::x"]);
    }

    #[test]
    fn super_and_self_resolve_against_the_module_of_the_file() {
        let module = ["store".to_owned(), "sqlite".to_owned()];
        let resolved = |code: &str| {
            named(code)
                .iter()
                .map(|path| path.in_crate(&module).map(|path| path.join("::")))
                .collect::<Vec<_>>()
        };
        assert_eq!(resolved("use super::rows;"), [Some("store::rows".into())]);
        assert_eq!(resolved("use super::super::engine;"), [Some("engine".into())]);
        assert_eq!(resolved("use self::a;"), [Some("store::sqlite::a".into())]);
        assert_eq!(resolved("use crate::engine;"), [Some("engine".into())]);
        assert_eq!(resolved("use std::fs;"), [None]);
        assert_eq!(
            resolved("mod tests { use super::x; } use super::y;"),
            [Some("store::sqlite::x".into()), Some("store::y".into())]
        );
    }
}
