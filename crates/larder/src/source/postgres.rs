//! Queries as loaders: the segments of a key are the parameters, rows are the value. On a standby, only once it shows what the
//! node has applied.
//!
//! Each query is one read-only transaction, sent as one, on a connection that nobody else uses meanwhile.

use crate::Load;
use crate::error::LoadError;
use crate::postgres::{Line, Parameter, PostgresError, Settings};
use crate::region::Loaded;
use larder_core::{Link, Segment};
use std::error::Error as StdError;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};
use tokio_postgres::{Client, Error, Row};

const SHOWS: &str = "SELECT larder.shows($1, $2, $3)";

/// A query that takes longer is none that a reader waits for; and a moment that far away can be named.
const DEADLINE_MAX: Duration = Duration::from_secs(24 * 3600);
/// The first pause before a standby is asked again, and the longest.
const PAUSE: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// A database that is read from: its connections, and how long a query may take. Clones share the connections.
#[derive(Clone)]
pub struct PostgresOrigin {
    lines: Arc<Lines>,
    deadline: Duration,
    lags: bool,
}

/// Connections, each used by one query at a time: one that takes long holds nobody up.
struct Lines {
    free: Semaphore,
    all: Box<[Mutex<Line>]>,
}

impl PostgresOrigin {
    /// The database that a URL names, `postgres://user@host:port/database`. Connects when it is first asked. It
    /// needs none of Larder's schema, and the role no right but to read.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn open(url: &str) -> Result<Self, PostgresError> {
        Self::with_connections(url, 4)
    }

    /// [`PostgresOrigin::open`] with this many connections (at least 1) instead of 4.
    ///
    /// # Errors
    /// As [`PostgresOrigin::open`].
    pub fn with_connections(url: &str, connections: usize) -> Result<Self, PostgresError> {
        let settings = Arc::new(Settings::parse(url)?);
        let connections = connections.max(1);
        let all = (0..connections).map(|_| Mutex::new(Line::of_application(Arc::clone(&settings)))).collect();
        let lines = Arc::new(Lines { free: Semaphore::new(connections), all });
        Ok(PostgresOrigin { lines, deadline: Duration::from_secs(2), lags: false })
    }

    /// It may lag behind the journal's database: it is a standby of it, or a pooler in front of some. Each query waits until it
    /// is seen to have what the node has applied, and fails at its deadline; so all that [`crate::Level`] promises is kept, and
    /// no bound on the lag has to be known. The role needs `EXECUTE` on `larder.shows`. See [`Load::must_show`].
    #[must_use]
    pub fn standby(mut self) -> Self {
        self.lags = true;
        self
    }

    /// How long a query may take, waiting for a connection and for a standby included: 2 s unless set, from 1 ms to a day. It is
    /// cancelled then.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.clamp(Duration::from_millis(1), DEADLINE_MAX);
        self
    }

    /// A query, and what makes a value of one of its rows.
    ///
    /// The key's segments are its parameters, `$1` the first of them, all to be used; each is a literal without a type: `branch_id = $1 AND day = $2`
    /// takes them for what the columns are. Bytes are `bytea`, the absent segment is NULL.
    pub fn source<R>(
        &self,
        sql: impl Into<Arc<str>>,
        read: impl Fn(&Row) -> Result<R, Error> + Send + Sync + 'static,
    ) -> PostgresSource<R> {
        PostgresSource { origin: self.clone(), sql: sql.into(), read: Arc::new(read) }
    }
}

/// A query that loads values; see [`PostgresOrigin::source`]. Cheap to clone into loaders.
///
/// ```no_run
/// # async fn f(slots: larder::Region<Vec<i32>>) -> Result<(), Box<dyn std::error::Error>> {
/// use larder::{key, source::PostgresOrigin, tag};
///
/// let origin = PostgresOrigin::open("postgres://reader@standby/app")?.standby();
/// let free = origin.source("SELECT hour FROM free WHERE branch = $1 AND day = $2", |row| row.try_get("hour"));
///
/// let load = async move |load: larder::Load<_>| {
///     load.tag(tag!["branch", 7]);
///     free.rows(&load).await
/// };
/// let hours = slots.get_or_load(key![7, "2026-11-21"], load).await?;
/// # Ok(()) }
/// ```
pub struct PostgresSource<R> {
    origin: PostgresOrigin,
    sql: Arc<str>,
    read: Arc<Read<R>>,
}

/// Makes a value of a row.
type Read<R> = dyn Fn(&Row) -> Result<R, Error> + Send + Sync;

impl<R> Clone for PostgresSource<R> {
    fn clone(&self) -> Self {
        PostgresSource {
            origin: self.origin.clone(),
            sql: Arc::clone(&self.sql),
            read: Arc::clone(&self.read),
        }
    }
}

impl<R> PostgresSource<R> {
    /// All rows of a key, in the query's order.
    ///
    /// # Errors
    /// What the database says; when it does not answer, or does not show what it must, in time.
    pub async fn rows<T: Send + Sync + 'static>(&self, load: &Load<T>) -> Result<Vec<R>, LoadError> {
        let rows = self.origin.query(load, &self.sql).await?;
        rows.iter().map(|row| (self.read)(row).map_err(|error| PostgresError::from(error).into())).collect()
    }

    /// The row of a key; absent if there is none.
    ///
    /// # Errors
    /// As [`PostgresSource::rows`], and when there are several.
    pub async fn row<T: Send + Sync + 'static>(&self, load: &Load<T>) -> Result<Loaded<R>, LoadError> {
        let mut rows = self.rows(load).await?;
        match (rows.pop(), rows.len()) {
            (None, _) => Ok(Loaded::Absent),
            (Some(row), 0) => Ok(Loaded::Value(row)),
            (Some(_), more) => {
                let message =
                    format!("the query returned {} rows for one key; expected at most one", more + 1);
                Err(PostgresError::undone(message).into())
            }
        }
    }
}

