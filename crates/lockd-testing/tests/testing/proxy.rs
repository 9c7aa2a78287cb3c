//! What a chaos proxy does to the bytes and the ends of connections, as clients and servers see it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::peers::{PATIENCE, Peer, Server, bytes, echo, is_reset};
use lockd_testing::{Chaos, ChaosProxy, Direction, Endpoint, Event, Harm, What};

/// A chaos that does this to every connection.
fn certain(harm: Harm) -> Chaos {
    match harm {
        Harm::Refuse => Chaos::calm().refuse(1.0),
        Harm::Close => Chaos::calm().close(1.0),
        Harm::Reset => Chaos::calm().reset(1.0),
        Harm::Stall => Chaos::calm().stall(1.0),
    }
}

#[test]
fn a_calm_proxy_passes_and_counts_every_byte() {
    let message = bytes(1_000_003);
    for (server, unix) in [
        (Server::tcp(echo), false),
        (Server::tcp(echo), true),
        (Server::unix(echo), false),
        (Server::unix(echo), true),
    ] {
        let proxy = ChaosProxy::to(&server.endpoint);
        let proxy = if unix { proxy.unix_socket() } else { proxy }.start().unwrap();
        assert_eq!(proxy.endpoint().unix().is_some(), unix);
        let mut client = Peer::to(proxy.endpoint());
        // In halves: nobody reads while the other writes.
        for half in message.chunks(10_000) {
            assert!(client.echo(half) == half, "bytes are changed, lost or out of order");
        }
        drop(client);
        let all = message.len() as u64;
        let right = proxy.wait_for(PATIENCE, |counts| {
            (counts.connections, counts.open, counts.bytes_to_server, counts.bytes_to_client)
                == (1, 0, all, all)
        });
        assert!(right, "{:?}", proxy.counts());
        let over = |what| Event { connection: 0, what };
        assert_eq!(proxy.events(), [over(What::Opened), over(What::Over)]);
    }
}

#[test]
fn a_client_that_has_said_all_still_hears_the_answer() {
    let server = Server::tcp(|mut peer| {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        peer.write_all(format!("{} bytes", all.len()).as_bytes()).unwrap();
    });
    let proxy = ChaosProxy::to(&server.endpoint).start().unwrap();
    let mut client = Peer::to(proxy.endpoint());
    client.write_all(&bytes(5000)).unwrap();
    client.finish();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "5000 bytes");
}

#[test]
fn latency_delays_each_way_and_does_not_add_up() {
    let server = Server::tcp(echo);
    let latency = Duration::from_millis(200);
    let proxy =
        ChaosProxy::to(&server.endpoint).chaos(Chaos::calm().latency(latency).chunk(10)).start().unwrap();
    let mut client = Peer::to(proxy.endpoint());
    let began = Instant::now();
    // A hundred pieces each way: one after the other they would take 40 s.
    let message = bytes(1000);
    assert_eq!(client.echo(&message), message);
    let took = began.elapsed();
    assert!(took >= 2 * latency, "{took:?}");
    assert!(took < 150 * latency, "{took:?}: pieces wait for each other");
    assert!(proxy.wait_for(PATIENCE, |counts| counts.delayed >= 200), "{:?}", proxy.counts());
    // The end of a connection is late as well.
    let began = Instant::now();
    client.finish();
    assert_eq!(client.drain().0, 0);
    assert!(began.elapsed() >= 2 * latency);
}

#[test]
fn jitter_keeps_the_order() {
    let server = Server::tcp(echo);
    let chaos = Chaos::calm().jitter(Duration::from_millis(20)).chunk(7);
    let proxy = ChaosProxy::to(&server.endpoint).seed(5).chaos(chaos).start().unwrap();
    let mut client = Peer::to(proxy.endpoint());
    let message = bytes(3000);
    assert_eq!(client.echo(&message), message);
    assert!(proxy.wait_for(PATIENCE, |counts| counts.delayed >= 2 * 3000 / 7), "{:?}", proxy.counts());
}

#[test]
fn bandwidth_is_limited_from_the_first_byte() {
    let server = Server::tcp(echo);
    let proxy = ChaosProxy::to(&server.endpoint).chaos(Chaos::calm().bandwidth(100_000)).start().unwrap();
    let mut client = Peer::to(proxy.endpoint());
    let message = bytes(50_000);
    let began = Instant::now();
    assert_eq!(client.echo(&message), message);
    let slow = began.elapsed();
    // Half a second; both ways at once but for one step of 20 ms at each end.
    assert!(slow >= Duration::from_millis(450), "{slow:?}");
    proxy.set(Chaos::calm().bandwidth(10_000));
    let began = Instant::now();
    assert_eq!(client.echo(&message[..20_000]), &message[..20_000]);
    assert!(began.elapsed() >= Duration::from_millis(1900), "{:?}", began.elapsed());
}

