//! What happens to databases, and is undone: kills, standstills, sessions ended, a lock held for long.
//!
//! `chaos` calls it from its own thread. It never changes what is in the database.

use std::sync::{Arc, Mutex, PoisonError};

use larder_rig::{Error, Postgres};
use tokio::runtime::Handle;
use tokio_postgres::{Client, NoTls};

type Deed = fn(&Ground) -> Result<(), Error>;

/// Ends every other session of the database.
const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                         WHERE datname = current_database() AND pid <> pg_backend_pid()";
/// The lock of whoever puts the journal into order. Nobody else looks into Larder's schema so: this is to break it.
const SEQUENCER: &str = "BEGIN; SELECT larder.lock('booking')";

/// A server of our own, with the run's database.
#[derive(Debug)]
pub(crate) struct Ground {
    server: Arc<Postgres>,
    url: String,
    runtime: Handle,
    /// A session that holds something until the fault ends.
    holder: Mutex<Option<Client>>,
}

/// Something that goes wrong for a while.
#[derive(Debug)]
pub(crate) struct Mishap {
    pub(crate) name: &'static str,
    pub(crate) begin: Deed,
    pub(crate) again: Deed,
    pub(crate) end: Deed,
}

const PLAIN: Mishap = Mishap { name: "", begin: nothing, again: nothing, end: nothing };

impl Mishap {
    /// All of them.
    pub(crate) const ALL: &'static [Mishap] = &[
        Mishap { name: "Postgres: kill -9, restarted at once", begin: |on| on.server.restart(), ..PLAIN },
        Mishap {
            name: "Postgres: kill -9, away for a while",
            begin: |on| {
                on.server.kill();
                Ok(())
            },
            end: |on| on.server.restart(),
            ..PLAIN
        },
        Mishap {
            name: "Postgres: SIGSTOP, all of it stands still",
            begin: |on| {
                on.server.freeze();
                Ok(())
            },
            end: |on| {
                on.server.thaw();
                Ok(())
            },
            ..PLAIN
        },
        Mishap {
            name: "Postgres: takes no new connections",
            begin: |on| {
                on.server.pause();
                Ok(())
            },
            end: |on| {
                on.server.thaw();
                Ok(())
            },
            ..PLAIN
        },
        Mishap {
            name: "Postgres: all sessions terminated",
            begin: |on| on.ask(TERMINATE).map(drop),
            ..PLAIN
        },
        Mishap {
            name: "Postgres: all sessions terminated again and again",
            again: |on| on.ask(TERMINATE).map(drop),
            ..PLAIN
        },
        Mishap {
            name: "Postgres: the sequencer's lock is held",
            begin: |on| {
                let holder = on.ask(SEQUENCER)?;
                *on.holder.lock().unwrap_or_else(PoisonError::into_inner) = Some(holder);
                Ok(())
            },
            end: |on| {
                // Its session ends, and with it its transaction.
                *on.holder.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Ok(())
            },
            ..PLAIN
        },
    ];
}

impl Ground {
    /// The ground of a run. To be called on the runtime.
    pub(crate) fn new(server: Arc<Postgres>, url: &str) -> Ground {
        Ground { server, url: url.to_owned(), runtime: Handle::current(), holder: Mutex::default() }
    }

    /// Says something in a session of its own, which ends with what is returned.
    fn ask(&self, sql: &str) -> Result<Client, Error> {
        let failed = |error: tokio_postgres::Error| Error::new(format!("the database: {error}"));
        self.runtime.block_on(async {
            let (session, connection) = tokio_postgres::connect(&self.url, NoTls).await.map_err(failed)?;
            self.runtime.spawn(connection);
            session.batch_execute(sql).await.map_err(failed)?;
            Ok(session)
        })
    }
}

fn nothing(_: &Ground) -> Result<(), Error> {
    Ok(())
}
