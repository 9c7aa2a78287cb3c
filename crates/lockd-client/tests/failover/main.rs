//! When calls are repeated, where, and when not: against servers that misbehave on purpose.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod calls;
mod fake;
mod queues;

use std::time::{Duration, Instant};

use fake::{Fake, Reply, json, refusal};
use lockd_client::{AcquireOptions, Body, Client, ClientBuilder, Error, ErrorCode, Outcome, RetryPolicy};
use serde_json::json as value;

const DESCRIBED: &str = r#"{"namespace":"default","key":"a","version":7,"metadata":{}}"#;

pub(crate) fn quick() -> RetryPolicy {
    RetryPolicy { retries: 3, first_pause: Duration::from_millis(4), ..RetryPolicy::default() }
}

pub(crate) fn builder(servers: &[&Fake]) -> ClientBuilder {
    let endpoints: Vec<String> = servers.iter().map(|fake| fake.endpoint()).collect();
    Client::builder().endpoints(&endpoints.join(",")).retry(quick()).timeout(Duration::from_secs(20))
}

pub(crate) fn client(servers: &[&Fake]) -> Client {
    builder(servers).build().unwrap()
}

fn granted() -> Reply {
    json(
        200,
        r#"{"namespace":"default","key":"a","owner":"o","lease_id":"l","txn_id":"t","expires_at_unix":99999999999,"version":3,"state_etag":"e3","fencing_token":5,"correlation_id":"c"}"#,
    )
}

