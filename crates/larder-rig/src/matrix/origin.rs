//! Where the truth lies, for all processes of a run: a file of numbers, one version a key. The matrix alone writes.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

/// The file.
#[derive(Debug)]
pub(super) struct Origin(File);

impl Origin {
    /// With `keys` keys, all at version 0.
    pub(super) fn create(path: &Path, keys: u64) -> io::Result<Self> {
        let file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
        file.set_len(keys * 8)?;
        Ok(Self(file))
    }

    /// To read from.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    /// A key's version. Eight bytes in one place: a reader sees the old ones or the new ones.
    pub(super) fn version(&self, key: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, key * 8)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes a key's next version.
    pub(super) fn write(&self, key: u64, version: u64) -> io::Result<()> {
        self.0.write_all_at(&version.to_le_bytes(), key * 8)
    }
}
