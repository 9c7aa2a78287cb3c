//! The time the server goes by: nanoseconds since its start, by the machine's monotonic clock.
//!
//! A debug build can be led through time by a test instead, so that what the tests say about seconds does not depend on
//! how busy the machine is. Release builds contain nothing of this.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    #[cfg(debug_assertions)]
    led: Option<led::Led>,
}

impl Clock {
    #[cfg(not(debug_assertions))]
    pub(super) fn start(_: &mio::Registry, _: mio::Token) -> std::io::Result<Self> {
        Ok(Self { started: Instant::now() })
    }

    #[cfg(debug_assertions)]
    pub(super) fn start(registry: &mio::Registry, token: mio::Token) -> std::io::Result<Self> {
        Ok(Self { started: Instant::now(), led: led::Led::open(registry, token)? })
    }

    pub(super) fn now(&self) -> u64 {
        #[cfg(debug_assertions)]
        if let Some(led) = &self.led {
            return led.now;
        }
        self.started.elapsed().as_nanos() as u64
    }

    /// How long the server may sleep when it next has something to do at `next`.
    pub(super) fn patience(&mut self, now: u64, next: Option<u64>) -> Option<Duration> {
        #[cfg(debug_assertions)]
        if let Some(led) = &mut self.led {
            return led.patience(next);
        }
        Some(Duration::from_nanos(next?.saturating_sub(now)))
    }

    /// A look at the sockets brought something, or nothing.
    pub(super) fn looked(&mut self, nothing: bool) {
        #[cfg(debug_assertions)]
        if let Some(led) = &mut self.led {
            led.quiet = nothing;
        }
        #[cfg(not(debug_assertions))]
        let _ = nothing;
    }

    /// Whoever leads the clock has written something.
    pub(super) fn told(&mut self) {
        #[cfg(debug_assertions)]
        if let Some(led) = &mut self.led {
            led.told();
        }
    }
}

#[cfg(debug_assertions)]
mod led {
    use mio::net::UnixStream;
    use std::io::{self, Read, Write};
    use std::os::fd::AsFd;
    use std::time::Duration;

    /// A clock that stands still until standard input, a socket, says by how many milliseconds to go on. The answer comes
    /// when everything is done that was due on the way, one deadline after the other.
    #[derive(Debug)]
    pub(super) struct Led {
        pub(super) now: u64,
        pub(super) quiet: bool,
        socket: UnixStream,
        text: Vec<u8>,
        target: Option<u64>,
    }

    impl Led {
        pub(super) fn open(registry: &mio::Registry, token: mio::Token) -> io::Result<Option<Self>> {
            if std::env::var_os("DFLOCKD_TEST_CLOCK").is_none_or(|value| value != "stdin") {
                return Ok(None);
            }
            let socket = std::os::unix::net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
            socket.set_nonblocking(true)?;
            let mut socket = UnixStream::from_std(socket);
            registry.register(&mut socket, token, mio::Interest::READABLE)?;
            Ok(Some(Self { now: 0, quiet: false, socket, text: Vec::new(), target: None }))
        }

        pub(super) fn told(&mut self) {
            let mut bytes = [0; 64];
            while let Ok(count @ 1..) = self.socket.read(&mut bytes) {
                self.text.extend_from_slice(&bytes[..count]);
            }
            if let Some(end) = memchr::memchr(b'\n', &self.text) {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                let step: Option<u64> =
                    std::str::from_utf8(&line[..end]).ok().and_then(|text| text.parse().ok());
                self.target = step.map(|step| self.now + step * 1_000_000);
            }
        }

        pub(super) fn patience(&mut self, next: Option<u64>) -> Option<Duration> {
            let target = self.target?;
            if self.quiet {
                let due = next.is_some_and(|next| next <= target);
                self.now = next.map_or(target, |next| next.clamp(self.now, target));
                if !due {
                    self.target = None;
                    let _ = self.socket.write_all(b"ok\n");
                    return None;
                }
            }
            Some(Duration::ZERO)
        }
    }
}
