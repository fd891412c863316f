//! Where things are: the repository's root and the target directory. Read once, at the start.

use std::path::{Path, PathBuf};

use crate::fault::Fault;

/// The directories every chore works in.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The repository's root, where `Cargo.toml` of the workspace lies.
    pub(crate) root: PathBuf,
    /// Cargo's target directory; everything a chore writes goes below it.
    pub(crate) target: PathBuf,
}

impl Place {
    /// The workspace this program was built from.
    pub(crate) fn find() -> Result<Self, Fault> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here
            .parent()
            .filter(|root| root.join("Cargo.toml").is_file())
            .ok_or_else(|| Fault::new(format!("no workspace above {}: was it moved?", here.display())))?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        Ok(Self { root: root.to_owned(), target: root.join(target) })
    }
}
