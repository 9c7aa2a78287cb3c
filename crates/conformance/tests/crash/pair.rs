//! Two keys that always change together: one transaction a round.

use lockd_conformance::fresh;
use lockd_conformance::http::{Request, Trouble};
use lockd_conformance::lease::{Client, Lease, acquire_body, merged};
use serde_json::json;

/// A client that writes the same round number into two keys under one transaction.
#[derive(Debug)]
pub(crate) struct Pair {
    keys: [String; 2],
    acknowledged: u64,
    attempted: u64,
    pub(crate) rounds: u64,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let mut pair = Self { keys: Default::default(), acknowledged: 0, attempted: 0, rounds: 0 };
        pair.start_over();
        pair
    }

    /// Goes on with fresh keys, because leases of the old ones may live on.
    pub(crate) fn start_over(&mut self) {
        self.keys = [fresh::key("left"), fresh::key("right")];
        (self.acknowledged, self.attempted) = (0, 0);
    }

    /// One round; `false` when the server did not answer.
    pub(crate) fn round(&mut self, client: &Client) -> Result<bool, String> {
        let txn = fresh::xid();
        let round = self.acknowledged + 1;
        let document = format!(r#"{{"round":{round}}}"#);
        let mut leases: Vec<Lease> = Vec::new();
        for key in &self.keys {
            let body = merged(acquire_body(key), json!({"txn_id": txn, "ttl_seconds": 1000}));
            let Some(answer) = send(client, &Request::post("/v1/acquire").json(&body))? else {
                return Ok(false);
            };
            leases.push(answer.lease());
        }
        for lease in &leases {
            if send(client, &lease.update(document.clone()))?.is_none() {
                return Ok(false);
            }
        }
        self.attempted = round;
        if send(client, &leases[fastrand::usize(..2)].release())?.is_none() {
            return Ok(false);
        }
        self.acknowledged = round;
        self.rounds += 1;
        Ok(true)
    }

    /// Both keys must show the same round: the last acknowledged one, or the one whose release was not answered.
    pub(crate) fn audit(&self, client: &Client) -> Result<(), String> {
        let mut seen = Vec::new();
        for key in &self.keys {
            let answer = client
                .try_call(&Request::get("/v1/get").query("key", key).query("public", "1"))
                .map_err(|trouble| trouble.to_string())?;
            seen.push(match answer.status {
                200 => answer.int("round") as u64,
                204 => 0,
                _ => return Err(answer.to_string()),
            });
        }
        if seen[0] == seen[1] && (seen[0] == self.acknowledged || seen[0] == self.attempted) {
            return Ok(());
        }
        Err(format!(
            "{:?}: round {} was acknowledged and {} attempted, found {seen:?}",
            self.keys, self.acknowledged, self.attempted
        ))
    }
}

fn send(client: &Client, request: &Request) -> Result<Option<lockd_conformance::http::Response>, String> {
    match client.try_call(request) {
        Ok(answer) if answer.status == 200 => Ok(Some(answer)),
        Ok(answer) if answer.status >= 500 => Ok(None),
        Ok(answer) => Err(format!("refused: {answer}")),
        Err(Trouble::Malformed(why)) => Err(format!("{request}: {why}")),
        Err(_) => Ok(None),
    }
}
