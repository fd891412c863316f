//! A database for one run, on a server that may be somebody's: made before it, removed after it.
//!
//! `bench` uses it. It never touches any other database of the server.

use tokio_postgres::{Config, NoTls};

use crate::db::postgres::settings;
use crate::error::ServiceError;

/// A database that is ours alone.
#[derive(Debug)]
pub(crate) struct RunDatabase {
    server: Config,
    name: String,
    /// Where it is; may hold a password.
    url: String,
}

impl RunDatabase {
    /// Makes one on the server that a URL names, with Larder's schema in it.
    ///
    /// # Errors
    /// When the server cannot be reached, or the user may not make databases.
    pub(crate) async fn create(url: &str) -> Result<RunDatabase, ServiceError> {
        let server = settings(url)?;
        let name = format!("booking_{:016x}", fastrand::u64(..));
        let made = RunDatabase { url: with_database(url, &name), server, name };
        made.ask(&format!("CREATE DATABASE {}", made.name)).await?;
        let migrated = larder::postgres::migrate(&made.url).await;
        if let Err(error) = migrated {
            made.remove().await?;
            return Err(ServiceError::Cache(error.to_string()));
        }
        Ok(made)
    }

    /// `postgres://…`, of this database.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Removes it, with whoever is still connected.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub(crate) async fn remove(&self) -> Result<(), ServiceError> {
        self.ask(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await
    }

    async fn ask(&self, sql: &str) -> Result<(), ServiceError> {
        let (session, connection) = self.server.connect(NoTls).await?;
        let connection = tokio::spawn(connection);
        session.batch_execute(sql).await?;
        drop(session);
        // How it ended says nothing of the statement, which was answered.
        let _ = connection.await;
        Ok(())
    }
}

/// The same server, another database: the last word on it counts.
fn with_database(url: &str, name: &str) -> String {
    let joint = if url.contains('?') { '&' } else { '?' };
    format!("{url}{joint}dbname={name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_replaced_in_every_form_of_a_url() {
        for url in [
            "postgres://larder@127.0.0.1:7/app",
            "postgresql://larder@127.0.0.1:7",
            "postgres://larder@127.0.0.1:7/app?connect_timeout=3",
        ] {
            let config: Config = with_database(url, "ours").parse().unwrap();
            assert_eq!((config.get_dbname(), config.get_ports()), (Some("ours"), &[7][..]), "{url}");
            assert_eq!(config.get_user(), Some("larder"), "{url}");
        }
    }
}
