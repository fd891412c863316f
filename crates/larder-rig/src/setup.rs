//! What a server is started with: its settings, users, certificates. A builder; `server` runs what it says.

use std::{fmt::Write as _, sync::Arc};

use crate::{Error, Flavour, Server, tls::Certificates};

/// A server that has not been started yet.
#[derive(Debug, Clone)]
pub struct Setup {
    pub(crate) flavour: Flavour,
    pub(crate) tls: bool,
    /// Somebody else's; none of its own are made then.
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) sentinel: bool,
    pub(crate) cluster: bool,
    /// Lines of its configuration file, in order.
    lines: Vec<String>,
}

impl Setup {
    pub(crate) fn new(flavour: Flavour) -> Self {
        let setup = Self::with_nothing(flavour);
        // Nothing on disk unless asked; nothing waits for more replicas to come.
        setup.setting("save", "\"\"").setting("appendonly", "no").setting("repl-diskless-sync-delay", "0")
    }

    /// A Sentinel holds no data.
    pub(crate) fn sentinel(flavour: Flavour) -> Self {
        Self { sentinel: true, ..Self::with_nothing(flavour) }
    }

    fn with_nothing(flavour: Flavour) -> Self {
        Self { flavour, tls: false, certificates: None, sentinel: false, cluster: false, lines: Vec::new() }
    }

    pub(crate) fn cluster(mut self) -> Self {
        self.cluster = true;
        self.setting("cluster-enabled", "yes")
    }

    /// One line of the configuration file: `("maxmemory", "2mb")`. The last one of a name counts.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.lines.push(format!("{name} {value}"));
        self
    }

    /// A user with its rules, as in an ACL file: `("larder", "on >secret ~larder:* +@all")`. The rig itself goes on as the
    /// default user, who may do everything.
    #[must_use]
    pub fn user(self, name: &str, rules: &str) -> Self {
        self.setting("user", &format!("{name} {rules}"))
    }

    /// A second port that speaks TLS, with certificates made for the occasion ([`Server::tls_url`]). Servers of a set talk
    /// TLS to each other too.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Speaks TLS if that one does, with its certificates: a set's servers must believe each other.
    pub(crate) fn certified_as(mut self, server: &Server) -> Self {
        self.certificates = server.certificates();
        self.tls = self.certificates.is_some();
        self
    }

    /// Starts it, and waits until it answers.
    ///
    /// # Errors
    /// When the flavour is not installed, or the server refuses its settings; with the end of its log.
    pub fn start(self) -> Result<Server, Error> {
        Server::run(self)
    }

    pub(crate) fn file(&self, more: &[(&str, String)]) -> String {
        let mut text = self.lines.join("\n");
        for (name, value) in more {
            let _ = write!(text, "\n{name} {value}");
        }
        text.push('\n');
        text
    }
}
