//! The reply to `stats`: at once and sorted while there are few keys, otherwise in pieces, so that others are served while a
//! large reply is made, and no more of it exists than the reader takes.

use crate::protocol::{write_json_number, write_json_text};
use crate::table::{Table, View};
use std::io::Write;

/// Up to so many keys the reply is made in one go.
const SMALL: u32 = 2048;
/// Places looked at, and bytes made, in one piece.
const PLACES: u32 = 2048;
const BYTES: usize = 32 << 10;

const ARRAYS: [&str; 4] = ["locks", "semaphores", "idle_locks", "idle_semaphores"];

/// How far a large reply has got.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    array: usize,
    place: u32,
    opened: bool,
    any: bool,
}

pub(super) fn is_small(table: &Table) -> bool {
    table.places() <= SMALL
}

pub(super) fn write_head(out: &mut Vec<u8>, connections: u64) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "ok {{\"connections\":{connections}");
}

pub(super) fn write_all(out: &mut Vec<u8>, table: &Table, now: u64, connections: u64) {
    let mut views: Vec<View<'_>> = (0..table.places()).filter_map(|place| table.view(now, place)).collect();
    views.sort_unstable_by_key(|view| view.key);
    write_head(out, connections);
    for array in 0..ARRAYS.len() {
        open(out, array);
        let mut any = false;
        for view in views.iter().filter(|view| belongs(view) == array) {
            element(out, view, &mut any);
        }
        out.push(b']');
    }
    out.extend_from_slice(b"}\n");
}

impl Cursor {
    /// Writes another piece; true when the reply is complete.
    pub(super) fn write_some(&mut self, out: &mut Vec<u8>, table: &Table, now: u64) -> bool {
        let mut looked = 0;
        while self.array < ARRAYS.len() {
            if !self.opened {
                open(out, self.array);
                self.opened = true;
            }
            while self.place < table.places() {
                if looked >= PLACES || out.len() >= BYTES {
                    return false;
                }
                looked += 1;
                if let Some(view) = table.view(now, self.place).filter(|view| belongs(view) == self.array) {
                    element(out, &view, &mut self.any);
                }
                self.place += 1;
            }
            out.push(b']');
            *self = Self { array: self.array + 1, ..Self::default() };
        }
        out.extend_from_slice(b"}\n");
        true
    }
}

fn belongs(view: &View<'_>) -> usize {
    let idle = view.holders == 0 && view.waiters == 0;
    usize::from(idle) * 2 + usize::from(view.limit > 1)
}

fn open(out: &mut Vec<u8>, array: usize) {
    let _ = write!(out, ",\"{}\":[", ARRAYS[array]);
}

fn element(out: &mut Vec<u8>, view: &View<'_>, any: &mut bool) {
    out.extend_from_slice(if *any { b",{\"key\":" } else { b"{\"key\":" });
    *any = true;
    write_json_text(out, view.key);
    let _ = match belongs(view) {
        0 => {
            let _ = write!(out, ",\"owner_conn_id\":{},\"lease_expires_in_s\":", view.owner);
            write_json_number(out, view.lease_left);
            write!(out, ",\"waiters\":{}}}", view.waiters)
        }
        1 => write!(
            out,
            ",\"limit\":{},\"holders\":{},\"waiters\":{}}}",
            view.limit, view.holders, view.waiters
        ),
        _ => {
            out.extend_from_slice(b",\"idle_s\":");
            write_json_number(out, view.idle_for);
            write!(out, "}}")
        }
    };
}
