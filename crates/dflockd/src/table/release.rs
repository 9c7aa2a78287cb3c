//! Giving a slot back and keeping it: `r`, `n`, eviction, and connections that leave.

use super::{ClaimState, NIL, Notice, Outcome, SECOND, Space, Table, Token};

impl Table {
    /// `r`, `sr`: whoever knows the token may release.
    pub fn release(&mut self, now: u64, space: Space, key: &[u8], token: Option<Token>) -> Outcome {
        let Some(grant) = self.held(now, space, key, token) else { return Outcome::Error };
        self.totals.releases += 1;
        self.give_up(now, grant);
        Outcome::Done
    }

    /// `n`, `sn`: a new deadline for a grant whose lease is still valid.
    pub fn renew(&mut self, now: u64, space: Space, key: &[u8], token: Option<Token>, lease: u64) -> Outcome {
        let Some(grant) = self.held(now, space, key, token) else { return Outcome::Error };
        let resource = self.grants[grant].resource;
        if self.grants[grant].deadline <= now {
            let conn = self.grants[grant].conn_id;
            self.notice(resource, |key| Notice::RenewRejected { key, conn });
            self.evict(now, grant, false);
            return Outcome::Error;
        }
        self.restart_lease(now, grant, lease);
        self.totals.renewals += 1;
        self.touch(now, resource);
        Outcome::Renewed { lease }
    }

    fn held(&mut self, now: u64, space: Space, key: &[u8], token: Option<Token>) -> Option<u32> {
        let grant = token.and_then(|token| self.find_grant(token)).filter(|&grant| {
            let resource = &self.resources[self.grants[grant].resource];
            resource.space == space && *resource.key == *key
        });
        // A wrong token on a known key counts as activity, as it always did.
        if grant.is_none()
            && let Some(resource) = self.find_resource(space, key)
        {
            self.touch(now, resource);
        }
        grant
    }

    pub(super) fn restart_lease(&mut self, now: u64, grant: u32, lease: u64) {
        let deadline = now.saturating_add(lease.saturating_mul(SECOND));
        self.grants[grant].deadline = deadline;
        self.leases.set(grant, deadline);
    }

    /// Removes a grant together with the enqueued state that refers to it, and serves the queue.
    pub(super) fn give_up(&mut self, now: u64, grant: u32) {
        let resource = self.grants[grant].resource;
        let claim = self.grants[grant].claim;
        if claim != NIL {
            self.remove_claim(claim);
        }
        self.remove_grant(grant);
        self.serve(now, resource);
    }

    /// Removes an expired grant. Its claim remembers that, unless `e` had told the client of the grant and the sweep found it.
    pub(super) fn lapse(&mut self, grant: u32, swept: bool) {
        self.totals.expirations += 1;
        let claim = self.grants[grant].claim;
        if claim != NIL {
            if self.claims[claim].from_queue || !swept {
                let resource = self.claims[claim].resource;
                self.claims[claim].state = ClaimState::Lapsed;
                self.resources[resource].lapsed += 1;
            } else {
                self.remove_claim(claim);
            }
        }
        self.remove_grant(grant);
    }

    pub(super) fn evict(&mut self, now: u64, grant: u32, swept: bool) {
        let resource = self.grants[grant].resource;
        self.lapse(grant, swept);
        self.serve(now, resource);
    }

    /// Begins to forget a connection; [`Table::advance`] does the work and reports [`super::Event::Left`].
    pub fn disconnect(&mut self, now: u64, conn: u32) {
        if let Some(client) = self.clients.get_mut(conn)
            && !client.leaving
        {
            client.leaving = true;
            let claim = client.blocked;
            if claim != NIL {
                let resource = self.claims[claim].resource;
                self.remove_claim(claim);
                self.touch(now, resource);
            }
            self.leaving.push_back(conn);
        }
    }

    /// Gives back a grant that its client was never told about (D5).
    pub fn undelivered(&mut self, now: u64, token: Token) {
        if let Some(grant) = self.find_grant(token) {
            self.give_up(now, grant);
        }
    }
}
