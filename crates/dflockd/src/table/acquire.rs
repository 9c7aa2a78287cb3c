//! Getting a slot: `l`, `e` and `w`, admission to the queue, and serving it.

use super::{Claim, ClaimState, Event, Grant, Links, NIL, Notice, Outcome, SECOND, Space, Table, Token};

/// How many holders of a semaphore an admission checks itself; later ones are caught by their own deadline.
const CHECKED_HOLDERS: usize = 16;

impl Table {
    /// `l`, `sl`: a slot now, or a wait of at most `timeout` seconds.
    #[allow(clippy::too_many_arguments, reason = "these are the fields of the request")]
    pub fn acquire(
        &mut self,
        now: u64,
        conn: u32,
        space: Space,
        key: &[u8],
        timeout: u64,
        limit: u64,
        lease: u64,
    ) -> Outcome {
        let resource = match self.admit(now, space, key, limit) {
            Ok(resource) => resource,
            Err(outcome) => return outcome,
        };
        if self.may_grant(now, resource) {
            return self.grant(now, resource, conn, lease, NIL);
        }
        if let Some(refusal) = self.refuse_wait(resource, Some(timeout)) {
            self.touch(now, resource);
            return refusal;
        }
        let claim = self.queue_up(now, resource, conn, lease, false);
        self.block(now, claim, timeout);
        Outcome::Blocked
    }

    /// `e`, `se`: a slot now, or a place in the queue.
    pub fn enqueue(
        &mut self,
        now: u64,
        conn: u32,
        space: Space,
        key: &[u8],
        limit: u64,
        lease: u64,
    ) -> Outcome {
        if let Some(claim) =
            self.find_resource(space, key).and_then(|resource| self.find_claim(conn, resource))
        {
            match self.claims[claim].state {
                // A grant nobody saw in time is over; the client starts afresh (D2).
                ClaimState::Lapsed => self.remove_claim(claim),
                ClaimState::Granted(grant)
                    if self.claims[claim].from_queue && self.grants[grant].deadline <= now =>
                {
                    self.remove_claim(claim);
                }
                _ => return Outcome::AlreadyEnqueued,
            }
        }
        let resource = match self.admit(now, space, key, limit) {
            Ok(resource) => resource,
            Err(outcome) => return outcome,
        };
        if self.may_grant(now, resource) {
            let claim = self.add_claim(Claim {
                resource,
                conn,
                lease,
                state: ClaimState::Granted(NIL),
                two_phase: true,
                from_queue: false,
                blocked: false,
                in_resource: Links::NONE,
                in_conn: Links::NONE,
            });
            return self.grant(now, resource, conn, lease, claim);
        }
        if let Some(refusal) = self.refuse_wait(resource, None) {
            self.touch(now, resource);
            return refusal;
        }
        self.queue_up(now, resource, conn, lease, true);
        Outcome::Queued
    }

    /// `w`, `sw`: claims what `e` asked for.
    pub fn wait(&mut self, now: u64, conn: u32, space: Space, key: &[u8], timeout: u64) -> Outcome {
        let Some(resource) = self.find_resource(space, key) else { return Outcome::NotEnqueued };
        let Some(claim) = self.find_claim(conn, resource) else { return Outcome::NotEnqueued };
        let lease = self.claims[claim].lease;
        match self.claims[claim].state {
            ClaimState::Lapsed => {
                self.remove_claim(claim);
                Outcome::LeaseExpired
            }
            ClaimState::Granted(grant) if self.grants[grant].deadline <= now => {
                self.remove_claim(claim);
                self.evict(now, grant, false);
                Outcome::LeaseExpired
            }
            ClaimState::Granted(grant) => {
                let token = self.grants[grant].token;
                self.remove_claim(claim);
                self.restart_lease(now, grant, lease);
                Outcome::Granted { token, lease }
            }
            ClaimState::Queued if timeout > 0 && !self.draining => {
                self.block(now, claim, timeout);
                Outcome::Blocked
            }
            ClaimState::Queued => {
                self.remove_claim(claim);
                self.touch(now, resource);
                self.unanswered(timeout)
            }
        }
    }

    /// Ends the wait of a connection without serving it. True if it was waiting.
    pub fn cancel_wait(&mut self, now: u64, conn: u32) -> bool {
        let claim = self.clients.get(conn).map_or(NIL, |client| client.blocked);
        if claim == NIL {
            return false;
        }
        let resource = self.claims[claim].resource;
        self.remove_claim(claim);
        self.touch(now, resource);
        true
    }

