//! The bytes of an envelope, version 1. Numbers are big-endian; a run is a LEB128 length and that many bytes.
//!
//! ```text
//!  0  magic "LRDR"                     29  placed: 0 no, 1 yes; if so: position u64, nonce u64
//!  4  version u8                           schema u64
//!  5  length of the whole, u64             created, soft, hard, keep: ms u64 each
//! 13  epoch u128                           key run; tags: count, runs; also: count, runs
//!                                          content: 0 absent; 1 value: codec u8, packing u8, raw LEB128, run
//!                                          checksum: XXH3-64 of all before, u64
//! ```
//! The epoch stands apart from the place in it: an entry that does not know its place may still know its
//! history, and having a place must be said, so that none is ever taken for position zero.
//!
//! The checksum is verified before any field is believed; the fields are still read as if it had not been.

use super::{Content, Envelope, EnvelopeHead, Limits, Packing, Rejected};
use crate::decode::{Malformed, Reader, push_run, push_varint};
use crate::path::Path;
use crate::position::{Epoch, Link, Stamp};
use crate::segments::Segments;
use crate::tag::Tag;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: [u8; 4] = *b"LRDR";
const VERSION: u8 = 1;
const LENGTH_AT: usize = 5;
const CHECKSUM_BYTES: usize = 8;
/// Fixed fields, counts and lengths together are below this.
const OVERHEAD_BYTES: usize = 192;

impl<'a> Envelope<'a> {
    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let head = &self.head;
        let mut out = Vec::with_capacity(self.encoded_bytes_about());
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&head.stamp.epoch.get().to_be_bytes());
        out.push(1);
        for number in [head.stamp.position, head.stamp.nonce, head.schema] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for ms in [head.created_ms, head.soft_ms, head.hard_ms, head.keep_ms] {
            out.extend_from_slice(&ms.to_be_bytes());
        }
        push_run(&mut out, self.key);
        push_varint(&mut out, head.tags.len() as u64);
        head.tags.iter().for_each(|tag| push_run(&mut out, tag.segments().as_bytes()));
        push_varint(&mut out, head.also.len() as u64);
        head.also.iter().for_each(|path| push_run(&mut out, path.as_bytes()));
        push_content(&mut out, &self.content);

        let length = (out.len() + CHECKSUM_BYTES) as u64;
        out[LENGTH_AT..LENGTH_AT + 8].copy_from_slice(&length.to_be_bytes());
        let checksum = xxh3_64(&out);
        out.extend_from_slice(&checksum.to_be_bytes());
        out
    }

    /// Reads stored bytes as the entry of this key. The body is borrowed from them.
    ///
    /// # Errors
    /// [`Rejected`] when they are anything but a sound envelope of that key within the limits.
    pub fn decode(bytes: &'a [u8], expected_key: &[u8], limits: &Limits) -> Result<Self, Rejected> {
        within("stored_bytes_max", bytes.len() as u64, limits.stored_bytes_max)?;
        let mut reader = Reader::new(sound(bytes)?);
        let (key, head) = read_head(&mut reader, limits)?;
        if key != expected_key && !crate::seeded_bug!("key_not_verified") {
            return Err(Rejected::WrongKey);
        }
        let content = read_content(&mut reader)?;
        reader.finish()?;
        within("raw_bytes_max", content.raw_bytes(), limits.raw_bytes_max)?;
        Ok(Envelope { key, head, content })
    }

    /// The key and the head, out of the first bytes of an envelope. Nothing is verified: whoever acts on it may only forget
    /// the entry.
    ///
    /// # Errors
    /// [`Rejected`] when they are anything else, or too few.
    pub fn peek(bytes: &'a [u8], limits: &Limits) -> Result<(&'a [u8], EnvelopeHead), Rejected> {
        let mut reader = Reader::new(bytes);
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(Rejected::Foreign);
        }
        match reader.byte()? {
            VERSION => {}
            version => return Err(Rejected::ForeignVersion { version }),
        }
        reader.u64()?;
        read_head(&mut reader, limits)
    }

    fn encoded_bytes_about(&self) -> usize {
        let tags = self.head.tags.iter().map(|tag| tag.segments().as_bytes().len() + 2).sum::<usize>();
        let also = self.head.also.iter().map(|path| path.as_bytes().len() + 2).sum::<usize>();
        let body = match self.content {
            Content::Absent => 0,
            Content::Value { body, .. } => body.len(),
        };
        OVERHEAD_BYTES + self.key.len() + tags + also + body
    }
}