fn saved(version: i64, etag: &str) -> Reply {
    json(200, &format!(r#"{{"new_version":{version},"new_state_etag":"{etag}","bytes":2,"metadata":{{}}}}"#))
}

/// A session that leaves its server alone unless told to.
async fn session(client: &Client) -> lockd_client::LeaseSession {
    client.acquire("a", &AcquireOptions::new().manual_keepalive().keep_on_drop()).await.unwrap()
}

#[tokio::test]
async fn a_passive_server_sends_us_to_the_next_at_once() {
    for reply in [refusal(503, "node_passive", 30), Reply::bare(503)] {
        let passive = Fake::start([reply]).await;
        let active = Fake::start([json(200, DESCRIBED), json(200, DESCRIBED)]).await;
        let client = client(&[&passive, &active]);
        let begun = Instant::now();
        assert_eq!(client.describe("a").await.unwrap().version, 7);
        assert!(begun.elapsed() < Duration::from_secs(15), "it waited for the hint");
        client.describe("a").await.unwrap();
        assert_eq!((passive.calls(), active.calls()), (1, 2), "the one that answers is asked first");
    }
}

#[tokio::test]
async fn no_other_refusal_sends_us_elsewhere() {
    for (status, code) in
        [(503, "shutdown_draining"), (503, "other"), (500, "internal_error"), (429, "throttled")]
    {
        let first = Fake::start([refusal(status, code, 0), json(200, DESCRIBED)]).await;
        let second = Fake::start([]).await;
        client(&[&first, &second]).describe("a").await.unwrap();
        assert_eq!((first.calls(), second.calls()), (2, 0), "{code}");
    }
    for (status, code) in [(400, "invalid_key"), (403, "namespace_forbidden"), (404, "not_found"), (501, "x")]
    {
        let first = Fake::start([refusal(status, code, 0)]).await;
        let second = Fake::start([]).await;
        let error = client(&[&first, &second]).describe("a").await.unwrap_err();
        assert_eq!((error.status(), error.code()), (Some(status), Some(code)));
        assert_eq!((first.calls(), second.calls()), (1, 0), "{code}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_passed_over() {
    let gone = Fake::gone();
    let there = Fake::start([json(200, DESCRIBED)]).await;
    client(&[&gone, &there]).describe("a").await.unwrap();
    let error = client(&[&gone]).describe("a").await.unwrap_err();
    let Error::Unreachable(ref unreachable) = error else { panic!("{error:?}") };
    assert_eq!((unreachable.attempts, unreachable.maybe_applied), (4, false));
    assert!(error.to_string().contains(&gone.endpoint()), "{error}");
}

#[tokio::test]
async fn a_silent_server_is_passed_over_and_harmless_calls_are_repeated() {
    let silent = Fake::start([Reply::Silence]).await;
    let broken = Fake::start([Reply::Close]).await;
    let there = Fake::start([json(200, DESCRIBED)]).await;
    let client = builder(&[&silent, &broken, &there]).timeout(Duration::from_secs(2)).build().unwrap();
    client.describe("a").await.unwrap();
    assert_eq!((silent.calls(), broken.calls(), there.calls()), (1, 1, 1));
}

#[tokio::test]
async fn hints_are_honoured_wherever_they_stand() {
    let in_body = refusal(429, "throttled", 1);
    let in_header = Reply::Answer(
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
    );
    for hint in [in_body, in_header] {
        let fake = Fake::start([hint, json(200, DESCRIBED)]).await;
        let begun = Instant::now();
        client(&[&fake]).describe("a").await.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(1));
    }
}

#[tokio::test]
async fn the_policy_ends_the_trying() {
    let fake = Fake::start((0..9).map(|_| refusal(503, "busy", 0))).await;
    assert!(client(&[&fake]).describe("a").await.is_err());
    assert_eq!(fake.calls(), 4, "once and three times again");
    let fake = Fake::start([refusal(503, "busy", 3600)]).await;
    let error = client(&[&fake]).describe("a").await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    let fake = Fake::start([refusal(503, "busy", 0)]).await;
    builder(&[&fake]).retry(RetryPolicy::none()).build().unwrap().describe("a").await.unwrap_err();
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_nothing() {
    let fake = Fake::start([json(200, DESCRIBED).then_close(), json(200, DESCRIBED)]).await;
    let client = builder(&[&fake]).retry(RetryPolicy::none()).build().unwrap();
    client.describe("a").await.unwrap();
    fake.closed(1).await;
    client.describe("a").await.unwrap();
}

#[tokio::test]
async fn connections_are_used_again() {
    let fake = Fake::start((0..5).map(|_| json(200, DESCRIBED))).await;
    let client = client(&[&fake]);
    for _ in 0..5 {
        client.describe("a").await.unwrap();
    }
    assert_eq!((fake.calls(), fake.connections()), (5, 1));
}

#[tokio::test]
async fn an_update_that_meets_its_own_echo_succeeds() {
    let fake = Fake::start([
        granted(),
        Reply::Close,
        json(409, r#"{"error":"etag_mismatch","current_version":4,"current_etag":"e4"}"#),
        saved(4, "e4"),
    ])
    .await;
    let client = client(&[&fake]);
    let mut session = session(&client).await;
    assert_eq!(session.update("{}").await.unwrap().version, 4);
    let conditions: Vec<_> = (1..4).map(|call| fake.call(call).header("x-if-state-etag")).collect();
    assert_eq!(conditions, [Some("e3".to_owned()), Some("e3".to_owned()), Some("e4".to_owned())]);
}

#[tokio::test]
async fn a_condition_of_the_caller_is_not_replaced() {
    let fake = Fake::start([
        granted(),
        Reply::Close,
        json(409, r#"{"error":"version_conflict","current_version":4,"current_etag":"e4"}"#),
    ])
    .await;
    let client = client(&[&fake]);
    let mut session = session(&client).await;
    let options = lockd_client::UpdateOptions::new().if_version(3);
    let error = session.update_with("{}", &options).await.unwrap_err();
    assert!(error.is(ErrorCode::VersionConflict) && error.is_outcome_unknown(), "{error}");
    assert_eq!(fake.call(1).header("x-if-state-etag"), None);
}

#[tokio::test]
async fn a_mutation_is_never_applied_to_its_own_result() {
    // With a known ETag the echo shows that the first attempt was carried out.
    let fake = Fake::start([
        granted(),
        Reply::Close,
        json(409, r#"{"error":"etag_mismatch","current_version":4,"current_etag":"e4"}"#),
    ])
    .await;
    let first = client(&[&fake]);
    let mut holder = session(&first).await;
    let mutated = holder.mutate(["/n++"]).await.unwrap();
    assert_eq!((mutated.saved.version, mutated.saved.etag.as_str()), (4, "e4"));
    assert_eq!(fake.calls(), 3);

    // Without one nothing is repeated.
    let fake = Fake::start([Reply::Close]).await;
    let second = client(&[&fake]);
    let mut attached = second.attach(lockd_client::Lease::new("default", "a", "l", "t", 5));
    let error = attached.mutate(["/n++"]).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn a_reader_is_sent_once_but_may_look_for_a_server() {
    let gone = Fake::gone();
    let fake = Fake::start([granted(), saved(4, "e4"), Reply::Close]).await;
    let client = client(&[&gone, &fake]);
    let mut session = session(&client).await;
    session.update(Body::reader(&b"{}"[..])).await.unwrap();
    let error = session.update(Body::reader(&b"{}"[..])).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    assert_eq!((fake.calls(), fake.call(1).body.as_slice()), (3, &b"{}"[..]));
}

#[tokio::test]
async fn creating_a_key_is_not_repeated_when_it_may_have_happened() {
    let fake = Fake::start([Reply::Close]).await;
    let error = client(&[&fake]).acquire("a", &AcquireOptions::new().if_not_exists()).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn an_acquire_goes_on_waiting_through_refusals() {
    let fake = Fake::start([
        refusal(409, "waiting", 0),
        refusal(409, "txn_pending", 0),
        refusal(503, "shutdown_draining", 0),
        granted(),
    ])
    .await;
    session(&client(&[&fake])).await;
    assert_eq!(fake.calls(), 4);
    for (status, code) in [(409, "already_exists"), (403, "namespace_forbidden"), (400, "invalid_key")] {
        let fake = Fake::start([refusal(status, code, 0)]).await;
        let error = client(&[&fake]).acquire("a", &AcquireOptions::new()).await.unwrap_err();
        assert_eq!(error.code(), Some(code));
    }
    let fake = Fake::start([refusal(409, "waiting", 9)]).await;
    let error = client(&[&fake]).acquire("a", &AcquireOptions::new().no_wait()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(9)));
    assert_eq!(fake.call(0).json()["block_seconds"], -1);
}

#[tokio::test]
async fn an_acquire_sends_what_is_left_of_its_patience() {
    let fake = Fake::start([refusal(503, "busy", 2), granted()]).await;
    let options = AcquireOptions::new().wait_at_most(Duration::from_secs(100)).owner("me");
    let session = client(&[&fake]).acquire("a", &options.manual_keepalive().keep_on_drop()).await.unwrap();
    assert_eq!(session.fencing_token(), 5);
    assert_eq!(
        fake.call(0).json(),
        value!({"namespace": "default", "key": "a", "owner": "me", "ttl_seconds": 30, "block_seconds": 100})
    );
    assert!(fake.call(1).json()["block_seconds"].as_i64().unwrap() <= 98);
}

#[tokio::test]
async fn what_a_release_did_is_told_truly() {
    let none = || json(200, r#"{"released":true,"outcome":"none"}"#);
    let silent_about_it = || json(200, r#"{"released":true}"#);
    let committed = || json(200, r#"{"released":true,"outcome":"committed"}"#);
    // (answers to the release, whether it committed)
    let cases = [
        (vec![committed()], true),
        // A deployed server says no more than that; while the time runs, the lease was ours.
        (vec![silent_about_it()], true),
        // The first attempt has done it.
        (vec![Reply::Close, none()], true),
        (vec![Reply::Close, refusal(403, "lease_required", 0)], true),
        // Nobody has.
        (vec![none()], false),
        (vec![refusal(403, "lease_required", 0)], false),
    ];
    for (number, (answers, commits)) in cases.into_iter().enumerate() {
        let fake = Fake::start([granted(), saved(4, "e4")].into_iter().chain(answers)).await;
        let client = client(&[&fake]);
        let mut session = session(&client).await;
        session.update("{}").await.unwrap();
        match (session.release().await, commits) {
            (Ok(released), true) => assert_eq!(released.outcome, Outcome::Committed, "case {number}"),
            (Err(error), false) => assert!(error.is_lease_lost(), "case {number}: {error}"),
            (other, _) => panic!("case {number}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_release_that_comes_too_late_to_tell_says_so() {
    for (version, is_lost) in [(3, true), (4, false)] {
        // The lease of one second runs out while the first attempt is on its way.
        let described = format!(r#"{{"namespace":"default","key":"a","version":{version},"metadata":{{}}}}"#);
        let fake = Fake::start([
            granted(),
            saved(4, "e4"),
            Reply::CloseAfter(Duration::from_millis(1100)),
            json(200, r#"{"released":true,"outcome":"none"}"#),
            json(200, &described),
        ])
        .await;
        let client = client(&[&fake]);
        let options = AcquireOptions::new().ttl(Duration::from_secs(1)).manual_keepalive().keep_on_drop();
        let mut session = client.acquire("a", &options).await.unwrap();
        // On a very busy machine the second may be over before we come to release.
        let Ok(_) = session.update("{}").await else { continue };
        let error = session.release().await.unwrap_err();
        if fake.calls() > 2 {
            assert_eq!(error.is_lease_lost(), is_lost, "{error}");
            assert_eq!(error.is_outcome_unknown(), !is_lost, "{error}");
        }
    }
}

#[tokio::test]
async fn the_announcement_of_the_end_is_heard_and_taken_back() {
    let announced = Reply::Answer(
        "HTTP/1.1 200 OK\r\nShutdown-Imminent: true\r\nContent-Length: 23\r\n\r\n{\"expires_at_unix\":  9}\n"
            .to_owned(),
    );
    let fake = Fake::start([granted(), announced, json(200, r#"{"expires_at_unix":9}"#)]).await;
    let client = client(&[&fake]);
    let session = session(&client).await;
    session.keepalive().await.unwrap();
    session.draining().wait().await;
    session.keepalive().await.unwrap();
    assert!(!session.draining().is_draining());
}

#[tokio::test]
async fn a_clock_in_the_answer_reveals_a_lease_that_was_cut_short() {
    let grant = r#"{"namespace":"default","key":"a","owner":"o","lease_id":"l","txn_id":"t","expires_at_unix":784111778,"version":0,"fencing_token":5}"#;
    let fake = Fake::start([Reply::Answer(format!(
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: {}\r\n\r\n{grant}",
        grant.len()
    ))])
    .await;
    let session = session(&client(&[&fake])).await;
    assert_eq!(session.lost().wait().await, lockd_client::Loss::Expired, "one second, not thirty");
}

#[tokio::test]
async fn odd_answers_are_told_apart_from_lockd() {
    let fake = Fake::start([json(200, "<html>"), Reply::Answer("nonsense\r\n\r\n".to_owned())]).await;
    let client = builder(&[&fake]).retry(RetryPolicy::none()).build().unwrap();
    let error = client.describe("a").await.unwrap_err();
    assert!(
        matches!(error, Error::UnexpectedAnswer { .. }) && error.to_string().contains("/v1/describe"),
        "{error}"
    );
    let error = client.describe("a").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error}");
    let fake =
        Fake::start([Reply::Answer("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nsorry".into())]).await;
    let error = self::client(&[&fake]).describe("a").await.unwrap_err();
    assert_eq!((error.status(), error.detail()), (Some(404), Some("sorry")));
}

#[tokio::test]
async fn quoted_etags_and_null_lists_of_deployed_servers_are_understood() {
    let fake = Fake::start([
        Reply::Answer(
            "HTTP/1.1 200 OK\r\nETag: \"e1\"\r\nX-Key-Version: 2\r\nContent-Length: 1\r\n\r\n7".into(),
        ),
        json(200, r#"{"namespace":"default","key":"a","attachments":null}"#),
    ])
    .await;
    let client = client(&[&fake]);
    let read = client.read::<u64>("a b&c").await.unwrap().unwrap();
    assert_eq!((read.value, read.version, read.etag.as_str()), (7, 2, "e1"));
    assert_eq!(client.list_attachments("a").await.unwrap(), []);
    assert_eq!(fake.call(0).target, "/v1/get?key=a+b%26c&namespace=default&public=1");
}