#[test]
fn a_sender_feels_a_slow_line() {
    let (told, sent) = mpsc::channel();
    let server = Server::tcp(move |mut peer| {
        peer.patience(Duration::from_millis(300));
        let mut count = 0;
        while let Ok(written) = peer.write(&[7; 64 * 1024]) {
            count += written;
            assert!(count < 1 << 30, "the proxy takes whatever comes");
        }
        told.send(count).unwrap();
    });
    let proxy = ChaosProxy::to(&server.endpoint).chaos(Chaos::calm().bandwidth(1)).start().unwrap();
    let _client = Peer::to(proxy.endpoint());
    assert!(sent.recv_timeout(PATIENCE).unwrap() > 0);
}

#[test]
fn resets_come_after_exactly_so_many_bytes() {
    for (direction, there, back) in [(Direction::ToClient, 5000, 1234), (Direction::ToServer, 1234, 1234)] {
        let (told, end) = mpsc::channel();
        let server = Server::tcp(move |mut peer| {
            let mut buffer = [0; 4096];
            let end = loop {
                match peer.read(&mut buffer) {
                    Ok(0) => break Ok(()),
                    // A reset that comes just now is told to the writer, and to nobody again.
                    Ok(read) => match peer.write_all(&buffer[..read]) {
                        Ok(()) => {}
                        Err(error) => break Err(error),
                    },
                    Err(error) => break Err(error),
                }
            };
            told.send(end).unwrap();
        });
        let chaos = certain(Harm::Reset).only(direction).after_bytes(1234..=1234);
        let proxy = ChaosProxy::to(&server.endpoint).chaos(chaos).start().unwrap();
        let mut client = Peer::to(proxy.endpoint());
        client.write_all(&bytes(5000)).unwrap();
        let (heard, end_of_client) = client.drain();
        assert!(is_reset(&end_of_client), "{end_of_client:?}");
        assert!(is_reset(&end.recv_timeout(PATIENCE).unwrap()), "the server hears of it too");
        if direction == Direction::ToClient {
            assert_eq!(heard, back);
        }
        assert!(proxy.wait_for(PATIENCE, |counts| counts.open == 0));
        let counts = proxy.counts();
        assert_eq!(counts.reset, 1);
        match direction {
            Direction::ToClient => assert_eq!(counts.bytes_to_client, back as u64),
            Direction::ToServer => assert_eq!(counts.bytes_to_server, there as u64),
        }
        let harmed = What::Harmed { harm: Harm::Reset, direction, after_bytes: 1234 };
        assert_eq!(proxy.events()[1], Event { connection: 0, what: harmed });
    }
}

#[test]
fn a_close_cuts_the_answer_short_without_an_error() {
    for server in [Server::tcp(echo), Server::unix(echo)] {
        let chaos = certain(Harm::Close).only(Direction::ToClient).after_bytes(100..=100);
        let proxy = ChaosProxy::to(&server.endpoint).chaos(chaos);
        let unix = server.endpoint.unix().is_some();
        let proxy = if unix { proxy.unix_socket() } else { proxy }.start().unwrap();
        let mut client = Peer::to(proxy.endpoint());
        client.write_all(&bytes(5000)).unwrap();
        let (heard, end) = client.drain();
        assert_eq!(heard, 100);
        assert!(end.is_ok(), "{end:?}");
        assert_eq!((proxy.counts().closed, proxy.counts().reset), (1, 0));
    }
}

#[test]
fn a_closed_client_that_goes_on_talking_is_not_reset() {
    let server = Server::tcp(echo);
    let chaos = certain(Harm::Close).only(Direction::ToClient).after_bytes(100..=100);
    let proxy = ChaosProxy::to(&server.endpoint).chaos(chaos).start().unwrap();
    let mut client = Peer::to(proxy.endpoint());
    client.write_all(&bytes(200)).unwrap();
    client.read_exact(&mut [0; 100]).unwrap();
    assert!(proxy.wait_for(PATIENCE, |counts| counts.closed == 1));
    client.write_all(&bytes(1 << 20)).unwrap();
    let (heard, end) = client.drain();
    assert!(heard == 0 && end.is_ok(), "{heard} {end:?}");
    client.finish();
    assert!(proxy.wait_for(PATIENCE, |counts| counts.open == 0));
}

