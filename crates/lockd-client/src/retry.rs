//! When to try again: how often, after how long, and for how long in all.

use std::time::Duration;

/// How persistent calls are when no server can be reached, or one asks to come back later.
///
/// Every pause is twice as long as the one before, up to the longest, and shortened at random by up to a half so that
/// clients that failed together do not come back together. A server's hint makes a pause longer, never shorter.
///
/// ```
/// use std::time::Duration;
/// use lockd_client::{Client, RetryPolicy};
///
/// let client = Client::builder()
///     .endpoint("http://127.0.0.1:9341")
///     .retry(RetryPolicy { retries: 3, give_up_after: Duration::from_secs(5), ..RetryPolicy::default() })
///     .build()?;
/// # Ok::<_, lockd_client::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many pauses there may be. With several servers all are tried between two pauses.
    pub retries: u32,
    /// About how long the first pause is.
    pub first_pause: Duration,
    /// How long a pause gets at most, unless a server asks for more.
    pub longest_pause: Duration,
    /// No pause is begun that would end later than this after the beginning of the call.
    pub give_up_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 10,
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(3),
            give_up_after: Duration::from_secs(30),
        }
    }
}

impl RetryPolicy {
    /// Never try again. Other servers are still tried once each.
    pub fn none() -> Self {
        Self { retries: 0, ..Self::default() }
    }

    /// The pause before retry number `retry`, the first being 0.
    pub(crate) fn pause(&self, retry: u32, hint: Option<Duration>) -> Duration {
        let doubled = self.first_pause.saturating_mul(1u32.checked_shl(retry.min(31)).unwrap_or(u32::MAX));
        let pause = doubled.min(self.longest_pause);
        let jittered = pause.mul_f64(1.0 - fastrand::f64() / 2.0);
        jittered.max(hint.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_differ() {
        let policy = RetryPolicy::default();
        let pauses: Vec<Duration> = (0..40).map(|retry| policy.pause(retry, None)).collect();
        assert!(pauses[0] >= Duration::from_millis(25) && pauses[0] <= Duration::from_millis(50));
        assert!(pauses[3] >= Duration::from_millis(200) && pauses[3] <= Duration::from_millis(400));
        assert!(
            pauses[20..]
                .iter()
                .all(|pause| *pause >= Duration::from_millis(1500) && *pause <= policy.longest_pause)
        );
        assert!(pauses[20..].windows(2).any(|pair| pair[0] != pair[1]), "no jitter");
    }

    #[test]
    fn a_hint_makes_a_pause_longer_but_never_shorter() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.pause(0, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert!(policy.pause(30, Some(Duration::from_millis(1))) >= Duration::from_millis(1500));
    }
}
