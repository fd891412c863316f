//! The known mistakes: read from the sources, so that the list cannot drift from them.

use super::HuntError;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const MACRO: &str = "seeded_bug!(\"";

/// Every name in the sources of our crates, outside of comments.
pub(super) fn known() -> Result<BTreeSet<String>, HuntError> {
    let crates = root().join("crates");
    let mut names = BTreeSet::new();
    let mut folders = vec![crates.clone()];
    while let Some(folder) = folders.pop() {
        let failed = |source| HuntError::Read { path: folder.clone(), source };
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path)
                    .map_err(|source| HuntError::Read { path: path.clone(), source })?;
                names.extend(names_in(&text));
            }
        }
    }
    if names.is_empty() { Err(HuntError::NothingKnown(crates)) } else { Ok(names) }
}

/// The workspace this binary was built in.
pub(super) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

fn names_in(text: &str) -> Vec<String> {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or(""));
    let uses = code.flat_map(|line| line.split(MACRO).skip(1));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    uses.filter_map(|rest| rest.split_once('"'))
        .filter(|(name, _)| !name.is_empty() && name.chars().all(plain))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_code_and_not_in_comments() {
        let text = "if a { larder_core::seeded_bug!(\"one\") } else { crate::seeded_bug!(\"two_2\") }\n\
                    /// `seeded_bug!(\"name\")` is\nlet b = c; // seeded_bug!(\"three\")\n";
        assert_eq!(names_in(text), ["one", "two_2"]);
    }

    #[test]
    fn the_mistakes_of_this_workspace_are_known() {
        let known = known().unwrap();
        assert!(known.contains("publish_before_visible"), "{known:?}");
        assert!(!known.contains("name") && !known.contains("three"), "{known:?}");
    }
}
