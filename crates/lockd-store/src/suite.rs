//! What every adapter must do, as one set of checks that each adapter runs against itself.
//!
//! An adapter says how to open one of its stores with a [`Fixture`] and has [`conformance!`](crate::conformance) turn
//! every check into a test:
//!
//! ```
//! # mod memory {
//! use lockd_store::suite::Memory;
//! lockd_store::conformance!(Memory::default());
//! # }
//! ```
//!
//! The checks panic when the adapter is wrong, as tests do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

pub mod blobs;
pub mod engine;
pub mod model;
mod writer;

use std::fmt::Debug;

pub use writer::Writer;

use crate::{Opened, Options, open};

/// One store that can be opened, and opened again after it was closed.
pub trait Fixture: Debug {
    fn open(&self) -> Opened;

    /// Whether the content is still there when the store is opened again.
    fn is_persistent(&self) -> bool {
        true
    }
}

/// The memory store.
#[derive(Debug, Default)]
pub struct Memory;

impl Fixture for Memory {
    fn open(&self) -> Opened {
        open("mem://", Options::default()).unwrap()
    }

    fn is_persistent(&self) -> bool {
        false
    }
}

/// Turns every check into a test. The argument is an expression for a fresh [`Fixture`](crate::suite::Fixture); it is
/// evaluated once a test.
#[macro_export]
macro_rules! conformance {
    ($fixture:expr) => {
        $crate::conformance!($fixture; engine:
            a_batch_is_seen_whole_or_not_at_all
            batches_become_durable_in_order
            close_waits_for_what_was_submitted
            concurrent_writers_and_readers_agree
            content_survives_reopening
            dead_blobs_go_after_their_batch
            keys_and_values_are_any_bytes
            pages_are_complete_in_both_directions
            scans_respect_their_bounds
            snapshots_are_frozen
            the_last_change_of_a_key_counts
        );
        $crate::conformance!($fixture; blobs:
            a_blob_comes_back_as_it_was_written
            a_blob_exists_once_it_is_finished
            a_dropped_writer_leaves_nothing
            a_reader_outlives_its_blob
            absent_blobs_are_not_found
            blobs_are_listed_in_order_and_pages
            blobs_are_written_side_by_side
            blobs_survive_reopening
        );
        $crate::conformance!($fixture; model: behaves_like_an_ordered_map);
    };
    ($fixture:expr; $group:ident: $($check:ident)+) => {
        mod $group {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[test]
                fn $check() {
                    $crate::suite::$group::$check(&$fixture);
                }
            )+
        }
    };
}
