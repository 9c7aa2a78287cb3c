//! Replays recorded scenarios against a server and reports where its answers differ.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::check;
use crate::compare;
use crate::http::{self, Address, Closer, Connection, Request, Response, Trouble};
use crate::name::Names;
use crate::recording::{Answer, Body, Exchange, Part, Query, Scenario, Step};
use crate::stream::{End, Stream};

/// How long a started request is left alone before the next step.
const START_PAUSE: Duration = Duration::from_millis(80);
/// A scenario that has gone wrong this often tells nothing new.
const FAILURES_SHOWN: usize = 3;
/// How long a delivery, an event or the end of a stream may take.
const STREAM_PATIENCE: Duration = Duration::from_secs(20);

/// What a replay found.
#[derive(Debug, Default)]
pub struct Report {
    pub passed: usize,
    pub failures: Vec<Failure>,
}

/// A step whose answer is not the recorded one.
#[derive(Debug)]
pub struct Failure {
    pub scenario: String,
    pub notes: String,
    pub step: usize,
    pub what: String,
    pub differences: Vec<String>,
    pub answer: Option<String>,
}

impl Report {
    /// Panics with the whole report unless every scenario passed.
    #[track_caller]
    pub fn expect_success(&self) {
        assert!(self.failures.is_empty(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut scenario = "";
        for failure in &self.failures {
            if failure.scenario != scenario {
                scenario = &failure.scenario;
                writeln!(f, "\n== {scenario}: {}", failure.notes)?;
            }
            writeln!(f, "  step {}: {}", failure.step, failure.what)?;
            for difference in &failure.differences {
                writeln!(f, "    - {difference}")?;
            }
            if let Some(answer) = &failure.answer {
                for line in answer.lines() {
                    writeln!(f, "    | {line}")?;
                }
            }
        }
        let mut failed: Vec<&str> = self.failures.iter().map(|failure| failure.scenario.as_str()).collect();
        failed.dedup();
        writeln!(f, "\n{} scenarios passed, {} failed: {}", self.passed, failed.len(), failed.join(" "))
    }
}

/// Replays all scenarios on this many threads.
pub fn run(scenarios: &[Scenario], address: &Address, threads: usize) -> Report {
    static RUNS: AtomicUsize = AtomicUsize::new(1);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let next = AtomicUsize::new(0);
    let report = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((number, scenario)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    scenarios.get(number).map(|scenario| (number, scenario))
                } {
                    let failures = Player::new(scenario, address, &format!("r{run}-{number:03}")).play();
                    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                    report.passed += usize::from(failures.is_empty());
                    report.failures.extend(failures);
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.failures.sort_by(|a, b| (&a.scenario, a.step).cmp(&(&b.scenario, b.step)));
    report
}

struct Started {
    request: Request,
    path: String,
    closer: Closer,
    answer: JoinHandle<Result<Response, Trouble>>,
}

struct Player<'a> {
    scenario: &'a Scenario,
    address: &'a Address,
    names: Names,
    started: HashMap<String, Started>,
    open: HashMap<String, Open>,
    /// All answers so far, for the statements about them.
    history: Vec<Response>,
}

struct Open {
    stream: Stream,
    path: String,
}

/// What is wrong with a step, and the answer that shows it.
struct Wrong {
    differences: Vec<String>,
    answer: Option<Response>,
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self { differences: vec![why], answer: None }
    }
}

impl From<Trouble> for Wrong {
    fn from(trouble: Trouble) -> Self {
        trouble.to_string().into()
    }
}

impl<'a> Player<'a> {
    fn new(scenario: &'a Scenario, address: &'a Address, id: &str) -> Self {
        Self {
            scenario,
            address,
            names: Names::new(id),
            started: HashMap::new(),
            open: HashMap::new(),
            history: vec![],
        }
    }

    fn play(mut self) -> Vec<Failure> {
        let mut failures = Vec::new();
        for (number, step) in self.scenario.steps.iter().enumerate() {
            if let Err(wrong) = self.step(step) {
                failures.push(Failure {
                    scenario: self.scenario.name.clone(),
                    notes: self.scenario.notes.clone(),
                    step: number,
                    what: self.describe(step),
                    differences: wrong.differences,
                    answer: wrong.answer.map(|answer| answer.to_string()),
                });
                if failures.len() == FAILURES_SHOWN {
                    break;
                }
            }
        }
        for started in self.started.into_values() {
            started.closer.close();
            let _ = started.answer.join();
        }
        failures
    }

