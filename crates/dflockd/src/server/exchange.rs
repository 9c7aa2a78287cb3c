//! Requests and replies: what a connection does when its socket, a timer or the table calls.

use super::connection::Phase;
use super::transport::Received;
use super::{Server, stats};
use crate::log::Level;
use crate::protocol::{self, Frame, Malformed, Request};
use crate::table::{NIL, Outcome, SECOND, Token};
use std::net::Shutdown;

/// Work done for one connection before others get their turn: a request, or a read, and a read counts once more for so
/// many bytes.
const BATCH: usize = 128;
const BYTES: usize = 1024;
/// Replies collected before they are sent.
const REPLIES: usize = 16 << 10;
/// Bytes kept from a connection that is blocked; more stay in the kernel.
const BEHIND_BLOCKED: usize = 4096;
/// Pause between `error_auth` and the end, against guessing.
const AUTH_PAUSE: u64 = SECOND / 10;
const LINGER: u64 = SECOND / 5;

const OVERSIZED: Malformed = Malformed { code: 12, text: "line is longer than 256 bytes" };
/// Never printed: a connection that is not authenticated hears and logs the same whatever it did.
const NOT_AUTHENTICATED: Malformed = Malformed { code: 12, text: "not authenticated" };
const READ_TIMEOUT: Malformed = Malformed { code: 10, text: "read timeout" };

impl Received {
    /// What a read counts against [`BATCH`].
    fn work(&self) -> usize {
        1 + if let Self::Bytes(count) = self { count / BYTES } else { 0 }
    }
}

