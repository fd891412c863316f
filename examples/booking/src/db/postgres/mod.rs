//! The appointment book in a Postgres database: a few connections, lent to one transaction at a time.
//!
//! Only `db` and `bench` call it. It knows no domain: what is asked and changed is in `read` and `write`. Repeats nothing:
//! whoever asked is told that it failed.

mod client;
mod run;

pub(crate) use run::RunDatabase;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::Config;

use crate::db::fault::Fault;
use crate::error::ServiceError;
use client::Client;

/// How long a question or a change may take, the wait for a connection included.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// The same for a whole book that is written at once.
pub(super) const DEADLINE_LARGE: Duration = Duration::from_secs(60);
/// After a connection could not be made, nobody tries before: a server that starts has other things to do.
const PAUSE: Duration = Duration::from_millis(100);
const SCHEMA: &str = include_str!("schema_1.sql");

/// A database, and the connections to it.
#[derive(Debug)]
pub(crate) struct Book {
    config: Config,
    idle: Mutex<Vec<Client>>,
    /// Apart, so that no read waits behind changes that wait for each other.
    reading: Semaphore,
    writing: Semaphore,
    /// Until when nobody tries to connect.
    away: Mutex<Option<Instant>>,
}

impl Book {
    /// The book in the database that a URL names, with at most this many connections that read, and as many that write (at
    /// least one); makes its tables when they are not there.
    pub(crate) async fn open(url: &str, connections: usize) -> Result<Book, ServiceError> {
        let config = settings(url)?;
        let permits = || Semaphore::new(connections.max(1));
        let (reading, writing) = (permits(), permits());
        let book = Book { config, idle: Mutex::default(), reading, writing, away: Mutex::default() };
        book.within(DEADLINE, async { book.writer().await?.set_up(SCHEMA).await }).await?;
        Ok(book)
    }

    /// A connection of the caller's own, for one snapshot.
    pub(crate) async fn reader(&self) -> Result<Lent<'_>, ServiceError> {
        self.client(&self.reading).await
    }

    /// A connection of the caller's own, for one change.
    pub(crate) async fn writer(&self) -> Result<Lent<'_>, ServiceError> {
        self.client(&self.writing).await
    }

    async fn client<'a>(&'a self, permits: &'a Semaphore) -> Result<Lent<'a>, ServiceError> {
        let permit = permits.acquire().await.map_err(|_| ServiceError::Closing)?;
        let idle = loop {
            match self.idle().pop() {
                // The server has ended it meanwhile.
                Some(client) if client.is_closed() => {}
                found => break found,
            }
        };
        let client = match idle {
            Some(client) => client,
            None => self.connect().await?,
        };
        Ok(Lent { book: self, client: Some(client), _permit: permit })
    }

    async fn connect(&self) -> Result<Client, ServiceError> {
        let away = || self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if away().is_some_and(|until| Instant::now() < until) {
            return Err(Fault::Away.into());
        }
        let connected = Client::connect(&self.config).await;
        *away() = connected.is_err().then(|| Instant::now() + PAUSE);
        connected
    }

    /// Gives up what takes too long. Its connection is closed: the server rolls back what was not committed.
    pub(crate) async fn within<R>(
        &self,
        deadline: Duration,
        work: impl Future<Output = Result<R, ServiceError>>,
    ) -> Result<R, ServiceError> {
        let late = |_| ServiceError::from(Fault::Late(deadline));
        tokio::time::timeout(deadline, work).await.map_err(late)?
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a URL says. What is wrong with it is not repeated: it may hold a password.
fn settings(url: &str) -> Result<Config, ServiceError> {
    let mut config: Config = url.parse().map_err(|_| ServiceError::Open {
        path: "--postgres".to_owned(),
        reason: "this is no URL of Postgres; expected postgres://user@host:port/database".to_owned(),
    })?;
    config.application_name("booking").connect_timeout(DEADLINE);
    Ok(config)
}

/// A connection on loan; goes back on drop, unless something was still under way on it.
pub(crate) struct Lent<'a> {
    book: &'a Book,
    client: Option<Client>,
    _permit: SemaphorePermit<'a>,
}

impl Lent<'_> {
    /// One snapshot for several questions.
    pub(crate) async fn snapshot(&mut self) -> Result<client::Transaction<'_>, ServiceError> {
        self.client.as_mut().ok_or(ServiceError::Closing)?.snapshot().await
    }

    /// A transaction that sees, in each statement, what was committed before it.
    pub(crate) async fn transaction(&mut self) -> Result<client::Transaction<'_>, ServiceError> {
        self.client.as_mut().ok_or(ServiceError::Closing)?.transaction().await
    }

    async fn set_up(&mut self, schema: &str) -> Result<(), ServiceError> {
        self.client.as_mut().ok_or(ServiceError::Closing)?.set_up(schema).await
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(client) = self.client.take().filter(Client::is_at_rest) {
            self.book.idle().push(client);
        }
    }
}
