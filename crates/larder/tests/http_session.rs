//! Sessions in an HTTP service of two nodes: what a user wrote or saw on one, he sees on the other.
#![cfg(feature = "axum")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rig;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRef, State};
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use larder::http::{SESSION_HEADER, Session, Sessions};
use larder::{Cache, Region, Target, Token, key};
use larder_core::port::Journal;
use larder_core::{Epoch, Link};
use rig::{NS, Origin, Rig, eventual};
use std::sync::Arc;
use tower::ServiceExt;

#[derive(Clone)]
struct App {
    cache: Cache,
    sessions: Sessions,
    slots: Region<u64>,
    origin: Origin,
}

impl FromRef<App> for Sessions {
    fn from_ref(app: &App) -> Sessions {
        app.sessions.clone()
    }
}

const SECRET: &[u8] = b"0123456789abcdef";
const OLD_SECRET: &[u8] = b"fedcba9876543210";

async fn book(State(app): State<App>, session: Session) -> Response<Body> {
    let version = app.origin.write();
    let said = app.cache.invalidate([Target::key("slots", key![1])]).await.unwrap();
    (session.wrote(&said), version.to_string()).into_response()
}

async fn look(State(app): State<App>, session: Session) -> Response<Body> {
    let version = *app.slots.get_or_load(key![1], app.origin.load()).await.unwrap();
    (session.seen().await.unwrap(), version.to_string()).into_response()
}

async fn peek(State(app): State<App>, session: Session) -> Response<Body> {
    let version = *app.slots.get_or_load(key![1], app.origin.load()).await.unwrap();
    (session, version.to_string()).into_response()
}

fn service(cache: &Cache, secrets: &[&[u8]], slots: Region<u64>, origin: &Origin) -> Router {
    let sessions = Sessions::new(cache, secrets.iter().copied()).unwrap();
    let app = App { cache: cache.clone(), sessions, slots, origin: origin.clone() };
    let router = Router::new().route("/book", post(book)).route("/look", get(look)).route("/peek", get(peek));
    router.with_state(app)
}

/// What came back: the status, the session if there is one, the body.
struct Answer {
    status: StatusCode,
    session: Option<String>,
    body: String,
}

async fn ask(service: &Router, method: &str, path: &str, session: Option<&str>) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(session) = session {
        request = request.header(SESSION_HEADER, session);
    }
    let response = service.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let varies = response.headers().get("vary").is_some_and(|names| names == "larder-session");
    assert!(varies || response.status() != StatusCode::OK, "a proxy must not mix up sessions");
    let session = response.headers().get(SESSION_HEADER).map(|value| value.to_str().unwrap().to_owned());
    let status = response.status();
    let body = to_bytes(response.into_body(), 1000).await.unwrap();
    Answer { status, session, body: String::from_utf8(body.to_vec()).unwrap() }
}

/// Two nodes; the second hears of nothing by itself, and has the value as it was in its memory.
async fn two_nodes() -> (Rig, Router, Router) {
    let rig = Rig::of(|builder, store| builder.store(store.clone())).await;
    rig.journal.set_deaf(true);
    let there = Cache::builder(NS).clock(Arc::new(rig.clock.clone())).journal(rig.journal.clone());
    let there = there.build().await.unwrap();
    // In the middle of a change of secrets.
    let here = service(&rig.cache, &[OLD_SECRET], rig.region(eventual()), &rig.origin);
    let slots = there.region("slots", eventual()).unwrap();
    let there = service(&there, &[SECRET, OLD_SECRET], slots, &rig.origin);
    let first = ask(&there, "GET", "/peek", None).await;
    assert_eq!((first.body.as_str(), first.session), ("1", None), "who has seen nothing has no session");
    (rig, here, there)
}

#[tokio::test(start_paused = true)]
async fn who_writes_on_one_node_sees_it_on_the_other() {
    let (_rig, here, there) = two_nodes().await;
    let booked = ask(&here, "POST", "/book", None).await;
    let session = booked.session.unwrap();
    assert_eq!(
        ask(&there, "GET", "/peek", None).await.body,
        "1",
        "eventual: without a session, the old value"
    );
    let read = ask(&there, "GET", "/peek", Some(&session)).await;
    assert_eq!(read.body, booked.body);
    let place = |session: &str| session.split_once('.').unwrap().0.to_owned();
    assert_eq!(place(&read.session.unwrap()), place(&session), "who only reads it is where he was");
}

