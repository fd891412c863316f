//! Who is the master: asked of the Sentinels, and checked with the master itself. Keeps no connection.

use super::address::Address;
use super::dial::dial;
use super::error::RedisError;
use super::options::{RedisOptions, Role};
use super::reply;
use redis::Value;
use redis::aio::MultiplexedConnection;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The Sentinels of one master.
pub(super) struct Sentinels {
    pub(super) addresses: Vec<Address>,
    pub(super) master: String,
    /// The one that answered last is asked first.
    first: AtomicUsize,
}

impl Sentinels {
    pub(super) fn new(addresses: Vec<Address>, master: String) -> Self {
        Sentinels { addresses, master, first: AtomicUsize::new(0) }
    }

    /// The address of the master, from the first Sentinel that knows one.
    pub(super) async fn find_master(&self, options: &RedisOptions) -> Result<Address, RedisError> {
        let mut last = RedisError::unsent("no Sentinel was asked");
        for _ in 0..self.addresses.len() {
            let at = self.first.load(Ordering::Relaxed) % self.addresses.len();
            match self.ask(&self.addresses[at], options).await {
                Ok(address) => return Ok(address),
                Err(error) => last = error,
            }
            self.first.store(at + 1, Ordering::Relaxed);
        }
        Err(last)
    }

    async fn ask(&self, sentinel: &Address, options: &RedisOptions) -> Result<Address, RedisError> {
        let mut connection = dial(options, sentinel, Role::Sentinel, |_| {}).await?;
        let mut cmd = redis::cmd("SENTINEL");
        cmd.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let answer = send(&mut connection, &cmd, options).await?;
        match reply::read::<Option<(String, u16)>>(answer)? {
            Some((host, port)) => Ok(Address::Tcp(host, port)),
            None => {
                Err(RedisError::unsent(format!("the Sentinel at {sentinel} knows no master of this name")))
            }
        }
    }

    /// A Sentinel may be late to know, and a master that came back may not know yet that it is none.
    pub(super) async fn check_master(
        &self,
        connection: &mut MultiplexedConnection,
        address: &Address,
        options: &RedisOptions,
    ) -> Result<(), RedisError> {
        let role = match send(connection, &redis::cmd("ROLE"), options).await? {
            Value::Array(parts) => parts.into_iter().next(),
            _ => None,
        };
        match role.map(reply::read::<String>).transpose()?.as_deref() {
            Some("master") => Ok(()),
            _ => Err(RedisError::unsent(format!("{address} is not a master, though a Sentinel says so"))),
        }
    }
}

async fn send(
    connection: &mut MultiplexedConnection,
    cmd: &redis::Cmd,
    options: &RedisOptions,
) -> Result<Value, RedisError> {
    let deadline = options.connect_deadline();
    match tokio::time::timeout(deadline, connection.send_packed_command(cmd)).await {
        Ok(answer) => reply::of(answer),
        Err(_) => Err(RedisError::late(deadline)),
    }
}
