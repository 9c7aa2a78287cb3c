//! The reference: a lock on Redis as its documentation describes it. `SET key value NX PX lease` takes it, and a script that
//! compares the value before it deletes the key gives it back.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use bench_kit::measured::nanos_between;

use crate::fault::Fault;
use crate::script::{OperationLog, Script, Step};

const COMPARE_AND_DELETE: &str =
    "if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";
const LEASE_MILLIS: &str = "33000";

#[derive(Debug)]
pub(crate) struct RedisPairs {
    digest: String,
    keys: Vec<String>,
    /// The value of the lock that each client holds, as unique as a token.
    values: Vec<String>,
    holding: Vec<bool>,
    operations: u64,
}

impl RedisPairs {
    /// Loads the script into the server.
    pub(crate) fn new(port: u16, clients: usize) -> Result<RedisPairs, Fault> {
        let mut socket =
            TcpStream::connect(("127.0.0.1", port)).map_err(|source| Fault::Connect { port, source })?;
        let mut request = Vec::new();
        command(&mut request, &["SCRIPT", "LOAD", COMPARE_AND_DELETE]);
        socket.write_all(&request)?;
        let mut reader = BufReader::new(socket);
        let (mut header, mut digest) = (String::new(), String::new());
        reader.read_line(&mut header)?;
        if header.trim_end() != "$40" {
            return Err(Fault::unexpected("SCRIPT LOAD", header.as_bytes()));
        }
        reader.read_line(&mut digest)?;
        Ok(RedisPairs {
            digest: digest.trim_end().to_owned(),
            keys: (0..clients).map(|client| format!("bench/lock/{client:06}")).collect(),
            values: vec![String::new(); clients],
            holding: vec![false; clients],
            operations: 0,
        })
    }
}

impl Script for RedisPairs {
    fn label(&self) -> String {
        "redis".to_owned()
    }

    fn phases(&self) -> &'static [&'static str] {
        &["set", "compare-and-delete"]
    }

    fn begin(&mut self, client: usize, request: &mut Vec<u8>) {
        self.operations += 1;
        self.holding[client] = false;
        self.values[client] = format!("{:016x}{client:016x}", self.operations);
        command(request, &["SET", &self.keys[client], &self.values[client], "NX", "PX", LEASE_MILLIS]);
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
            log.note(1, took);
            return if line == b":1" { Ok(Step::Done) } else { Err(Fault::unexpected("EVALSHA", line)) };
        }
        log.note(0, took);
        if line != b"+OK" {
            return Err(Fault::unexpected("SET", line));
        }
        self.holding[client] = true;
        command(request, &["EVALSHA", &self.digest, "1", &self.keys[client], &self.values[client]]);
        Ok(Step::Asked)
    }
}

fn command(request: &mut Vec<u8>, words: &[&str]) {
    // Writing to a vector cannot fail.
    let _ = write!(request, "*{}\r\n", words.len());
    for word in words {
        let _ = write!(request, "${}\r\n{word}\r\n", word.len());
    }
}
