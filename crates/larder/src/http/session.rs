//! The session of a request: what its user has seen and written before, on whichever node, is seen by this one too.
//!
//! A signed token travels in a header, from each answer to the next request; the user's client, or a proxy before the
//! service, brings it back. It says how far the journal had come, and nothing about who brings it.

use super::signature::{SECRET_BYTES_MIN, Signer, verified};
use crate::cache::Cache;
use crate::engine::Invalidated;
use crate::error::Error;
use axum_core::extract::{FromRef, FromRequestParts};
use axum_core::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use larder_core::Token;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

/// The header a session travels in, in requests and in answers. Sessions of several caches may stand in it, each under a
/// header line of its own or separated by commas: a cache takes the one of its namespace, and leaves the others alone.
pub const SESSION_HEADER: HeaderName = HeaderName::from_static("larder-session");

/// What a service makes sessions with: its cache and its secrets. Part of the service's state.
#[derive(Clone)]
pub struct Sessions {
    cache: Cache,
    signers: Arc<[Signer]>,
}

impl Sessions {
    /// Sessions of this cache. All nodes share the secrets, each of 16 bytes or more, random ones: the first signs, all are
    /// believed, so that one can be replaced while the service runs.
    ///
    /// # Errors
    /// When there is no secret, or one is too short ([`Error::is_invalid`]).
    pub fn new<'a>(cache: &Cache, secrets: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Error> {
        let too_short = |n: usize, length: usize| {
            Error::invalid(format!(
                "session secret {n} has {length} bytes; expected at least {SECRET_BYTES_MIN} random ones"
            ))
        };
        let secrets = secrets.into_iter().enumerate();
        let signers: Arc<[Signer]> = secrets
            .map(|(n, secret)| Signer::new(secret).ok_or_else(|| too_short(n + 1, secret.len())))
            .collect::<Result<_, _>>()?;
        if signers.is_empty() {
            return Err(Error::invalid("no session secret; expected one, or several while one is replaced"));
        }
        Ok(Sessions { cache: cache.clone(), signers })
    }

    /// The token of this cache's namespace among all that stand in the header.
    fn find(&self, headers: &HeaderMap) -> Result<Option<Token>, SessionRejection> {
        for line in headers.get_all(SESSION_HEADER) {
            let line = line.to_str().map_err(|_| SessionRejection::malformed(&"its bytes are not ASCII"))?;
            for text in line.split(',').map(str::trim).filter(|text| !text.is_empty()) {
                let token =
                    verified(text, &self.signers).map_err(|wrong| SessionRejection::malformed(&wrong))?;
                if token.is_of(self.cache.namespace()) {
                    return Ok(Some(token));
                }
            }
        }
        Ok(None)
    }

    fn text(&self, token: Token) -> Option<HeaderValue> {
        // Letters, digits, dashes and a dot: always fit for a header.
        HeaderValue::try_from(self.signers.first()?.sign(token)).ok()
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the secrets.
        f.debug_struct("Sessions").field("namespace", &self.cache.namespace()).finish_non_exhaustive()
    }
}

/// An `axum` extractor. Once a handler has it, what the handler reads through the cache is at least as new as what the
/// token in the request's header stands for, whatever the region's level. Give it back with the answer, as one of its
/// parts, so that the next request brings it.
///
/// The state must have [`Sessions`]: `Sessions: FromRef<S>`, which is so if they are the state. A request without a token
/// waits for nothing; one with a token that this node has reached, neither; else for one question to the journal.
///
/// Rejects with 400 what this service has not signed, and with 503 when the journal cannot be asked: what could be read then may be older
/// than what the user has seen. Who would rather serve that takes `Result<Session, SessionRejection>`.
///
/// ```
/// use axum_core::response::{IntoResponse, Response};
/// use larder::http::Session;
/// use larder::{Cache, Error, Target, key};
///
/// async fn book(cache: Cache, session: Session) -> Result<Response, Error> {
///     // Write to the database here.
///     let said = cache.invalidate([Target::key("slots", key![7])]).await?;
///     Ok((session.wrote(&said), "booked").into_response())
/// }
///
/// async fn look(session: Session) -> Result<Response, Error> {
///     // Read through the cache here.
///     Ok((session.seen().await?, "free: 9, 10").into_response())
/// }
/// ```
#[derive(Clone)]
pub struct Session {
    sessions: Sessions,
    token: Option<Token>,
}

impl Session {
    /// With what was written: whoever brings the session sees that write. A write that is [`Invalidated::Queued`] leaves
    /// the session as it was, for no other node can know of it yet.
    #[must_use]
    pub fn wrote(mut self, said: &Invalidated) -> Self {
        // The request's own token was reached before this write's record was appended: the record is newer.
        self.token = said.token().or(self.token);
        self
    }

    /// With all that this process has shown so far: whoever brings the session reads nothing older, on any node
    /// (monotonic reads). Covers writes through an outbox too, once they are committed. Asks the journal, once.
    ///
    /// # Errors
    /// When the journal cannot be asked ([`Error::is_journal`]).
    pub async fn seen(mut self) -> Result<Self, Error> {
        self.token = Some(self.sessions.cache.token().await?);
        Ok(self)
    }

    /// What it stands for; `None` while the user has seen nothing.
    pub fn token(&self) -> Option<Token> {
        self.token
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("sessions", &self.sessions).field("token", &self.token).finish()
    }
}

impl<S> FromRequestParts<S> for Session
where
    S: Send + Sync,
    Sessions: FromRef<S>,
{
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, SessionRejection> {
        let sessions = Sessions::from_ref(state);
        let token = sessions.find(&parts.headers)?;
        if let Some(token) = &token {
            sessions.cache.reach(token).await.map_err(SessionRejection::unreachable)?;
        }
        Ok(Session { sessions, token })
    }
}

impl IntoResponseParts for Session {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        let value = self.token.and_then(|token| self.sessions.text(token));
        let headers = parts.headers_mut();
        if let Some(value) = value {
            headers.append(SESSION_HEADER, value);
        }
        // What a proxy keeps of one user's answer must not be given to one who has seen more, nor with this session.
        headers.append(header::VARY, HeaderValue::from_static("larder-session"));
        Ok(parts)
    }
}

/// Why a request has no session. As an answer: 400 or 503, and a line of text.
#[derive(Debug)]
pub struct SessionRejection {
    status: StatusCode,
    message: String,
    source: Option<Error>,
}

impl SessionRejection {
    fn malformed(why: &dyn fmt::Display) -> Self {
        let message = format!("header {SESSION_HEADER}: {why}");
        SessionRejection { status: StatusCode::BAD_REQUEST, message, source: None }
    }

    fn unreachable(error: Error) -> Self {
        let message = "what this session has seen cannot be looked up at the moment".to_owned();
        SessionRejection { status: StatusCode::SERVICE_UNAVAILABLE, message, source: Some(error) }
    }

    /// Whether the header is to blame, and the same request would fail again.
    pub fn is_malformed(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST
    }
}

impl fmt::Display for SessionRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SessionRejection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}

impl IntoResponse for SessionRejection {
    fn into_response(self) -> Response {
        (self.status, self.message).into_response()
    }
}
