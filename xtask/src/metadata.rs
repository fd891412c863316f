//! The resolved dependencies as `cargo metadata` tells them. Runs cargo; changes nothing.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::fault::Fault;

/// A package of the dependency graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The SPDX expression of the manifest, if it has one.
    pub(crate) licence: Option<String>,
    /// The registry or repository it came from; none for the workspace's own.
    pub(crate) source: Option<String>,
    /// The packages its manifest names.
    pub(crate) needs: Vec<String>,
}

/// Every package the workspace needs, on any platform, with all features.
pub(crate) fn packages(root: &Path) -> Result<Vec<Package>, Fault> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--all-features", "--locked"])
        .current_dir(root)
        .output()
        .map_err(|error| Fault::new(format!("cannot start cargo metadata: {error}")))?;
    if !output.status.success() {
        return Err(Fault::new(format!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    let graph: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| Fault::new(format!("cargo metadata printed no JSON: {error}")))?;
    let list = graph["packages"]
        .as_array()
        .ok_or_else(|| Fault::new("cargo metadata: field `packages` is not a list"))?;
    Ok(list.iter().map(package).collect())
}

fn package(value: &Value) -> Package {
    let text = |field: &str| value[field].as_str().map(str::to_owned);
    Package {
        name: text("name").unwrap_or_default(),
        version: text("version").unwrap_or_default(),
        licence: text("license"),
        source: text("source"),
        needs: value["dependencies"]
            .as_array()
            .map(|list| list.iter().filter_map(|need| need["name"].as_str().map(str::to_owned)).collect())
            .unwrap_or_default(),
    }
}
