//! An answer that stays open: deliveries of a subscription, or the events of a watch, taken one after the other while
//! a thread reads.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::http::{Address, Closer, Connection, Request, Response, Trouble};
use crate::multipart::{self, Delivery};

/// How the server ended an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With the last chunk, or the last byte of its `Content-Length`.
    Clean,
    /// Without; why, in words.
    Cut(String),
}

#[derive(Debug, Default)]
struct State {
    head: Option<Response>,
    body: Vec<u8>,
    end: Option<End>,
    /// When the last bytes came.
    touched: Option<Instant>,
}

/// An open request whose answer is read in the background. Dropping it closes the connection.
#[derive(Debug)]
pub struct Stream {
    shared: Arc<(Mutex<State>, Condvar)>,
    closer: Closer,
    reader: Option<JoinHandle<()>>,
    request: String,
    taken: usize,
    units: usize,
}

impl Stream {
    pub fn open(address: &Address, request: &Request) -> Result<Self, Trouble> {
        let mut connection = Connection::open(address)?;
        connection.set_patience(Duration::from_secs(120))?;
        let closer = connection.closer()?;
        connection.send(request)?;
        let shared = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let reader = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || read(&mut connection, &shared))
        };
        Ok(Self { shared, closer, reader: Some(reader), request: request.to_string(), taken: 0, units: 0 })
    }

    /// Waits for status and headers. A complete answer (an error) comes with its body.
    pub fn head(&self, patience: Duration) -> Result<Response, String> {
        let state = self.wait(patience, |state| state.head.is_some() || state.end.is_some());
        let Some(head) = &state.head else {
            return Err(format!("{}: no answer within {patience:?}, end {:?}", self.request, state.end));
        };
        let mut head = head.clone();
        if head.status != 200 {
            drop(state);
            let state = self.wait(patience, |state| state.end.is_some());
            head.body.clone_from(&state.body);
        }
        head.request.clone_from(&self.request);
        Ok(head)
    }

    /// Waits until this many further deliveries or events have come, and takes their bytes.
    pub fn take(&mut self, units: usize, patience: Duration) -> Result<Vec<u8>, String> {
        let head = self.head(patience)?;
        let (first, from) = (self.units == 0, self.taken);
        let whole = |state: &State| after(&head, &state.body[from..], first, units);
        let state = self.wait(patience, |state| state.end.is_some() || !matches!(whole(state), Ok(None)));
        let body = match whole(&state)? {
            Some(length) => state.body[from..from + length].to_vec(),
            None => {
                return Err(format!(
                    "{}: fewer than {units} more deliveries or events within {patience:?}, end {:?}, got {:?}",
                    self.request,
                    state.end,
                    String::from_utf8_lossy(&state.body[from..])
                ));
            }
        };
        drop(state);
        self.taken += body.len();
        self.units += units;
        Ok(body)
    }

    /// The next delivery of a subscription.
    #[track_caller]
    pub fn delivery(&mut self, patience: Duration) -> Delivery {
        let first = self.units == 0;
        let bytes = self.take(1, patience).unwrap_or_else(|why| panic!("{why}"));
        let boundary =
            multipart::boundary(&self.head(patience).unwrap()).unwrap_or_else(|why| panic!("{why}"));
        match multipart::delivery(&bytes, &boundary, first) {
            Ok(Some((delivery, _))) => delivery,
            other => panic!("{}: not a delivery: {other:?}", self.request),
        }
    }

    /// The JSON of the next event of a watch, and its id.
    #[track_caller]
    pub fn event(&mut self, patience: Duration) -> (u64, serde_json::Map<String, serde_json::Value>) {
        let bytes = self.take(1, patience).unwrap_or_else(|why| panic!("{why}"));
        let text = String::from_utf8(bytes).expect("an event is text");
        let lines: Vec<&str> =
            text.split('\n').filter(|line| !line.is_empty() && !line.starts_with(':')).collect();
        let [id, "event: queue_watch", data] = lines[..] else { panic!("not an event: {text:?}") };
        let id = id.strip_prefix("id: ").and_then(|id| id.parse().ok());
        let data = data.strip_prefix("data: ").and_then(|data| serde_json::from_str(data).ok());
        match (id, data) {
            (Some(id), Some(data)) => (id, data),
            _ => panic!("not an event: {text:?}"),
        }
    }

    /// How many deliveries or events come within this time, and whether the answer is still open after it.
    pub fn quiet(&self, time: Duration) -> Result<(usize, bool), String> {
        std::thread::sleep(time);
        let state = self.lock();
        let mut units = 0;
        if let Some(head) = &state.head {
            while after(head, &state.body[self.taken..], self.units == 0, units + 1)?.is_some() {
                units += 1;
            }
        }
        Ok((units, state.end.is_none()))
    }

    /// The bytes that have come and were not taken.
    pub fn untaken(&self) -> Vec<u8> {
        self.lock().body[self.taken..].to_vec()
    }

    /// Whether any byte of an answer has come.
    pub fn is_answered(&self) -> bool {
        self.lock().head.is_some()
    }

    /// When the last bytes came.
    pub fn last_bytes(&self) -> Option<Instant> {
        self.lock().touched
    }

    /// Waits for the server's end: what came after the last unit taken, and how it ended.
    pub fn finish(self, patience: Duration) -> Result<(Vec<u8>, End), String> {
        let state = self.wait(patience, |state| state.end.is_some());
        match &state.end {
            Some(end) => Ok((state.body[self.taken..].to_vec(), end.clone())),
            None => Err(format!("{}: the server did not end it within {patience:?}", self.request)),
        }
    }

    /// Waits for text that is no unit, such as a heartbeat.
    pub fn wait_for_text(&self, text: &str, patience: Duration) -> Result<(), String> {
        let holds = |state: &State| state.body.windows(text.len()).any(|window| window == text.as_bytes());
        let state = self.wait(patience, |state| state.end.is_some() || holds(state));
        if holds(&state) { Ok(()) } else { Err(format!("{}: no {text:?} within {patience:?}", self.request)) }
    }

    pub fn close(mut self) {
        self.shut();
    }

    fn shut(&mut self) {
        self.closer.close();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, patience: Duration, done: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if done(&state) || left.is_zero() {
                return state;
            }
            state = self.shared.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shut();
    }
}