/// What lies between the header and the checksum, once both have been found right.
fn sound(bytes: &[u8]) -> Result<&[u8], Rejected> {
    if !MAGIC.starts_with(&bytes[..bytes.len().min(MAGIC.len())]) {
        return Err(Rejected::Foreign);
    }
    let mut header = Reader::new(bytes);
    let (_magic, version) =
        header.take(MAGIC.len()).and_then(|m| Ok((m, header.byte()?))).map_err(|_| Rejected::Truncated)?;
    if version != VERSION {
        return Err(Rejected::ForeignVersion { version });
    }
    let length = header.u64().map_err(|_| Rejected::Truncated)?;
    let (start, found) = (header.offset(), bytes.len() as u64);
    if found < length || bytes.len() < start + CHECKSUM_BYTES {
        return Err(Rejected::Truncated);
    }
    let (covered, checksum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
    if found > length || xxh3_64(covered).to_be_bytes() != checksum {
        return Err(Rejected::Corrupt);
    }
    Ok(&covered[start..])
}

/// The key and everything before the content.
fn read_head<'a>(reader: &mut Reader<'a>, limits: &Limits) -> Result<(&'a [u8], EnvelopeHead), Rejected> {
    let stamp = read_stamp(reader)?;
    let schema = reader.u64()?;
    let (created_ms, soft_ms) = (reader.u64()?, reader.u64()?);
    let (hard_ms, keep_ms) = (reader.u64()?, reader.u64()?);
    let key = read_run(reader)?;
    let tags =
        read_many(reader, "tags_max", limits.tags_max, |run| Segments::from_encoded(run).map(Tag::new))?;
    let also = read_many(reader, "also_max", limits.also_max, Path::from_encoded)?;
    Ok((key, EnvelopeHead { schema, stamp, created_ms, soft_ms, hard_ms, keep_ms, tags, also }))
}

fn read_stamp(reader: &mut Reader<'_>) -> Result<Stamp, Rejected> {
    let epoch = Epoch::new(reader.u128()?);
    match reader.byte()? {
        1 => Ok(Link { epoch, position: reader.u64()?, nonce: reader.u64()? }),
        0 => without_place(epoch),
        _ => Err(Malformed::new("a place in history is there (1) or not (0)").into()),
    }
}

fn without_place(epoch: Epoch) -> Result<Stamp, Rejected> {
    // The mistake: not knowing when an entry was born is taken for its being born before the first record.
    if crate::seeded_bug!("absent_stamp_is_zero") {
        return Ok(Link { epoch, position: 0, nonce: 0 });
    }
    Err(Rejected::NoStamp)
}

fn push_content(out: &mut Vec<u8>, content: &Content<'_>) {
    match *content {
        Content::Absent => out.push(0),
        Content::Value { codec, packing, body } => {
            let packing = match packing {
                Packing::None => 0,
                Packing::Lz4 { .. } => 1,
            };
            out.extend_from_slice(&[1, codec, packing]);
            push_varint(out, content.raw_bytes());
            push_run(out, body);
        }
    }
}

fn read_content<'a>(reader: &mut Reader<'a>) -> Result<Content<'a>, Rejected> {
    match reader.byte()? {
        0 => Ok(Content::Absent),
        1 => {
            let codec = reader.byte()?;
            let packing = reader.byte()?;
            let raw_bytes = reader.varint()?;
            let body = read_run(reader)?;
            let packing = match packing {
                0 if raw_bytes == body.len() as u64 => Packing::None,
                0 => return Err(Malformed::new("an unpacked body has another length than it says").into()),
                1 => Packing::Lz4 { raw_bytes },
                _ => return Err(Rejected::ForeignVersion { version: VERSION }),
            };
            Ok(Content::Value { codec, packing, body })
        }
        _ => Err(Rejected::ForeignVersion { version: VERSION }),
    }
}

fn read_run<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let len = reader.length()?;
    reader.take(len)
}

fn read_many<T>(
    reader: &mut Reader<'_>,
    limit: &'static str,
    max: usize,
    read: impl Fn(&[u8]) -> Result<T, Malformed>,
) -> Result<Vec<T>, Rejected> {
    let count = reader.varint()?;
    within(limit, count, max as u64)?;
    (0..count).map(|_| Ok(read(read_run(reader)?)?)).collect()
}

fn within(limit: &'static str, found: u64, max: u64) -> Result<(), Rejected> {
    if found <= max { Ok(()) } else { Err(Rejected::TooLarge { limit, found, max }) }
}
