//! Looking at the table: one key at a time for `stats`, held slots for the snapshot, and putting those back.

use super::{Grant, Links, NIL, SECOND, Space, Table, Token};

/// One key as `stats` shows it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub key: &'a [u8],
    pub space: Space,
    pub limit: u64,
    pub holders: u32,
    pub waiters: u32,
    /// Connection of the first holder; 0 if there is none.
    pub owner: u64,
    pub lease_left: f64,
    pub idle_for: f64,
}

/// A held slot that outlives the process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    pub space: Space,
    pub key: Box<[u8]>,
    pub limit: u64,
    pub token: Token,
    /// Nanoseconds of the table's clock.
    pub deadline: u64,
}

impl Table {
    /// Places that [`Table::view`] knows; not all of them are in use.
    pub fn places(&self) -> u32 {
        self.resources.places()
    }

    pub fn key_count(&self) -> usize {
        self.resources.len()
    }

    pub fn holder_count(&self) -> usize {
        self.grants.len()
    }

    pub fn waiter_count(&self) -> u64 {
        self.totals.waiting
    }

    pub fn next_counter(&self) -> u64 {
        self.counter
    }

    /// How long nothing is granted yet.
    pub fn grace_left(&self, now: u64) -> u64 {
        self.rules.grace_until.saturating_sub(now)
    }

    pub fn view(&self, now: u64, place: u32) -> Option<View<'_>> {
        let resource = self.resources.get(place)?;
        let first = self.grants.get(resource.first_grant());
        let seconds = |ns: u64| ns as f64 / SECOND as f64;
        Some(View {
            key: &resource.key,
            space: resource.space,
            limit: resource.limit,
            holders: resource.holders,
            waiters: resource.waiters,
            owner: first.map_or(0, |grant| grant.conn_id),
            lease_left: seconds(first.map_or(0, |grant| grant.deadline.saturating_sub(now))),
            idle_for: seconds(now.saturating_sub(resource.last_activity)),
        })
    }

    /// All held slots. For the end of the process, when nobody waits for us any more.
    pub fn holds(&self) -> impl Iterator<Item = Hold> + '_ {
        (0..self.grants.places()).filter_map(|place| {
            let grant = self.grants.get(place)?;
            let resource = self.resources.get(grant.resource)?;
            Some(Hold {
                space: resource.space,
                key: resource.key.clone(),
                limit: resource.limit,
                token: grant.token,
                deadline: grant.deadline,
            })
        })
    }

    /// Puts back a slot held before a restart. It belongs to no connection and lives until its deadline.
    pub fn restore(&mut self, now: u64, hold: &Hold) {
        let resource = match self.find_resource(hold.space, &hold.key) {
            Some(resource) => resource,
            None => self.create_resource(now, hold.space, &hold.key, hold.limit),
        };
        if u64::from(self.resources[resource].holders) >= self.resources[resource].limit {
            return;
        }
        self.counter = self.counter.max(hold.token.counter.saturating_add(1));
        self.add_grant(Grant {
            token: hold.token,
            deadline: hold.deadline,
            conn_id: 0,
            resource,
            conn: NIL,
            claim: NIL,
            in_resource: Links::NONE,
            in_conn: Links::NONE,
            expired: false,
        });
        self.touch(now, resource);
    }
}
