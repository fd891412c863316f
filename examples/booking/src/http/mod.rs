//! The service over HTTP: JSON in, JSON out, errors that name the field.
//!
//! `main` calls `serve`; tests call `router`. It knows the service and nothing below it.

pub(crate) mod error;
pub(crate) mod input;
pub(crate) mod routes;
#[cfg(test)]
mod tests;
pub(crate) mod view;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::Html;
use axum::routing::{get, post};

use crate::args::ServeArgs;
use crate::cached::SecondTier;
use crate::console;
use crate::db::{Durability, Place};
use crate::error::ServiceError;
use crate::history::generate;
use crate::service::{BookingService, ServiceConfig};
use crate::signals::asked_to_stop;
use crate::under_way::UnderWay;

/// The largest request body.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Reading connections.
const READERS: usize = 8;

/// Why the service did not start or stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the server stopped: {0}")]
    Server(std::io::Error),
}

/// All endpoints.
pub(crate) fn router(service: Arc<BookingService>) -> Router {
    Router::new()
        .route("/", get(|| async { Html(include_str!("index.html")) }))
        .route("/companies", get(routes::companies))
        .route("/companies/{company}/branches", get(routes::branches))
        .route("/companies/{company}/services", get(routes::services))
        .route("/companies/{company}/statistics", get(routes::statistics))
        .route("/companies/{company}/branches/{branch}/staff", get(routes::staff))
        .route("/companies/{company}/branches/{branch}/availability", get(routes::availability))
        .route("/companies/{company}/branches/{branch}/appointments", post(routes::book))
        .route("/appointments/{id}", get(routes::appointment).delete(routes::cancel))
        .route("/appointments/{id}/reschedule", post(routes::reschedule))
        .route("/appointments/{id}/cancel", post(routes::cancel))
        .route("/admin/cache/health", get(routes::cache_health))
        .fallback(routes::unknown)
        .method_not_allowed_fallback(routes::wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(service)
}

/// Serves until Ctrl-C or SIGTERM, then finishes the requests it has.
///
/// # Errors
/// When the database cannot be used or the port is taken.
pub(crate) async fn serve(args: ServeArgs) -> Result<(), ServeError> {
    let config = config(&args);
    let place = config.database.clone();
    let service = Arc::new(BookingService::open(config).await?);
    let seeded = service.seed_if_empty(Arc::new(generate::demo())).await?.is_some();
    let address = SocketAddr::new(args.address, args.port);
    let listen = |source| ServeError::Listen { address, source };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(listen)?;
    greet(listener.local_addr().map_err(listen)?, &place, seeded);
    let router = router(Arc::clone(&service));
    let served = axum::serve(listener, router).with_graceful_shutdown(asked_to_stop()).await;
    console::message("stopping");
    service.close().await;
    served.map_err(ServeError::Server)
}

fn config(args: &ServeArgs) -> ServiceConfig {
    ServiceConfig {
        database: Place::File(args.database.clone(), Durability::Full),
        second: SecondTier::File(args.database.with_extension("cache.db")),
        cache: args.cache,
        connections: READERS,
        node: 0,
        under_way: UnderWay::default(),
    }
}

fn greet(address: SocketAddr, place: &Place, seeded: bool) {
    let url = format!("http://{address}");
    console::result(&format!("booking service on {url}, database {place}"));
    if seeded {
        console::result("the database was empty: two demo companies are in it now");
    }
    let branch = format!("{url}/companies/1/branches/1");
    console::result(&format!(
        "\n  curl -i '{branch}/availability?service=1&day=2027-03-01'\n  \
         curl -i -X POST {branch}/appointments -d '{{\"service\": 1, \"starts\": \"2027-03-01T09:30\", \"customer\": \"Ada\"}}'\n  \
         curl -X POST {url}/appointments/1/reschedule -d '{{\"starts\": \"2027-03-01T11:00\"}}'\n  \
         curl -X DELETE {url}/appointments/1\n  \
         curl {url}/companies/1/statistics\n  \
         curl {url}/admin/cache/health\n\nCtrl-C stops it."
    ));
}
