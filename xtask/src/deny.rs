//! The dependency policy of `deny.toml`, checked without cargo-deny: licences, refused crates, sources.
//!
//! Less than cargo-deny does (it trusts the manifests' licence fields and reads no licence texts), and only used
//! where that is not installed. Reads `deny.toml` line by line: the four lists in it are plain.

use std::{fs, path::Path};

use crate::{fault::Fault, metadata::Package};

/// The lists of `deny.toml` that this check knows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    licences: Vec<String>,
    refused: Vec<String>,
    /// Refused to our own crates, but not to the foreign ones that `wrappers` names.
    wrapped: Vec<String>,
    registries: Vec<String>,
}

impl Policy {
    /// Reads `deny.toml` in the root.
    pub(crate) fn read(root: &Path) -> Result<Self, Fault> {
        let path = root.join("deny.toml");
        let policy = Self::parse(&fs::read_to_string(&path).map_err(Fault::io("read", &path))?);
        if policy.licences.is_empty() {
            return Err(Fault::new("deny.toml: [licenses] allow is empty or missing: expected SPDX names"));
        }
        Ok(policy)
    }

    fn parse(text: &str) -> Self {
        let mut policy = Self::default();
        let (mut section, mut list) = (String::new(), String::new());
        for line in text.lines().map(|line| uncommented(line).trim()) {
            if line.starts_with('[') && list.is_empty() {
                section = line.trim_matches(['[', ']']).to_owned();
                continue;
            }
            let values = match line.split_once('=') {
                Some((name, values)) if list.is_empty() && values.trim_start().starts_with('[') => {
                    list = name.trim().to_owned();
                    values
                }
                _ if list.is_empty() => continue,
                _ => line,
            };
            match (section.as_str(), list.as_str()) {
                ("licenses", "allow") => policy.licences.extend(quoted(values)),
                ("bans", "deny") if values.contains("wrappers") => {
                    policy.wrapped.extend(quoted(values).take(1))
                }
                ("bans", "deny") => policy.refused.extend(quoted(values)),
                ("sources", "allow-registry") => policy.registries.extend(quoted(values)),
                _ => {}
            }
            if line.ends_with(']') {
                list.clear();
            }
        }
        policy
    }

    /// A sentence for each package that breaks the policy.
    pub(crate) fn check(&self, packages: &[Package]) -> Vec<String> {
        let mut found = Vec::new();
        for package in packages {
            let named = format!("{} {}", package.name, package.version);
            if self.refused.contains(&package.name) {
                found.push(format!("{named}: refused by [bans] deny of deny.toml (the reason stands there)"));
            }
            let Some(source) = &package.source else {
                let wrapped = package.needs.iter().filter(|need| self.wrapped.contains(need));
                found.extend(wrapped.map(|need| {
                    format!("{named}: needs {need}, refused by deny.toml to all but its wrappers")
                }));
                continue;
            };
            if !self.registries.iter().any(|registry| source.strip_prefix("registry+") == Some(registry)) {
                found.push(format!("{named}: comes from {source}, not from [sources] allow-registry"));
            }
            match &package.licence {
                None => found.push(format!("{named}: its manifest names no licence")),
                Some(licence) if !self.allows(licence) => {
                    found.push(format!("{named}: licence `{licence}` is not covered by [licenses] allow"));
                }
                Some(_) => {}
            }
        }
        found
    }

    /// Whether an SPDX expression can be satisfied with the allowed licences.
    fn allows(&self, expression: &str) -> bool {
        let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let mut words = Words { words: spaced.split_whitespace().collect(), at: 0, allowed: &self.licences };
        words.either() == Some(true) && words.at == words.words.len()
    }
}

/// A recursive descent over the words of an SPDX expression; `None` where it is not one.
struct Words<'a> {
    words: Vec<&'a str>,
    at: usize,
    allowed: &'a [String],
}

