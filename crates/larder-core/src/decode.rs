//! Reading bytes that may be wrong: varints and runs with bounds, and the one error all decoders return.
//!
//! Used by every codec of the core. Never panics, never reads past its input, never allocates.

use std::fmt;

/// Bytes that do not have the form expected; says what was wrong, never the bytes themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    what: &'static str,
}

impl Malformed {
    pub(crate) const fn new(what: &'static str) -> Self {
        Malformed { what }
    }

    /// What was wrong.
    pub fn what(&self) -> &'static str {
        self.what
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed encoding: {}", self.what)
    }
}

impl std::error::Error for Malformed {}

/// A cursor over bytes.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, offset: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.offset == self.bytes.len()
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.offset).ok_or(Malformed::new("cut short"))?;
        self.offset += 1;
        Ok(byte)
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let end = self.offset.checked_add(len).ok_or(Malformed::new("length overflows"))?;
        let run = self.bytes.get(self.offset..end).ok_or(Malformed::new("cut short"))?;
        self.offset = end;
        Ok(run)
    }

    /// A LEB128 number in its shortest form.
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(Malformed::new("number overflows"));
            }
            n |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(Malformed::new("number is not in its shortest form"));
                }
                return Ok(n);
            }
        }
        Err(Malformed::new("number overflows"))
    }

    /// A number that counts bytes still to come; refused when more than remain.
    pub(crate) fn length(&mut self) -> Result<usize, Malformed> {
        let n = self.varint()?;
        let remaining = self.bytes.len() - self.offset;
        usize::try_from(n).ok().filter(|n| *n <= remaining).ok_or(Malformed::new("cut short"))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(self.take(8)?.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    pub(crate) fn u128(&mut self) -> Result<u128, Malformed> {
        Ok(self.take(16)?.iter().fold(0, |n, b| n << 8 | u128::from(*b)))
    }

    pub(crate) fn finish(self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed::new("bytes left over")) }
    }
}

/// Writes `n` as LEB128 into `out` (10 bytes are always enough) and says how many bytes it took.
#[inline]
pub(crate) fn put_varint(out: &mut [u8], mut n: u64) -> usize {
    let mut used = 0;
    while n >= 0x80 {
        out[used] = n as u8 | 0x80;
        n >>= 7;
        used += 1;
    }
    out[used] = n as u8;
    used + 1
}

/// Appends `n` as LEB128.
pub(crate) fn push_varint(out: &mut Vec<u8>, n: u64) {
    let mut buffer = [0; 10];
    let used = put_varint(&mut buffer, n);
    out.extend_from_slice(&buffer[..used]);
}

/// Appends a run of bytes with its length.
pub(crate) fn push_run(out: &mut Vec<u8>, run: &[u8]) {
    push_varint(out, run.len() as u64);
    out.extend_from_slice(run);
}
