//! A server that answers call after call from a list, and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

/// What the fake does with one call.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Sends these bytes.
    Answer(String),
    /// Sends these bytes and closes the connection, without saying so before.
    AnswerAndClose(String),
    /// Closes the connection.
    Close,
    /// The same after a while.
    CloseAfter(Duration),
    /// Never says anything.
    Silence,
}

impl Reply {
    pub(crate) fn bare(status: u16) -> Reply {
        Reply::Answer(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"))
    }

    pub(crate) fn then_close(self) -> Reply {
        match self {
            Reply::Answer(text) => Reply::AnswerAndClose(text),
            other => other,
        }
    }
}

pub(crate) fn json(status: u16, body: &str) -> Reply {
    Reply::Answer(format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

pub(crate) fn refusal(status: u16, code: &str, hint: u64) -> Reply {
    json(status, &format!(r#"{{"error":"{code}","retry_after_seconds":{hint}}}"#))
}

#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) target: String,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Default)]
struct Shared {
    replies: Mutex<VecDeque<Reply>>,
    asked: Mutex<Vec<Asked>>,
    connections: Mutex<usize>,
    closed: watch::Sender<usize>,
}

pub(crate) struct Fake {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    /// Keeps the port from others where nobody shall listen.
    _reserved: Option<TcpSocket>,
}

impl Fake {
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared =
            Arc::new(Shared { replies: Mutex::new(replies.into_iter().collect()), ..Shared::default() });
        let fake = Fake { address: listener.local_addr().unwrap(), shared: shared.clone(), _reserved: None };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *shared.connections.lock().unwrap() += 1;
                let shared = shared.clone();
                tokio::spawn(async move {
                    serve(stream, &shared).await;
                    shared.closed.send_modify(|closed| *closed += 1);
                });
            }
        });
        fake
    }

    /// An address at which nobody listens.
    pub(crate) fn gone() -> Fake {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Fake { address: socket.local_addr().unwrap(), shared: Arc::default(), _reserved: Some(socket) }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn calls(&self) -> usize {
        self.shared.asked.lock().unwrap().len()
    }

    pub(crate) fn call(&self, number: usize) -> Asked {
        self.shared.asked.lock().unwrap()[number].clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.shared.connections.lock().unwrap()
    }

    /// Waits until this many connections were closed by the fake.
    pub(crate) async fn closed(&self, number: usize) {
        self.shared.closed.subscribe().wait_for(|closed| *closed >= number).await.unwrap();
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) {
    let mut unread = Vec::new();
    while let Some(asked) = read(&mut stream, &mut unread).await {
        let reply = shared.replies.lock().unwrap().pop_front();
        shared.asked.lock().unwrap().push(asked);
        match reply.expect("the fake has no answer left") {
            Reply::Answer(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Reply::AnswerAndClose(text) => {
                stream.write_all(text.as_bytes()).await.unwrap();
                return;
            }
            Reply::Close => return,
            Reply::CloseAfter(span) => {
                tokio::time::sleep(span).await;
                return;
            }
            Reply::Silence => std::future::pending().await,
        }
    }
}

/// Reads one request; `None` when the client has closed the connection.
async fn read(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<Asked> {
    let head_ends = loop {
        if let Some(end) = find(unread, b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, unread).await?;
    };
    let head: Vec<u8> = unread.drain(..head_ends).collect();
    let head = String::from_utf8(head).unwrap();
    let lower = head.to_ascii_lowercase();
    let mut body = Vec::new();
    if lower.contains("transfer-encoding: chunked") {
        loop {
            let line_ends = loop {
                if let Some(end) = find(unread, b"\r\n") {
                    break end;
                }
                more(stream, unread).await?;
            };
            let size = usize::from_str_radix(std::str::from_utf8(&unread[..line_ends]).unwrap(), 16).unwrap();
            while unread.len() < line_ends + 2 + size + 2 {
                more(stream, unread).await?;
            }
            body.extend_from_slice(&unread[line_ends + 2..line_ends + 2 + size]);
            unread.drain(..line_ends + 2 + size + 2);
            if size == 0 {
                break;
            }
        }
    } else {
        let length =
            lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
        let length: usize = length.unwrap_or(0);
        while unread.len() < length {
            more(stream, unread).await?;
        }
        body = unread.drain(..length).collect();
    }
    let target = head.split(' ').nth(1).unwrap().to_owned();
    Some(Asked { target, head, body })
}

async fn more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(unread).await {
        Ok(read) if read > 0 => Some(()),
        _ => None,
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
