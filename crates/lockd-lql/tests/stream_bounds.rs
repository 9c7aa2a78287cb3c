//! What streams may cost: no allocation a document once everything has been seen, and memory and time that hostile
//! documents and selectors cannot drive up.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail")]
#![allow(unsafe_code, reason = "an allocator that counts has to be one")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use lockd_lql::{
    condition::{Condition, Instant},
    path::Path,
    selector::Selector,
    stream::{Document, Documents, MatchError, Matcher, Projector, Wanted},
};

/// Counts for each thread by itself, because tests run at the same time.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + u64::from(change > 0));
    LIVE.set(LIVE.get() + change);
    MOST.set(MOST.get().max(LIVE.get()));
}

// SAFETY: everything is left to the system's allocator; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations something makes, and how much more memory it has at its most than before.
fn cost<T>(work: impl FnOnce() -> T) -> (u64, usize, T) {
    let (allocations, live) = (ALLOCATIONS.get(), LIVE.get());
    MOST.set(live);
    let result = work();
    (ALLOCATIONS.get() - allocations, (MOST.get() - live).unsigned_abs(), result)
}

fn compiled(text: &str) -> Condition {
    Selector::parse(text).unwrap().compile(Instant(0)).unwrap()
}

const DOCUMENTS: &str = concat!(
    r#"{"id":"a","n":12.5,"tags":["x","y",["z"]],"deep":{"er":{"est":"W\u00e4rme \"und\" mehr"}},"at":"2025-01-02T10:00:00Z"}"#,
    "\n",
    r#" { "id" : "b" , "list" : [ {"k":1,"0":2}, {"k":[3,4]}, [5] ] , "null" : null, "t" : true } "#,
    "\n[{\"id\":\"c\"},{\"n\":-1e3,\"id\":\"\\ud83d\\ude00\"}]\n",
);

const SELECTORS: [&str; 8] = [
    "/id=b",
    "icontains{f=/...,a=nowhere|W\u{c4}RME}",
    "/deep/er/est=x,/n>=1,not.exists{/gone},in{f=/tags,any=x|q}",
    "or.eq{f=/list/0,v=1},or.eq{f=/list/k/0,v=4},or.prefix{f=/*/er/est,v=W}",
    "/at>=2025-01-01,date{f=/at,since=yesterday}",
    "eq{f=/.../k,v=9},contains{f=/**/...,v=q}",
    ".",
    "not.eq{f=/list/[]/k,v=1}",
];

#[test]
fn selecting_allocates_nothing_once_warm() {
    let stream = DOCUMENTS.repeat(20);
    for selector in SELECTORS {
        let mut matcher = Matcher::new(&compiled(selector));
        let mut selected = [0, 0];
        let mut rounds = |round: &mut usize| {
            matcher
                .select(stream.as_bytes(), |candidate| {
                    *round += usize::from(candidate.matched);
                    true
                })
                .unwrap();
            for document in DOCUMENTS.lines() {
                *round += usize::from(matcher.matches(document.as_bytes()).unwrap());
            }
            matcher.reset();
            for chunk in stream.as_bytes().chunks(97) {
                matcher.push(chunk, |_| true).unwrap();
            }
            matcher.finish(|_| true).unwrap();
        };
        rounds(&mut selected[0]);
        let (allocations, _, ()) = cost(|| rounds(&mut selected[1]));
        assert_eq!((allocations, selected[0]), (0, selected[1]), "{selector}");
    }
}

#[test]
fn projecting_and_picking_allocate_nothing_once_warm() {
    let fields: Vec<Path> =
        ["/id", "/.../k", "/deep/*/est", "/list/0"].iter().map(|field| Path::parse(field).unwrap()).collect();
    let mut projector = Projector::new(&fields);
    let mut documents = Documents::new(&compiled("exists{/id}"), Wanted::Matching, 10_000);
    let stream = DOCUMENTS.repeat(20);
    let mut out = Vec::with_capacity(10_000);
    let mut round = || {
        let mut count = 0;
        let mut sink = |document: Document<'_>| {
            out.clear();
            projector.project(document.json, &mut out).unwrap();
            count += 1;
            true
        };
        documents.reset();
        for chunk in stream.as_bytes().chunks(100) {
            documents.push(chunk, &mut sink).unwrap();
        }
        documents.finish(&mut sink).unwrap();
        assert_eq!(count, 80);
    };
    round();
    let (allocations, _, ()) = cost(round);
    assert_eq!(allocations, 0);
}