#[tokio::test(start_paused = true)]
async fn who_saw_it_on_one_node_sees_it_on_the_other() {
    let (rig, here, there) = two_nodes().await;
    // Through an outbox: neither node has heard of the record when the first loads and shows what was written.
    let version = rig.origin.write();
    rig.records.append(NS, &[Target::key("slots", key![1])], &"booked".into()).await.unwrap();
    let seen = ask(&here, "GET", "/look", None).await;
    assert_eq!(seen.body, version.to_string());
    let read = ask(&there, "GET", "/peek", seen.session.as_deref()).await;
    assert_eq!(read.body, version.to_string());
}

/// Two caches in one service: each has a session of its own in the same header.
#[tokio::test(start_paused = true)]
async fn sessions_of_other_caches_are_left_alone() {
    let (_rig, here, there) = two_nodes().await;
    let booked = ask(&here, "POST", "/book", None).await;
    let another = Cache::builder("another").build().await.unwrap();
    let slots = another.region("slots", eventual()).unwrap();
    let other = ask(&service(&another, &[SECRET], slots, &Origin::default()), "POST", "/book", None).await;
    let both = format!("{}, {}", other.session.unwrap(), booked.session.unwrap());
    assert_eq!(ask(&there, "GET", "/peek", Some(&both)).await.body, booked.body);
}

/// A made-up place would make the node distrust all that it keeps.
#[tokio::test(start_paused = true)]
async fn what_is_no_session_of_ours_is_refused_and_nothing_is_fenced_for_it() {
    let (rig, here, there) = two_nodes().await;
    let loads = rig.origin.loads();
    let link = Link { epoch: Epoch::new(7), position: 3, nonce: 9 };
    let unsigned = Token::new(NS, link).to_string();
    let forged = format!("{unsigned}.{}", "0".repeat(32));
    for (session, expected) in
        [("nonsense", "not signed"), (&unsigned, "not signed"), (&forged, "signature"), ("a.b", "signature")]
    {
        let refused = ask(&there, "GET", "/peek", Some(session)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert!(
            refused.body.contains("larder-session") && refused.body.contains(expected),
            "{}",
            refused.body
        );
        assert!(!refused.body.contains("nonsense"), "what was found is not repeated");
    }
    assert_eq!(ask(&there, "GET", "/peek", None).await.body, "1");
    assert_eq!(rig.origin.loads(), loads, "still in memory");
    let nothing = ask(&here, "GET", "/peek", Some("")).await;
    assert_eq!(nothing.status, StatusCode::OK, "an empty header is none");
}

/// It could only serve what may be older than what the user has seen.
#[tokio::test(start_paused = true)]
async fn while_the_journal_cannot_be_asked_a_session_is_not_served() {
    let (rig, here, there) = two_nodes().await;
    let booked = ask(&here, "POST", "/book", None).await;
    rig.journal.set_unreachable(true);
    let refused = ask(&there, "GET", "/peek", booked.session.as_deref()).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(&there, "GET", "/peek", None).await.body, "1", "without a session, as its level allows");
    assert_eq!(
        ask(&here, "GET", "/peek", booked.session.as_deref()).await.body,
        booked.body,
        "reached before"
    );
}

#[tokio::test]
async fn secrets_that_are_none_are_refused() {
    let cache = Cache::builder(NS).build().await.unwrap();
    let refused = |secrets: &[&[u8]]| Sessions::new(&cache, secrets.iter().copied()).unwrap_err().to_string();
    assert!(refused(&[]).contains("expected one"));
    assert!(refused(&[SECRET, b"short"]).contains("secret 2 has 5 bytes; expected at least 16"));
    let printed = format!("{:?}", Sessions::new(&cache, [SECRET]).unwrap());
    assert!(!printed.contains("0123"), "{printed}");
}
