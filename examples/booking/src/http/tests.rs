//! The API end to end, through the router, on a real database.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::router;
use crate::cached::CacheMode;
use crate::testing::Demo;

const BRANCH: &str = "/companies/1/branches/1";

async fn call(demo: &Demo, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap();
    let response = router(demo.service.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes))))
}

async fn get(demo: &Demo, path: &str) -> (StatusCode, Value) {
    call(demo, Method::GET, path, "").await
}

async fn post(demo: &Demo, path: &str, body: Value) -> (StatusCode, Value) {
    call(demo, Method::POST, path, &body.to_string()).await
}

async fn starts(demo: &Demo, day: &str) -> Vec<String> {
    let (status, shown) = get(demo, &format!("{BRANCH}/availability?service=1&day={day}")).await;
    assert_eq!(status, StatusCode::OK, "{shown}");
    let slots = shown["slots"].as_array().unwrap();
    slots.iter().map(|slot| slot["starts"].as_str().unwrap().to_owned()).collect()
}

/// Everyone busy at `starts`, so that it is not offered.
async fn fill(demo: &Demo, starts: &str) -> Vec<i64> {
    let mut ids = Vec::new();
    loop {
        let body = json!({ "service": 1, "starts": starts, "customer": "Ada" });
        match post(demo, &format!("{BRANCH}/appointments"), body).await {
            (StatusCode::CREATED, made) => ids.push(made["id"].as_i64().unwrap()),
            (StatusCode::CONFLICT, refused) => {
                assert_eq!(refused["error"]["code"], "taken");
                return ids;
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn a_day_in_the_life(mode: CacheMode) {
    let demo = Demo::new(mode).await;
    let nine = "2027-03-01T09:00".to_owned();
    assert!(starts(&demo, "2027-03-01").await.contains(&nine));

    let ids = fill(&demo, &nine).await;
    assert_eq!(ids.len(), 5, "the branch has five people");
    assert!(!starts(&demo, "2027-03-01").await.contains(&nine), "a full slot is not offered");

    let (status, moved) =
        post(&demo, &format!("/appointments/{}/reschedule", ids[0]), json!({ "starts": "2027-03-02T10:00" }))
            .await;
    assert_eq!(
        (status, &moved["starts"], &moved["changes"]),
        (StatusCode::OK, &json!("2027-03-02T10:00"), &json!(1))
    );
    assert!(starts(&demo, "2027-03-01").await.contains(&nine), "moving away gives the old slot back");
    fill(&demo, &nine).await;
    assert!(!starts(&demo, "2027-03-01").await.contains(&nine));

    let (status, gone) = call(&demo, Method::DELETE, &format!("/appointments/{}", ids[1]), "").await;
    assert_eq!((status, &gone["status"]), (StatusCode::OK, &json!("cancelled")));
    assert!(starts(&demo, "2027-03-01").await.contains(&nine), "cancelling gives the slot back");

    let (_, figures) = get(&demo, "/companies/1/statistics").await;
    assert_eq!(
        (&figures["appointments"], &figures["booked"], &figures["cancelled"]),
        (&json!(6), &json!(5), &json!(1))
    );
    demo.service.close().await;
}

#[tokio::test]
async fn booking_moving_and_cancelling_show_at_once_without_a_cache() {
    a_day_in_the_life(CacheMode::None).await;
}

#[tokio::test]
async fn lists_show_what_the_company_offers() {
    let demo = Demo::new(CacheMode::None).await;
    let (_, companies) = get(&demo, "/companies").await;
    assert_eq!(companies[0]["name"], "Linden Dental");
    let (_, branches) = get(&demo, "/companies/1/branches").await;
    assert_eq!(branches.as_array().unwrap().len(), 4);
    let (_, services) = get(&demo, "/companies/1/services").await;
    assert_eq!((&services[1]["name"], &services[1]["duration_minutes"]), (&json!("Cleaning"), &json!(45)));
    let (_, staff) = get(&demo, &format!("{BRANCH}/staff")).await;
    assert_eq!(staff.as_array().unwrap().len(), 5);
    let (status, health) = get(&demo, "/admin/cache/health").await;
    assert_eq!(
        (status, &health["serving"], &health["cache"]),
        (StatusCode::OK, &json!(true), &json!("none"))
    );
    let (status, page) = get(&demo, "/").await;
    assert!(status == StatusCode::OK && page.as_str().unwrap().contains("/admin/cache/health"));
}

#[tokio::test]
async fn an_hour_window_shows_that_hour_only() {
    let demo = Demo::new(CacheMode::None).await;
    let (_, shown) = get(&demo, &format!("{BRANCH}/availability?service=1&day=2027-03-01&hour=9")).await;
    let starts: Vec<&str> =
        shown["slots"].as_array().unwrap().iter().map(|s| s["starts"].as_str().unwrap()).collect();
    assert_eq!(starts, ["2027-03-01T09:00", "2027-03-01T09:30"]);
}

#[tokio::test]
async fn wrong_input_is_refused_naming_field_value_and_expectation() {
    let demo = Demo::new(CacheMode::None).await;
    let availability = format!("{BRANCH}/availability");
    for (path, field, value) in [
        ("/companies/x/services".to_owned(), "company", "\"x\""),
        ("/companies/-1/statistics".to_owned(), "company", "\"-1\""),
        (format!("{availability}?day=2027-03-01"), "service", "nothing"),
        (format!("{availability}?service=1&day=tomorrow"), "day", "\"tomorrow\""),
        (format!("{availability}?service=1&day=2027-03-01&hour=24"), "hour", "\"24\""),
        (format!("{availability}?service=1&day=2027-03-01&colour=red"), "colour", "an unknown field"),
    ] {
        let (status, body) = get(&demo, &path).await;
        let error = &body["error"];
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path}: {body}");
        assert_eq!(
            (error["field"].as_str().unwrap(), error["value"].as_str().unwrap()),
            (field, value),
            "{body}"
        );
        assert!(!error["expected"].as_str().unwrap().is_empty(), "{body}");
    }
}

#[tokio::test]
async fn wrong_bookings_are_refused_naming_field_value_and_expectation() {
    let demo = Demo::new(CacheMode::None).await;
    let path = format!("{BRANCH}/appointments");
    for (body, field, value) in [
        (json!({ "service": "one", "starts": "2027-03-01T09:00", "customer": "Ada" }), "service", "\"one\""),
        (json!({ "service": 1, "starts": "9 am", "customer": "Ada" }), "starts", "\"9 am\""),
        (
            json!({ "service": 1, "starts": "2027-03-01T09:10", "customer": "Ada" }),
            "starts",
            "\"2027-03-01T09:10\"",
        ),
        (
            json!({ "service": 1, "starts": "2027-03-07T09:00", "customer": "Ada" }),
            "starts",
            "\"2027-03-07T09:00\"",
        ),
        (json!({ "service": 1, "starts": "2027-03-01T09:00" }), "customer", "nothing"),
        (
            json!({ "service": 1, "starts": "2027-03-01T09:00", "customer": " " }),
            "customer",
            "a text of 1 characters",
        ),
        (
            json!({ "service": 1, "starts": "2027-03-01T09:00", "customer": "Ada", "x": 1 }),
            "x",
            "an unknown field",
        ),
    ] {
        let (status, answer) = post(&demo, &path, body).await;
        let error = &answer["error"];
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        assert_eq!(
            (error["field"].as_str().unwrap(), error["value"].as_str().unwrap()),
            (field, value),
            "{answer}"
        );
    }
    for body in ["", "{", "[1]", "\"text\""] {
        let (status, answer) = call(&demo, Method::POST, &path, body).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_body")),
            "{answer}"
        );
    }
    let (status, answer) = call(&demo, Method::POST, &path, &"x".repeat(100_000)).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &json!("invalid_body")),
        "{answer}"
    );
}

