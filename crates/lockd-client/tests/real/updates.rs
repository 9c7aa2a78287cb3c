//! Acquire for update.

use std::time::Duration;

use lockd_client::{AcquireOptions, Error, Lease, Update};

use crate::{at_once, client, key};

#[tokio::test]
async fn updates_in_parallel_all_count() {
    let (client, key) = (client(), key());
    let steps: Vec<_> = (0..20)
        .map(|_| {
            let (client, key) = (client.clone(), key.clone());
            // That it can be spawned shows that the future is `Send`.
            tokio::spawn(async move {
                client
                    .acquire_for_update(&key, &AcquireOptions::new(), async |update: &mut Update<u64>| {
                        tokio::task::yield_now().await;
                        *update.state.get_or_insert_default() += 1;
                        Ok::<_, Error>(update.state)
                    })
                    .await
            })
        })
        .collect();
    for step in steps {
        step.await.unwrap().unwrap();
    }
    assert_eq!(client.read::<u64>(&key).await.unwrap().unwrap().value, 20);
}

#[derive(Debug)]
enum Failed {
    Business,
    Lockd(#[allow(dead_code)] Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed::Lockd(error)
    }
}

#[tokio::test]
async fn an_error_or_a_panic_rolls_back() {
    let (client, key) = (client(), key());
    let failed = client
        .acquire_for_update(&key, &at_once(), async |update: &mut Update<u64>| {
            update.attach("a", "1").await?;
            update.state = Some(1);
            Err::<(), _>(Failed::Business)
        })
        .await;
    assert!(matches!(failed, Err(Failed::Business)), "{failed:?}");
    let panicked = {
        let (client, key) = (client.clone(), key.clone());
        let options = at_once().ttl(Duration::from_secs(600));
        tokio::spawn(async move {
            client
                .acquire_for_update(&key, &options, async |update: &mut Update<u64>| {
                    update.save(&1).await?;
                    assert!(update.state.is_some(), "this panic is meant to be");
                    Ok::<_, Error>(())
                })
                .await
        })
    };
    assert!(panicked.await.unwrap_err().is_panic());
    let next = AcquireOptions::new().wait_at_most(Duration::from_secs(30));
    client.acquire(&key, &next).await.unwrap().release().await.unwrap();
    let described = client.describe(&key).await.unwrap();
    assert_eq!((described.version, described.owner), (0, None));
}

#[tokio::test]
async fn a_lost_lease_starts_the_update_over() {
    let (client, key) = (client(), key());
    let mut rounds = 0;
    let result = client
        .acquire_for_update(&key, &AcquireOptions::new(), async |update: &mut Update<u64>| {
            rounds += 1;
            update.state = Some(rounds);
            if rounds == 1 {
                // Somebody ends our lease behind our back; the next call finds out.
                let stolen = Lease::new(
                    update.namespace(),
                    update.key(),
                    update.lease_id(),
                    update.txn_id(),
                    update.fencing_token(),
                );
                update.client().attach(stolen).rollback().await?;
                update.attach("a", "1").await?;
            }
            Ok::<_, Error>(rounds)
        })
        .await;
    assert_eq!((result.unwrap(), rounds), (2, 2));
    assert_eq!(client.read::<u64>(&key).await.unwrap().unwrap().value, 2);
}

#[tokio::test]
async fn none_removes_and_an_unchanged_state_is_not_written() {
    let (client, key) = (client(), key());
    let set = async |state: Option<u64>| {
        client
            .acquire_for_update(&key, &at_once(), async |update: &mut Update<u64>| {
                let before = update.state;
                update.state = state;
                Ok::<_, Error>(before)
            })
            .await
            .unwrap()
    };
    assert_eq!(set(Some(1)).await, None);
    assert_eq!(set(Some(1)).await, Some(1));
    assert_eq!(client.describe(&key).await.unwrap().version, 1);
    assert_eq!(set(None).await, Some(1));
    assert_eq!(set(None).await, None);
    let described = client.describe(&key).await.unwrap();
    assert_eq!((described.version, described.state_etag), (2, None));
}
