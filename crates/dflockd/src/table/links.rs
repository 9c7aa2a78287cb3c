//! The intrusive lists of the table: grants of a key, queue of a key, grants and claims of a connection, idle keys by age.

use super::{Claim, ClaimState, Grant, Links, List, NIL, Resource, Slab, Table, Token};

fn push_back<T>(list: &mut List, slab: &mut Slab<T>, place: u32, links: impl Fn(&mut T) -> &mut Links) {
    *links(&mut slab[place]) = Links { prev: list.tail, next: NIL };
    if list.tail == NIL {
        list.head = place;
    } else {
        links(&mut slab[list.tail]).next = place;
    }
    list.tail = place;
}

fn unlink<T>(list: &mut List, slab: &mut Slab<T>, place: u32, links: impl Fn(&mut T) -> &mut Links) {
    let Links { prev, next } = std::mem::replace(links(&mut slab[place]), Links::NONE);
    if prev == NIL {
        list.head = next;
    } else {
        links(&mut slab[prev]).next = next;
    }
    if next == NIL {
        list.tail = prev;
    } else {
        links(&mut slab[next]).prev = prev;
    }
}

impl Table {
    /// Marks activity on a key and files it under idle or busy.
    pub(super) fn touch(&mut self, now: u64, place: u32) {
        let resource = &mut self.resources[place];
        resource.last_activity = now;
        let idle = resource.holders == 0 && resource.waiters == 0;
        if std::mem::replace(&mut resource.is_idle, idle) {
            unlink(&mut self.idle, &mut self.resources, place, |resource| &mut resource.idle);
        }
        if idle {
            push_back(&mut self.idle, &mut self.resources, place, |resource| &mut resource.idle);
        }
    }

    /// Forgets an idle key.
    pub(super) fn drop_resource(&mut self, place: u32) {
        unlink(&mut self.idle, &mut self.resources, place, |resource| &mut resource.idle);
        let resource = &self.resources[place];
        let hash = Self::hash_key(&self.hasher, resource.space, &resource.key);
        self.by_key.remove(hash, place);
        self.resources.remove(place);
    }

    pub(super) fn add_grant(&mut self, grant: Grant) -> u32 {
        let Grant { token, deadline, resource, conn, .. } = grant;
        let place = self.grants.insert(grant);
        self.leases.set(place, deadline);
        push_back(&mut self.resources[resource].grants, &mut self.grants, place, |grant| {
            &mut grant.in_resource
        });
        self.resources[resource].holders += 1;
        if conn != NIL {
            push_back(&mut self.clients[conn].grants, &mut self.grants, place, |grant| &mut grant.in_conn);
        }
        let (hasher, grants) = (&self.hasher, &self.grants);
        self.by_token.insert(Self::hash_token(hasher, token.counter), place, |other| {
            Self::hash_token(hasher, grants[other].token.counter)
        });
        place
    }

    pub(super) fn find_grant(&self, token: Token) -> Option<u32> {
        self.by_token.find(Self::hash_token(&self.hasher, token.counter), |place| {
            // The counter only finds the grant. The secret decides; XOR keeps its comparison free of early exits.
            let known = self.grants[place].token;
            (known.counter ^ token.counter) | (known.secret ^ token.secret) == 0
        })
    }

    /// Takes a grant away from its holder; the caller serves the queue.
    pub(super) fn remove_grant(&mut self, place: u32) {
        self.leases.remove(place);
        let Grant { token, resource, conn, .. } = self.grants[place];
        unlink(&mut self.resources[resource].grants, &mut self.grants, place, |grant| &mut grant.in_resource);
        self.resources[resource].holders -= 1;
        if conn != NIL {
            unlink(&mut self.clients[conn].grants, &mut self.grants, place, |grant| &mut grant.in_conn);
        }
        self.by_token.remove(Self::hash_token(&self.hasher, token.counter), place);
        self.grants.remove(place);
    }

    /// Moves an expired grant to where an admission on its key looks first.
    pub(super) fn bring_forward(&mut self, place: u32) {
        let resource = self.grants[place].resource;
        let list = &mut self.resources[resource].grants;
        unlink(list, &mut self.grants, place, |grant| &mut grant.in_resource);
        self.grants[place].in_resource = Links { prev: NIL, next: list.head };
        if list.head == NIL {
            list.tail = place;
        } else {
            self.grants[list.head].in_resource.prev = place;
        }
        list.head = place;
    }

    /// Lets a grant live on without its connection.
    pub(super) fn detach_grant(&mut self, place: u32) {
        let conn = self.grants[place].conn;
        unlink(&mut self.clients[conn].grants, &mut self.grants, place, |grant| &mut grant.in_conn);
        self.grants[place].conn = NIL;
    }

    pub(super) fn add_claim(&mut self, claim: Claim) -> u32 {
        let Claim { resource, conn, state, two_phase, .. } = claim;
        let place = self.claims.insert(claim);
        push_back(&mut self.clients[conn].claims, &mut self.claims, place, |claim| &mut claim.in_conn);
        if state == ClaimState::Queued {
            push_back(&mut self.resources[resource].queue, &mut self.claims, place, |claim| {
                &mut claim.in_resource
            });
            self.resources[resource].waiters += 1;
            self.totals.waiting += 1;
        }
        if two_phase {
            let (hasher, claims) = (&self.hasher, &self.claims);
            self.by_claimant.insert(Self::hash_claimant(hasher, conn, resource), place, |other| {
                Self::hash_claimant(hasher, claims[other].conn, claims[other].resource)
            });
        }
        place
    }

    /// Takes a claim out of the queue of its key; the state is the caller's to set.
    pub(super) fn leave_queue(&mut self, place: u32) {
        let resource = self.claims[place].resource;
        unlink(&mut self.resources[resource].queue, &mut self.claims, place, |claim| &mut claim.in_resource);
        self.resources[resource].waiters -= 1;
        self.totals.waiting -= 1;
    }

    pub(super) fn remove_claim(&mut self, place: u32) {
        self.waits.remove(place);
        let Claim { resource, conn, state, two_phase, blocked, .. } = self.claims[place];
        match state {
            ClaimState::Queued => self.leave_queue(place),
            ClaimState::Granted(grant) => self.grants[grant].claim = NIL,
            ClaimState::Lapsed => self.resources[resource].lapsed -= 1,
        }
        if two_phase {
            self.by_claimant.remove(Self::hash_claimant(&self.hasher, conn, resource), place);
        }
        let client = &mut self.clients[conn];
        if blocked {
            client.blocked = NIL;
        }
        unlink(&mut client.claims, &mut self.claims, place, |claim| &mut claim.in_conn);
        self.claims.remove(place);
    }
}

impl Resource {
    pub(super) fn first_grant(&self) -> u32 {
        self.grants.head
    }

    pub(super) fn first_claim(&self) -> u32 {
        self.queue.head
    }
}
