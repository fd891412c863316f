//! A connection that asks one thing at a time: the rig's own way to talk to a server, apart from the client under test.
//!
//! Blocking, RESP2, with a deadline on every answer.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use crate::Error;

/// How long a server may take to answer: one that is paused, or busy on this machine, gets an error instead of a test
/// that hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nil.
    Nothing,
    /// An integer.
    Number(i64),
    /// A status or a string.
    Bytes(Vec<u8>),
    /// An array.
    List(Vec<Reply>),
    /// An error inside of an array; as a whole answer it is an [`Error`].
    Refused(String),
}

impl Reply {
    /// As text, whatever is not UTF-8 replaced: of a list, its parts on lines of their own.
    pub fn text(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Number(number) => number.to_string(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Refused(text) => text.clone(),
            Self::List(parts) => parts.iter().map(Self::text).collect::<Vec<_>>().join("\n"),
        }
    }

    /// As a number, if it is one.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Bytes(_) => self.text().parse().ok(),
            _ => None,
        }
    }

    /// The bytes of a status or a string; of anything else, none.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            _ => &[],
        }
    }

    /// The parts of a list; of anything else, none.
    pub fn list(&self) -> &[Self] {
        match self {
            Self::List(parts) => parts,
            _ => &[],
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// To a port of this machine.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn open(port: u16) -> Result<Self, Error> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let open = || -> std::io::Result<TcpStream> {
            let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let stream = open().map_err(Error::while_doing("connect"))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends one command, and awaits its answer.
    ///
    /// # Errors
    /// A lost connection, no answer within five seconds, or an answer that is an error.
    pub fn ask<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Result<Reply, Error> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words.iter().map(AsRef::as_ref) {
            command.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            command.extend_from_slice(word);
            command.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&command).map_err(Error::while_doing("send a command"))?;
        match self.reply()? {
            Reply::Refused(answer) => Err(Error::refused(&answer)),
            reply => Ok(reply),
        }
    }

    /// The next thing the server says, asked or not: for subscriptions.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub fn reply(&mut self) -> Result<Reply, Error> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).unwrap_or(("", ""));
        Ok(match kind {
            "+" => Reply::Bytes(rest.into()),
            "-" => Reply::Refused(rest.to_owned()),
            ":" => Reply::Number(number(rest)?),
            "$" => usize::try_from(number(rest)?).map_or(Ok(Reply::Nothing), |length| self.bytes(length))?,
            "*" => match usize::try_from(number(rest)?) {
                Ok(length) => Reply::List((0..length).map(|_| self.reply()).collect::<Result<_, _>>()?),
                Err(_) => Reply::Nothing,
            },
            _ => return Err(Error::new("the connection was closed, or this is not RESP2")),
        })
    }

    fn line(&mut self) -> Result<String, Error> {
        let mut line = String::new();
        self.stream.read_line(&mut line).map_err(Error::while_doing("read an answer"))?;
        Ok(line.trim_end().to_owned())
    }

    fn bytes(&mut self, length: usize) -> Result<Reply, Error> {
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes).map_err(Error::while_doing("read an answer"))?;
        bytes.truncate(length);
        Ok(Reply::Bytes(bytes))
    }
}

fn number(text: &str) -> Result<i64, Error> {
    text.parse().map_err(|_| Error::new("the server sends a length that is no number"))
}
