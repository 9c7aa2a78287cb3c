//! Editing allocates nothing once an editor has met documents of the same shape.

#![allow(unsafe_code, reason = "an allocator that counts cannot be written without")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use lockd_lql::{
    condition::Instant,
    mutation::{EditError, EditLimits, Mutations, ParseOptions},
};

/// Counts the allocations of each thread, so that those of the test harness do not matter.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: everything is passed on to the system's allocator; the counter itself needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

const EDITS: &[&str] = &[
    "/version++",
    "/status=done",
    "/path/to/it=1.5",
    "time:/at=NOW",
    "rm:/lock",
    "/orders[]/sequence=+2",
    "/orders/1/**=null",
    "rm:/.../email",
    "/text/x=new",
    "/esc\u{e9}\u{1f600}--",
];

fn document(n: u64) -> String {
    let order = format!(
        r#"{{ "sequence": {n}, "email": "{n}@example.com", "name": "x \"{n}\"", "a": [{{}}, {{"email": null}}] }}"#
    );
    format!(
        r#"{{"version": {n}, "status": "open", "lock": {{"owner": {n}, "email": {n}}}, "text": "a long text {n}",
            "orders": [{order}, {order}, {order}], "esc\u00e9\uD83D\uDE00": 7, "other": [[{n}, [true]]],
            "nested": {}{n}{} }}"#,
        "[".repeat(200),
        "]".repeat(200),
    )
}

#[test]
fn known_shapes_are_edited_without_allocations() {
    let documents: Vec<String> = (100..200).map(document).collect();
    let program = Mutations::parse_list(EDITS, &ParseOptions::default())
        .unwrap()
        .compile(Instant(1_735_787_045_600_000_000));
    let mut editor = program.editor(EditLimits::default());
    let mut out = Vec::with_capacity(1 << 16);
    let mut edit = |document: &str, piece: usize| -> Result<u64, EditError> {
        out.clear();
        for chunk in document.as_bytes().chunks(piece) {
            editor.push(chunk, &mut out)?;
        }
        editor.finish(&mut out).map(|summary| summary.bytes_written)
    };
    for piece in [1 << 20, 50, 1] {
        edit(&documents[0], piece).unwrap();
    }
    for piece in [1 << 20, 50, 1] {
        let before = allocations();
        for document in &documents {
            assert!(edit(document, piece).unwrap() > 500);
        }
        assert_eq!(allocations() - before, 0, "in pieces of {piece}");
    }
}