impl Server {
    /// The socket of a connection reports something.
    pub(super) fn wake(&mut self, slot: u32, event: &mio::event::Event) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if event.is_error() && connection.phase == Phase::Blocked {
            // Its input may be full, so that a read would not tell.
            self.abandon(slot);
        } else if event.is_readable() || event.is_read_closed() || event.is_error() {
            connection.readable = true;
            connection.closing |= event.is_read_closed() || event.is_error();
        } else if !connection.unsent_bytes() {
            return;
        }
        self.drive(slot);
    }

    /// Does what can be done for a connection now.
    pub(super) fn drive(&mut self, slot: u32) {
        let mut done = 0;
        while self.step(slot, &mut done) {
            if done >= BATCH {
                self.enqueue(slot);
                break;
            }
        }
        self.tell();
        self.arm(slot);
    }

    pub(super) fn enqueue(&mut self, slot: u32) {
        if let Some(connection) = self.connections.get_mut(slot)
            && !std::mem::replace(&mut connection.queued, true)
        {
            self.runnable.push_back(slot);
        }
    }

    /// One piece of work; false when there is nothing more to do for now.
    fn step(&mut self, slot: u32, done: &mut usize) -> bool {
        let Some(connection) = self.connections.get_mut(slot) else { return false };
        if connection.phase == Phase::Gone {
            return false;
        }
        if connection.unsent_bytes() {
            if connection.flush().is_err() {
                self.abandon(slot);
                return false;
            }
            if connection.unsent_bytes() {
                // No reading while the peer does not read: its replies would pile up here.
                if connection.stalled_since == 0 {
                    // 0 means that it is not.
                    connection.stalled_since = self.now.max(1);
                }
                return matches!(connection.phase, Phase::Pausing { .. }) && self.discard(slot, done);
            }
        }
        connection.stalled_since = 0;
        connection.undelivered = Vec::new();
        match connection.phase {
            Phase::Gone => false,
            Phase::Pausing { until } => {
                if until <= self.now {
                    self.shut(slot);
                    return true;
                }
                self.discard(slot, done)
            }
            Phase::Lingering { .. } => self.discard(slot, done),
            Phase::Blocked => self.watch_blocked(slot, done),
            Phase::Open if connection.stats.is_some() => {
                *done = BATCH;
                self.continue_stats(slot);
                true
            }
            Phase::Open => self.step_open(slot, done),
        }
    }

    fn step_open(&mut self, slot: u32, done: &mut usize) -> bool {
        let Some(connection) = self.connections.get_mut(slot) else { return false };
        if !connection.input.is_empty() {
            let mut input = std::mem::take(&mut connection.input);
            let used = self.consume(slot, &input, done);
            input.drain(..used);
            if let Some(connection) = self.connections.get_mut(slot)
                && !input.is_empty()
            {
                connection.input = input;
            }
            if used > 0 {
                return true;
            }
        }
        let Some(connection) = self.connections.get_mut(slot) else { return false };
        if connection.ended {
            self.finish(slot);
            return true;
        }
        if !connection.readable {
            return false;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let received = connection.receive(&mut scratch);
        let more = match received {
            Received::Bytes(count) if connection.input.is_empty() => {
                let used = self.consume(slot, &scratch[..count], done);
                if let Some(connection) = self.connections.get_mut(slot) {
                    connection.input.extend_from_slice(&scratch[used..count]);
                }
                true
            }
            Received::Bytes(count) => {
                connection.input.extend_from_slice(&scratch[..count]);
                true
            }
            received => self.no_bytes(slot, received),
        };
        *done += received.work();
        self.scratch = scratch;
        more
    }

    /// Deals with a read that brought no bytes.
    fn no_bytes(&mut self, slot: u32, received: Received) -> bool {
        let Some(connection) = self.connections.get_mut(slot) else { return false };
        match received {
            Received::Bytes(_) | Received::Later => true,
            Received::Nothing => connection.unsent_bytes(),
            Received::End => {
                connection.ended = true;
                true
            }
            Received::Refused => {
                let _ = connection.flush();
                self.refuse_handshake(slot);
                true
            }
            Received::Broken if connection.handshaking() => {
                self.refuse_handshake(slot);
                true
            }
            Received::Broken => {
                self.abandon(slot);
                false
            }
        }
    }

    /// A peer that speaks no TLS, or not ours, hears nothing from the protocol inside.
    fn refuse_handshake(&mut self, slot: u32) {
        let pause = if self.config.secret.is_some() { AUTH_PAUSE } else { 0 };
        self.part(slot, pause);
    }

    /// While a connection waits, only its end matters; a little of what it sends is kept for later.
    fn watch_blocked(&mut self, slot: u32, done: &mut usize) -> bool {
        let Some(connection) = self.connections.get_mut(slot) else { return false };
        if connection.readable && connection.input.len() < BEHIND_BLOCKED {
            let mut buffer = [0; BEHIND_BLOCKED];
            let received = connection.receive(&mut buffer);
            *done += received.work();
            return match received {
                Received::Bytes(count) => {
                    connection.input.extend_from_slice(&buffer[..count]);
                    true
                }
                received => self.no_bytes(slot, received),
            };
        }
        let more_to_do = matches!(protocol::next_frame(&connection.input), Frame::Complete { .. });
        if connection.ended
            && self.config.auto_release
            && !more_to_do
            && self.table.cancel_wait(self.now, slot)
        {
            self.unblock(slot, b"error\n");
            return true;
        }
        false
    }

    /// Executes complete requests and tells how many bytes they took.
    fn consume(&mut self, slot: u32, input: &[u8], done: &mut usize) -> usize {
        let mut at = 0;
        while at < input.len() {
            let Some(connection) = self.connections.get_mut(slot) else { return input.len() };
            if connection.phase != Phase::Open {
                break;
            }
            if connection.page {
                return self.answer_page(slot, input);
            }
            if connection.oversized {
                if memchr::memchr(b'\n', &input[at..]).is_some() {
                    self.fail(slot, OVERSIZED);
                }
                at = input.len();
                break;
            }
            if connection.stats.is_some() || *done >= BATCH || self.replies.len() >= REPLIES {
                break;
            }
            match protocol::next_frame(&input[at..]) {
                Frame::Complete { lines, length } => {
                    connection.line_started = self.now;
                    connection.lines = 0;
                    at += length;
                    *done += 1;
                    self.execute(slot, lines);
                }
                Frame::Partial { lines } => {
                    if connection.lines != lines {
                        connection.lines = lines;
                        connection.line_started = self.now;
                    }
                    break;
                }
                Frame::Oversized { ended: true } => {
                    self.fail(slot, OVERSIZED);
                    at = input.len();
                }
                Frame::Oversized { ended: false } => {
                    connection.oversized = true;
                    at = input.len();
                }
            }
        }
        self.settle(slot);
        at
    }

    /// Tells the others what the requests of a connection did for them, and then the connection itself: whoever was granted
    /// a slot has something to do with it, whoever gave it up has not.
    fn settle(&mut self, slot: u32) {
        while let Some(event) = self.table.next_event() {
            if event.conn() == slot {
                // What it is told answers a later request than those.
                self.send_replies(slot);
            }
            self.tell_one(event);
        }
        self.send_replies(slot);
    }

    fn execute(&mut self, slot: u32, lines: [&[u8]; 3]) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let parsed = protocol::parse(lines);
        if !connection.authed {
            let known = self.config.secret.as_deref().unwrap_or_default();
            let given = if let Ok(Request::Auth { secret }) = parsed { secret } else { b"" };
            // Also compared when there is nothing to compare, so that the time tells nothing.
            if aws_lc_rs::constant_time::verify_slices_are_equal(known, given).is_ok() {
                connection.authed = true;
                self.replies.extend_from_slice(b"ok\n");
            } else {
                self.fail(slot, NOT_AUTHENTICATED);
            }
            return;
        }
        let request = match parsed {
            Ok(request) => request,
            Err(malformed) => {
                self.report(slot, malformed);
                self.replies.extend_from_slice(b"error\n");
                return;
            }
        };
        self.counters.requests[request.command() as usize] += 1;
        if self.log.enabled(Level::Debug) {
            let id = connection.id;
            let (command, key) = (String::from_utf8_lossy(lines[0]), String::from_utf8_lossy(lines[1]));
            self.log.event(Level::Debug, "request", &[("conn", &id), ("cmd", &command), ("key", &key)]);
        }
        let default = self.config.default_lease;
        let (outcome, immediate) = match request {
            Request::Acquire { space, key, timeout, limit, lease } => (
                self.table.acquire(self.now, slot, space, key, timeout, limit, lease.unwrap_or(default)),
                false,
            ),
            Request::Enqueue { space, key, limit, lease } => {
                (self.table.enqueue(self.now, slot, space, key, limit, lease.unwrap_or(default)), true)
            }
            Request::Wait { space, key, timeout } => {
                (self.table.wait(self.now, slot, space, key, timeout), false)
            }
            Request::Release { space, key, token } => {
                (self.table.release(self.now, space, key, token), false)
            }
            Request::Renew { space, key, token, lease } => {
                (self.table.renew(self.now, space, key, token, lease.unwrap_or(default)), false)
            }
            Request::Stats => {
                self.begin_stats(slot);
                return;
            }
            Request::Ping => (Outcome::Done, false),
            // Either no secret is configured, or it was given before.
            Request::Auth { .. } => (Outcome::Error, false),
        };
        protocol::write_outcome(&mut self.replies, outcome, immediate);
        if let Some(connection) = self.connections.get_mut(slot) {
            match outcome {
                Outcome::Blocked => connection.phase = Phase::Blocked,
                Outcome::Granted { token, .. } => connection.granting(token, self.replies.len()),
                _ => {}
            }
        }
    }

    /// Sends the collected replies to the connection they are for.
    pub(super) fn send_replies(&mut self, slot: u32) {
        if self.replies.is_empty() {
            return;
        }
        let sent = match self.connections.get_mut(slot) {
            Some(connection) => connection.send(&self.replies),
            None => Ok(()),
        };
        self.replies.clear();
        if sent.is_err() {
            self.abandon(slot);
        }
    }

    pub(super) fn granted(&mut self, slot: u32, token: Token, lease: u64) {
        let mut reply = std::mem::take(&mut self.grant);
        reply.clear();
        protocol::write_outcome(&mut reply, Outcome::Granted { token, lease }, false);
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.granting(token, reply.len());
        }
        self.unblock(slot, &reply);
        self.grant = reply;
    }

    /// Ends a wait with a reply.
    pub(super) fn unblock(&mut self, slot: u32, reply: &[u8]) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.phase != Phase::Blocked {
            return;
        }
        connection.phase = Phase::Open;
        connection.line_started = self.now;
        if connection.send(reply).is_err() {
            self.abandon(slot);
            return;
        }
        if !connection.unsent_bytes() {
            connection.undelivered = Vec::new();
        }
        if connection.readable
            || connection.ended
            || !connection.input.is_empty()
            || connection.unsent_bytes()
        {
            self.enqueue(slot);
        }
        self.arm(slot);
    }

    fn report(&mut self, slot: u32, malformed: Malformed) {
        self.counters.malformed += 1;
        if self.may_log()
            && let Some(connection) = self.connections.get(slot)
        {
            let attributes: [(&str, &dyn std::fmt::Display); 3] =
                [("peer", &connection.peer), ("code", &malformed.code), ("msg", &malformed.text)];
            self.log.event(Level::Warn, "protocol error", &attributes);
        }
    }

    /// Says `error` (or, before authentication, `error_auth`) and ends the connection.
    fn fail(&mut self, slot: u32, reason: Malformed) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let (reply, pause): (&[u8], u64) =
            if connection.authed { (b"error\n", 0) } else { (b"error_auth\n", AUTH_PAUSE) };
        if connection.authed {
            self.report(slot, reason);
        } else {
            self.counters.auth_failures += 1;
            let (peer, id) = (connection.peer, connection.id);
            if self.may_log() {
                self.log.event(Level::Warn, "auth failed", &[("peer", &peer), ("conn_id", &id)]);
            }
        }
        self.replies.extend_from_slice(reply);
        self.send_replies(slot);
        self.part(slot, pause);
    }

    /// Ends the connection after a pause, letting the peer read what was sent.
    pub(super) fn part(&mut self, slot: u32, pause: u64) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if matches!(connection.phase, Phase::Open | Phase::Blocked) {
            connection.phase = Phase::Pausing { until: self.now + pause };
            connection.input = Vec::new();
            connection.stats = None;
            self.table.disconnect(self.now, slot);
            self.arm(slot);
        }
    }

    /// The peer has sent its last request and has all replies.
    fn finish(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.handshaking() {
            self.refuse_handshake(slot);
        } else if !connection.authed {
            self.fail(slot, NOT_AUTHENTICATED);
        } else if connection.oversized {
            self.fail(slot, OVERSIZED);
        } else {
            self.part(slot, 0);
        }
    }

    /// Closes our direction.
    fn shut(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if let Some(tls) = connection.tls.as_mut().filter(|tls| !tls.is_handshaking()) {
            tls.send_close_notify();
            let _ = connection.flush();
        }
        let closed = connection.socket.shutdown(Shutdown::Write);
        if connection.ended || closed.is_err() {
            self.retire(slot);
        } else {
            connection.phase = Phase::Lingering { until: self.now + LINGER };
        }
    }

    /// Throws away what a parting peer sends.
    fn discard(&mut self, slot: u32, done: &mut usize) -> bool {
        let Some(connection) = self.connections.get_mut(slot) else { return false };
        if !connection.readable || connection.ended {
            return false;
        }
        let mut buffer = [0; 4096];
        let result = std::io::Read::read(&mut connection.socket, &mut buffer);
        match result {
            Ok(0) => connection.ended = true,
            Ok(count) => {
                *done += Received::Bytes(count).work();
                return true;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return true,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                connection.readable = false;
                return false;
            }
            Err(_) => {
                self.abandon(slot);
                return false;
            }
        }
        if matches!(connection.phase, Phase::Lingering { .. }) {
            self.retire(slot);
        }
        false
    }

    /// The connection is broken: nothing can be sent any more.
    pub(super) fn abandon(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if !self.config.auto_release {
            // How far the bytes inside of TLS have got is not known.
            let sent = if connection.tls.is_some() { 0 } else { connection.sent };
            for (token, end) in std::mem::take(&mut connection.undelivered) {
                if end > sent {
                    self.table.undelivered(self.now, token);
                }
            }
        }
        self.retire(slot);
    }

    fn retire(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.phase == Phase::Gone {
            return;
        }
        connection.phase = Phase::Gone;
        self.departing += u64::from(!connection.page);
        connection.input = Vec::new();
        connection.output = Vec::new();
        connection.stats = None;
        self.timers.remove(slot);
        if connection.left {
            self.closing.push_back(slot);
        } else {
            self.table.disconnect(self.now, slot);
        }
    }

    /// When a connection next needs attention without anything happening.
    fn due(&self, slot: u32) -> Option<u64> {
        let connection = self.connections.get(slot)?;
        let stalled = match connection.stalled_since {
            0 => connection.unsent_bytes().then_some(self.now),
            since => Some(since),
        };
        let write = stalled
            .filter(|_| self.config.write_timeout > 0)
            .map(|since| since.saturating_add(self.config.write_timeout.saturating_mul(SECOND)));
        match connection.phase {
            Phase::Gone => None,
            Phase::Lingering { until } => Some(until),
            Phase::Pausing { until } if stalled.is_none() => Some(until),
            _ if stalled.is_some() => write,
            Phase::Open if connection.stats.is_none() => {
                Some(connection.line_started.saturating_add(self.config.read_timeout.saturating_mul(SECOND)))
            }
            _ => None,
        }
    }

    /// Sets the timer of a connection, unless an earlier one will look at it anyway.
    pub(super) fn arm(&mut self, slot: u32) {
        if let Some(due) = self.due(slot)
            && self.timers.get(slot).is_none_or(|armed| due < armed)
        {
            self.timers.set(slot, due);
        }
    }

    /// A timer fired.
    pub(super) fn timer(&mut self, slot: u32) {
        let Some(due) = self.due(slot) else { return };
        if due > self.now {
            self.timers.set(slot, due);
            return;
        }
        let Some(connection) = self.connections.get_mut(slot) else { return };
        match connection.phase {
            Phase::Lingering { .. } => self.retire(slot),
            _ if connection.unsent_bytes() => self.abandon(slot),
            Phase::Open if connection.page || connection.handshaking() => self.refuse_handshake(slot),
            Phase::Open => self.fail(slot, READ_TIMEOUT),
            _ => {}
        }
        self.drive(slot);
    }

    /// Starts the reply to `stats`.
    fn begin_stats(&mut self, slot: u32) {
        debug_assert_ne!(slot, NIL, "slots are numbers of connections");
        if stats::is_small(&self.table) {
            stats::write_all(&mut self.replies, &self.table, self.now, self.admitted);
        } else if let Some(connection) = self.connections.get_mut(slot) {
            stats::write_head(&mut self.replies, self.admitted);
            connection.stats = Some(Box::default());
        }
    }

    fn continue_stats(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let Some(mut cursor) = connection.stats.take() else { return };
        let finished = cursor.write_some(&mut self.replies, &self.table, self.now);
        if finished {
            connection.line_started = self.now;
        } else {
            connection.stats = Some(cursor);
        }
        self.send_replies(slot);
    }
}
