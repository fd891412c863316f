//! The rule on which crate may depend on which, read from the manifests' tables line by line.

use super::{Finding, tree::TextFile};

/// The crate that attacks the others. It never ships, and nobody builds on it.
const SIMULATOR: &str = "larder-sim";

/// Servers for tests. It does not ship either; the example, which is a load generator too, and the benchmarks start
/// servers with it.
const RIG: &str = "larder-rig";
const MAY_USE_RIG: [&str; 2] = ["booking", "compare"];

/// What a crate of the workspace may depend on, of the workspace's own crates. Tests may use more.
const MAY_DEPEND: &[(&str, &[&str])] = &[
    ("larder-core", &[]),
    ("larder-macros", &[]),
    ("larder", &["larder-core", "larder-macros"]),
    (SIMULATOR, &["larder-core", "larder"]),
    (RIG, &["larder-core", "larder"]),
    ("larder-cli", &["larder-core", "larder"]),
];

/// A dependency in a manifest.
struct Dependency {
    name: String,
    line: usize,
    kind: Kind,
    /// The text that says which features of the crate it asks for, if any.
    features: String,
}

impl Dependency {
    fn asks_for(&self, feature: &str) -> bool {
        self.features.contains(&format!("\"{feature}\""))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shipping,
    Development,
}

/// Dependencies point downward, and what ships does not switch on what only attacks and tests need.
pub(crate) fn direction(manifests: &[TextFile]) -> Vec<Finding> {
    manifests.iter().flat_map(check).collect()
}

fn check(manifest: &TextFile) -> Vec<Finding> {
    let package = package_name(&manifest.text);
    let may = MAY_DEPEND.iter().find(|(name, _)| *name == package).map(|(_, may)| *may);
    let mut found = Vec::new();
    let mut refuse = |line: usize, message: String| found.push(Finding::error(&manifest.path, line, message));
    for dependency in dependencies(&manifest.text) {
        let Dependency { name, line, kind, .. } = &dependency;
        let own = name == "larder" || name.starts_with("larder-") || name == "booking" || name == "xtask";
        if !own {
            continue;
        }
        let ships = *kind == Kind::Shipping;
        if name == SIMULATOR {
            refuse(
                *line,
                format!("{package} depends on {SIMULATOR}: nothing may, it attacks all the others"),
            );
        } else if name == RIG {
            if ships && !MAY_USE_RIG.contains(&package) {
                refuse(
                    *line,
                    format!("{package} depends on {RIG} in what ships: move it to [dev-dependencies]"),
                );
            }
        } else if ships && may.is_some_and(|may| !may.contains(&name.as_str())) {
            let allowed = match may {
                Some([]) | None => "nothing".to_owned(),
                Some(may) => may.join(" and "),
            };
            let rule = "of the workspace it may depend on";
            refuse(
                *line,
                format!("{package} depends on {name}: {rule} {allowed}. Imports run downward only"),
            );
        }
        if package == SIMULATOR {
            continue;
        }
        if ships && dependency.asks_for("testing") {
            refuse(
                *line,
                format!("feature `testing` of {name} in what ships: move it to [dev-dependencies]"),
            );
        }
        if dependency.asks_for("interleave") {
            refuse(
                *line,
                format!("feature `interleave` of {name}: only {SIMULATOR} lets threads be overtaken"),
            );
        }
    }
    for (line, feature) in passed_on(&manifest.text) {
        refuse(line, format!("feature {feature} passes `interleave` on: only {SIMULATOR} may switch it on"));
    }
    found
}

/// The features that switch `interleave` on when they are, here or in a dependency: `x = ["larder-core/interleave"]`.
fn passed_on(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut in_features, mut feature) = (false, String::new());
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.starts_with('[') && line.ends_with(']') {
            in_features = line == "[features]";
        } else if in_features {
            let (name, list) = line.split_once('=').unwrap_or(("", line));
            if !name.is_empty() {
                name.trim().clone_into(&mut feature);
            }
            let passes = |item: &str| item == "interleave" || item.ends_with("/interleave");
            if list.split('"').any(passes) {
                found.push((index + 1, feature.clone()));
            }
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
                found.push(Dependency { name: name.to_owned(), line: number, kind, features: String::new() });
            }
            continue;
        }
        let Some(kind) = kind else { continue };
        let features = line.split_once("features").map(|(_, list)| list.to_owned()).unwrap_or_default();
        if table_of_one {
            if let Some(last) = found.last_mut() {
                last.features += &features;
            }
        } else if let Some(name) = dependency_name(line) {
            found.push(Dependency { name, line: number, kind, features });
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
    #[test]
    fn the_simulator_depends_on_what_it_attacks_with_all_that_attacks_need() {
        let good = "[dependencies]\nlarder = { workspace = true, features = [\"testing\"] }\nlarder-core = { workspace = true, features = [\"interleave\"] }\n";
        assert_eq!(lines("larder-sim", good), [0; 0]);
        assert_eq!(lines("larder-sim", "[dependencies]\nbooking.workspace = true\n"), [4]);
    }

    #[test]
    fn the_rig_is_for_tests_and_for_the_example() {
        let rig = "larder-rig.workspace = true\n";
        for package in ["larder", "larder-core", "xtask", "larder-sim"] {
            assert_eq!(lines(package, &format!("[dependencies]\n{rig}")), [4], "{package}");
            assert_eq!(lines(package, &format!("[dev-dependencies]\n{rig}")), [0; 0], "{package}");
        }
        for package in ["booking", "compare"] {
            assert_eq!(lines(package, &format!("[dependencies]\n{rig}")), [0; 0], "{package}");
        }
    }

    #[test]
    fn nothing_depends_on_the_simulator_not_even_a_test() {
        let dependency = "larder-sim = { path = \"../larder-sim\" }\n";
        for package in ["larder", "larder-core", "booking", "xtask", "compare"] {
            for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
                assert_eq!(lines(package, &format!("[{table}]\n{dependency}")), [4], "{package} {table}");
            }
        }
    }

    #[test]
    fn only_the_simulator_switches_interleaving_on() {
        let dependency = "larder-core = { workspace = true, features = [\"interleave\"] }\n";
        for package in ["larder", "booking", "compare"] {
            for table in ["dependencies", "dev-dependencies"] {
                assert_eq!(lines(package, &format!("[{table}]\n{dependency}")), [4], "{package} {table}");
            }
        }
        assert_eq!(lines("larder-core", "[features]\n# Points.\ninterleave = []\n"), [0; 0]);
        assert_eq!(lines("larder-core", "[features]\ninterleave = []\ndefault = [\"interleave\"]\n"), [5]);
        assert_eq!(lines("larder", "[features]\nx = [\n  \"larder-core/interleave\",\n]\n"), [5]);
    }
}
