//! `cargo xtask tidy`: the layout's rules that no compiler checks.
//!
//! Plain text scanning over a table of rules, with no knowledge of types: what a rule cannot see (a re-export under
//! another name) is left to review. Called by `main` and by the step of `ci`; never changes a file.
//!
//! A line that breaks a rule of Rust code for a good reason says so beside it or above it:
//! `// tidy: allow(RULE) the reason`.

mod findings;
mod layers;
mod links;
mod manifests;
pub(crate) mod mask;
mod paths;
mod source;
mod style;
pub(crate) mod tree;

use std::path::Path;

use findings::Finding;
pub(crate) use findings::Findings;
use source::Source;
use tree::Tree;

use crate::{fault::Fault, place::Place, report};

/// A rule: the name its messages carry and `allow` takes, and how it is checked.
struct Rule {
    name: &'static str,
    check: fn(&Tree) -> Vec<Finding>,
}

const RULES: &[Rule] = &[
    Rule { name: "module-doc", check: |tree| each(tree, style::module_doc) },
    Rule { name: "file-length", check: |tree| each(tree, style::file_length) },
    Rule { name: "module-name", check: |tree| each(tree, style::module_name) },
    Rule { name: "unfinished", check: |tree| each(tree, style::unfinished) },
    Rule { name: "sleep-in-test", check: |tree| each(tree, style::sleep_in_test) },
    Rule { name: "layering", check: |tree| each(tree, layers::layering) },
    Rule { name: "testing-in-shipping", check: |tree| each(tree, layers::testing_in_shipping) },
    Rule { name: "core-purity", check: |tree| each(tree, layers::core_purity) },
    Rule { name: "interleaving", check: |tree| each(tree, layers::interleaving) },
    Rule { name: "seeded-bug-name", check: |tree| each(tree, style::seeded_bug_name) },
    Rule { name: "crate-direction", check: |tree| manifests::direction(&tree.manifests) },
    Rule { name: "doc-link", check: |tree| links::broken(&tree.documents, &|path| tree.has(path)) },
];

fn each(tree: &Tree, check: fn(&Source) -> Vec<Finding>) -> Vec<Finding> {
    tree.sources.iter().flat_map(check).collect()
}

/// Runs the chore; false if a rule is broken.
pub(crate) fn run(place: &Place, json: bool) -> Result<bool, Fault> {
    let findings = check(&place.root)?;
    report::line(&if json { findings.json() } else { findings.text() });
    Ok(findings.errors() == 0)
}

/// Checks every rule on the tree below `root`.
pub(crate) fn check(root: &Path) -> Result<Findings, Fault> {
    let tree = Tree::read(root)?;
    let mut found: Vec<Finding> = Vec::new();
    for rule in RULES {
        found.extend((rule.check)(&tree).into_iter().map(|finding| finding.of(rule.name)));
    }
    found.retain(|finding| !tree.allows(finding));
    found.sort_by(|a, b| (a.severity, &a.file, a.line).cmp(&(b.severity, &b.file, b.line)));
    Ok(Findings { found, files: tree.sources.len(), median_lines: tree.median_lines() })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::RULES;

    #[test]
    fn rule_names_are_unique() {
        let mut names: Vec<_> = RULES.iter().map(|rule| rule.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RULES.len());
    }

    #[test]
    fn xtask_itself_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let findings = super::check(root).unwrap();
        let own: Vec<_> =
            findings.found.iter().filter(|finding| finding.file.starts_with("xtask/")).collect();
        assert!(own.is_empty(), "{own:#?}");
    }
}
