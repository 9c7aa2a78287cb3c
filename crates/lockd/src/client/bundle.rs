//! `--bundle`: the client bundle of this user, given or found beside the configuration.

use std::path::Path;

use lockd_client::{Bundle, Role};

use super::{Failure, Invocation, Outcome};
use crate::verb::Verb;

/// The bundle to use: the one that was named, or the only one there is.
pub(super) fn load(invocation: &Invocation) -> Outcome<Bundle> {
    let decides =
        matches!(invocation.verb, Verb::TxnPrepare | Verb::TxnCommit | Verb::TxnRollback | Verb::TxnReplay);
    match invocation.settings.bundle.as_deref() {
        Some(path) if !path.as_os_str().is_empty() => given(path, decides),
        _ => found(invocation.directory.as_deref(), decides),
    }
    .map_err(Failure::Local)
}

fn given(path: &Path, decides: bool) -> Result<Bundle, String> {
    let shown = path.display();
    let bundle = open(path).map_err(|error| format!("load client bundle {shown}: {error}"))?;
    match (bundle.role(), decides) {
        (Role::Sdk | Role::Unnamed, _) | (Role::Coordinator, true) => Ok(bundle),
        (_, false) => Err(format!(
            "client bundle {shown} does not match client SPIFFE identity (expected spiffe://lockd/sdk/)"
        )),
        (_, true) => Err(format!(
            "client bundle {shown} does not match client SPIFFE identity (expected spiffe://lockd/tc/ or spiffe://lockd/sdk/)"
        )),
    }
}

fn found(directory: Option<&Path>, decides: bool) -> Result<Bundle, String> {
    let mut broken = Vec::new();
    if decides {
        let coordinators = files(directory, "tc-client", &mut broken);
        if let Some(bundle) = only(coordinators, "tc client", |role| role == Role::Coordinator)? {
            return Ok(bundle);
        }
    }
    let clients = files(directory, "client", &mut broken);
    let (named, unnamed): (Vec<_>, Vec<_>) =
        clients.into_iter().partition(|(_, bundle)| bundle.role() != Role::Unnamed);
    if let Some(bundle) = only(named, "client", |role| role == Role::Sdk)? {
        return Ok(bundle);
    }
    if let Some(bundle) = only(unnamed, "client", |_| true)? {
        return Ok(bundle);
    }
    Err(match broken.is_empty() {
        true => "no client bundle found; provide --bundle".to_owned(),
        false => {
            format!("no client bundle found; provide --bundle (parse errors: {})", broken.join("; "))
        }
    })
}

type Named = (String, Bundle);

/// The only bundle for such a role; an error if there are several.
fn only(bundles: Vec<Named>, kind: &str, is_wanted: impl Fn(Role) -> bool) -> Result<Option<Bundle>, String> {
    let mut wanted: Vec<Named> = bundles.into_iter().filter(|(_, bundle)| is_wanted(bundle.role())).collect();
    if wanted.len() > 1 {
        let names: Vec<String> = wanted.into_iter().map(|(name, _)| name).collect();
        return Err(format!("multiple {kind} bundles found ({}); specify --bundle", names.join(", ")));
    }
    Ok(wanted.pop().map(|(_, bundle)| bundle))
}

/// The bundles in the directory whose names begin like this, by name. What is wrong with others is added to `broken`.
fn files(directory: Option<&Path>, prefix: &str, broken: &mut Vec<String>) -> Vec<Named> {
    let Some(directory) = directory else { return Vec::new() };
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix) && name.ends_with(".pem"))
        .collect();
    names.sort();
    let mut bundles = Vec::new();
    for name in names {
        match open(&directory.join(&name)) {
            Ok(bundle) => bundles.push((name, bundle)),
            Err(error) => broken.push(format!("{name}: {error}")),
        }
    }
    bundles
}

fn open(path: &Path) -> Result<Bundle, String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    Bundle::pem(pem).map_err(|error| error.to_string())
}
