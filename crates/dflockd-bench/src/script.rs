//! What the clients say: one operation is a series of requests, each answered by one line.

use std::time::Instant;

use bench_kit::measured::nanos_between;

use crate::fault::Fault;

const MAX_PHASES: usize = 4;

/// The timings of one operation, kept aside until it is known whether they count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OperationLog {
    /// When the request that is not answered yet was sent.
    pub(crate) sent: Instant,
    pub(crate) nanos: [Option<u64>; MAX_PHASES],
    pub(crate) requests: u64,
}

impl OperationLog {
    pub(crate) fn begin(begun: Instant) -> OperationLog {
        OperationLog { sent: begun, nanos: [None; MAX_PHASES], requests: 0 }
    }

    pub(crate) fn note(&mut self, phase: usize, nanos: u64) {
        if let Some(slot) = self.nanos.get_mut(phase) {
            *slot = Some(nanos);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The next request has been written.
    Asked,
    /// The operation is complete.
    Done,
}

pub(crate) trait Script {
    fn label(&self) -> String;
    /// Names of the timed steps of one operation.
    fn phases(&self) -> &'static [&'static str];
    /// Writes the first request of an operation.
    fn begin(&mut self, client: usize, request: &mut Vec<u8>);
    /// Takes the answer to the last request and writes the next one, if there is one.
    fn answer(
        &mut self,
        client: usize,
        line: &[u8],
        now: Instant,
        log: &mut OperationLog,
        request: &mut Vec<u8>,
    ) -> Result<Step, Fault>;
}

/// How a slot is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Lock,
    Semaphore {
        limit: u32,
    },
    /// `e`, then `w`.
    TwoPhase,
}

/// Acquire and release on dflockd.
#[derive(Debug)]
pub(crate) struct Pairs {
    label: &'static str,
    way: Way,
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    key: String,
    token: Vec<u8>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Acquire,
    Claim,
    Release,
}

/// Whole seconds that an acquire may wait: longer than any run, so that a time-out is an error.
const PATIENCE: u32 = 3600;

impl Pairs {
    /// Client number n uses key number n modulo `keys`.
    pub(crate) fn new(label: &'static str, way: Way, clients: usize, keys: usize) -> Pairs {
        let client = |number: usize| Client {
            key: format!("bench/{label}/{:06}", number % keys.max(1)),
            token: Vec::new(),
            stage: Stage::Acquire,
        };
        Pairs { label, way, clients: (0..clients).map(client).collect() }
    }
}

impl Script for Pairs {
    fn label(&self) -> String {
        self.label.to_owned()
    }

    fn phases(&self) -> &'static [&'static str] {
        match self.way {
            Way::TwoPhase => &["enqueue", "wait", "release"],
            Way::Lock | Way::Semaphore { .. } => &["acquire", "release"],
        }
    }

    fn begin(&mut self, client: usize, request: &mut Vec<u8>) {
        let client = &mut self.clients[client];
        client.stage = Stage::Acquire;
        let key = client.key.as_bytes();
        match self.way {
            Way::Lock => ask(request, b"l", key, &[decimal(PATIENCE).as_bytes()]),
            Way::TwoPhase => ask(request, b"e", key, &[]),
            Way::Semaphore { limit } => {
                ask(request, b"sl", key, &[decimal(PATIENCE).as_bytes(), decimal(limit).as_bytes()]);
            }
        }
    }

    fn answer(
        &mut self,
        client: usize,
        line: &[u8],
        now: Instant,
        log: &mut OperationLog,
        request: &mut Vec<u8>,
    ) -> Result<Step, Fault> {
        let client = &mut self.clients[client];
        let took = nanos_between(log.sent, now);
        let key = client.key.as_bytes();
        let release: &[u8] = if matches!(self.way, Way::Semaphore { .. }) { b"sr" } else { b"r" };
        match client.stage {
            Stage::Acquire if self.way == Way::TwoPhase => {
                log.note(0, took);
                if line != b"queued" {
                    keep_token(&mut client.token, line, b"acquired ").ok_or(Fault::unexpected("e", line))?;
                }
                client.stage = Stage::Claim;
                ask(request, b"w", key, &[decimal(PATIENCE).as_bytes()]);
            }
            Stage::Acquire | Stage::Claim => {
                log.note(if client.stage == Stage::Claim { 1 } else { 0 }, took);
                keep_token(&mut client.token, line, b"ok ").ok_or(Fault::unexpected("acquire", line))?;
                client.stage = Stage::Release;
                ask(request, release, key, &[&client.token]);
            }
            Stage::Release => {
                log.note(self.phases().len() - 1, took);
                if line != b"ok" {
                    return Err(Fault::unexpected("release", line));
                }
                return Ok(Step::Done);
            }
        }
        Ok(Step::Asked)
    }
}

/// All clients queue on one key; who gets it releases it at once and queues again.
#[derive(Debug)]
pub(crate) struct Handover {
    holding: Vec<bool>,
    token: Vec<u8>,
    released: Option<Instant>,
    answered: Option<Instant>,
}

