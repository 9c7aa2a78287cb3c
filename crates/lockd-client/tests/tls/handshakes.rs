//! Whom a client trusts, what it says when it does not, and when it turns to the next server.

use std::time::Duration;

use lockd_client::{AcquireOptions, Client, DequeueOptions, EnqueueOptions, Error, Identity, Roots, Tls};
use lockd_conformance::tls::{Authority, FrontSettings, Leaf};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket};

use super::{ask, authority, bundle, client, front, impatient, key, plain, refused, refused_for_good, roots};

/// A server whose certificate is for this machine.
fn local() -> Leaf {
    Leaf::plain_server().host("localhost").host("127.0.0.1")
}

fn with_identity(roots: Roots, identity: &lockd_conformance::tls::Issued) -> Tls {
    let identity = Identity::pem(&identity.certificate, &identity.key).unwrap();
    Tls::HostName { roots, identity: Some(identity) }
}

#[tokio::test]
async fn a_server_of_the_ca_is_trusted_by_its_name_or_address() {
    let ca = authority();
    let server = front(ca.issue(local()));
    for url in [server.url(), server.named_url()] {
        ask(&client(&url, roots(&ca))).await.unwrap();
    }
    assert_eq!(server.handshakes(), 2);
}

#[tokio::test]
async fn a_bundle_trusts_servers_of_its_ca_whatever_they_are_called() {
    let ca = authority();
    for leaf in [
        Leaf::server().host("*"),
        Leaf::server().host("elsewhere.example"),
        Leaf::server(),
        Leaf::plain_server(),
        // No usage means every usage.
        Leaf::of("any", &[]),
    ] {
        let server = front(ca.issue(leaf));
        for url in [server.url(), server.named_url()] {
            ask(&client(&url, bundle(&ca.client()))).await.unwrap();
        }
    }
}

#[tokio::test]
async fn both_versions_of_tls_will_do() {
    let ca = authority();
    let settings = || FrontSettings::new(ca.server()).only_clients_of(&ca);
    for server in [settings(), settings().tls_1_2()] {
        let server = server.before(plain());
        ask(&client(&server.url(), bundle(&ca.client()))).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_of_an_unknown_ca_is_refused() {
    // All deployments call their CA the same, so it is the signature that tells; but it may also have another name.
    for other in [authority(), Authority::new("another")] {
        let ca = authority();
        let server = front(other.issue(local()));
        for tls in [Tls::from(roots(&ca)), bundle(&ca.client()).into()] {
            let reason = refused_for_good(&server.url(), tls).await;
            assert!(reason.contains("not issued by a CA that this client trusts"), "{reason}");
        }
        assert_eq!(server.handshakes(), 0);
    }
}

#[tokio::test]
async fn a_server_with_another_name_is_refused_with_roots_and_accepted_with_a_bundle() {
    let ca = authority();
    let server = front(ca.issue(Leaf::server().host("elsewhere.example").host("10.1.2.3")));
    let reason = refused_for_good(&server.url(), roots(&ca)).await;
    for part in ["\"127.0.0.1\"", "elsewhere.example", "10.1.2.3", "bundle"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    ask(&client(&server.url(), bundle(&ca.client()))).await.unwrap();
}

#[tokio::test]
async fn a_certificate_whose_time_is_over_or_has_not_come_is_refused() {
    let ca = authority();
    for (leaf, hint) in [(local().expired(), "has expired, "), (local().not_yet_valid(), "is not valid yet")]
    {
        let server = front(ca.issue(leaf));
        for tls in [Tls::from(roots(&ca)), bundle(&ca.client()).into()] {
            let reason = refused_for_good(&server.url(), tls).await;
            assert!(reason.contains(hint) && reason.contains("clock"), "{reason}");
        }
    }
}

#[tokio::test]
async fn a_certificate_of_a_client_is_not_one_of_a_server() {
    let ca = authority();
    let server = front(ca.issue(Leaf::client().host("127.0.0.1")));
    for tls in [Tls::from(roots(&ca)), bundle(&ca.client()).into()] {
        let reason = refused_for_good(&server.url(), tls).await;
        assert!(reason.contains("not one for servers"), "{reason}");
    }
}

#[tokio::test]
async fn a_bundle_refuses_whoever_was_not_named_a_server() {
    let ca = authority();
    let server = front(ca.issue(local().uri("spiffe://lockd/sdk/mallory").uri("lockd://ns/ALL?perm=rw")));
    let reason = refused_for_good(&server.url(), bundle(&ca.client())).await;
    assert!(reason.contains("issued to spiffe://lockd/sdk/mallory, which is not a lockd server"), "{reason}");
}

#[tokio::test]
async fn a_server_that_knows_its_clients_takes_those_of_its_ca_only() {
    let ca = authority();
    for old in [false, true] {
        let settings = FrontSettings::new(ca.issue(local())).only_clients_of(&ca);
        let settings = if old { settings.tls_1_2() } else { settings };
        let server = settings.before(plain());
        let url = server.url();
        for (tls, hint) in [
            (Tls::from(roots(&ca)), "demand"),
            (with_identity(roots(&ca), &Authority::new("another").client()), "another CA"),
            (with_identity(roots(&ca), &authority().client()), "does not accept the certificate"),
            (with_identity(roots(&ca), &ca.issue(Leaf::client().expired())), "has expired; use a new"),
            (with_identity(roots(&ca), &ca.issue(Leaf::plain_server())), "not one for clients"),
        ] {
            let reason = refused_for_good(&url, tls).await;
            assert!(reason.contains(hint), "{hint}: {reason}");
        }
        assert_eq!(server.handshakes(), 0);
        ask(&client(&url, with_identity(roots(&ca), &ca.client()))).await.unwrap();
        ask(&client(&url, bundle(&ca.client()))).await.unwrap();
        assert_eq!(server.handshakes(), 2);
    }
}

/// With TLS 1.3 the refusal comes after the request has left, which is not the same as that somebody has read it.
#[tokio::test]
async fn a_call_that_must_not_be_doubled_goes_on_to_a_server_that_accepts_the_client() {
    let (ca, other) = (authority(), authority());
    let refusing = FrontSettings::new(ca.server()).only_clients_of(&other).before(plain());
    let accepting = FrontSettings::new(ca.server()).only_clients_of(&ca).before(plain());
    let client = client(&format!("{},{}", refusing.url(), accepting.url()), bundle(&ca.client()));
    let queue = key();
    client.queue(&queue).enqueue("once", &EnqueueOptions::new()).await.unwrap();
    let once = client.queue(&queue).dequeue_batch(5, &DequeueOptions::new().no_wait()).await.unwrap();
    assert_eq!(once.len(), 1);
    let session = client.acquire(&key(), &AcquireOptions::new()).await.unwrap();
    session.release().await.unwrap();
}

#[tokio::test]
async fn plain_http_behind_https_is_recognised() {
    let ca = authority();
    let url = format!("https://{}", plain());
    let (_, reason) = refused(&url, roots(&ca)).await;
    assert!(reason.contains("write http://"), "{reason}");
    // Others answer what a browser would show.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await.unwrap();
            std::mem::forget(stream);
        }
    });
    let reason = refused_for_good(&url, roots(&ca)).await;
    assert!(reason.contains("not TLS") && reason.contains("write http://"), "{reason}");
}