#[tokio::test]
async fn what_does_not_exist_is_not_found_in_json() {
    let demo = Demo::new(CacheMode::None).await;
    for path in ["/companies/9/services", "/companies/2/branches/1/staff", "/appointments/1", "/nowhere"] {
        let (status, body) = get(&demo, path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {body}");
        assert!(body["error"]["message"].is_string(), "{path}: {body}");
    }
    let (status, body) = call(&demo, Method::PUT, "/companies", "").await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::METHOD_NOT_ALLOWED, &json!("wrong_method")));
}

#[tokio::test]
async fn a_cancelled_appointment_cannot_be_moved_or_cancelled_again() {
    let demo = Demo::new(CacheMode::None).await;
    let body = json!({ "service": 1, "starts": "2027-03-01T09:00", "customer": "Ada" });
    let (_, made) = post(&demo, &format!("{BRANCH}/appointments"), body).await;
    let path = format!("/appointments/{}", made["id"]);
    assert_eq!(post(&demo, &format!("{path}/cancel"), json!({})).await.0, StatusCode::OK);
    let (status, again) = post(&demo, &format!("{path}/cancel"), json!({})).await;
    assert_eq!((status, &again["error"]["code"]), (StatusCode::CONFLICT, &json!("cancelled")));
    let (status, _) =
        post(&demo, &format!("{path}/reschedule"), json!({ "starts": "2027-03-01T10:00" })).await;
    assert_eq!(status, StatusCode::CONFLICT);
}
