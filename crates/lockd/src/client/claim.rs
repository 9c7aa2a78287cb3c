//! Who asks for what: key, namespace and the proof of a lease, from flags or from the variables an `acquire` exported.

use lockd_wire::header;

use super::transport::Call;
use super::{Failure, Invocation, Outcome};
use crate::flags::ClientSettings;
use crate::verb::Verb;

/// The key that a command is about.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) namespace: String,
    pub(super) key: String,
}

/// The right to change it.
#[derive(Debug, Clone, Default)]
pub(super) struct Claim {
    pub(super) lease: String,
    pub(super) fencing_token: String,
    pub(super) txn_id: String,
}

pub(super) fn subject(settings: &ClientSettings) -> Outcome<Subject> {
    if settings.key.trim().is_empty() {
        return Err(Failure::Usage("key required (specify --key/-k or export LOCKD_CLIENT_KEY)".into()));
    }
    Ok(Subject { namespace: namespace(settings)?, key: settings.key.clone() })
}

pub(super) fn namespace(settings: &ClientSettings) -> Outcome<String> {
    let name = settings.namespace.trim().to_lowercase();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if name.is_empty() || !name.bytes().all(allowed) {
        return Err(Failure::Usage(format!(
            "invalid value {:?} (allowed: lowercase letters, digits, '.', '_', '-')",
            settings.namespace
        )));
    }
    Ok(name)
}

/// The key, and the lease unless the command reads what is public.
pub(super) fn claimed(invocation: &Invocation) -> Outcome<(Subject, Option<Claim>)> {
    let settings = &invocation.settings;
    let subject = subject(settings)?;
    if settings.public {
        return Ok((subject, None));
    }
    if settings.lease.is_empty() {
        return Err(missing("lease", "LOCKD_CLIENT_LEASE"));
    }
    let is_attachment = invocation.verb.entry().parent == Verb::Attachments;
    if is_attachment {
        txn_id(invocation)?;
    }
    let token = settings.fencing_token.trim();
    if token.is_empty() {
        return Err(missing("fencing-token", "LOCKD_CLIENT_FENCING_TOKEN"));
    }
    if !token.parse::<i64>().is_ok_and(|token| token > 0) {
        return Err(Failure::Usage(format!("invalid --fencing-token {token:?} (must be a positive int64)")));
    }
    if !is_attachment {
        txn_id(invocation)?;
    }
    let claim = Claim {
        lease: settings.lease.clone(),
        fencing_token: token.to_owned(),
        txn_id: settings.txn_id.clone(),
    };
    Ok((subject, Some(claim)))
}

fn txn_id(invocation: &Invocation) -> Outcome<()> {
    let is_optional = matches!(invocation.verb, Verb::Get | Verb::Keepalive);
    if invocation.settings.txn_id.is_empty() && !is_optional {
        return Err(Failure::Usage(
            "--txn-id is required (xid, 20-char base32) or set LOCKD_CLIENT_TXN_ID".into(),
        ));
    }
    Ok(())
}

fn missing(flag: &str, variable: &str) -> Failure {
    Failure::Usage(format!("--{flag} is required (or set {variable})"))
}

impl Call {
    /// Adds key and namespace to the query, and the lease to the headers.
    pub(super) fn about(mut self, subject: &Subject, claim: Option<&Claim>) -> Self {
        self.query.push(("key", subject.key.clone()));
        self.query.push(("namespace", subject.namespace.clone()));
        match claim {
            Some(claim) => {
                self.headers.push((header::LEASE_ID, claim.lease.clone()));
                self.headers.push((header::FENCING_TOKEN, claim.fencing_token.clone()));
                if !claim.txn_id.is_empty() {
                    self.headers.push((header::TXN_ID, claim.txn_id.clone()));
                }
            }
            None => self.query.push(("public", "1".into())),
        }
        self
    }

    /// Adds `--if-version` and `--if-etag`.
    pub(super) fn on_condition(mut self, settings: &ClientSettings) -> Outcome<Self> {
        if let Some(text) = &settings.if_version {
            match text.trim().parse::<i64>() {
                Err(_) => {
                    return Err(Failure::Usage(format!("invalid --if-version {text:?} (must be an int64)")));
                }
                Ok(version) if version < 0 => {
                    return Err(Failure::Usage(format!("invalid --if-version {text:?} (must be >= 0)")));
                }
                Ok(version) => self.headers.push((header::IF_VERSION, version.to_string())),
            }
        }
        if !settings.if_etag.is_empty() {
            let etag = settings.if_etag.trim();
            if etag.is_empty() {
                return Err(Failure::Usage(
                    "--if-etag is blank; leave it out to write without a condition".into(),
                ));
            }
            self.headers.push((header::IF_STATE_ETAG, etag.to_owned()));
        }
        Ok(self)
    }
}