    fn describe(&self, step: &Step) -> String {
        let exchange = |request: &Exchange| {
            let query = match &request.query {
                None => String::new(),
                Some(Query::Raw(query)) => format!("?{}", self.names.known(query)),
                Some(Query::Pairs(pairs)) => format!(
                    " {}",
                    pairs
                        .iter()
                        .map(|(name, value)| format!("{name}={}", self.names.known(value)))
                        .collect::<Vec<_>>()
                        .join(" ")
                ),
            };
            let body = match request.body.as_deref() {
                Some([Part::Text(text)]) => format!(" {}", self.names.known(text)),
                Some(_) => " …".to_owned(),
                None => String::new(),
            };
            let headers: String = request
                .headers
                .iter()
                .map(|(name, value)| format!(" [{name}: {}]", self.names.known(value)))
                .collect();
            format!("{} {}{query}{headers}{body}", request.method, request.path)
        };
        match step {
            Step::Exchange { request, .. } => exchange(request),
            Step::Start { label, request } => format!("start {label}: {}", exchange(request)),
            Step::Join { label, .. } => format!("join {label}"),
            Step::Abandon { label } => format!("abandon {label}"),
            Step::Race { request, times, .. } => format!("{times} at once: {}", exchange(request)),
            Step::Sleep { seconds } => format!("sleep {seconds} s"),
            Step::Open { label, request } => format!("open {label}: {}", exchange(request)),
            Step::Take { label, units, .. } => format!("take {units} of {label}"),
            Step::Quiet { label, seconds, .. } => format!("watch {label} for {seconds} s"),
            Step::Finish { label, .. } => format!("wait for the end of {label}"),
            Step::Close { label } => format!("close {label}"),
            Step::Check { statement, .. } => format!("check {statement}"),
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), Wrong> {
        match step {
            Step::Exchange { request, answer } => {
                let sent = self.fill_in(request)?;
                let actual = http::call(self.address, &sent)?;
                self.compare(answer, actual, &request.path)
            }
            Step::Start { label, request } => self.start(label, request),
            Step::Join { label, answer } => {
                let started = self.take(label)?;
                let actual = started
                    .answer
                    .join()
                    .map_err(|_| format!("the request {} panicked", started.request))??;
                self.compare(answer, actual, &started.path)
            }
            Step::Abandon { label } => {
                let started = self.take(label)?;
                started.closer.close();
                match started.answer.join() {
                    Ok(Ok(answer)) => Err(Wrong {
                        differences: vec!["answered before it was abandoned".to_owned()],
                        answer: Some(answer),
                    }),
                    _ => Ok(()),
                }
            }
            Step::Race { request, times, outcomes } => self.race(request, *times, outcomes),
            Step::Sleep { seconds } => {
                std::thread::sleep(Duration::from_secs_f64(*seconds));
                Ok(())
            }
            Step::Open { label, request } => {
                let stream = Stream::open(self.address, &self.fill_in(request)?)?;
                let path = request.path.clone();
                if self.open.insert(label.clone(), Open { stream, path }).is_some() {
                    return Err(format!("{label:?} was opened twice").into());
                }
                Ok(())
            }
            Step::Take { label, units, answer, with_head } => {
                let open = self.opened(label)?;
                let mut actual = open.stream.head(STREAM_PATIENCE)?;
                let path = open.path.clone();
                if actual.status == 200 {
                    actual.body = open.stream.take(*units, STREAM_PATIENCE)?;
                }
                if !with_head {
                    actual.headers.clear();
                }
                self.compare(answer, actual, &path)
            }
            Step::Quiet { label, seconds, new_units, end } => {
                let got = self.opened(label)?.stream.quiet(Duration::from_secs_f64(*seconds))?;
                let expected = (*new_units, end == "open");
                if got == expected {
                    Ok(())
                } else {
                    Err(format!("units and openness: expected {expected:?}, got {got:?}").into())
                }
            }
            Step::Finish { label, text, end } => {
                let open = self.open.remove(label).ok_or_else(|| format!("nothing is open as {label:?}"))?;
                let (body, how) = open.stream.finish(STREAM_PATIENCE)?;
                let mut wrong = vec![];
                if (how == End::Clean) != (end == "clean") {
                    wrong.push(format!("end: expected {end}, got {how:?}"));
                }
                let text = self.names.render(text)?;
                if body != text.as_bytes() {
                    wrong.push(format!("expected {text:?}, got {:?}", String::from_utf8_lossy(&body)));
                }
                if wrong.is_empty() { Ok(()) } else { Err(Wrong { differences: wrong, answer: None }) }
            }
            Step::Close { label } => {
                self.open
                    .remove(label)
                    .ok_or_else(|| format!("nothing is open as {label:?}"))?
                    .stream
                    .close();
                Ok(())
            }
            Step::Check { statement, expected } => {
                let got = check::statement(statement, &self.history)?;
                if got == *expected { Ok(()) } else { Err(format!("expected {expected}, got {got}").into()) }
            }
        }
    }

    fn opened(&mut self, label: &str) -> Result<&mut Open, String> {
        self.open.get_mut(label).ok_or_else(|| format!("nothing is open as {label:?}"))
    }

    fn take(&mut self, label: &str) -> Result<Started, String> {
        self.started.remove(label).ok_or_else(|| format!("nothing was started as {label:?}"))
    }

    fn start(&mut self, label: &str, request: &Exchange) -> Result<(), Wrong> {
        let sent = self.fill_in(request)?;
        let mut connection = Connection::open(self.address).map_err(Trouble::from)?;
        let closer = connection.closer().map_err(Trouble::from)?;
        let answer = {
            let sent = sent.clone();
            std::thread::spawn(move || connection.call(&sent))
        };
        let started = Started { request: sent, path: request.path.clone(), closer, answer };
        if self.started.insert(label.to_owned(), started).is_some() {
            return Err(format!("{label:?} was started twice").into());
        }
        std::thread::sleep(START_PAUSE);
        Ok(())
    }

    fn race(
        &mut self,
        request: &Exchange,
        times: usize,
        expected: &BTreeMap<String, usize>,
    ) -> Result<(), Wrong> {
        let sent = self.fill_in(request)?;
        let start = Barrier::new(times);
        let outcomes: Vec<String> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..times)
                .map(|_| {
                    scope.spawn(|| {
                        let connection = Connection::open(self.address);
                        start.wait();
                        match connection
                            .map_err(Trouble::from)
                            .and_then(|mut connection| connection.call(&sent))
                        {
                            Ok(answer) => outcome(&answer),
                            Err(trouble) => trouble.to_string(),
                        }
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap_or_else(|_| "panicked".to_owned())).collect()
        });
        let mut counts = BTreeMap::new();
        for outcome in outcomes {
            *counts.entry(outcome).or_insert(0) += 1;
        }
        if counts == *expected {
            Ok(())
        } else {
            Err(format!("outcomes: expected {expected:?}, got {counts:?}").into())
        }
    }

    fn compare(&mut self, expected: &Answer, actual: Response, path: &str) -> Result<(), Wrong> {
        let differences = compare::answer(expected, &actual, path, &mut self.names);
        // Kept for statements, which are about what is small.
        if !matches!(expected.body, Body::Digest { .. }) {
            self.history.push(actual.clone());
        }
        if differences.is_empty() { Ok(()) } else { Err(Wrong { differences, answer: Some(actual) }) }
    }

    /// The request with its names filled in.
    fn fill_in(&mut self, exchange: &Exchange) -> Result<Request, String> {
        let mut request = Request::new(&exchange.method, &self.names.render(&exchange.path)?);
        match &exchange.query {
            None => {}
            Some(Query::Raw(query)) => request = request.raw_query(&self.names.render(query)?),
            Some(Query::Pairs(pairs)) => {
                for (name, value) in pairs {
                    request = request.query(&self.names.render(name)?, &self.names.render(value)?);
                }
            }
        }
        for (name, value) in &exchange.headers {
            request = request.header(name, &self.names.render(value)?);
        }
        if let Some(parts) = &exchange.body {
            let mut body = Vec::new();
            for part in parts {
                match part {
                    Part::Text(text) => body.extend_from_slice(self.names.render(text)?.as_bytes()),
                    Part::Bytes(bytes) => body.extend_from_slice(bytes),
                    Part::Repeat { text, count } => body.extend_from_slice(text.repeat(*count).as_bytes()),
                }
            }
            if exchange.chunked {
                // At least two chunks for every body of two bytes or more.
                request = request.chunked(body.len().div_ceil(3).clamp(1, 64 * 1024));
            }
            request = request.body(body);
        }
        if exchange.expect_100 {
            request = request.expect_continue();
        }
        Ok(request)
    }
}

/// `"200"`, or `"409 waiting"` for an answer that is an error.
fn outcome(answer: &Response) -> String {
    let code = serde_json::from_slice::<Value>(&answer.body).ok();
    match code.as_ref().and_then(|body| body["error"].as_str()) {
        Some(code) => format!("{} {code}", answer.status),
        None => answer.status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;
    use crate::recording;

    /// Answers each connection with the next of these answers; a delay says how long that takes.
    fn canned(answers: Vec<(u64, &'static str)>) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for (delay, answer) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                std::thread::spawn(move || {
                    let mut chunk = [0; 64 * 1024];
                    let _ = stream.read(&mut chunk);
                    std::thread::sleep(Duration::from_millis(delay));
                    let _ = stream.write_all(answer.as_bytes());
                });
            }
        });
        address
    }

    fn replay(steps: &str, answers: Vec<(u64, &'static str)>) -> Report {
        let line = format!(r#"{{"name":"n","notes":"","tags":[],"steps":[{steps}]}}"#);
        run(&recording::parse(&line.replace('\n', " ")).unwrap(), &canned(answers), 1)
    }

    const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"a\":\"xx\"}";
    const STEP: &str =
        r#"{"method":"GET","path":"/","status":200,"resp_headers":{},"resp_json":{"a":"${etag1}"}}"#;

    #[test]
    fn right_answers_pass_and_wrong_ones_are_reported() {
        let two = format!("{STEP},{STEP}");
        replay(&two, vec![(0, FINE), (0, FINE)]).expect_success();
        let other = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"a\":\"yy\"}";
        let report = replay(&two, vec![(0, FINE), (0, other)]);
        assert_eq!((report.passed, report.failures.len()), (0, 1));
        assert_eq!(report.failures[0].step, 1);
        let text = report.to_string();
        assert!(text.contains("expected \"${etag1}\" (\"xx\"), got \"yy\""), "{text}");
    }

    #[test]
    fn a_server_that_does_not_answer_is_reported() {
        let report = replay(STEP, vec![(0, "")]);
        assert!(report.to_string().contains("without an answer"), "{report}");
    }

    #[test]
    fn background_requests_are_joined_and_timed() {
        let steps = |elapsed: u64| {
            format!(
                r#"{{"start":"w","method":"GET","path":"/"}},
                   {{"join":"w","elapsed_ms":{elapsed},"status":200,"resp_headers":{{}},"resp_json":{{}}}}"#
            )
        };
        replay(&steps(700), vec![(700, FINE)]).expect_success();
        assert_eq!(replay(&steps(0), vec![(1400, FINE)]).failures.len(), 1);
        let never = r#"{"join":"w","status":200,"resp_headers":{}}"#;
        assert_eq!(replay(never, vec![]).failures.len(), 1);
    }

    #[test]
    fn an_abandoned_request_must_not_have_been_answered() {
        let steps = r#"{"start":"w","method":"GET","path":"/"},{"abandon":"w"}"#;
        replay(steps, vec![(2000, FINE)]).expect_success();
        assert_eq!(replay(steps, vec![(0, FINE)]).failures.len(), 1);
    }

    #[test]
    fn races_are_counted() {
        let steps = r#"{"race":3,"method":"GET","path":"/","outcomes":{"200":1,"409 waiting":2}}"#;
        let waiting = "HTTP/1.1 409 Conflict\r\nContent-Length: 19\r\n\r\n{\"error\":\"waiting\"}";
        replay(steps, vec![(0, waiting), (0, FINE), (0, waiting)]).expect_success();
        assert_eq!(replay(steps, vec![(0, waiting), (0, FINE), (0, FINE)]).failures.len(), 1);
    }
}
