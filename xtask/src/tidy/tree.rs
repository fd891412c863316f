//! The files the rules look at, read once.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Finding, Source};
use crate::fault::Fault;

/// A text file that is not Rust: a manifest, a document.
#[derive(Debug, Clone)]
pub(crate) struct TextFile {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Everything there is to check.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    pub(crate) sources: Vec<Source>,
    pub(crate) manifests: Vec<TextFile>,
    pub(crate) documents: Vec<TextFile>,
}

impl Tree {
    /// Reads the tree below `root`.
    pub(crate) fn read(root: &Path) -> Result<Self, Fault> {
        let mut sources = Vec::new();
        let mut manifests = Vec::new();
        for folder in ["crates", "examples", "xtask", "compare", "fuzz"] {
            for path in files(&root.join(folder), "rs")? {
                sources.push(Source::new(&relative(root, &path), &read(&path)?));
            }
            for path in files(&root.join(folder), "toml")? {
                if path.file_name().is_some_and(|name| name == "Cargo.toml") {
                    manifests.push(TextFile { path: relative(root, &path), text: read(&path)? });
                }
            }
        }
        let mut documents = Vec::new();
        let top = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root.join(name));
        let below = files(&root.join("docs"), "md")?;
        for path in top.into_iter().filter(|path| path.is_file()).chain(below) {
            documents.push(TextFile { path: relative(root, &path), text: read(&path)? });
        }
        Ok(Self { root: root.to_owned(), sources, manifests, documents })
    }

    /// Whether a path from the root names something.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// Whether the code at a finding says why it may stand.
    pub(crate) fn allows(&self, finding: &Finding) -> bool {
        self.sources
            .iter()
            .find(|source| source.path == finding.file)
            .is_some_and(|source| source.allows(finding.rule, finding.line))
    }

    /// The median length of the Rust files; 0 if there are none.
    pub(crate) fn median_lines(&self) -> usize {
        let mut lengths: Vec<usize> = self.sources.iter().map(Source::length).collect();
        lengths.sort_unstable();
        lengths.get(lengths.len() / 2).copied().unwrap_or_default()
    }
}

/// The files below `directory` with this extension, sorted; none if there is no such directory. Build output and
/// hidden folders are left out, symbolic links are not followed.
pub(crate) fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>, Fault> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        if !directory.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&directory).map_err(Fault::io("list", &directory))? {
            let entry = entry.map_err(Fault::io("list", &directory))?;
            let kind = entry.file_type().map_err(Fault::io("look at", &entry.path()))?;
            let name = entry.file_name();
            let skipped = name == "target" || name.as_encoded_bytes().starts_with(b".");
            if kind.is_dir() && !skipped {
                open.push(entry.path());
            } else if kind.is_file() && entry.path().extension().is_some_and(|found| found == extension) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String, Fault> {
    fs::read_to_string(path).map_err(Fault::io("read", path))
}

fn relative(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
