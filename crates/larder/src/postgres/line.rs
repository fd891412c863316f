//! One connection that is made again whenever it is lost. Repeats no question: whoever asked is told that it failed.

use super::settings::Settings;
use super::{PostgresError, migrate};
use crate::backoff::Backoff;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

/// A question's parameter with its type: nothing is prepared, so no session has to remember it.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection, for any number of questions at once.
pub(crate) struct Line {
    settings: Arc<Settings>,
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
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Line { settings, place: Arc::default(), needs_schema: true }
    }

    /// A line to a database of the application's, which need not have Larder's schema.
    pub(crate) fn of_application(settings: Arc<Settings>) -> Self {
        Line { needs_schema: false, ..Line::new(settings) }
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
        let (place, settings, needs_schema) =
            (Arc::clone(&self.place), Arc::clone(&self.settings), self.needs_schema);
        let made = tokio::spawn(async move { place.lock().await.made(&settings, needs_schema).await });
        made.await.unwrap_or_else(|_| Err(PostgresError::undone("the runtime is shutting down")))
    }

    /// It did not answer in time: nobody else shall wait behind, and the server need not go on.
    async fn drop_client(&self, late: &Arc<Client>) {
        let (cancel, settings) = (late.cancel_token(), Arc::clone(&self.settings));
        tokio::spawn(async move { settings.cancel(cancel).await });
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

    async fn made(&mut self, settings: &Settings, needs_schema: bool) -> Result<Arc<Client>, PostgresError> {
        if let Some(client) = self.current() {
            return Ok(client);
        }
        if self.pause.is_some_and(|pause| Instant::now() < pause) {
            return Err(PostgresError::undone("the database could not be reached, and is tried again soon"));
        }
        match session(settings, needs_schema).await {
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

/// A session; on a schema that this program knows, if it needs one.
async fn session(settings: &Settings, needs_schema: bool) -> Result<Client, PostgresError> {
    let (client, connection) = settings.connect().await?;
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
