//! A lockd small enough to be trusted at a glance: leases, states, FIFO waiters and queues in a map.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

#[derive(Default)]
struct Key {
    token: i64,
    held_until: Option<Instant>,
    state: Vec<u8>,
    staged: Option<Vec<u8>>,
    waiters: VecDeque<oneshot::Sender<()>>,
}

#[derive(Default)]
struct World {
    keys: HashMap<String, Key>,
    updates: u64,
    refuse_every: u64,
    queues: HashMap<String, Queue>,
}

#[derive(Default)]
struct Queue {
    enqueued: u64,
    ready: VecDeque<(u64, Vec<u8>)>,
    leased: HashMap<String, u64>,
    waiters: VecDeque<oneshot::Sender<()>>,
}

/// Serves until the test process ends. Every `refuse_every`th update is refused; 0 refuses none.
pub(crate) fn start(refuse_every: u64) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || run(listener, refuse_every));
    address
}

pub(crate) fn run(listener: std::net::TcpListener, refuse_every: u64) {
    listener.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = TcpListener::from_std(listener).unwrap();
        let world = Rc::new(RefCell::new(World { refuse_every, ..World::default() }));
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            tokio::task::spawn_local(serve(socket, Rc::clone(&world)));
        }
    });
}

impl Key {
    fn is_held(&self) -> bool {
        self.held_until.is_some_and(|until| until > Instant::now())
    }
}

async fn serve(mut socket: TcpStream, world: Rc<RefCell<World>>) {
    let mut inbox = Vec::new();
    loop {
        let head_end = loop {
            if let Some(at) = inbox.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !receive(&mut socket, &mut inbox).await {
                return;
            }
        };
        let head = String::from_utf8(inbox[..head_end].to_vec()).unwrap();
        let length = header(&head, "content-length").map_or(0, |value| value.parse().unwrap());
        while inbox.len() < head_end + length {
            if !receive(&mut socket, &mut inbox).await {
                return;
            }
        }
        let body = inbox[head_end..head_end + length].to_vec();
        inbox.drain(..head_end + length);
        let (status, answer) = handle(&head, &body, &world).await;
        let mut out = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", answer.len()).into_bytes();
        out.extend_from_slice(&answer);
        if socket.write_all(&out).await.is_err() {
            return;
        }
    }
}

