//! `/v1/tc/*`, the coordinator cluster: what a server answers that belongs to none.

use lockd_wire::ErrorCode;

use crate::answer::{Failure, Outcome};

/// Decisions are local to a server without a cluster, so no client needs these; tools that ask are told so.
pub(crate) fn without_cluster(endpoint: &str) -> Outcome {
    let (code, detail) = match endpoint {
        "leader" | "lease/acquire" | "lease/renew" | "lease/release" => {
            (ErrorCode::TcUnavailable, "tc leader election not configured")
        }
        "cluster/announce" | "cluster/leave" | "cluster/list" => {
            (ErrorCode::TcClusterUnavailable, "tc cluster membership not configured")
        }
        "rm/register" | "rm/unregister" | "rm/list" => {
            (ErrorCode::TcRmUnavailable, "tc resource manager registry not configured")
        }
        _ => return Err(Failure::new(ErrorCode::NotFound, format!("no such endpoint: /v1/tc/{endpoint}"))),
    };
    Err(Failure::new(code, detail))
}
