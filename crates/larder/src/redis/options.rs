//! Where the servers are and how long one waits for them.

use super::address::{Address, Location, Login};
use super::error::RedisError;
use std::fmt;
use std::time::Duration;

/// Where the servers are, who we are to them, and how long one waits for them. `Debug` shows no password.
#[derive(Clone)]
pub struct RedisOptions {
    pub(super) location: Location,
    pub(super) deadline: Duration,
    pub(super) roots: Option<Vec<u8>>,
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
}

const DEADLINE: Duration = Duration::from_millis(500);
/// A large value may take as many times longer as this.
const LARGE: u32 = 4;

impl RedisOptions {
    /// Reads a URL:
    ///
    /// | form | what it names |
    /// |---|---|
    /// | `redis://user:password@host:6379/0` | one server; all but the host may be left out |
    /// | `unix:///path/to/socket?db=0` | one server on this machine |
    /// | `redis+sentinel://:password@h1,h2:26379,h3/name/0` | the master that these Sentinels call `name`; with `?sentinel_password=` and `?sentinel_username=` for themselves |
    /// | `redis+cluster://:password@h1:7001,h2:7002` | a cluster, found through any of these nodes |
    ///
    /// `rediss` in place of `redis` asks for TLS, and `valkey` says the same as `redis`. In names and passwords, `%40`
    /// stands for `@`.
    ///
    /// # Errors
    /// [`RedisError::is_unusable`], with what was expected and never with the URL itself.
    pub fn parse(url: &str) -> Result<Self, RedisError> {
        Location::parse(url).map(Self::at)
    }

    /// Reads `REDIS_URL`; if it is not set, `REDIS_HOST`, `REDIS_PORT`, `REDIS_USERNAME` and `REDIS_PASSWORD`.
    ///
    /// # Errors
    /// [`RedisError::is_unusable`] when neither a URL nor a host is set, or they cannot be used.
    pub fn from_env() -> Result<Self, RedisError> {
        Location::from_variables(|name| std::env::var(name).ok()).map(Self::at)
    }

    fn at(location: Location) -> Self {
        RedisOptions { location, deadline: DEADLINE, roots: None, identity: None }
    }

    /// How long an operation may take, with everything it needs: waiting for a connection that is being made, being
    /// sent elsewhere by a cluster. Values of 128 KiB and more, on connections of their own, are given four times as
    /// long. Default 500 ms.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.clamp(Duration::from_millis(1), Duration::from_secs(3600));
        self
    }

    /// The certificates (PEM) of those who may vouch for the servers, in place of the system's.
    #[must_use]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// The certificate (PEM) and the key (PEM) by which the servers know this client.
    #[must_use]
    pub fn identity(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    pub(super) fn large_deadline(&self) -> Duration {
        self.deadline.saturating_mul(LARGE)
    }

    /// How long a connection may give no sign of life. Not as short as a deadline may be: a server that is busy for a moment
    /// is late with one answer, and with its connection all that is under way on it would be lost.
    pub(super) fn silence(&self) -> Duration {
        self.deadline.max(Duration::from_millis(500))
    }

    /// How long a connection may take to be made: resolved, opened, and greeted.
    pub(super) fn connect_deadline(&self) -> Duration {
        self.deadline.clamp(Duration::from_secs(1), Duration::from_secs(5))
    }
}

/// To whom a connection is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Sentinel,
}

impl RedisOptions {
    pub(super) fn login(&self, role: Role) -> &Login {
        match role {
            Role::Server => &self.location.login,
            Role::Sentinel => &self.location.sentinel_login,
        }
    }

    pub(super) fn is_tls(&self, address: &Address) -> bool {
        self.location.tls && matches!(address, Address::Tcp(..))
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("topology", &self.location.topology)
            .field("database", &self.location.database)
            .field("tls", &self.location.tls)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
