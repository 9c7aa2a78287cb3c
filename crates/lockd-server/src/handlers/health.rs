//! `/healthz` and `/readyz`: is anybody there?

use http::StatusCode;

use crate::answer::{self, Outcome};
use crate::call::Call;

pub(crate) fn healthz() -> Outcome {
    Ok(answer::empty(StatusCode::OK))
}

/// Serving counts as ready, even while draining; who wants to know whether new work is welcome asks for that.
pub(crate) fn readyz(call: &Call<'_>) -> Outcome {
    let wants_active = call.query.get("require").trim() == "active" || call.query.flag("strict");
    if wants_active {
        call.not_draining()?;
    }
    Ok(answer::empty(StatusCode::OK))
}
