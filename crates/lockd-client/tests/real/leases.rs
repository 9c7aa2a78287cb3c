//! Getting, keeping, losing and ending leases.

use std::time::Duration;

use lockd_client::{AcquireOptions, Client, Error, ErrorCode, Lease, Loss, Outcome};
use lockd_conformance::server::{Launch, StoreKind};
use rustix::process::Signal;

use crate::{at_once, client, endpoint, key};

#[tokio::test]
async fn a_leased_key_is_refused_with_a_hint() {
    let (client, key) = (client(), key());
    let holder = client.acquire(&key, &at_once().owner("holder")).await.unwrap();
    assert_eq!(client.describe(&key).await.unwrap().owner.as_deref(), Some("holder"));
    for options in [at_once(), AcquireOptions::new().wait_at_most(Duration::from_millis(10))] {
        let refused = client.acquire(&key, &options).await.unwrap_err();
        assert!(refused.is(ErrorCode::Waiting), "{refused}");
        assert!(refused.retry_after().unwrap() >= Duration::from_secs(1));
        assert_eq!(refused.status(), Some(409));
    }
    holder.release().await.unwrap();
    client.acquire(&key, &at_once()).await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_waiter_gets_the_key_when_it_is_free() {
    let (client, key) = (client(), key());
    let holder = client.acquire(&key, &at_once()).await.unwrap();
    let waiter = {
        let (client, key) = (client.clone(), key.clone());
        tokio::spawn(async move { client.acquire(&key, &AcquireOptions::new()).await })
    };
    let token = holder.fencing_token();
    holder.release().await.unwrap();
    let session = waiter.await.unwrap().unwrap();
    assert_eq!(session.fencing_token(), token + 1);
    session.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_who_leaves_is_granted_nothing() {
    let server = lockd_testing::TestServer::start_async().await.unwrap();
    let proxy = server.proxy().start().unwrap();
    let (client, waiter) = (Client::connect(&server.url()).unwrap(), Client::connect(&proxy.url()).unwrap());
    let holder = client.acquire("a", &at_once()).await.unwrap();
    let patience = AcquireOptions::new().ttl(Duration::from_secs(600));
    let waiting = waiter.acquire("a", &patience);
    assert!(tokio::time::timeout(Duration::from_millis(300), waiting).await.is_err());
    // The server has noticed when it has closed its end, too.
    let noticed = proxy.wait_for_async(Duration::from_secs(60), |counts| counts.open == 0).await;
    assert!(noticed.unwrap(), "{:?}", proxy.counts());
    holder.release().await.unwrap();
    // A grant to the one who has left would last ten minutes.
    let next = AcquireOptions::new().wait_at_most(Duration::from_secs(30));
    client.acquire("a", &next).await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn keys_can_be_created_only_once_and_be_made_up() {
    let (client, key) = (client(), key());
    client.acquire(&key, &at_once().if_not_exists()).await.unwrap().release().await.unwrap();
    let error = client.acquire(&key, &AcquireOptions::new().if_not_exists()).await.unwrap_err();
    assert!(error.is(ErrorCode::AlreadyExists), "{error}");
    let session = client.acquire_generated(&at_once()).await.unwrap();
    assert_eq!(session.key().len(), 36);
    session.release().await.unwrap();
}

#[tokio::test]
async fn a_dropped_session_rolls_back() {
    let (client, key) = (client(), key());
    let mut session = client.acquire(&key, &at_once().ttl(Duration::from_secs(600))).await.unwrap();
    session.save(&1).await.unwrap();
    let lost = session.lost();
    drop(session);
    assert_eq!(lost.wait().await, Loss::Ended);
    let next =
        client.acquire(&key, &AcquireOptions::new().wait_at_most(Duration::from_secs(30))).await.unwrap();
    assert_eq!((next.fencing_token(), next.load::<u64>().await.unwrap()), (2, None));
    next.release().await.unwrap();
}

#[tokio::test]
async fn a_session_outlives_its_time_to_live() {
    let (client, key) = (client(), key());
    let mut session = client.acquire(&key, &at_once().ttl(Duration::from_secs(6))).await.unwrap();
    session.save(&1).await.unwrap();
    let first = session.expires_at_unix();
    // Somebody else gets it only if it is not renewed.
    let other = AcquireOptions::new().wait_at_most(Duration::from_secs(8));
    let refused = client.acquire(&key, &other).await.unwrap_err();
    assert!(refused.is(ErrorCode::Waiting), "{refused}");
    assert!(session.expires_at_unix() > first && !session.lost().is_lost());
    assert_eq!(session.release().await.unwrap().outcome, Outcome::Committed);
}

#[tokio::test]
async fn a_lease_that_runs_out_is_lost_and_commits_nothing() {
    let (client, key) = (client(), key());
    let options = at_once().ttl(Duration::from_secs(1)).manual_keepalive();
    let mut session = client.acquire(&key, &options).await.unwrap();
    // On a very busy machine the second may be over already.
    let _ = session.save(&1).await;
    assert_eq!(session.lost().wait().await, Loss::Expired);
    let error = session.save(&2).await.unwrap_err();
    assert!(error.is_lease_lost(), "{error}");
    let error = session.release().await.unwrap_err();
    assert!(matches!(error, Error::LeaseLost { loss: Loss::Expired, .. }), "{error}");
    assert_eq!(client.read::<u64>(&key).await.unwrap(), None);
}

#[tokio::test]
async fn a_lease_that_somebody_else_ends_is_lost_at_the_next_keepalive() {
    let (client, key) = (client(), key());
    let mut session = client.acquire(&key, &at_once().ttl(Duration::from_secs(10))).await.unwrap();
    let lease = Lease::new(
        session.namespace(),
        session.key(),
        session.lease_id(),
        session.txn_id(),
        session.fencing_token(),
    );
    client.attach(lease).rollback().await.unwrap();
    let loss = session.lost().wait().await;
    assert!(matches!(&loss, Loss::Refused(refusal) if refusal.code == "lease_required"), "{loss}");
    assert!(session.save(&1).await.unwrap_err().is_lease_lost());
}

#[tokio::test]
async fn a_release_without_a_lease_does_not_claim_to_have_committed() {
    let (client, key) = (client(), key());
    let mut session = client.acquire(&key, &at_once().manual_keepalive()).await.unwrap();
    session.save(&1).await.unwrap();
    let text = serde_json::to_string(
        &client
            .attach(Lease::new(
                session.namespace(),
                session.key(),
                session.lease_id(),
                session.txn_id(),
                session.fencing_token(),
            ))
            .detach(),
    )
    .unwrap();
    client.attach(serde_json::from_str(&text).unwrap()).rollback().await.unwrap();
    let error = session.release().await.unwrap_err();
    assert!(error.is_lease_lost(), "{error}");
}

#[tokio::test]
async fn a_detached_lease_goes_on_elsewhere() {
    let (client, key) = (client(), key());
    let mut session = client.acquire(&key, &at_once()).await.unwrap();
    session.save(&1).await.unwrap();
    let lease = session.detach();
    assert_eq!(lease.version, Some(1));
    let mut session = Client::connect(&client.endpoints().next().unwrap().to_string()).unwrap().attach(lease);
    assert!(session.keepalive_for(Duration::from_secs(60)).await.unwrap().expires_at_unix > 0);
    assert_eq!(session.load::<u64>().await.unwrap(), Some(1));
    session.save(&2).await.unwrap();
    assert_eq!(session.release().await.unwrap().outcome, Outcome::Committed);
    assert_eq!(client.read::<u64>(&key).await.unwrap().unwrap().value, 2);
}

#[tokio::test]
async fn correlation_ids_reach_the_server() {
    let client = client().with_correlation_id("import-7").unwrap();
    let session = client.acquire(&key(), &at_once()).await.unwrap();
    assert_eq!(session.correlation_id(), "import-7");
    session.release().await.unwrap();
    let error = client.acquire("not//a/key", &at_once()).await.unwrap_err();
    assert_eq!(error.correlation_id(), Some("import-7"));
}

#[tokio::test]
async fn a_session_hears_that_its_server_ends_and_can_still_release() {
    let server = Launch::fresh(StoreKind::Mem).start();
    let client = Client::connect(&endpoint(&server)).unwrap();
    let mut session = client.acquire("a", &at_once().ttl(Duration::from_secs(10))).await.unwrap();
    session.save(&1).await.unwrap();
    assert!(!session.draining().is_draining());
    server.signal(Signal::TERM);
    session.draining().wait().await;
    assert!(session.draining().is_draining() && !session.lost().is_lost());
    assert_eq!(session.release().await.unwrap().outcome, Outcome::Committed);
}