const HANDOVER_KEY: &[u8] = b"bench/handover";

impl Handover {
    pub(crate) fn new(clients: usize) -> Handover {
        Handover { holding: vec![false; clients], token: Vec::new(), released: None, answered: None }
    }
}

impl Script for Handover {
    fn label(&self) -> String {
        "handover".to_owned()
    }

    fn phases(&self) -> &'static [&'static str] {
        &["sent-to-granted", "answered-to-granted", "wait", "release"]
    }

    fn begin(&mut self, client: usize, request: &mut Vec<u8>) {
        self.holding[client] = false;
        ask(request, b"l", HANDOVER_KEY, &[decimal(PATIENCE).as_bytes()]);
    }

    fn answer(
        &mut self,
        client: usize,
        line: &[u8],
        now: Instant,
        log: &mut OperationLog,
        request: &mut Vec<u8>,
    ) -> Result<Step, Fault> {
        let took = nanos_between(log.sent, now);
        if self.holding[client] {
            log.note(3, took);
            if line != b"ok" {
                return Err(Fault::unexpected("release", line));
            }
            // The next grant may have been read, and its release sent, before this answer.
            self.answered.get_or_insert(now);
            return Ok(Step::Done);
        }
        log.note(2, took);
        let before = std::mem::take(&mut self.token);
        keep_token(&mut self.token, line, b"ok ").ok_or(Fault::unexpected("acquire", line))?;
        if self.token <= before {
            return Err(Fault::unexpected("acquire, whose token must grow,", line));
        }
        if let Some(released) = self.released {
            log.note(0, nanos_between(released, now));
            // The grant may be read before the answer to the release that made it: no gap at all.
            log.note(1, self.answered.map_or(0, |answered| nanos_between(answered, now)));
        }
        self.holding[client] = true;
        ask(request, b"r", HANDOVER_KEY, &[&self.token]);
        (self.released, self.answered) = (Some(Instant::now()), None);
        Ok(Step::Asked)
    }
}

/// Appends a request of three lines.
pub(crate) fn ask(request: &mut Vec<u8>, command: &[u8], key: &[u8], fields: &[&[u8]]) {
    request.extend_from_slice(command);
    request.push(b'\n');
    request.extend_from_slice(key);
    request.push(b'\n');
    for (number, field) in fields.iter().enumerate() {
        if number > 0 {
            request.push(b' ');
        }
        request.extend_from_slice(field);
    }
    request.push(b'\n');
}

fn decimal(number: u32) -> String {
    number.to_string()
}

/// Keeps the token of a grant that starts with `word`.
fn keep_token(token: &mut Vec<u8>, line: &[u8], word: &[u8]) -> Option<()> {
    let rest = line.strip_prefix(word)?;
    let end = memchr::memchr(b' ', rest)?;
    token.clear();
    token.extend_from_slice(&rest[..end]);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(script: &mut impl Script, line: &str) -> Result<(Step, String), Fault> {
        let (mut log, mut request) = (OperationLog::begin(Instant::now()), Vec::new());
        let step = script.answer(0, line.as_bytes(), Instant::now(), &mut log, &mut request)?;
        Ok((step, String::from_utf8(request).unwrap()))
    }

    #[test]
    fn two_phases_and_a_release() {
        let mut script = Pairs::new("x", Way::TwoPhase, 1, 1);
        let mut request = Vec::new();
        script.begin(0, &mut request);
        assert_eq!(request, b"e\nbench/x/000000\n\n");
        assert_eq!(said(&mut script, "queued").unwrap().1, "w\nbench/x/000000\n3600\n");
        assert_eq!(said(&mut script, "ok t1 33").unwrap().1, "r\nbench/x/000000\nt1\n");
        assert_eq!(said(&mut script, "ok").unwrap(), (Step::Done, String::new()));
    }

    #[test]
    fn a_semaphore_names_its_limit_and_a_refusal_is_an_error() {
        let mut script = Pairs::new("x", Way::Semaphore { limit: 4 }, 1, 1);
        let mut request = Vec::new();
        script.begin(0, &mut request);
        assert_eq!(request, b"sl\nbench/x/000000\n3600 4\n");
        assert!(said(&mut script, "error_max_locks").unwrap_err().to_string().contains("error_max_locks"));
        assert_eq!(said(&mut script, "ok t1 33").unwrap().1, "sr\nbench/x/000000\nt1\n");
    }

    #[test]
    fn a_token_that_does_not_grow_is_noticed() {
        let mut script = Handover::new(1);
        assert_eq!(said(&mut script, "ok 01 33").unwrap().0, Step::Asked);
        assert_eq!(said(&mut script, "ok").unwrap().0, Step::Done);
        script.begin(0, &mut Vec::new());
        assert!(said(&mut script, "ok 01 33").is_err());
    }
}
