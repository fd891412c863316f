//! Why stored bytes were refused; each reason is a miss and a counter of its own.

use crate::decode::Malformed;
use std::fmt;

/// Why stored bytes are not the entry asked for. Says nothing of keys or values.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejected {
    /// More bytes than the limit, of what is named.
    TooLarge {
        /// Which limit: `stored_bytes_max`, `raw_bytes_max`, `tags_max` or `also_max`.
        limit: &'static str,
        /// What there is, or claims to be.
        found: u64,
        /// What may be.
        max: u64,
    },
    /// Not an envelope at all.
    Foreign,
    /// An envelope of a version this program does not read, or one that uses what it does not know.
    ForeignVersion {
        /// The version it claims.
        version: u8,
    },
    /// The end is missing.
    Truncated,
    /// The checksum does not agree.
    Corrupt,
    /// A sound envelope with contents that make no sense: its writer was wrong.
    Malformed(Malformed),
    /// The envelope of another key.
    WrongKey,
    /// A value of another schema.
    WrongSchema,
    /// It does not say when it was born, so nothing can be said of its freshness.
    NoStamp,
}

impl Rejected {
    /// The label to count by.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Rejected::TooLarge { .. } => "too_large",
            Rejected::Foreign => "foreign",
            Rejected::ForeignVersion { .. } => "foreign_version",
            Rejected::Truncated => "truncated",
            Rejected::Corrupt => "corrupt",
            Rejected::Malformed(_) => "malformed",
            Rejected::WrongKey => "wrong_key",
            Rejected::WrongSchema => "wrong_schema",
            Rejected::NoStamp => "no_stamp",
        }
    }
}

impl From<Malformed> for Rejected {
    fn from(malformed: Malformed) -> Self {
        Rejected::Malformed(malformed)
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stored entry refused: ")?;
        match self {
            Rejected::TooLarge { limit, found, max } => write!(f, "{limit} is {max}, it has {found}"),
            Rejected::Foreign => f.write_str("not an envelope"),
            Rejected::ForeignVersion { version } => {
                write!(f, "written by a program that knows more; it claims version {version}")
            }
            Rejected::Truncated => f.write_str("cut short"),
            Rejected::Corrupt => f.write_str("checksum does not agree"),
            Rejected::Malformed(malformed) => malformed.fmt(f),
            Rejected::WrongKey => f.write_str("it belongs to another key"),
            Rejected::WrongSchema => f.write_str("its value has another schema"),
            Rejected::NoStamp => f.write_str("it does not say when it was born"),
        }
    }
}

impl std::error::Error for Rejected {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Rejected::Malformed(malformed) => Some(malformed),
            _ => None,
        }
    }
}
