//! The metrics and health pages on their own port: just enough HTTP for a scraper and a probe.

use super::Server;
use std::fmt::Write as _;

const LONGEST: usize = 4096;
const COMMANDS: [&str; 8] = ["acquire", "enqueue", "wait", "release", "renew", "stats", "auth", "ping"];

impl Server {
    /// Answers once the head of the request is complete. Returns how much of the input is done with.
    pub(super) fn answer_page(&mut self, slot: u32, input: &[u8]) -> usize {
        let complete = memchr::memmem::find(input, b"\r\n\r\n").is_some()
            || memchr::memmem::find(input, b"\n\n").is_some();
        if !complete && input.len() < LONGEST {
            return 0;
        }
        let mut words = input.split(|&byte| byte == b' ');
        let method = words.next().unwrap_or_default();
        let path = words.next().unwrap_or_default();
        let path = path.split(|&byte| byte == b'?').next().unwrap_or_default();
        let (status, body) = match (method, path) {
            _ if !complete => ("431 Request Header Fields Too Large", String::new()),
            (b"GET" | b"HEAD", b"/metrics") => ("200 OK", self.metrics_page()),
            (b"GET" | b"HEAD", b"/healthz") => ("200 OK", "ok\n".into()),
            (b"GET" | b"HEAD", b"/readyz") if self.draining => {
                ("503 Service Unavailable", "draining\n".into())
            }
            (b"GET" | b"HEAD", b"/readyz") if self.table.grace_left(self.now) > 0 => {
                ("503 Service Unavailable", "granting nothing yet after a crash\n".into())
            }
            (b"GET" | b"HEAD", b"/readyz") => ("200 OK", "ok\n".into()),
            (b"GET" | b"HEAD", _) => ("404 Not Found", "there are /metrics, /healthz and /readyz\n".into()),
            _ => ("405 Method Not Allowed", "only GET is answered here\n".into()),
        };
        let mut page = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        if method != b"HEAD" {
            page.push_str(&body);
        }
        self.replies.extend_from_slice(page.as_bytes());
        self.send_replies(slot);
        self.part(slot, 0);
        input.len()
    }

    fn metrics_page(&self) -> String {
        let mut page = String::new();
        let totals = self.table.totals();
        let mut value = |name: &str, kind: &str, help: &str, value: u64| {
            // Writing to a string cannot fail.
            let _ = writeln!(
                page,
                "# HELP dflockd_{name} {help}\n# TYPE dflockd_{name} {kind}\ndflockd_{name} {value}"
            );
        };
        value("connections", "gauge", "Connections admitted now.", self.admitted);
        value("keys", "gauge", "Keys known, idle ones included.", self.table.key_count() as u64);
        value("holders", "gauge", "Slots held now.", self.table.holder_count() as u64);
        value("waiters", "gauge", "Requests queued now.", self.table.waiter_count());
        value("grants_total", "counter", "Slots granted.", totals.grants);
        value("releases_total", "counter", "Slots released by token.", totals.releases);
        value("renewals_total", "counter", "Leases renewed.", totals.renewals);
        value("timeouts_total", "counter", "Requests not granted in time.", totals.timeouts);
        value("expirations_total", "counter", "Leases that ended without a release.", totals.expirations);
        value(
            "disconnect_releases_total",
            "counter",
            "Slots released because their connection ended.",
            totals.released_on_disconnect,
        );
        value("pruned_keys_total", "counter", "Idle keys forgotten.", totals.pruned);
        value("accepted_connections_total", "counter", "Connections admitted.", self.counters.accepted);
        value(
            "rejected_connections_total",
            "counter",
            "Connections refused for max-connections.",
            self.counters.rejected,
        );
        value(
            "auth_failures_total",
            "counter",
            "Connections that failed to authenticate.",
            self.counters.auth_failures,
        );
        value(
            "malformed_requests_total",
            "counter",
            "Requests answered with error for their form.",
            self.counters.malformed,
        );
        page.push_str(
            "# HELP dflockd_requests_total Requests executed.\n# TYPE dflockd_requests_total counter\n",
        );
        for (command, count) in COMMANDS.iter().zip(self.counters.requests) {
            let _ = writeln!(page, "dflockd_requests_total{{command=\"{command}\"}} {count}");
        }
        page
    }
}
