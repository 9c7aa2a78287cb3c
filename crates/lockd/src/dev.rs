//! `lockd dev`: a server that needs no configuration, and the few lines that say what to do with it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::listen::Listen;

/// Where a development server listens unless told otherwise.
pub(crate) const LISTEN: &str = "127.0.0.1:9341";

/// Where a development server keeps its data unless told otherwise: `lockd` in the user's data directory.
pub(crate) fn data_dir(env: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, String> {
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(data) = absolute("XDG_DATA_HOME") {
        return Ok(data.join("lockd"));
    }
    let home = absolute("HOME")
        .ok_or("the home directory is not known (HOME is not set); say where data goes with --data-dir")?;
    let data = if cfg!(target_os = "macos") { "Library/Application Support" } else { ".local/share" };
    Ok(home.join(data).join("lockd"))
}

/// The store URL of a directory, with everything encoded that means something in a URL.
pub(crate) fn store_url(directory: &Path) -> Result<String, String> {
    let absolute = std::path::absolute(directory).map_err(|error| {
        format!("data directory {:?} cannot be made absolute: {error}", directory.display())
    })?;
    let text = absolute
        .to_str()
        .ok_or_else(|| format!("data directory {:?} is not valid UTF-8", absolute.display().to_string()))?;
    let mut url = String::from("disk://");
    for byte in text.bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' => url.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => url.push(char::from(byte)),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(url)
}

/// What `lockd dev` prints once it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// Where the data is, in words for people.
    pub(crate) data: String,
}

impl Greeting {
    /// `bound` is where the server really listens, after a free port was chosen.
    pub fn text(&self, bound: &Listen) -> String {
        let (curl, url) = match bound {
            Listen::Unix { path, .. } => (
                format!("curl -s --unix-socket {}", quoted(&path.display().to_string())),
                "http://lockd".to_owned(),
            ),
            Listen::Tcp { .. } => ("curl -s".to_owned(), format!("http://{}", reachable(bound))),
        };
        let shown = match bound {
            Listen::Unix { path, .. } => format!("unix://{}", path.display()),
            Listen::Tcp { .. } => url.clone(),
        };
        format!(
            r#"
  lockd is ready: plain HTTP, no configuration, for development only.

    URL     {shown}
    Data    {data}

  Try it in another terminal:

    # hold a lease on the key "hello" for a minute
    {curl} {url}/v1/acquire -d '{{"key":"hello","owner":"me","ttl_seconds":60}}'

    # see who holds it
    {curl} '{url}/v1/describe?key=hello'

    # ask for it as somebody else, without waiting: refused
    {curl} {url}/v1/acquire -d '{{"key":"hello","owner":"you","block_seconds":-1}}'

  Press Ctrl-C to stop.

"#,
            data = self.data
        )
    }
}

/// An address to connect to: every interface includes the loopback one.
fn reachable(bound: &Listen) -> String {
    match bound {
        Listen::Tcp { host, port, .. } if host.is_empty() || host == "0.0.0.0" || host == "::" => {
            format!("127.0.0.1:{port}")
        }
        other => other.to_string(),
    }
}

/// For a POSIX shell.
fn quoted(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte)) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::Family;

    fn env(pairs: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
    }

    #[test]
    fn data_goes_to_the_users_data_directory() {
        assert_eq!(data_dir(&env(&[("XDG_DATA_HOME", "/x"), ("HOME", "/h")])), Ok("/x/lockd".into()));
        let home = data_dir(&env(&[("XDG_DATA_HOME", "relative"), ("HOME", "/h")])).unwrap();
        assert!(home.starts_with("/h") && home.ends_with("lockd"), "{home:?}");
        assert!(data_dir(&env(&[])).unwrap_err().contains("--data-dir"));
    }

    #[test]
    fn directories_become_urls() {
        assert_eq!(store_url(Path::new("/a b/ü?#%")).unwrap(), "disk:///a%20b/%C3%BC%3F%23%25");
    }

    #[test]
    fn the_greeting_names_an_address_one_can_connect_to() {
        let greeting = Greeting { data: "/data".into() };
        let text = |listen: &str| greeting.text(&Listen::tcp(listen, Family::Any).unwrap());
        assert!(text(":9341").contains("curl -s http://127.0.0.1:9341/v1/acquire"));
        assert!(text("[::1]:80").contains("http://[::1]:80/v1/acquire"));
        let unix = greeting.text(&Listen::Unix { path: "/run/it's.sock".into(), mode: 0o600 });
        assert!(
            unix.contains(r"curl -s --unix-socket '/run/it'\''s.sock' http://lockd/v1/acquire"),
            "{unix}"
        );
        assert!(unix.contains("unix:///run/it's.sock"));
    }
}