#[test]
fn the_server_never_hears_of_what_is_refused() {
    let server = Server::tcp(echo);
    let proxy = ChaosProxy::to(&server.endpoint).chaos(certain(Harm::Refuse)).start().unwrap();
    for _ in 0..3 {
        // The kernel may be so quick that connecting fails already.
        if let Ok(mut client) = TcpStream::connect(proxy.endpoint().tcp().unwrap()) {
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            assert!(is_reset(&client.read(&mut [0; 1]).map(drop)));
        }
    }
    assert!(proxy.wait_for(PATIENCE, |counts| counts.refused == 3 && counts.open == 0));
    assert_eq!(server.accepted(), 0);
    proxy.set(Chaos::calm());
    assert_eq!(Peer::to(proxy.endpoint()).echo(b"hello"), b"hello");
}

#[test]
fn a_stall_stops_one_direction_until_the_chaos_changes() {
    let server = Server::tcp(echo);
    let chaos = certain(Harm::Stall).only(Direction::ToClient).after_bytes(4..=4);
    let proxy = ChaosProxy::to(&server.endpoint).chaos(chaos).start().unwrap();
    let mut client = Peer::to(proxy.endpoint());
    client.write_all(b"12345678").unwrap();
    let mut first = [0; 4];
    client.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"1234");
    assert!(client.hears_nothing());
    // The other direction flows.
    client.write_all(b"abc").unwrap();
    assert!(proxy.wait_for(PATIENCE, |counts| counts.bytes_to_server == 11 && counts.stalled == 1));
    assert_eq!((proxy.counts().bytes_to_client, proxy.counts().open), (4, 1));
    proxy.set(Chaos::calm());
    let mut rest = [0; 7];
    client.read_exact(&mut rest).unwrap();
    assert_eq!(&rest, b"5678abc");
}

#[test]
fn a_partition_holds_everything_and_closes_nothing() {
    let server = Server::unix(echo);
    let proxy = ChaosProxy::to(&server.endpoint).start().unwrap();
    let mut old = Peer::to(proxy.endpoint());
    assert_eq!(old.echo(b"before"), b"before");
    proxy.set(Chaos::partition());
    old.write_all(b"during").unwrap();
    let mut new = Peer::to(proxy.endpoint());
    new.write_all(b"new").unwrap();
    assert!(old.hears_nothing() && new.hears_nothing());
    assert!(proxy.wait_for(PATIENCE, |counts| counts.open == 2));
    assert_eq!((server.accepted(), proxy.counts().bytes_to_server), (1, 6));
    proxy.set(Chaos::calm());
    let (mut a, mut b) = ([0; 6], [0; 3]);
    old.read_exact(&mut a).unwrap();
    new.read_exact(&mut b).unwrap();
    assert_eq!((&a, &b), (b"during", b"new"));
}

#[test]
fn connections_end_when_they_come_of_age() {
    let server = Server::tcp(echo);
    let age = Duration::from_millis(200);
    let proxy = ChaosProxy::to(&server.endpoint).chaos(Chaos::calm().disconnect_after(age)).start().unwrap();
    let began = Instant::now();
    let mut client = Peer::to(proxy.endpoint());
    assert!(client.drain().1.is_ok());
    assert!(began.elapsed() >= age);
    assert_eq!(proxy.counts().closed, 1);
    assert!(proxy.events().contains(&Event { connection: 0, what: What::CameOfAge }));
}

#[test]
fn harm_is_done_so_often_and_no_more() {
    let server = Server::tcp(echo);
    let chaos = certain(Harm::Reset).only(Direction::ToClient).after_bytes(0..=0).at_most(2);
    let proxy = ChaosProxy::to(&server.endpoint).chaos(chaos.clone()).start().unwrap();
    let survives = || {
        let mut client = Peer::to(proxy.endpoint());
        client.write_all(b"?").unwrap();
        client.finish();
        client.drain().1.is_ok()
    };
    assert_eq!([survives(), survives(), survives(), survives()], [false, false, true, true]);
    // What is set again counts again.
    proxy.set(chaos);
    assert_eq!([survives(), survives(), survives()], [false, false, true]);
    assert_eq!(proxy.counts().reset, 4);
}

#[test]
fn rules_are_for_connections_by_number() {
    let server = Server::tcp(echo);
    let close = certain(Harm::Close).only(Direction::ToClient).after_bytes(1..=1);
    let proxy = ChaosProxy::to(&server.endpoint).chaos(Chaos::calm().connections(1..=2, close)).start();
    let proxy = proxy.unwrap();
    let heard = || {
        let mut client = Peer::to(proxy.endpoint());
        client.write_all(b"hello").unwrap();
        client.finish();
        client.drain().0
    };
    assert_eq!([heard(), heard(), heard(), heard()], [5, 1, 1, 5]);
}