    /// What a request is told that does not get its slot and may not wait.
    fn unanswered(&mut self, timeout: u64) -> Outcome {
        if timeout == 0 {
            self.totals.timeouts += 1;
            return Outcome::Timeout;
        }
        Outcome::Error
    }

    fn admit(&mut self, now: u64, space: Space, key: &[u8], limit: u64) -> Result<u32, Outcome> {
        let Some(resource) = self.find_resource(space, key) else {
            if self.resources.len() as u64 >= self.rules.max_locks {
                return Err(Outcome::MaxLocks);
            }
            return Ok(self.create_resource(now, space, key, limit));
        };
        if self.resources[resource].limit != limit {
            return Err(Outcome::LimitMismatch);
        }
        self.evict_expired(now, resource);
        Ok(resource)
    }

    /// Evicts holders whose deadline passed. Those that the deadlines reported already stand first in the list.
    fn evict_expired(&mut self, now: u64, resource: u32) {
        let mut evicted = false;
        let mut next = self.resources[resource].first_grant();
        let mut checked = 0;
        while next != NIL && checked < CHECKED_HOLDERS {
            let grant = next;
            next = self.grants[grant].in_resource.next;
            if self.grants[grant].deadline <= now {
                let conn = self.grants[grant].conn_id;
                self.notice(resource, |key| Notice::EvictedOnAcquire { key, conn });
                self.lapse(grant, false);
                evicted = true;
            } else {
                checked += 1;
            }
        }
        if evicted {
            self.serve(now, resource);
        }
    }

    fn may_grant(&self, now: u64, place: u32) -> bool {
        let resource = &self.resources[place];
        u64::from(resource.holders) < resource.limit && resource.waiters == 0 && now >= self.rules.grace_until
    }

    fn refuse_wait(&mut self, resource: u32, timeout: Option<u64>) -> Option<Outcome> {
        if self.rules.max_waiters > 0 && u64::from(self.resources[resource].waiters) >= self.rules.max_waiters
        {
            return Some(Outcome::MaxWaiters);
        }
        match timeout {
            Some(timeout) if timeout == 0 || self.draining => Some(self.unanswered(timeout)),
            _ => None,
        }
    }

    fn queue_up(&mut self, now: u64, resource: u32, conn: u32, lease: u64, two_phase: bool) -> u32 {
        let claim = self.add_claim(Claim {
            resource,
            conn,
            lease,
            state: ClaimState::Queued,
            two_phase,
            from_queue: true,
            blocked: false,
            in_resource: Links::NONE,
            in_conn: Links::NONE,
        });
        if now < self.rules.grace_until {
            self.withheld.push_back(resource);
        }
        self.touch(now, resource);
        claim
    }

    fn block(&mut self, now: u64, claim: u32, timeout: u64) {
        self.claims[claim].blocked = true;
        self.clients[self.claims[claim].conn].blocked = claim;
        self.waits.set(claim, now.saturating_add(timeout.saturating_mul(SECOND)));
    }

    fn grant(&mut self, now: u64, resource: u32, conn: u32, lease: u64, claim: u32) -> Outcome {
        let token = Token { counter: self.counter, secret: (self.entropy)() };
        self.counter += 1;
        self.totals.grants += 1;
        let grant = self.add_grant(Grant {
            token,
            deadline: now.saturating_add(lease.saturating_mul(SECOND)),
            conn_id: self.clients[conn].id,
            resource,
            conn,
            claim,
            in_resource: Links::NONE,
            in_conn: Links::NONE,
            expired: false,
        });
        if claim != NIL {
            self.claims[claim].state = ClaimState::Granted(grant);
        }
        self.touch(now, resource);
        Outcome::Granted { token, lease }
    }

    /// Hands free slots to the queue, in order.
    pub(super) fn serve(&mut self, now: u64, place: u32) {
        loop {
            let resource = &self.resources[place];
            let claim = resource.first_claim();
            let free = u64::from(resource.holders) < resource.limit && now >= self.rules.grace_until;
            if claim == NIL || !free {
                break;
            }
            let Claim { conn, lease, blocked, .. } = self.claims[claim];
            if self.clients[conn].leaving {
                self.remove_claim(claim);
            } else if blocked {
                self.remove_claim(claim);
                if let Outcome::Granted { token, lease } = self.grant(now, place, conn, lease, NIL) {
                    self.events.push_back(Event::Granted { conn, token, lease });
                }
            } else {
                self.leave_queue(claim);
                self.claims[claim].state = ClaimState::Granted(NIL);
                self.grant(now, place, conn, lease, claim);
            }
        }
        self.touch(now, place);
    }
}
