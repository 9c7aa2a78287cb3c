//! The gates of a request: who is it, may it, not too fast, not while draining. Handlers pass them where their contract
//! puts them, so that filling one changes no handler.
//!
//! Without mutual TLS there is no identity and everything is allowed; there is no throttling yet.

use lockd_core::Moment;
use lockd_wire::{ErrorCode, Namespace};

use crate::answer::Failure;
use crate::call::Call;

/// What a call wants to do with a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Reading or writing, whichever the caller has.
    Any,
    Read,
    Write,
    ReadWrite,
}

impl Call<'_> {
    /// The caller's name as it is appended to lease owners.
    pub(crate) fn identity(&self) -> Option<&str> {
        None
    }

    pub(crate) fn authorise(&self, _namespace: &Namespace, _permission: Permission) -> Result<(), Failure> {
        Ok(())
    }

    /// May take a while, or refuse, when the server has more to do than it can.
    #[allow(clippy::unused_async)]
    pub(crate) async fn admit(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// No new leases while draining.
    pub(crate) fn not_draining(&self) -> Result<(), Failure> {
        match self.app.draining_until() {
            None => Ok(()),
            Some(until) => Err(draining(until, self.node().now())),
        }
    }
}

/// The refusal of new work during a drain.
pub(crate) fn draining(until: Moment, now: Moment) -> Failure {
    Failure {
        retry_after_seconds: Some(until.hint_from(now)),
        ..Failure::new(ErrorCode::ShutdownDraining, "server is draining existing leases")
    }
}