/// What happens to thirty clients, one after the other.
fn fate(server: &Server, seed: u64, chaos: &Chaos) -> Vec<Event> {
    let proxy = ChaosProxy::to(&server.endpoint).seed(seed).chaos(chaos.clone()).start().unwrap();
    for n in 1..=30 {
        if let Ok(mut client) = TcpStream::connect(proxy.endpoint().tcp().unwrap()) {
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = client.write_all(&bytes(500));
            let _ = client.read_exact(&mut [0; 500]);
        }
        assert!(proxy.wait_for(PATIENCE, |counts| counts.connections == n && counts.open == 0));
    }
    assert_eq!(proxy.seed(), seed);
    proxy.events()
}

#[test]
fn the_same_seed_does_the_same_and_keeps_to_the_plan() {
    let server = Server::tcp(echo);
    let chaos =
        Chaos::calm().refuse(0.2).close(0.3).reset(0.4).after_bytes(0..=499).jitter(Duration::from_millis(2));
    let once = fate(&server, 11, &chaos);
    assert_eq!(once, fate(&server, 11, &chaos));
    assert_ne!(once, fate(&server, 12, &chaos));
    for connection in 0..30 {
        let plan = chaos.plan(11, 0, connection);
        let harm = once.iter().find_map(|event| match event.what {
            What::Harmed { harm, direction, after_bytes } if event.connection == connection => {
                Some((harm, direction, after_bytes))
            }
            _ => None,
        });
        let planned = plan.harm.map(|harm| match harm {
            Harm::Refuse => (harm, plan.direction, 0),
            harm => (harm, plan.direction, plan.after_bytes),
        });
        assert_eq!(harm, planned, "connection {connection}");
    }
}

#[test]
fn chaos_can_be_switched_while_a_connection_lives() {
    let server = Server::tcp(echo);
    let proxy = ChaosProxy::to(&server.endpoint).start().unwrap();
    let mut client = Peer::to(proxy.endpoint());
    assert_eq!(client.echo(b"quick"), b"quick");
    proxy.set(Chaos::calm().latency(Duration::from_millis(150)));
    let began = Instant::now();
    assert_eq!(client.echo(b"slow"), b"slow");
    assert!(began.elapsed() >= Duration::from_millis(300));
    // What is under way already is not held back any longer.
    proxy.set(Chaos::calm().latency(Duration::from_secs(3600)));
    client.write_all(b"held").unwrap();
    assert!(client.hears_nothing());
    proxy.set(Chaos::calm());
    client.read_exact(&mut [0; 4]).unwrap();
    // Bytes are counted from the change, and the plan is that of the new chaos.
    let chaos = certain(Harm::Reset).only(Direction::ToServer).after_bytes(3..=3);
    proxy.set(chaos.clone());
    assert_eq!(proxy.chaos(), chaos);
    assert_eq!(client.echo(b"abc"), b"abc");
    let _ = client.write_all(b"d");
    assert!(is_reset(&client.drain().1));
}

#[test]
fn all_can_be_reset_at_once() {
    let server = Server::tcp(echo);
    let proxy = ChaosProxy::to(&server.endpoint).start().unwrap();
    let mut clients: Vec<_> = (0..5).map(|_| Peer::to(proxy.endpoint())).collect();
    for client in &mut clients {
        assert_eq!(client.echo(b"hello"), b"hello");
    }
    proxy.reset_all();
    for client in &mut clients {
        let end = client.drain().1;
        assert!(is_reset(&end), "{end:?}");
    }
    assert!(proxy.wait_for(PATIENCE, |counts| counts.reset == 5 && counts.open == 0));
    assert_eq!(Peer::to(proxy.endpoint()).echo(b"again"), b"again", "only what was open");
}

#[test]
fn a_server_that_is_not_there_is_counted() {
    let nobody = tempfile::tempdir().unwrap().path().join("nobody.sock");
    let proxy = ChaosProxy::to(nobody).start().unwrap();
    assert!(is_reset(&Peer::to(proxy.endpoint()).drain().1));
    assert!(proxy.wait_for(PATIENCE, |counts| counts.unreachable == 1 && counts.open == 0));
}

