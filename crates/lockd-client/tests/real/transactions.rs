//! Transactions over several keys.

use lockd_client::Outcome;

use crate::{at_once, client, key};

#[tokio::test]
async fn all_keys_are_committed_together_or_not_at_all() {
    let (client, a, b, c) = (client(), key(), key(), key());
    for commit in [false, true] {
        let transaction = client.transaction();
        let mut first = transaction.acquire(&a, &at_once()).await.unwrap();
        let idle = transaction.acquire(&c, &at_once()).await.unwrap();
        let mut second = transaction.acquire(&b, &at_once()).await.unwrap();
        assert_eq!(first.txn_id(), transaction.id().to_string());
        first.save(&1).await.unwrap();
        second.save(&2).await.unwrap();
        let (ended, outcome) = match commit {
            true => (transaction.commit([idle, first, second]).await, Outcome::Committed),
            false => (transaction.rollback([idle, first, second]).await, Outcome::RolledBack),
        };
        assert_eq!(ended.unwrap().outcome, outcome);
        for key in [&a, &b] {
            assert_eq!(client.read::<u64>(key).await.unwrap().is_some(), commit);
        }
        for key in [&a, &b, &c] {
            client.acquire(key, &at_once()).await.unwrap().release().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_lease_can_be_joined_afterwards() {
    let (client, a, b) = (client(), key(), key());
    let mut first = client.acquire(&a, &at_once()).await.unwrap();
    first.save(&1).await.unwrap();
    let transaction = first.transaction().unwrap();
    let mut second = transaction.acquire(&b, &at_once()).await.unwrap();
    second.save(&2).await.unwrap();
    assert_eq!(second.release().await.unwrap().outcome, Outcome::Committed);
    first.release().await.unwrap();
    assert_eq!(client.read::<u64>(&a).await.unwrap().unwrap().value, 1);
}

#[tokio::test]
async fn a_transaction_with_a_lost_lease_is_not_committed() {
    let (client, a, b) = (client(), key(), key());
    let transaction = client.transaction();
    let mut first = transaction.acquire(&a, &at_once()).await.unwrap();
    let options = at_once().ttl(std::time::Duration::from_secs(1)).manual_keepalive();
    let mut second = transaction.acquire(&b, &options).await.unwrap();
    // On a very busy machine the second may be over already.
    let _ = (first.save(&1).await, second.save(&2).await);
    second.lost().wait().await;
    assert!(transaction.commit([first, second]).await.unwrap_err().is_lease_lost());
    for key in [&a, &b] {
        assert_eq!(client.read::<u64>(key).await.unwrap(), None);
    }
}
