//! What must hold for selection, picking and projection whatever the stream. Shared by the property tests and the fuzz
//! target.

use lockd_lql::{
    condition::{Condition, Instant},
    path::Path,
    selector::Selector,
    stream::{Candidate, Document, Documents, MatchError, Matcher, Projector, Wanted},
};

/// The parts of an input: a line with a selector, a line with fields, and the stream.
pub(crate) struct Input<'a> {
    pub(crate) condition: Condition,
    pub(crate) fields: Vec<Path>,
    /// How long the chunks are in which the stream arrives.
    pub(crate) chunk: usize,
    pub(crate) stream: &'a [u8],
}

impl Input<'_> {
    /// None if there is no selector or no field in the input.
    pub(crate) fn new(input: &[u8]) -> Option<Input<'_>> {
        let (&chunk, input) = input.split_first()?;
        let mut lines = input.splitn(3, |byte| *byte == b'\n');
        let mut line = || std::str::from_utf8(lines.next()?).ok();
        let condition = Selector::parse(line()?).ok()?.compile(Instant(0)).ok()?;
        let fields: Result<_, _> = line()?.split(',').map(Path::parse).collect();
        Some(Input { condition, fields: fields.ok()?, chunk: usize::from(chunk) + 1, stream: lines.next()? })
    }
}

/// Runs an input through everything, and checks that all ways lead to the same.
pub(crate) fn holds(input: &Input<'_>) {
    let mut matcher = Matcher::new(&input.condition);
    let mut whole = Vec::new();
    let judged = matcher.select(input.stream, |candidate| {
        whole.push(candidate);
        true
    });
    let mut parts = Vec::new();
    let in_parts = in_chunks(&mut matcher, input, &mut parts);
    assert_eq!(judged.is_ok(), in_parts.is_ok(), "{judged:?} but {in_parts:?}");
    if judged.is_ok() {
        assert_eq!(whole, parts);
        assert_eq!(lockd_json_says(input.stream), Some(true), "no JSON was accepted");
    }
    let mut picked = 0;
    let mut documents = Documents::new(&input.condition, Wanted::All, 1 << 20);
    let mut sink = |document: Document<'_>| {
        let Candidate { start, end, matched } = whole[picked];
        let bytes = input.stream.get(start as usize..end as usize);
        assert_eq!((bytes, start, matched), (Some(document.json), document.start, document.matched));
        picked += 1;
        true
    };
    if judged.is_ok() {
        for chunk in input.stream.chunks(input.chunk) {
            assert!(documents.push(chunk, &mut sink).is_ok());
        }
        assert!(documents.finish(&mut sink).is_ok());
        assert_eq!(picked, whole.len());
    }
    let mut projector = Projector::new(&input.fields);
    for candidate in &whole {
        project(&mut projector, &input.stream[candidate.start as usize..candidate.end as usize], input.chunk);
    }
    let _ = projector.project(input.stream, &mut Vec::new());
}

fn in_chunks(
    matcher: &mut Matcher,
    input: &Input<'_>,
    candidates: &mut Vec<Candidate>,
) -> Result<(), MatchError> {
    let mut sink = |candidate| {
        candidates.push(candidate);
        true
    };
    matcher.reset();
    for chunk in input.stream.chunks(input.chunk) {
        matcher.push(chunk, &mut sink)?;
    }
    matcher.finish(sink)
}

/// Whether the stream is a sequence of documents for a reader that goes one token after the other.
fn lockd_json_says(stream: &[u8]) -> Option<bool> {
    let documents = serde_json::Deserializer::from_slice(stream).into_iter::<serde::de::IgnoredAny>();
    for document in documents {
        if let Err(error) = document {
            // It has a limit of its own, and wants whitespace between some documents that are apart without.
            let text = error.to_string();
            return (text.contains("recursion") || text.contains("trailing")).then_some(true);
        }
    }
    Some(true)
}

fn project(projector: &mut Projector, document: &[u8], chunk: usize) {
    let mut whole = Vec::new();
    let projected = projector.project(document, &mut whole);
    let mut parts = Vec::new();
    projector.reset();
    let pushed = document.chunks(chunk).try_for_each(|chunk| projector.push(chunk, &mut parts));
    let pushed = pushed.and_then(|()| projector.finish(&mut parts));
    assert_eq!(projected.is_ok(), pushed.is_ok(), "{projected:?} but {pushed:?}");
    if projected.is_ok() {
        assert_eq!(whole, parts);
        let mut compact = Vec::new();
        assert!(lockd_json::compact(&whole, &mut compact).is_ok(), "{:?}", String::from_utf8_lossy(&whole));
        assert_eq!(whole, compact, "whitespace was left");
    }
}
