//! The rule on which crate may depend on which, read from the manifests' tables line by line.

use super::{Finding, tree::TextFile};

/// What a crate of the workspace may depend on, of the workspace's own crates. Tests may use more.
const MAY_DEPEND: &[(&str, &[&str])] = &[
    ("larder-core", &[]),
    ("larder-macros", &[]),
    ("larder", &["larder-core", "larder-macros"]),
    ("larder-sim", &["larder-core", "larder"]),
    ("larder-cli", &["larder-core", "larder"]),
];

/// A dependency in a manifest.
struct Dependency {
    name: String,
    line: usize,
    kind: Kind,
    /// Asks for the feature `testing` of the crate.
    testing: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shipping,
    Development,
}

/// Dependencies point downward, and what ships does not switch testing code on.
pub(crate) fn direction(manifests: &[TextFile]) -> Vec<Finding> {
    manifests.iter().flat_map(check).collect()
}

fn check(manifest: &TextFile) -> Vec<Finding> {
    let package = package_name(&manifest.text);
    let may = MAY_DEPEND.iter().find(|(name, _)| *name == package).map(|(_, may)| *may);
    let mut found = Vec::new();
    for dependency in dependencies(&manifest.text) {
        let Dependency { name, line, kind, testing } = &dependency;
        let own = name == "larder" || name.starts_with("larder-") || name == "booking" || name == "xtask";
        if *kind == Kind::Development || !own {
            continue;
        }
        if may.is_some_and(|may| !may.contains(&name.as_str())) {
            let message = format!(
                "{package} depends on {name}: of the workspace it may depend on {}. Imports run downward only",
                match may {
                    Some([]) | None => "nothing".to_owned(),
                    Some(may) => may.join(" and "),
                }
            );
            found.push(Finding::error(&manifest.path, *line, message));
        }
        if *testing {
            let message = format!("feature `testing` of {name} in what ships: move it to [dev-dependencies]");
            found.push(Finding::error(&manifest.path, *line, message));
        }
    }
    found
}

/// `name` of `[package]`.
fn package_name(text: &str) -> &str {
    let table = text.lines().skip_while(|line| line.trim() != "[package]").skip(1);
    let mut fields = table.take_while(|line| !line.trim_start().starts_with('['));
    let name = fields.find_map(|line| line.trim().strip_prefix("name")?.trim_start().strip_prefix('='));
    name.unwrap_or_default().trim().trim_matches('"')
}

fn dependencies(text: &str) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    let mut kind = None;
    let mut table_of_one = false;
    for (index, line) in text.lines().enumerate() {
        let (line, number) = (line.trim(), index + 1);
        if let Some(table) = line.strip_prefix('[').filter(|_| !line.starts_with("[[")) {
            let table = table.split(']').next().unwrap_or_default();
            let (of, one) = dependency_table(table);
            kind = of;
            table_of_one = one.is_some();
            if let (Some(kind), Some(name)) = (of, one) {
                found.push(Dependency { name: name.to_owned(), line: number, kind, testing: false });
            }
            continue;
        }
        let Some(kind) = kind else { continue };
        let testing = line.contains("features") && line.contains("\"testing\"");
        if table_of_one {
            if let Some(last) = found.last_mut() {
                last.testing |= testing;
            }
        } else if let Some(name) = dependency_name(line) {
            found.push(Dependency { name, line: number, kind, testing });
        }
    }
    found
}

/// Which kind of dependencies a table holds, and of which one it is the table: `dependencies`,
/// `target.'cfg(unix)'.dependencies`, `dev-dependencies.larder`.
fn dependency_table(table: &str) -> (Option<Kind>, Option<&str>) {
    let tail = table.rsplit_once("'.").map_or(table, |(_, tail)| tail);
    let (head, one) = tail.split_once('.').map_or((tail, None), |(head, one)| (head, Some(one)));
    let kind = match head {
        "dependencies" | "build-dependencies" => Some(Kind::Shipping),
        "dev-dependencies" => Some(Kind::Development),
        _ => None,
    };
    (kind, one)
}

/// `larder-core.workspace = true`, `larder = { path = … }`, `alias = { package = "larder" }`.
fn dependency_name(line: &str) -> Option<String> {
    let (left, right) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
    if let Some((_, renamed)) = right.split_once("package") {
        return renamed.split('"').nth(1).map(str::to_owned);
    }
    let name = left.trim().split('.').next()?.trim_matches('"');
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{TextFile, direction};

    fn lines(name: &str, rest: &str) -> Vec<usize> {
        let text = format!("[package]\nname = \"{name}\"\n{rest}");
        let manifest = TextFile { path: "crates/x/Cargo.toml".into(), text };
        direction(&[manifest]).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn the_core_depends_on_no_crate_of_ours() {
        let good = "[dependencies]\nserde = \"1\"\n[dev-dependencies]\nlarder.workspace = true\n";
        assert_eq!(lines("larder-core", good), [0; 0]);
        assert_eq!(lines("larder-core", "[dependencies]\nlarder = { path = \"../larder\" }\n"), [4]);
        assert_eq!(
            lines("larder-core", "[target.'cfg(unix)'.dependencies]\nlarder-macros.workspace = true\n"),
            [4]
        );
        assert_eq!(
            lines("larder-core", "[build-dependencies]\nx = { package = \"larder\", path = \"..\" }\n"),
            [4]
        );
    }

    #[test]
    fn the_library_depends_on_the_core_and_the_macros() {
        let good = "[dependencies]\nlarder-core.workspace = true\nlarder-macros.workspace = true\n";
        assert_eq!(lines("larder", good), [0; 0]);
        assert_eq!(lines("larder", "[dependencies.larder-cli]\npath = \"../larder-cli\"\n"), [3]);
    }

    #[test]
    fn what_ships_does_not_switch_testing_on() {
        let testing = "larder = { workspace = true, features = [\"testing\"] }\n";
        assert_eq!(lines("booking", &format!("[dev-dependencies]\n{testing}")), [0; 0]);
        assert_eq!(lines("booking", &format!("[dependencies]\n{testing}")), [4]);
        assert_eq!(lines("booking", "[dependencies.larder]\nfeatures = [\"testing\"]\n"), [3]);
        assert_eq!(lines("larder", "[features]\ntesting = []\n"), [0; 0]);
    }
}