#[test]
fn a_reset_by_the_server_reaches_the_client_behind_its_last_words() {
    let server = Server::tcp(|mut peer| {
        peer.write_all(b"last words").unwrap();
        let mut one = [0; 1];
        peer.read_exact(&mut one).unwrap();
        // The client has sent two bytes: leaving with one unread is a reset.
    });
    let chaos = Chaos::calm().latency(Duration::from_millis(100));
    let proxy = ChaosProxy::to(&server.endpoint).chaos(chaos).start().unwrap();
    let mut client = Peer::to(proxy.endpoint());
    client.write_all(b"12").unwrap();
    let (heard, end) = client.drain();
    assert_eq!(heard, 10);
    assert!(is_reset(&end), "{end:?}");
    assert_eq!(proxy.counts().reset, 0, "the proxy has not done it");
}

#[test]
fn an_early_answer_arrives_though_the_server_hears_no_more() {
    let server = Server::tcp(|mut peer| {
        peer.read_exact(&mut [0; 1]).unwrap();
        peer.write_all(b"no, thanks").unwrap();
        // Leaves with bytes unread, while more are coming.
    });
    let chaos = Chaos::calm().latency(Duration::from_millis(200)).bandwidth(1_000_000);
    let proxy = ChaosProxy::to(&server.endpoint).chaos(chaos).start().unwrap();
    let mut client = TcpStream::connect(proxy.endpoint().tcp().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut upload = client.try_clone().unwrap();
    upload.set_write_timeout(Some(PATIENCE)).unwrap();
    let uploading = std::thread::spawn(move || _ = upload.write_all(&bytes(1 << 20)));
    let mut answer = [0; 10];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"no, thanks");
    uploading.join().unwrap();
}

#[test]
fn a_new_chaos_makes_new_plans_from_the_same_seed() {
    let server = Server::tcp(echo);
    let chaos = certain(Harm::Close).only(Direction::ToClient).after_bytes(0..=4000);
    let proxy = ChaosProxy::to(&server.endpoint).seed(8).start().unwrap();
    for connection in 0..3 {
        proxy.set(chaos.clone());
        let mut client = Peer::to(proxy.endpoint());
        client.write_all(&bytes(5000)).unwrap();
        let planned = chaos.plan(8, connection + 1, connection).after_bytes;
        assert_eq!(client.drain().0 as u64, planned);
    }
}

#[test]
fn nothing_is_left_of_a_dropped_proxy() {
    let server = Server::tcp(echo);
    let proxy = ChaosProxy::to(&server.endpoint).unix_socket().chaos(Chaos::partition()).start().unwrap();
    let path = proxy.endpoint().unix().unwrap().to_owned();
    let mut client = Peer::to(proxy.endpoint());
    let second = proxy.clone();
    drop(proxy);
    assert!(path.exists() && client.hears_nothing(), "a clone keeps it");
    drop(second);
    assert!(!path.exists() && !path.parent().unwrap().exists());
    let (heard, _) = client.drain();
    assert_eq!(heard, 0);
}

#[test]
fn a_place_that_is_taken_is_named() {
    let server = Server::tcp(echo);
    let error = ChaosProxy::to(&server.endpoint).listen(&server.endpoint).start().unwrap_err().to_string();
    assert!(error.contains(&server.endpoint.to_string()), "{error}");
}

#[test]
fn many_connections_at_once_keep_apart() {
    let server = Server::tcp(echo);
    let chaos = Chaos::calm().jitter(Duration::from_millis(3)).chunk(97);
    let proxy = ChaosProxy::to(&server.endpoint).chaos(chaos).start().unwrap();
    let wrong = Arc::new(Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for n in 0..20u8 {
            let (proxy, wrong) = (&proxy, wrong.clone());
            scope.spawn(move || {
                let message = [n; 1000];
                if Peer::to(proxy.endpoint()).echo(&message) != message {
                    wrong.lock().unwrap().push(n);
                }
            });
        }
    });
    assert!(wrong.lock().unwrap().is_empty(), "{wrong:?}");
    assert_eq!(proxy.counts().connections, 20);
}

#[tokio::test(flavor = "current_thread")]
async fn it_works_on_a_runtime_with_one_thread() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = Server::tcp(echo);
    let proxy = ChaosProxy::to(&server.endpoint).start().unwrap();
    let Endpoint::Tcp(address) = proxy.endpoint() else { panic!("not TCP") };
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    // If waiting held up the runtime, what is waited for would never come.
    let talk = async {
        client.write_all(b"hello").await.unwrap();
        client.read_exact(&mut [0; 5]).await.unwrap();
    };
    let waited = proxy.wait_for_async(PATIENCE, |counts| counts.bytes_to_client == 5);
    assert!(tokio::join!(biased; waited, talk).0.unwrap());
    drop(proxy);
    assert!(client.read(&mut [0; 1]).await.is_ok_and(|read| read == 0));
}
