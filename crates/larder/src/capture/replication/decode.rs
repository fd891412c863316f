//! What `pgoutput` writes, protocol version 1, as far as a mapping needs it. Bytes in, changes out; whatever is odd is refused, never
//! guessed.

use std::collections::HashMap;

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    Begin {
        xid: u32,
    },
    /// Where the transaction's record ends.
    Commit {
        end: u64,
    },
    Insert {
        table: u32,
        new: Tuple<'a>,
    },
    /// `old` only if it was written: it is when the replica identity changed, or is FULL.
    Update {
        table: u32,
        old: Option<Old<'a>>,
        new: Tuple<'a>,
    },
    Delete {
        table: u32,
        old: Old<'a>,
    },
    Truncate {
        tables: Vec<u32>,
    },
    /// Nothing that matters.
    Other,
}

/// The values of a row, in the order of its table's columns.
pub(super) type Tuple<'a> = Vec<Value<'a>>;

/// A row as it was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Old<'a> {
    pub(super) row: Tuple<'a>,
    /// Whether it is all of it, or the columns of the replica identity.
    pub(super) is_whole: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    /// Stored apart, and as it was before.
    Unchanged,
    Text(&'a str),
}

/// A table as the last message about it described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: u32,
    /// Whether old rows have it.
    pub(super) in_identity: bool,
}

/// The tables that were described so far.
pub(super) type Relations = HashMap<u32, Relation>;

/// Not a message, or one of another version.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Odd;

/// Reads one message, and remembers the tables that are described.
pub(super) fn decode<'a>(bytes: &'a [u8], relations: &mut Relations) -> Result<Message<'a>, Odd> {
    let mut reader = Reader(bytes);
    let message = match reader.byte()? {
        b'B' => {
            reader.take(16)?;
            Message::Begin { xid: reader.int()? }
        }
        b'C' => {
            reader.take(9)?;
            let end = reader.long()?;
            reader.long()?;
            Message::Commit { end }
        }
        b'R' => {
            let (id, relation) = reader.relation()?;
            relations.insert(id, relation);
            Message::Other
        }
        b'I' => {
            let table = reader.int()?;
            reader.expect(b'N')?;
            Message::Insert { table, new: reader.tuple()? }
        }
        b'U' => {
            let table = reader.int()?;
            let old = match reader.byte()? {
                b'N' => None,
                kind => {
                    let old = reader.old(kind)?;
                    reader.expect(b'N')?;
                    Some(old)
                }
            };
            Message::Update { table, old, new: reader.tuple()? }
        }
        b'D' => {
            let (table, kind) = (reader.int()?, reader.byte()?);
            Message::Delete { table, old: reader.old(kind)? }
        }
        b'T' => {
            let n = reader.int()?;
            reader.byte()?;
            let tables = (0..n).map(|_| reader.int()).collect::<Result<_, _>>()?;
            Message::Truncate { tables }
        }
        // Types, origins, messages.
        b'Y' | b'O' | b'M' => return Ok(Message::Other),
        _ => return Err(Odd),
    };
    if reader.0.is_empty() { Ok(message) } else { Err(Odd) }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Odd> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Odd)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Odd> {
        Ok(self.take(1)?[0])
    }

    fn expect(&mut self, byte: u8) -> Result<(), Odd> {
        if self.byte()? == byte { Ok(()) } else { Err(Odd) }
    }

    fn short(&mut self) -> Result<u16, Odd> {
        self.take(2)?.try_into().map(u16::from_be_bytes).map_err(|_| Odd)
    }

    fn int(&mut self) -> Result<u32, Odd> {
        self.take(4)?.try_into().map(u32::from_be_bytes).map_err(|_| Odd)
    }

    fn long(&mut self) -> Result<u64, Odd> {
        self.take(8)?.try_into().map(u64::from_be_bytes).map_err(|_| Odd)
    }

    fn text(&mut self) -> Result<String, Odd> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Odd)?;
        let text = std::str::from_utf8(self.take(end)?).map_err(|_| Odd)?.to_owned();
        self.byte()?;
        Ok(text)
    }

    fn relation(&mut self) -> Result<(u32, Relation), Odd> {
        let (id, schema, name) = (self.int()?, self.text()?, self.text()?);
        // An empty schema is how it writes pg_catalog.
        let schema = if schema.is_empty() { "pg_catalog".to_owned() } else { schema };
        self.byte()?;
        let n = self.short()?;
        let columns = (0..n).map(|_| {
            let in_identity = self.byte()? & 1 == 1;
            let name = self.text()?;
            let kind = self.int()?;
            self.int()?;
            Ok(Column { name, kind, in_identity })
        });
        let columns = columns.collect::<Result<_, _>>()?;
        Ok((id, Relation { schema, name, columns }))
    }

    fn old(&mut self, kind: u8) -> Result<Old<'a>, Odd> {
        if !matches!(kind, b'K' | b'O') {
            return Err(Odd);
        }
        Ok(Old { row: self.tuple()?, is_whole: kind == b'O' })
    }

    fn tuple(&mut self) -> Result<Tuple<'a>, Odd> {
        let n = self.short()?;
        (0..n)
            .map(|_| {
                Ok(match self.byte()? {
                    b'n' => Value::Null,
                    b'u' => Value::Unchanged,
                    b't' => {
                        let length = usize::try_from(self.int()?).map_err(|_| Odd)?;
                        Value::Text(std::str::from_utf8(self.take(length)?).map_err(|_| Odd)?)
                    }
                    _ => return Err(Odd),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_or_goes_on_is_refused() {
        let mut whole = vec![b'U', 0, 0, 0, 7, b'K', 0, 1, b't', 0, 0, 0, 1, b'x', b'N', 0, 2, b'n', b'u'];
        let mut relations = Relations::new();
        let read = decode(&whole, &mut relations).unwrap();
        let old = Some(Old { row: vec![Value::Text("x")], is_whole: false });
        let new = vec![Value::Null, Value::Unchanged];
        assert_eq!(read, Message::Update { table: 7, old, new });
        for end in 0..whole.len() {
            assert_eq!(decode(&whole[..end], &mut relations), Err(Odd), "{end}");
        }
        whole.push(0);
        assert_eq!(decode(&whole, &mut relations), Err(Odd));
        assert_eq!(decode(b"S", &mut relations), Err(Odd), "a stream was not asked for");
    }
}
