//! What a URL says of a database: where it is, and how one talks to it. Opens connections, and keeps none.
//!
//! TLS is either certain or not there: a certificate is always verified, and a server that offers none is refused. The modes
//! that take what they get (`prefer`, `allow`) mean no TLS, since whoever can listen can also switch it off.

use super::PostgresError;
use percent_encoding::percent_decode_str;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::config::{LoadBalanceHosts, SslMode, TargetSessionAttrs};
use tokio_postgres::{CancelToken, Client, Config, Connection, Socket, tls::MakeTlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a journal's question may take, connecting included: less than whoever asks gives it. The server waits for its lock
/// for less.
pub(crate) const DEADLINE: Duration = Duration::from_secs(4);
/// Silence on a connection for which the system asks whether the other side is there, and for which it gives it up.
const SILENCE: Duration = Duration::from_secs(5);
const SILENCE_MAX: Duration = Duration::from_secs(15);

type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Where the database is, for every connection.
#[derive(Clone)]
pub(crate) struct Settings {
    config: Config,
    tls: MakeRustlsConnect,
}

impl Settings {
    pub(crate) fn parse(url: &str) -> Result<Self, PostgresError> {
        // What is wrong with it is not said: it may be in the password.
        let wrong = || {
            PostgresError::undone("this is no URL of Postgres; expected postgres://user@host:port/database")
        };
        // `host=.. sslmode=..` would be taken too, and what it asks of TLS would go unread.
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(wrong());
        }
        let asked = Asked::in_url(url)?;
        let mut config: Config = asked.rest.parse().map_err(|_| wrong())?;
        if config.get_application_name().is_none() {
            config.application_name("larder");
        }
        if config.get_hosts().len() > 1 && !asked.names_session {
            // A primary and its standbys: whoever takes writes, and never again and again the one that does not answer.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
            config.load_balance_hosts(LoadBalanceHosts::Random);
        }
        config.keepalives_idle(SILENCE).keepalives_interval(SILENCE).tcp_user_timeout(SILENCE_MAX);
        config.connect_timeout(DEADLINE);
        config.ssl_mode(if asked.tls { SslMode::Require } else { SslMode::Disable });
        let roots = match (asked.tls, asked.roots) {
            (false, _) => RootCertStore::empty(),
            (true, Some(file)) => roots_in(&file)?,
            (true, None) => roots_of_this_system()?,
        };
        Ok(Settings { config, tls: verifying(roots)? })
    }

    /// A session, and what it says by itself.
    pub(crate) async fn connect(&self) -> Result<(Client, Connection<Socket, Stream>), PostgresError> {
        match timeout(DEADLINE, self.config.connect(self.tls.clone())).await {
            // Nothing has been asked yet.
            Ok(connected) => {
                connected.map_err(|error| PostgresError::undone(PostgresError::from(error).to_string()))
            }
            Err(_) => Err(PostgresError::undone(format!("not connected within {DEADLINE:?}"))),
        }
    }

    /// Asks the server not to go on with what a session does now.
    pub(crate) async fn cancel(&self, what: CancelToken) {
        let _ = timeout(DEADLINE, what.cancel_query(self.tls.clone())).await;
    }
}

/// What stands behind the question mark and is not `tokio-postgres`' affair.
struct Asked<'a> {
    rest: Cow<'a, str>,
    tls: bool,
    /// A file of certificates.
    roots: Option<String>,
    names_session: bool,
}

impl<'a> Asked<'a> {
    fn in_url(url: &'a str) -> Result<Self, PostgresError> {
        let mut asked = Asked { rest: Cow::Borrowed(url), tls: false, roots: None, names_session: false };
        let Some((place, parameters)) = url.split_once('?') else { return Ok(asked) };
        let mut mode = None;
        let mut others = Vec::new();
        for parameter in parameters.split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name {
                "sslmode" => mode = Some(value),
                "sslrootcert" => {
                    asked.roots = Some(percent_decode_str(value).decode_utf8_lossy().into_owned());
                }
                _ => {
                    asked.names_session |= name == "target_session_attrs";
                    others.push(parameter);
                }
            }
        }
        asked.tls = match mode {
            None => asked.roots.is_some(),
            Some("disable" | "allow" | "prefer") => false,
            Some("require" | "verify-ca" | "verify-full") => true,
            Some(other) => {
                return Err(PostgresError::undone(format!(
                    "sslmode is {other:?}; expected disable, or require to have TLS with a verified certificate"
                )));
            }
        };
        asked.rest = Cow::Owned(format!("{place}?{}", others.join("&")));
        Ok(asked)
    }
}

fn verifying(roots: RootCertStore) -> Result<MakeRustlsConnect, PostgresError> {
    // Not the process's default provider: without one, or with two, rustls would panic.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| PostgresError::undone(format!("TLS cannot be used: {error}")))?;
    Ok(MakeRustlsConnect::new(config.with_root_certificates(roots).with_no_client_auth()))
}

fn roots_in(file: &str) -> Result<RootCertStore, PostgresError> {
    let wrong = |what: String| {
        PostgresError::undone(format!(
            "sslrootcert is {file:?}: {what}; expected a file of certificates in PEM"
        ))
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("it has none".to_owned())) } else { Ok(roots) }
}

fn roots_of_this_system() -> Result<RootCertStore, PostgresError> {
    let mut roots = RootCertStore::empty();
    // Some of a system's certificates may be of no use.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match roots.is_empty() {
        true => Err(PostgresError::undone(
            "this system trusts nobody: expected the package ca-certificates, or sslrootcert=FILE in the URL",
        )),
        false => Ok(roots),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        Settings::parse(url).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn what_is_asked_of_tls_is_taken_out_of_the_url() {
        let asked =
            Asked::in_url("postgres://u:p@h/d?sslmode=verify-full&options=a&sslrootcert=%2Fa%20b").unwrap();
        assert_eq!((asked.rest.as_ref(), asked.tls), ("postgres://u:p@h/d?options=a", true));
        assert_eq!(asked.roots.as_deref(), Some("/a b"));
        for (url, tls) in [
            ("postgres://h/d", false),
            ("postgres://h/d?sslmode=prefer", false),
            ("postgres://h/d?sslmode=require", true),
            ("postgres://h/d?sslrootcert=f", true),
            ("postgres://h/d?sslmode=disable&sslrootcert=f", false),
        ] {
            assert_eq!(Asked::in_url(url).unwrap().tls, tls, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_and_the_password_is_not() {
        let text = refusal("postgres://u:secret@h/d?sslmode=always");
        assert!(text.contains("sslmode") && text.contains("always") && text.contains("require"), "{text}");
        let text = refusal("postgres://u:secret@h/d?sslrootcert=/nowhere.pem");
        assert!(text.contains("sslrootcert") && text.contains("/nowhere.pem"), "{text}");
        let text = refusal("host=h user=u password=secret sslmode=require");
        assert!(text.contains("expected postgres://") && !text.contains("secret"), "{text}");
        let text = refusal("postgres://u:secret@h:port/d");
        assert!(text.contains("expected postgres://") && !text.contains("secret"), "{text}");
    }
}
