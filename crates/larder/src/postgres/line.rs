//! One connection that is made again whenever it is lost. Repeats no question: whoever asked is told that it failed.

use super::{PostgresError, migrate};
use crate::backoff::Backoff;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_postgres::config::{LoadBalanceHosts, TargetSessionAttrs};
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Connection, Error, NoTls, Row, Socket};

/// How long a journal's question may take, connecting included: less than whoever asks gives it. The server waits for its lock
/// for less.
pub(crate) const DEADLINE: Duration = Duration::from_secs(4);
/// Silence on a connection for which the system asks whether the other side is there, and for which it gives it up.
const SILENCE: Duration = Duration::from_secs(5);
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Where the database is, for every connection.
pub(crate) fn settings(url: &str) -> Result<Config, PostgresError> {
    // What is wrong with it is not said: it may be in the password.
    let mut config: Config = url.parse().map_err(|_| {
        PostgresError::undone("this is no URL of Postgres; expected postgres://user@host:port/database")
    })?;
    if config.get_application_name().is_none() {
        config.application_name("larder");
    }
    if config.get_hosts().len() > 1 {
        // A primary and its standbys: whoever takes writes, and never again and again the one that does not answer.
        config
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .load_balance_hosts(LoadBalanceHosts::Random);
    }
    config.keepalives_idle(SILENCE).keepalives_interval(SILENCE).tcp_user_timeout(SILENCE_MAX);
    config.connect_timeout(DEADLINE);
    Ok(config)
}

/// A question's parameter with its type: nothing is prepared, so no session has to remember it.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection, for any number of questions at once.
pub(crate) struct Line {
    config: Arc<Config>,
    place: Arc<Mutex<Place>>,
    needs_schema: bool,
}

#[derive(Default)]
struct Place {
    client: Option<Arc<Client>>,
    backoff: Backoff,
    /// Nobody tries before.
    pause: Option<Instant>,
}

impl Line {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Line { config, place: Arc::default(), needs_schema: true }
    }

    /// A line to a database of the application's, which need not have Larder's schema.
    pub(crate) fn of_application(config: Arc<Config>) -> Self {
        Line { needs_schema: false, ..Line::new(config) }
    }

    /// Asks, once.
    pub(crate) async fn ask(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        deadline: Duration,
    ) -> Result<Vec<Row>, PostgresError> {
        self.run(deadline, |client| async move { client.query_typed(sql, parameters).await }).await
    }

    /// Does, once, what is to be done with a session.
    pub(crate) async fn run<T, F>(
        &self,
        deadline: Duration,
        work: impl FnOnce(Arc<Client>) -> F,
    ) -> Result<T, PostgresError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let began = Instant::now();
        let late = || format!("the database did not answer within {deadline:?}");
        let Ok(client) = timeout(deadline, self.client()).await else {
            return Err(PostgresError::undone(late()));
        };
        let client = client?;
        match timeout(deadline.saturating_sub(began.elapsed()), work(Arc::clone(&client))).await {
            Ok(answer) => Ok(answer?),
            Err(_) => {
                self.drop_client(&client).await;
                Err(PostgresError::unanswered(late()))
            }
        }
    }

    async fn client(&self) -> Result<Arc<Client>, PostgresError> {
        if let Some(client) = self.place.lock().await.current() {
            return Ok(client);
        }
        // Whoever goes away while it is being made leaves it to the next one.
        let (place, config, needs_schema) =
            (Arc::clone(&self.place), Arc::clone(&self.config), self.needs_schema);
        let made = tokio::spawn(async move { place.lock().await.made(&config, needs_schema).await });
        made.await.unwrap_or_else(|_| Err(PostgresError::undone("the runtime is shutting down")))
    }

    /// It did not answer in time: nobody else shall wait behind, and the server need not go on.
    async fn drop_client(&self, late: &Arc<Client>) {
        let cancel = late.cancel_token();
        tokio::spawn(async move {
            let _ = timeout(DEADLINE, cancel.cancel_query(NoTls)).await;
        });
        let mut place = self.place.lock().await;
        if place.client.as_ref().is_some_and(|client| Arc::ptr_eq(client, late)) {
            place.client = None;
        }
    }
}

impl Place {
    fn current(&self) -> Option<Arc<Client>> {
        self.client.as_ref().filter(|client| !client.is_closed()).map(Arc::clone)
    }

    async fn made(&mut self, config: &Config, needs_schema: bool) -> Result<Arc<Client>, PostgresError> {
        if let Some(client) = self.current() {
            return Ok(client);
        }
        if self.pause.is_some_and(|pause| Instant::now() < pause) {
            return Err(PostgresError::undone("the database could not be reached, and is tried again soon"));
        }
        match session(config, needs_schema).await {
            Ok(client) => {
                *self = Place { client: Some(Arc::new(client)), ..Place::default() };
                self.current()
                    .ok_or_else(|| PostgresError::undone("the connection ended as soon as it was made"))
            }
            Err(error) => {
                self.pause = Some(Instant::now() + self.backoff.next());
                Err(error)
            }
        }
    }
}

/// A session, and what it says by itself.
pub(crate) async fn connect(
    config: &Config,
) -> Result<(Client, Connection<Socket, NoTlsStream>), PostgresError> {
    match timeout(DEADLINE, config.connect(NoTls)).await {
        // Nothing has been asked yet.
        Ok(connected) => {
            connected.map_err(|error| PostgresError::undone(PostgresError::from(error).to_string()))
        }
        Err(_) => Err(PostgresError::undone(format!("not connected within {DEADLINE:?}"))),
    }
}

/// A session; on a schema that this program knows, if it needs one.
async fn session(config: &Config, needs_schema: bool) -> Result<Client, PostgresError> {
    let (client, connection) = connect(config).await?;
    // Ends with the client.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %PostgresError::from(error), "a connection to Postgres ended");
        }
    });
    if needs_schema {
        migrate::check(&client).await?;
    }
    Ok(client)
}