#[tokio::test]
async fn a_server_without_http_1_1_is_recognised() {
    let ca = authority();
    let server = FrontSettings::new(ca.server()).protocol("h2").before(plain());
    let reason = refused_for_good(&server.url(), bundle(&ca.client())).await;
    assert!(reason.contains("does not speak HTTP/1.1"), "{reason}");
}

#[tokio::test]
async fn a_handshake_without_end_runs_into_the_timeout_and_on_to_the_next_server() {
    let ca = authority();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("https://{}", silent.local_addr().unwrap());
    let good = front(ca.server());
    let connect = |urls: &str| {
        let builder = Client::builder().endpoints(urls).tls(bundle(&ca.client()));
        builder.timeout(Duration::from_millis(300)).retry(impatient()).build().unwrap()
    };
    let Error::Unreachable(error) = connect(&silent).describe("a").await.unwrap_err() else { panic!() };
    assert!(error.to_string().contains("handshake was not over within 300ms"), "{error}");
    assert!(!error.maybe_applied && !error.causes[0].lasting);
    // Whether the good one is quick enough is not the question.
    let two = Client::builder().endpoints(&format!("{silent},{}", good.url())).tls(bundle(&ca.client()));
    ask(&two.timeout(Duration::from_secs(3)).build().unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_broken_server_is_passed_over() {
    let ca = authority();
    let good = front(ca.server());
    let expired = front(ca.issue(Leaf::server().expired()));
    let foreign = front(authority().server());
    let plain = format!("https://{}", plain());
    for broken in [expired.url(), foreign.url(), plain] {
        let client = client(&format!("{broken},{}", good.url()), bundle(&ca.client()));
        ask(&client).await.unwrap();
        client.queue(key()).enqueue("x", &EnqueueOptions::new()).await.unwrap();
    }
    assert_eq!((expired.handshakes(), foreign.handshakes()), (0, 0));
}

/// As long as one of them may come back, it is worth waiting for.
#[tokio::test]
async fn calls_give_up_at_once_only_if_every_server_is_hopeless() {
    let ca = authority();
    let (expired, foreign) = (front(ca.issue(Leaf::server().expired())), front(authority().server()));
    let hopeless = client(&format!("{},{}", expired.url(), foreign.url()), bundle(&ca.client()));
    let Error::Unreachable(error) = ask(&hopeless).await.unwrap_err() else { panic!() };
    assert_eq!((error.attempts, error.causes.len()), (2, 2), "{error}");
    // Bound, so that nobody else gets the port, but not listening.
    let gone = TcpSocket::new_v4().unwrap();
    gone.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let gone_address = gone.local_addr().unwrap();
    let retry =
        lockd_client::RetryPolicy { retries: 2, first_pause: Duration::from_millis(2), ..Default::default() };
    let hopeful = Client::builder()
        .endpoints(&format!("https://{gone_address},{}", foreign.url()))
        .tls(bundle(&ca.client()))
        .timeout(Duration::from_secs(60))
        .retry(retry)
        .build()
        .unwrap();
    let Error::Unreachable(error) = ask(&hopeful).await.unwrap_err() else { panic!() };
    assert_eq!(error.attempts, 6, "{error}");
}

#[tokio::test]
async fn a_host_that_no_certificate_can_name_needs_a_bundle() {
    let ca = authority();
    let builder = || Client::builder().endpoint("https://not..a..name:1");
    let error = builder().tls(roots(&ca)).build().unwrap_err().to_string();
    assert!(error.contains("\"not..a..name\" cannot be the name"), "{error}");
    builder().tls(bundle(&ca.client())).build().unwrap();
}
