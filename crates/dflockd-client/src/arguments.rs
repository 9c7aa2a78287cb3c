//! Arguments of commands, checked before anything is sent: a line that is too long would make the server hang up.

use std::time::Duration;

use crate::error::Error;

/// The server's limit for each line of a request.
const LONGEST_LINE: usize = 256;
/// The server's limit for seconds.
const MOST_SECONDS: u64 = 9_223_372_036;

fn line(what: &str, text: &str) -> Result<(), Error> {
    let fault = if text.is_empty() {
        "must not be empty".to_owned()
    } else if text.contains(['\0', '\n', '\r']) {
        "must not contain NUL, newline, or carriage return characters".to_owned()
    } else if text.len() > LONGEST_LINE {
        format!("must not be longer than {LONGEST_LINE} bytes (it has {})", text.len())
    } else {
        return Ok(());
    };
    Err(Error::Invalid(format!("{what} {fault}")))
}

fn word(what: &str, text: &str) -> Result<(), Error> {
    line(what, text)?;
    if text.contains([' ', '\t']) {
        return Err(Error::Invalid(format!("{what} must not contain blanks: {text:?}")));
    }
    Ok(())
}

pub(crate) fn key(key: &str) -> Result<(), Error> {
    word("key", key)
}

pub(crate) fn token(token: &str) -> Result<(), Error> {
    word("token", token)
}

pub(crate) fn secret(secret: &str) -> Result<(), Error> {
    line("auth token", secret)
}

/// Whole seconds, rounded up: nobody waits or holds shorter than asked.
fn seconds(what: &str, span: Duration) -> Result<u64, Error> {
    let seconds = span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0));
    if seconds > MOST_SECONDS {
        return Err(Error::Invalid(format!("{what} must not exceed {MOST_SECONDS} s (it is {seconds} s)")));
    }
    Ok(seconds)
}

pub(crate) fn timeout(timeout: Duration) -> Result<u64, Error> {
    seconds("timeout", timeout)
}

pub(crate) fn lease(lease: Option<Duration>) -> Result<Option<u64>, Error> {
    match lease.map(|lease| seconds("lease", lease)).transpose()? {
        Some(0) => Err(Error::Invalid("lease must be at least 1 s".into())),
        other => Ok(other),
    }
}

pub(crate) fn limit(limit: u64) -> Result<(), Error> {
    if limit == 0 || i64::try_from(limit).is_err() {
        return Err(Error::Invalid(format!("limit must be from 1 to {} (it is {limit})", i64::MAX)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dflockd_clients_03_keys() {
        key("a").unwrap();
        key(&"k".repeat(256)).unwrap();
        let long = "é".repeat(129);
        for (text, part) in [
            ("", "key must not be empty"),
            ("a\nb", "NUL, newline"),
            ("a\rb", "NUL, newline"),
            ("a\0b", "NUL, newline"),
            ("a b", "blanks"),
            ("a\tb", "blanks"),
            (&long, "258"),
        ] {
            let fault = key(text).unwrap_err().to_string();
            assert!(fault.contains(part), "{text:?}: {fault}");
        }
    }

    #[test]
    fn dflockd_clients_04_05_08_numbers() {
        assert_eq!(timeout(Duration::ZERO).unwrap(), 0);
        assert_eq!(timeout(Duration::from_millis(1001)).unwrap(), 2);
        assert!(timeout(Duration::MAX).is_err());
        assert_eq!(lease(Some(Duration::from_millis(1))).unwrap(), Some(1));
        assert!(lease(Some(Duration::ZERO)).is_err());
        assert!(limit(0).is_err());
        limit(5).unwrap();
    }
}