async fn receive(socket: &mut TcpStream, inbox: &mut Vec<u8>) -> bool {
    matches!(socket.read_buf(inbox).await, Ok(count) if count > 0)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

async fn handle(head: &str, body: &[u8], world: &Rc<RefCell<World>>) -> (u16, Vec<u8>) {
    let target = head.split(' ').nth(1).unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let key = json["key"].as_str().map(str::to_owned).unwrap_or_else(|| {
        query.split('&').find_map(|pair| pair.strip_prefix("key=")).unwrap_or_default().to_owned()
    });
    let token = header(head, "x-fencing-token").map(|value| value.parse::<i64>().unwrap());
    let until = Instant::now() + Duration::from_secs(json["ttl_seconds"].as_u64().unwrap_or(30));
    match path {
        "/healthz" => (200, Vec::new()),
        "/v1/acquire" => {
            let turn = {
                let mut world = world.borrow_mut();
                let entry = world.keys.entry(key.clone()).or_default();
                if entry.is_held() {
                    if json["block_seconds"] == -1 {
                        return (409, b"{\"error\":\"waiting\"}\n".to_vec());
                    }
                    let (turn, wait) = oneshot::channel();
                    entry.waiters.push_back(turn);
                    Some(wait)
                } else {
                    entry.held_until = Some(until);
                    None
                }
            };
            if let Some(turn) = turn {
                turn.await.unwrap();
            }
            let mut world = world.borrow_mut();
            let entry = world.keys.get_mut(&key).unwrap();
            entry.token += 1;
            entry.held_until = Some(until);
            let answer = format!(
                "{{\"lease_id\":\"l{0}\",\"txn_id\":\"t{0}\",\"fencing_token\":{0},\"key\":\"{key}\"}}\n",
                entry.token
            );
            (200, answer.into_bytes())
        }
        "/v1/update" | "/v1/release" | "/v1/keepalive" => {
            let mut world = world.borrow_mut();
            if path == "/v1/update" {
                world.updates += 1;
                if world.refuse_every > 0 && world.updates.is_multiple_of(world.refuse_every) {
                    world.keys.get_mut(&key).unwrap().held_until = None;
                    return (507, b"{\"error\":\"out_of_space\"}\n".to_vec());
                }
            }
            let entry = world.keys.entry(key).or_default();
            let lease = json["lease_id"].as_str().or_else(|| header(head, "x-lease-id")).unwrap_or_default();
            if !entry.is_held() || token != Some(entry.token) || lease != format!("l{}", entry.token) {
                return (403, b"{\"error\":\"lease_required\"}\n".to_vec());
            }
            if path == "/v1/update" {
                let _: serde_json::Value = serde_json::from_slice(body).unwrap();
                entry.staged = Some(body.to_vec());
            }
            if path == "/v1/release" {
                if let Some(staged) = entry.staged.take() {
                    entry.state = staged;
                }
                match entry.waiters.pop_front() {
                    Some(next) => next.send(()).unwrap(),
                    None => entry.held_until = None,
                }
            }
            (200, b"{}\n".to_vec())
        }
        "/v1/get" => match world.borrow().keys.get(&key) {
            Some(entry) if !entry.state.is_empty() => (200, entry.state.clone()),
            _ => (204, Vec::new()),
        },
        "/v1/queue/enqueue" => enqueue(body, &mut world.borrow_mut()),
        "/v1/queue/dequeue" => {
            let name = json["queue"].as_str().unwrap().to_owned();
            let (message, payload) = loop {
                let wait = {
                    let mut world = world.borrow_mut();
                    let queue = world.queues.entry(name.clone()).or_default();
                    if let Some(found) = queue.ready.pop_front() {
                        queue.leased.insert(format!("m{}", found.0), found.0);
                        break found;
                    }
                    let (turn, wait) = oneshot::channel();
                    queue.waiters.push_back(turn);
                    wait
                };
                wait.await.unwrap();
            };
            let meta = format!(
                "{{\"message\":{{\"message_id\":\"m{message}\",\"payload_bytes\":{},\"lease_id\":\"l{message}\",\"fencing_token\":{message},\"txn_id\":\"t{message}\",\"meta_etag\":\"e\"}}}}\n",
                payload.len()
            );
            let mut out = format!(
                "--b\r\nContent-Type: application/json\r\n\r\n{meta}\r\n--b\r\nContent-Length: {}\r\n\r\n",
                payload.len()
            )
            .into_bytes();
            out.extend_from_slice(&payload);
            out.extend_from_slice(b"\r\n--b--\r\n");
            (200, out)
        }
        "/v1/queue/ack" => {
            let mut world = world.borrow_mut();
            let queue = world.queues.get_mut(json["queue"].as_str().unwrap()).unwrap();
            let leased = queue.leased.remove(json["message_id"].as_str().unwrap());
            match leased {
                Some(token) if json["fencing_token"] == token && json["lease_id"] == format!("l{token}") => {
                    (200, b"{\"acked\":true}\n".to_vec())
                }
                _ => (404, b"{\"error\":\"not_found\"}\n".to_vec()),
            }
        }
        _ => (404, Vec::new()),
    }
}

/// Takes the form apart at the boundary that it begins with.
fn enqueue(body: &[u8], world: &mut World) -> (u16, Vec<u8>) {
    let text = std::str::from_utf8(body).unwrap();
    let boundary = text.lines().next().unwrap();
    let parts: Vec<&str> =
        text.split(boundary).map(|part| part.split_once("\r\n\r\n").unwrap_or_default().1).collect();
    let meta: serde_json::Value = serde_json::from_str(parts[1]).unwrap();
    let queue = world.queues.entry(meta["queue"].as_str().unwrap().to_owned()).or_default();
    queue.enqueued += 1;
    queue.ready.push_back((queue.enqueued, parts[2].strip_suffix("\r\n").unwrap().as_bytes().to_vec()));
    if let Some(waiter) = queue.waiters.pop_front() {
        let _ = waiter.send(());
    }
    (200, b"{}\n".to_vec())
}