#[test]
fn a_million_brackets_are_refused_or_followed() {
    let levels = 1_000_000;
    let arrays = format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    let objects = format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    for document in [&arrays, &objects, &arrays[..levels], &objects[..levels]] {
        for selector in ["/a=1", "eq{f=/...,v=x}", "eq{f=/.../a/.../b,v=x}", "/a/0/0/0=7", "/b=1"] {
            let condition = compiled(selector);
            let (_, most, judged) = cost(|| Matcher::new(&condition).matches(document.as_bytes()));
            assert!(matches!(judged, Err(MatchError::Invalid(_))), "{selector}: {judged:?}");
            assert!(most < 64 << 20, "{selector}: {most}");
        }
    }
    for document in [&arrays, &objects] {
        for selector in ["/b=1", "eq{f=/...,v=x}", "/a=2"] {
            let mut matcher = Matcher::with_depth(&compiled(selector), u32::MAX);
            let (_, most, judged) = cost(|| matcher.matches(document.as_bytes()));
            assert_eq!(judged, Ok(false), "{selector}");
            assert!(most < 256 << 20, "{selector}: {most}");
        }
        let mut out = Vec::new();
        let mut projector = Projector::new(&[Path::parse("/.../b").unwrap()]);
        assert!(projector.project(document.as_bytes(), &mut out).is_err());
        let mut projector = Projector::with_depth(&[Path::parse("/.../b").unwrap()], u32::MAX);
        projector.project(document.as_bytes(), &mut out).unwrap();
        assert_eq!(out, b"{}");
    }
}

#[test]
fn too_many_places_are_an_error() {
    // Every level is in each of the steps, for the levels before are any.
    let path = format!("eq{{f={}/x,v=1}}", "/.../a".repeat(200));
    let levels = 100_000;
    let document = format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let (_, most, judged) = cost(|| Matcher::new(&compiled(&path)).matches(document.as_bytes()));
    assert!(matches!(judged, Err(MatchError::TooManyPlaces { .. })), "{judged:?}");
    assert!(most < 512 << 20, "{most}");
}

#[test]
fn long_strings_are_not_held() {
    let chunk = "lorem ipsum \\u00e4 dolor ".repeat(2600);
    for (selector, megabytes, expected) in [
        ("contains{f=/s,v=nowhere}", 100, false),
        ("contains{f=/...,v=\"needle in hay\"}", 16, true),
        ("eq{f=/s,v=lorem}", 16, false),
        ("not.prefix{f=/s,v=\"lorem ipsum x\"}", 16, true),
        ("icontains{f=/s,v=\"NEEDLE in h\"}", 8, true),
    ] {
        let mut matcher = Matcher::new(&compiled(selector));
        let mut found = None;
        let (_, most, ()) = cost(|| {
            matcher.push(b"{\"s\":\"", |_| true).unwrap();
            for _ in 0..(megabytes << 20) / chunk.len() {
                matcher.push(chunk.as_bytes(), |_| true).unwrap();
            }
            let mut sink = |candidate: lockd_lql::stream::Candidate| {
                found = Some(candidate.matched);
                true
            };
            for part in [&b"a nee"[..], b"dle in h", b"ay\"}"] {
                matcher.push(part, &mut sink).unwrap();
            }
            matcher.finish(&mut sink).unwrap();
        });
        assert_eq!(found, Some(expected), "{selector}");
        assert!(most < 2 << 20, "{selector}: {most}");
    }
}

#[test]
fn a_hundred_thousand_clauses_cost_what_they_touch() {
    let count = 100_000;
    let clauses: Vec<String> = (0..count).map(|n| format!("eq{{f=/m{n},v=x}}")).collect();
    let condition = Selector::parse_joined(&clauses.join(","), lockd_lql::selector::Join::Or)
        .unwrap()
        .compile(Instant(0))
        .unwrap();
    let mut document = String::from("{");
    for n in 0..count {
        document.push_str(&format!("\"m{n}\":{n},"));
    }
    document.push_str("\"last\":0}");
    let mut matcher = Matcher::new(&condition);
    assert_eq!(matcher.matches(document.as_bytes()), Ok(false));
    // Documents that touch none of the clauses do not pay for them, or this would take minutes.
    let small = "{\"a\":1}\n".repeat(100_000);
    let mut candidates = 0;
    matcher
        .select(small.as_bytes(), |candidate| {
            candidates += usize::from(!candidate.matched);
            true
        })
        .unwrap();
    assert_eq!(candidates, 100_000);
    assert_eq!(matcher.matches(b"{\"m7\":\"x\"}"), Ok(true));
}