impl Words<'_> {
    fn either(&mut self) -> Option<bool> {
        let mut any = self.both()?;
        while self.take("OR") {
            any |= self.both()?;
        }
        Some(any)
    }

    fn both(&mut self) -> Option<bool> {
        let mut all = self.one()?;
        while self.take("AND") {
            all &= self.one()?;
        }
        Some(all)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let inner = self.either()?;
            return self.take(")").then_some(inner);
        }
        let name = *self.words.get(self.at)?;
        self.at += 1;
        let mut full = name.to_owned();
        if self.take("WITH") {
            full = format!("{name} WITH {}", self.words.get(self.at)?);
            self.at += 1;
        }
        // An exception only adds permissions: the plain licence being allowed is enough.
        Some(self.allowed.iter().any(|allowed| *allowed == full || allowed == name))
    }

    fn take(&mut self, word: &str) -> bool {
        let here = self.words.get(self.at).is_some_and(|found| found.eq_ignore_ascii_case(word));
        self.at += usize::from(here);
        here
    }
}

/// A line of TOML without its comment; a `#` inside quotes is text.
fn uncommented(line: &str) -> &str {
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => return line.get(..at).unwrap_or(line),
            _ => {}
        }
    }
    line
}

/// What stands between double quotes.
fn quoted(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split('"').skip(1).step_by(2).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::Policy;
    use crate::metadata::Package;

    const TOML: &str = r#"
[graph]
all-features = true
[licenses]
confidence-threshold = 0.9
allow = [
    "MIT", # plain
    "Apache-2.0",
    "Unicode-3.0",
]
[bans]
deny = [
    # Why "not" this one.
    { crate = "dashmap" },
]
[sources]
allow-registry = ["https://example.org/index"]
"#;

    fn package(licence: Option<&str>) -> Package {
        Package {
            name: "thing".into(),
            version: "1.0.0".into(),
            licence: licence.map(str::to_owned),
            source: Some("registry+https://example.org/index".into()),
            needs: Vec::new(),
        }
    }

    #[test]
    fn reads_the_lists_of_deny_toml() {
        let policy = Policy::parse(TOML);
        assert_eq!(policy.licences, ["MIT", "Apache-2.0", "Unicode-3.0"]);
        assert_eq!(policy.refused, ["dashmap"]);
        assert_eq!(policy.registries, ["https://example.org/index"]);
    }

    #[test]
    fn the_repository_s_own_deny_toml_is_understood() {
        let policy = Policy::parse(include_str!("../../deny.toml"));
        assert!(policy.licences.contains(&"MIT".to_owned()));
        assert!(policy.refused.contains(&"bincode".to_owned()));
        assert_eq!(policy.wrapped, ["dashmap"]);
        assert_eq!(policy.registries.len(), 1);
    }

    #[test]
    fn an_expression_passes_when_the_allowed_licences_satisfy_it() {
        let policy = Policy::parse(TOML);
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "MIT/GPL-3.0",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(policy.allows(good), "{good}");
        }
        for bad in
            ["GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT OR", "", "MIT MIT", "GPL-3.0 WITH Font-exception"]
        {
            assert!(!policy.allows(bad), "{bad}");
        }
    }

    #[test]
    fn each_broken_rule_is_a_sentence_that_names_the_package() {
        let policy = Policy::parse(TOML);
        assert_eq!(policy.check(&[package(Some("MIT"))]), [""; 0]);
        assert!(policy.check(&[package(None)])[0].contains("thing 1.0.0"));
        assert!(policy.check(&[package(Some("GPL-3.0"))])[0].contains("GPL-3.0"));
        let refused = Package { name: "dashmap".into(), ..package(Some("MIT")) };
        assert!(policy.check(&[refused])[0].contains("refused"));
        let git = Package { source: Some("git+https://example.org/x".into()), ..package(Some("MIT")) };
        assert!(policy.check(&[git])[0].contains("git+https"));
    }

    #[test]
    fn what_only_its_wrappers_may_need_is_refused_to_our_own_crates() {
        let policy =
            Policy::parse("[bans]\ndeny = [\n    { crate = \"dashmap\", wrappers = [\"stateright\"] },\n]\n");
        assert_eq!(policy.wrapped, ["dashmap"]);
        assert!(policy.refused.is_empty());
        let own = Package { source: None, needs: vec!["dashmap".into()], ..package(None) };
        assert!(policy.check(&[own])[0].contains("dashmap"));
    }

    #[test]
    fn the_workspace_s_own_crates_need_no_source() {
        let own = Package { source: None, ..package(None) };
        assert_eq!(Policy::parse(TOML).check(&[own]), [""; 0]);
    }
}
