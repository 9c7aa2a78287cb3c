//! Everything that happens by itself: expiry, sweep, timeouts, garbage, connections leaving, the end of the grace, the drain.
//! Each kind of work gets its own bounded slice a call, so that none of them starves another or the requests in between.

use super::{Event, NIL, Notice, Table};

impl Table {
    /// Does up to `slice` pieces of each kind of due work. True if more is due already.
    pub fn advance(&mut self, now: u64, slice: u32) -> bool {
        let mut more = self.end_grace(now, slice);
        // A sweep takes what expired before it; what expires now stays releasable until the next one.
        more |= self.sweep(now, slice);
        more |= self.expire(now, slice);
        more |= self.time_out(now, slice);
        more |= self.forget_leaving(now, slice);
        more |= self.collect(now, slice);
        more | self.interrupt(now, slice)
    }

    /// When [`Table::advance`] next has something to do.
    pub fn next_deadline(&self) -> Option<u64> {
        let lease = self.leases.first().map(|first| first.0);
        let wait = self.waits.first().map(|first| first.0);
        let sweep = (!self.expired.is_empty()).then_some(self.next_sweep);
        let gc = (self.idle.head != NIL).then_some(self.next_gc);
        let grace = (!self.withheld.is_empty()).then_some(self.rules.grace_until);
        [lease, wait, sweep, gc, grace].into_iter().flatten().min()
    }

    /// From now on nobody waits: whoever does is interrupted.
    pub fn drain(&mut self) {
        self.draining = true;
        self.interrupting = true;
    }

    fn end_grace(&mut self, now: u64, slice: u32) -> bool {
        if now < self.rules.grace_until {
            return false;
        }
        for _ in 0..slice {
            let Some(resource) = self.withheld.pop_front() else { return false };
            if self.resources.get(resource).is_some() {
                self.serve(now, resource);
            }
        }
        !self.withheld.is_empty()
    }

    /// Grants whose deadline passed: evicted at once where somebody waits, otherwise left to the sweep, because until then
    /// their holder may still release them.
    fn expire(&mut self, now: u64, slice: u32) -> bool {
        for _ in 0..slice {
            let Some(grant) = self.leases.pop_due(now) else { return false };
            let resource = self.grants[grant].resource;
            if self.resources[resource].waiters > 0 {
                self.expire_now(now, grant, false);
            } else {
                self.grants[grant].expired = true;
                self.bring_forward(grant);
                self.expired.push_back((grant, self.grants[grant].token.counter));
            }
        }
        self.leases.first().is_some_and(|first| first.0 <= now)
    }

    fn expire_now(&mut self, now: u64, grant: u32, swept: bool) {
        let conn = self.grants[grant].conn_id;
        self.notice(self.grants[grant].resource, |key| Notice::LeaseExpired { key, conn });
        self.evict(now, grant, swept);
    }

    fn sweep(&mut self, now: u64, slice: u32) -> bool {
        if now >= self.next_sweep {
            let late = now - self.next_sweep;
            self.next_sweep += (late / self.rules.sweep_interval + 1) * self.rules.sweep_interval;
            self.sweeping = self.expired.len();
        }
        for _ in 0..slice {
            if self.sweeping == 0 {
                return false;
            }
            self.sweeping -= 1;
            let Some((grant, counter)) = self.expired.pop_front() else { return false };
            let still =
                self.grants.get(grant).is_some_and(|held| held.token.counter == counter && held.expired);
            if still {
                self.expire_now(now, grant, true);
            }
        }
        self.sweeping > 0
    }

    fn time_out(&mut self, now: u64, slice: u32) -> bool {
        for _ in 0..slice {
            let Some(claim) = self.waits.pop_due(now) else { return false };
            let (conn, resource) = (self.claims[claim].conn, self.claims[claim].resource);
            self.remove_claim(claim);
            self.touch(now, resource);
            self.totals.timeouts += 1;
            self.events.push_back(Event::TimedOut { conn });
        }
        self.waits.first().is_some_and(|first| first.0 <= now)
    }

    fn forget_leaving(&mut self, now: u64, slice: u32) -> bool {
        let mut left = slice;
        while left > 0 {
            let Some(&conn) = self.leaving.front() else { return false };
            left -= 1;
            let client = &self.clients[conn];
            let (claim, grant) = (client.claims.head, client.grants.head);
            if claim != NIL {
                let resource = self.claims[claim].resource;
                self.remove_claim(claim);
                self.touch(now, resource);
            } else if grant == NIL {
                self.leaving.pop_front();
                self.clients.take(conn);
                self.events.push_back(Event::Left { conn });
            } else if self.rules.auto_release {
                let (resource, id) = (self.grants[grant].resource, self.grants[grant].conn_id);
                self.notice(resource, |key| Notice::ReleasedOnDisconnect { key, conn: id });
                self.totals.released_on_disconnect += 1;
                self.give_up(now, grant);
            } else {
                self.detach_grant(grant);
            }
        }
        !self.leaving.is_empty()
    }

    fn collect(&mut self, now: u64, slice: u32) -> bool {
        if now >= self.next_gc {
            let late = now - self.next_gc;
            self.next_gc += (late / self.rules.gc_interval + 1) * self.rules.gc_interval;
            self.collecting = true;
        }
        if !self.collecting {
            return false;
        }
        for _ in 0..slice {
            let oldest = self.idle.head;
            if oldest == NIL
                || now.saturating_sub(self.resources[oldest].last_activity) <= self.rules.gc_max_idle
            {
                self.collecting = false;
                return false;
            }
            if self.resources[oldest].lapsed > 0 {
                // Somebody's `w` has yet to hear that the grant lapsed; look again in another round.
                self.touch(now, oldest);
                continue;
            }
            if self.rules.tell_pruned {
                self.notice(oldest, |key| Notice::Pruned { key });
            }
            self.totals.pruned += 1;
            self.drop_resource(oldest);
        }
        true
    }

    fn interrupt(&mut self, now: u64, slice: u32) -> bool {
        if !self.interrupting {
            return false;
        }
        for _ in 0..slice {
            let Some((_, claim)) = self.waits.first() else {
                self.interrupting = false;
                return false;
            };
            let (conn, resource) = (self.claims[claim].conn, self.claims[claim].resource);
            self.remove_claim(claim);
            self.touch(now, resource);
            self.events.push_back(Event::Interrupted { conn });
        }
        true
    }
}