impl PostgresOrigin {
    async fn query<T: Send + Sync + 'static>(
        &self,
        load: &Load<T>,
        sql: &str,
    ) -> Result<Vec<Row>, LoadError> {
        let until = Instant::now() + self.deadline;
        let parameters: Vec<Literal> = load.key().iter().map(|(segment, _)| Literal::of(segment)).collect();
        let namespace = load.namespace().as_bytes();
        // Before the query's snapshot is taken.
        let must_show = if self.lags { Some(load.must_show().await?) } else { None };
        let lags = || {
            let message =
                format!("the standby lags: what was applied here was not there within {:?}", self.deadline);
            PostgresError::undone(message).into()
        };
        // A standby that lags is not asked to work for an answer that cannot be used.
        let (mut pause, mut has_lagged, mut is_probing) = (PAUSE, false, false);
        loop {
            let sql = (!is_probing).then_some(sql);
            let asked =
                Asked { sql, parameters: &parameters, shown: must_show.map(|link| (namespace, link)) };
            let began = Instant::now();
            match self.lines.ask(until.saturating_duration_since(began), &asked).await {
                Ok(Some(_)) if is_probing => {
                    is_probing = false;
                    continue;
                }
                Ok(Some(rows)) => return Ok(rows),
                // A question that cannot be answered in time would only cost a connection.
                Ok(None) if Instant::now() + began.elapsed() + pause < until => {
                    (has_lagged, is_probing) = (true, true);
                    tokio::time::sleep(pause).await;
                }
                Ok(None) => return Err(lags()),
                Err(_) if has_lagged && Instant::now() >= until => return Err(lags()),
                Err(error) => return Err(error.into()),
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

impl Lines {
    /// `None`: the server does not show yet what it must.
    async fn ask(&self, within: Duration, asked: &Asked<'_>) -> Result<Option<Vec<Row>>, PostgresError> {
        let began = Instant::now();
        let busy = || PostgresError::undone(format!("no connection was free within {within:?}"));
        let permit = tokio::time::timeout(within, self.free.acquire()).await;
        // It is never closed.
        let Ok(Ok(_permit)) = permit else { return Err(busy()) };
        // Whoever has a permit and a line gives the line back first, so one is free.
        let line = self.all.iter().find_map(|line| line.try_lock().ok()).ok_or_else(busy)?;
        let left = within.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
        line.run(left, |client| asked.of(client, left)).await
    }
}

/// One query, and what must be visible where it is asked. Without a query: whether it is.
struct Asked<'a> {
    sql: Option<&'a str>,
    parameters: &'a [Literal],
    shown: Option<(&'a [u8], Link)>,
}

impl Asked<'_> {
    /// One transaction with one snapshot, all of it sent before any of it is answered: one way there and back, and, should the
    /// load be dropped, its end is on its way too.
    async fn of(&self, client: Arc<Client>, within: Duration) -> Result<Option<Vec<Row>>, Error> {
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {}",
            within.as_millis().clamp(1, i32::MAX as u128)
        );
        let parameters: Vec<Parameter<'_>> =
            self.parameters.iter().map(|literal| (literal as _, Type::UNKNOWN)).collect();
        let (began, shown, rows, ended) = tokio::join!(
            biased;
            client.batch_execute(&begin),
            self.is_shown(&client),
            self.rows(&client, &parameters),
            client.batch_execute("COMMIT"),
        );
        // The first that failed says why.
        began?;
        let (is_shown, rows) = (shown?, rows?);
        ended?;
        Ok(is_shown.then_some(rows))
    }

    async fn rows(&self, client: &Client, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Error> {
        match self.sql {
            Some(sql) => client.query_typed(sql, parameters).await,
            None => Ok(Vec::new()),
        }
    }

    async fn is_shown(&self, client: &Client) -> Result<bool, Error> {
        let Some((namespace, link)) = self.shown else { return Ok(true) };
        let (epoch, position) = (link.epoch.get().to_be_bytes(), link.position.cast_signed());
        let rows = client
            .query_typed(
                SHOWS,
                &[(&namespace, Type::BYTEA), (&epoch.as_slice(), Type::BYTEA), (&position, Type::INT8)],
            )
            .await?;
        rows.first().map_or(Ok(false), |row| row.try_get(0))
    }
}

/// A segment as SQL writes it, for the server to find its type.
#[derive(Debug)]
struct Literal(Option<String>);

impl Literal {
    fn of(segment: Segment<'_>) -> Self {
        Literal(match segment {
            Segment::None => None,
            Segment::Text(text) => Some(text.to_owned()),
            Segment::Bytes(bytes) => {
                let mut hex = String::from("\\x");
                for byte in bytes {
                    let _ = write!(hex, "{byte:02x}");
                }
                Some(hex)
            }
            other => Some(other.to_string()),
        })
    }
}

impl ToSql for Literal {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        let Some(text) = &self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}