/// The length of this many units at the beginning of `body`; `None` when they have not come completely.
fn after(head: &Response, body: &[u8], first: bool, units: usize) -> Result<Option<usize>, String> {
    if head.status != 200 {
        return Err(format!("answered with {head}"));
    }
    let mut at = 0;
    if head.header("content-type") == Some("text/event-stream") {
        let mut left = units;
        while left > 0 {
            let rest = &body[at..];
            let Some(end) = rest.windows(2).position(|window| window == b"\n\n") else { return Ok(None) };
            left -= usize::from(!rest.starts_with(b":"));
            at += end + 2;
        }
    } else {
        let boundary = multipart::boundary(head)?;
        // The end of the stream is no delivery.
        let end = format!("\r\n--{boundary}--");
        for unit in 0..units {
            if body[at..].starts_with(end.as_bytes()) {
                return Ok(None);
            }
            match multipart::delivery(&body[at..], &boundary, first && unit == 0)? {
                Some((_, length)) => at += length,
                None => return Ok(None),
            }
        }
    }
    Ok(Some(at))
}

fn read(connection: &mut Connection, shared: &(Mutex<State>, Condvar)) {
    let change = |change: &mut dyn FnMut(&mut State)| {
        let mut state = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        state.touched = Some(Instant::now());
        shared.1.notify_all();
    };
    let end = (|| -> Result<(), Trouble> {
        let head = loop {
            let head = connection.read_head()?;
            if head.status >= 200 {
                break head;
            }
        };
        let chunked = head.header("transfer-encoding").is_some();
        change(&mut |state| state.head = Some(head.clone()));
        if chunked {
            while let Some(chunk) = connection.next_chunk()? {
                change(&mut |state| state.body.extend_from_slice(&chunk));
            }
        } else {
            let whole = connection.read_body(head, false)?;
            change(&mut |state| state.body.extend_from_slice(&whole.body));
        }
        Ok(())
    })();
    change(&mut |state| {
        state.end = Some(match &end {
            Ok(()) => End::Clean,
            Err(trouble) => End::Cut(trouble.to_string()),
        });
    });
}
