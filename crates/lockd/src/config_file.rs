//! The configuration file: where it is looked for, its formats, and its keys flattened to dotted lower-case names.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Reads a whole file. Given from outside so that resolving settings touches nothing by itself.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// Keys that belong to other parts of the product, whose settings may share the file.
const FOREIGN: [&str; 2] = ["client", "mcp"];

#[derive(Debug)]
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    entries: BTreeMap<String, Value>,
}

/// A value of the file as text, or why it cannot be one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// Written as text, or a boolean.
    Text(String),
    /// Written as a bare number.
    Number(String),
}

impl ConfigFile {
    /// The file that was asked for, or else the default one if it exists.
    pub(crate) fn load(
        explicit: Option<PathBuf>,
        default: Option<PathBuf>,
        read_file: ReadFile<'_>,
    ) -> Result<Option<ConfigFile>, String> {
        let (path, required) = match (explicit, default) {
            (Some(path), _) => (path, true),
            (None, Some(path)) => (path, false),
            (None, None) => return Ok(None),
        };
        let shown = path.display();
        let bytes = match read_file(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::NotFound if !required => Ok(None),
                    io::ErrorKind::NotFound => {
                        Err(format!("config file \"{shown}\": open {shown}: no such file or directory"))
                    }
                    io::ErrorKind::IsADirectory => Err(format!("config file \"{shown}\" is a directory")),
                    _ => Err(format!("read config file \"{shown}\": {error}")),
                };
            }
        };
        let tree =
            parse(&path, &bytes).map_err(|reason| format!("read config file \"{shown}\": {reason}"))?;
        let mut entries = BTreeMap::new();
        match tree {
            Value::Null => {}
            Value::Object(members) => {
                for (key, value) in members {
                    flatten(key.to_lowercase(), value, &mut entries);
                }
            }
            _ => {
                return Err(format!(
                    "read config file \"{shown}\": it holds a single value, not keys with values"
                ));
            }
        }
        Ok(Some(ConfigFile { path, entries }))
    }

    /// The value of a key; `None` when it is absent or null.
    pub(crate) fn get(&self, key: &str) -> Result<Option<Scalar>, String> {
        match self.entries.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(Scalar::Text(text.clone()))),
            Some(Value::Bool(on)) => Ok(Some(Scalar::Text(on.to_string()))),
            Some(Value::Number(number)) => Ok(Some(Scalar::Number(number.to_string()))),
            Some(Value::Array(_) | Value::Object(_)) => {
                Err("holds a list or a group; write a single value".into())
            }
        }
    }

    /// Keys that nothing in the product is known to read.
    pub(crate) fn unknown_keys(&self, is_known: impl Fn(&str) -> bool) -> Vec<String> {
        self.entries
            .keys()
            .filter(|key| {
                let group = key.split('.').next().unwrap_or(key);
                !is_known(key) && !FOREIGN.contains(&group)
            })
            .cloned()
            .collect()
    }
}

fn flatten(key: String, value: Value, entries: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                flatten(format!("{key}.{}", name.to_lowercase()), value, entries);
            }
        }
        value => {
            entries.insert(key, value);
        }
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Value, String> {
    let extension = path.extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default();
    let text = || std::str::from_utf8(bytes).map_err(|error| format!("it is not valid UTF-8: {error}"));
    match extension.as_str() {
        "yaml" | "yml" if bytes.trim_ascii().is_empty() => Ok(Value::Null),
        "yaml" | "yml" => serde_norway::from_str(text()?).map_err(|error| error.to_string()),
        "json" => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
        "toml" => toml::from_str(text()?).map_err(|error| error.to_string().trim_end().to_owned()),
        other => {
            Err(format!("Unsupported Config Type {other:?}: lockd reads .yaml, .yml, .json and .toml files"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(name: &str, content: &'static str) -> Result<ConfigFile, String> {
        let read = |_: &Path| Ok(content.as_bytes().to_vec());
        ConfigFile::load(Some(name.into()), None, &read).map(Option::unwrap)
    }

    fn text(file: &ConfigFile, key: &str) -> Option<Scalar> {
        file.get(key).unwrap()
    }

    #[test]
    fn the_format_follows_the_extension() {
        for (name, content) in [
            ("a.yaml", "listen: ':1'\njson-max: 4096\ndisable-mtls: true\n"),
            ("a.yml", "Listen: ':1'\nJSON-Max: 4096\ndisable-mtls: true\n"),
            ("a.json", r#"{"listen": ":1", "json-max": 4096, "disable-mtls": true}"#),
            ("a.TOML", "listen = ':1'\njson-max = 4096\ndisable-mtls = true\n"),
        ] {
            let file = load(name, content).unwrap();
            assert_eq!(text(&file, "listen"), Some(Scalar::Text(":1".into())), "{name}");
            assert_eq!(text(&file, "json-max"), Some(Scalar::Number("4096".into())), "{name}");
            assert_eq!(text(&file, "disable-mtls"), Some(Scalar::Text("true".into())), "{name}");
        }
        for name in ["a.hcl", "a.ini", "a.env", "a.properties", "a"] {
            let error = load(name, "").unwrap_err();
            assert!(
                error.starts_with(&format!("read config file \"{name}\": Unsupported Config Type ")),
                "{error}"
            );
            assert!(error.contains(".toml"), "{error}");
        }
    }

    #[test]
    fn empty_files_and_null_values_set_nothing() {
        assert_eq!(text(&load("a.yaml", "# nothing\n").unwrap(), "listen"), None);
        assert_eq!(text(&load("a.yaml", "").unwrap(), "listen"), None);
        assert_eq!(text(&load("a.yaml", "listen:\n").unwrap(), "listen"), None);
        assert_eq!(text(&load("a.toml", "").unwrap(), "listen"), None);
    }

    #[test]
    fn broken_files_are_named() {
        for (name, content) in [
            ("a.yaml", "a: [1"),
            ("a.yaml", "just text"),
            ("a.json", "{"),
            ("a.json", ""),
            ("a.toml", "a = "),
            ("a.json", "[1]"),
        ] {
            let error = load(name, content).unwrap_err();
            assert!(error.starts_with(&format!("read config file \"{name}\": ")), "{error}");
        }
    }

    #[test]
    fn cli_11_nested_and_dotted_keys_are_the_same() {
        let nested = load("a.yaml", "client:\n  Server: x\n").unwrap();
        let flat = load("a.yaml", "client.server: x\n").unwrap();
        assert_eq!(text(&nested, "client.server"), Some(Scalar::Text("x".into())));
        assert_eq!(text(&nested, "client.server"), text(&flat, "client.server"));
    }

    #[test]
    fn keys_of_other_parts_are_not_unknown() {
        let file = load("a.yaml", "client: {server: x}\nmcp.path: /\nlisten: x\nbogus: 1\nmore: {deep: 1}\n")
            .unwrap();
        assert_eq!(file.unknown_keys(|key| key == "listen"), ["bogus", "more.deep"]);
    }
}
