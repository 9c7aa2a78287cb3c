//! The scanner: walks through a stream of JSON documents and calls a visitor where it wants to be called.
//!
//! It works on the outline that [`lockd_json::Outliner`] makes of some blocks ahead, so that all bytes are validated, and
//! what the visitor does not want is skipped by counting brackets 64 bytes at a time. The stream may be cut anywhere; a
//! scanner remembers where it stands. Nothing recurses, and nothing is copied but names and numbers that were cut.

use lockd_json::{Found, Invalid, Marks, Outliner};

use self::{
    cursor::Cursor,
    members::{Glances, Member},
};

mod cursor;
mod members;

/// What a visitor wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Go on: tell about the value that begins, or about what follows.
    Enter,
    /// Pass over the value that begins: no calls until it has ended.
    Skip,
    /// Hand the value that begins over as it stands in the document: only [`Visit::raw`] is called.
    Take,
    /// Pass over the rest of all containers that were entered at this depth or deeper. The containers of the document
    /// have the depths 0, 1, 2 and so on.
    Leave(usize),
    /// Read no further.
    Stop,
}

/// A string, or a part of one, between its quotes and with its escapes.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    pub raw: &'a [u8],
    /// There is a backslash in it.
    pub escaped: bool,
}

/// Who is told what the scanner sees. Offsets count from the start of the stream.
///
/// A value is announced by [`document`](Visit::document), [`name`](Visit::name) or [`element`](Visit::element). Their
/// answer decides whether it is entered; then exactly one of `open`, `text` and `scalar` follows.
pub trait Visit {
    /// A document begins with this byte.
    fn document(&mut self, at: u64) -> Wish;

    /// A member begins.
    fn name(&mut self, name: Text<'_>) -> Wish;

    /// Whether the innermost object may be passed over up to the next member, if this one has this name and there is no
    /// backslash in it. Members that are passed over so are not told, nor where their values end.
    fn passes_over(&self, name: &[u8]) -> bool {
        let _ = name;
        false
    }

    /// Whether it is of use to [`glance`](Visit::glance) at the array or object that begins.
    fn glances(&self, object: bool) -> bool {
        let _ = object;
        false
    }

    /// Whether anything in the array or object that begins can matter, judged by all of its bytes as they stand in the
    /// document. If not, it is passed over. This is asked only of some that are wanted.
    fn glance(&mut self, json: &[u8]) -> bool {
        let _ = json;
        true
    }

    /// Longer names than this are cut to more than this when they were split between two chunks.
    fn longest_name(&self) -> usize;

    /// An element of an array begins with this byte.
    fn element(&mut self, at: u64) -> Wish;

    /// The value is an object or array.
    fn open(&mut self, object: bool) -> Wish;

    /// The innermost entered container ended before this offset.
    fn close(&mut self, end: u64) -> Wish;

    /// A container was passed over, or several left, up to this offset.
    fn passed(&mut self, end: u64) -> Wish;

    /// The value is a string, or this is its next part. `last` is the offset behind it if it is the last part.
    fn text(&mut self, part: Text<'_>, first: bool, last: Option<u64>) -> Wish;

    /// The value is a number, `true`, `false` or `null`. Numbers that are absurdly long and split between two chunks come
    /// without their end, and are not `whole`.
    fn scalar(&mut self, literal: &[u8], whole: bool, end: u64) -> Wish;

    /// The next part of a value that was taken.
    fn raw(&mut self, part: &[u8]);

    /// A document ended before this offset, entered or not.
    fn document_end(&mut self, end: u64) -> Wish;
}

/// Whether there is any use in reading on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    GoingOn,
    /// The visitor wanted to stop.
    Stopped,
}

/// So much of a number is kept when it is split between two chunks.
const LONGEST_SCALAR: usize = 64 << 10;

/// So many blocks are outlined at once: their outline should stay in the nearest cache.
const BATCH: usize = 64;

#[derive(Clone, Debug)]
pub struct Scanner {
    outliner: Outliner,
    marks: Vec<Marks>,
    /// Bytes that do not fill a block yet.
    held: [u8; 64],
    held_length: usize,
    place: Place,
}

/// Where in the document the scanner stands.
#[derive(Clone, Debug)]
struct Place {
    mode: Mode,
    /// The entered containers: which are objects.
    entered: Vec<bool>,
    /// Offset of the current piece of the stream.
    origin: u64,
    /// In a token: where in the current piece the part begins that the visitor does not know.
    start: usize,
    /// The first part of a name or literal that was split.
    split: Vec<u8>,
    stopped: bool,
    /// What the outline does not see: numbers and literals outside of everything that run into each other.
    invalid: Option<Invalid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Before a name, an element, a closing bracket or a document.
    Next,
    /// Before the value of a member.
    Value(Wish),
    Name,
    Text {
        first: bool,
    },
    Scalar,
    /// In a string or literal that is taken or passed over.
    PassText {
        taken: bool,
    },
    PassScalar {
        taken: bool,
    },
    /// So many brackets must close.
    Pass {
        brackets: usize,
        taken: bool,
    },
}

impl Scanner {
    /// A scanner that refuses documents with more than `max_depth` arrays and objects open at once.
    pub fn new(max_depth: u32) -> Self {
        Scanner {
            outliner: Outliner::new(max_depth),
            marks: Vec::new(),
            held: [0; 64],
            held_length: 0,
            place: Place {
                mode: Mode::Next,
                entered: Vec::new(),
                origin: 0,
                start: 0,
                split: Vec::new(),
                stopped: false,
                invalid: None,
            },
        }
    }

    /// Forgets the stream and begins a new one.
    pub fn reset(&mut self) {
        self.outliner.reset();
        self.held_length = 0;
        let place = &mut self.place;
        place.entered.clear();
        place.split.clear();
        (place.mode, place.origin, place.start, place.stopped) = (Mode::Next, 0, 0, false);
        place.invalid = None;
    }

    /// Scans the next chunk of the stream. Up to 63 bytes of it wait for the next one.
    ///
    /// # Errors
    ///
    /// The stream is not valid JSON. The scanner is then of no use until it is reset.
    pub fn push<V: Visit>(&mut self, mut chunk: &[u8], visit: &mut V) -> Result<Status, Invalid> {
        if self.place.stopped {
            return Ok(Status::Stopped);
        }
        if self.held_length > 0 {
            let (_, free) = self.held.split_at_mut(self.held_length);
            let (head, rest) = chunk.split_at(free.len().min(chunk.len()));
            let (filled, free) = free.split_at_mut(head.len());
            filled.copy_from_slice(head);
            self.held_length += head.len();
            if !free.is_empty() {
                return Ok(Status::GoingOn);
            }
            self.held_length = 0;
            chunk = rest;
            let held = self.held;
            if self.piece(&held, false, visit)? == Status::Stopped {
                return Ok(Status::Stopped);
            }
        }
        let (blocks, rest) = chunk.as_chunks::<64>();
        if self.piece(blocks.as_flattened(), false, visit)? == Status::Stopped {
            return Ok(Status::Stopped);
        }
        if let Some(held) = self.held.get_mut(..rest.len()) {
            held.copy_from_slice(rest);
            self.held_length = rest.len();
        }
        Ok(Status::GoingOn)
    }

    /// The stream is complete: scans what was held back.
    ///
    /// # Errors
    ///
    /// The stream is not valid JSON or its last document is not complete.
    pub fn finish<V: Visit>(&mut self, visit: &mut V) -> Result<Status, Invalid> {
        let held = self.held;
        let length = std::mem::take(&mut self.held_length);
        self.piece(held.get(..length).unwrap_or_default(), true, visit)
    }

    /// Scans a stream that is in memory, from its start to its end. This is faster than pushing it, because no token is
    /// cut.
    ///
    /// # Errors
    ///
    /// The stream is not valid JSON or its last document is not complete.
    pub fn scan<V: Visit>(&mut self, stream: &[u8], visit: &mut V) -> Result<Status, Invalid> {
        self.reset();
        self.piece(stream, true, visit)
    }

    /// Scans bytes that are whole blocks, or the last of the stream.
    fn piece<V: Visit>(&mut self, piece: &[u8], last: bool, visit: &mut V) -> Result<Status, Invalid> {
        if self.place.stopped {
            return Ok(Status::Stopped);
        }
        let (blocks, tail) = piece.as_chunks::<64>();
        let mut base = 0;
        for batch in blocks.chunks(BATCH) {
            self.marks.clear();
            let judged = self.outliner.outline(batch, &mut self.marks);
            self.place.scan(piece, base, &self.marks, visit);
            if self.place.stopped {
                return self.place.invalid.take().map_or(Ok(Status::Stopped), Err);
            }
            judged?;
            base += batch.len() * 64;
        }
        if last {
            self.marks.clear();
            let judged = self.outliner.finish(tail, &mut self.marks);
            self.place.scan(piece, base, &self.marks, visit);
            if let Some(invalid) = self.place.invalid.take() {
                return Err(invalid);
            }
            if !self.place.stopped {
                judged?;
                self.place.end(piece, visit);
            }
        } else {
            self.place.cut(piece, visit);
        }
        Ok(if self.place.stopped { Status::Stopped } else { Status::GoingOn })
    }
}

impl Place {
    /// Scans the part of a piece that begins at `base` and has been outlined.
    fn scan<V: Visit>(&mut self, piece: &[u8], base: usize, marks: &[Marks], visit: &mut V) {
        let mut cursor = Cursor::new(marks);
        let mut glances = Glances::default();
        // Where the tokens of this part can reach at most.
        let limit = piece.len().min(base + marks.len() * 64);
        let Some(outlined) = piece.get(..limit) else { return };
        while !self.stopped {
            match self.mode {
                Mode::Next if self.entered.last() == Some(&true) => {
                    match self.next_member(&mut cursor, outlined, base, visit) {
                        Member::Named { name, escaped } => {
                            let wish = visit.name(Text { raw: name, escaped });
                            if wish == Wish::Skip || wish == Wish::Enter {
                                let Some(at) = cursor.next(|marks| marks.starts) else {
                                    self.mode = Mode::Value(wish);
                                    return;
                                };
                                let at = base + at;
                                let byte = outlined.get(at).copied().unwrap_or_default();
                                if wish == Wish::Enter {
                                    match glances.over(&mut cursor, outlined, base, at, visit) {
                                        Some(end) => self.passed(end, visit),
                                        None => self.inner(&mut cursor, outlined, base, at, visit),
                                    }
                                } else if byte == b'{' || byte == b'[' {
                                    self.value(at, byte, wish, visit);
                                }
                            } else {
                                self.named(wish);
                            }
                        }
                        Member::None(at) => {
                            self.entered.pop();
                            let end = self.origin + at as u64 + 1;
                            let wish = visit.close(end);
                            self.ended(end, wish, visit);
                        }
                        Member::OutOfSight => return,
                    }
                }
                Mode::Next => {
                    let Some(at) = cursor.next(|marks| marks.starts) else { return };
                    let at = base + at;
                    let byte = outlined.get(at).copied().unwrap_or_default();
                    if self.entered.is_empty() {
                        let wish = visit.document(self.origin + at as u64);
                        let glanced = if wish == Wish::Enter {
                            glances.over(&mut cursor, outlined, base, at, visit)
                        } else {
                            None
                        };
                        match glanced {
                            Some(end) => self.passed(end, visit),
                            None => self.value(at, byte, wish, visit),
                        }
                    } else if byte != b']' {
                        match visit.element(self.origin + at as u64) {
                            Wish::Enter => match glances.over(&mut cursor, outlined, base, at, visit) {
                                Some(end) => self.passed(end, visit),
                                None => self.inner(&mut cursor, outlined, base, at, visit),
                            },
                            wish => self.value(at, byte, wish, visit),
                        }
                    } else {
                        self.entered.pop();
                        let end = self.origin + at as u64 + 1;
                        let wish = visit.close(end);
                        self.ended(end, wish, visit);
                    }
                }
                Mode::Value(wish) => {
                    let Some(at) = cursor.next(|marks| marks.starts) else { return };
                    let at = base + at;
                    let byte = outlined.get(at).copied().unwrap_or_default();
                    self.value(at, byte, wish, visit);
                }
                Mode::Name => {
                    let Some(end) = cursor.next(|marks| marks.text_ends) else { return };
                    let raw = outlined.get(self.start..base + end).unwrap_or_default();
                    let wish = if self.split.is_empty() {
                        let escaped = cursor.escaped(self.start.saturating_sub(base), end)
                            || self.start < base && raw.contains(&b'\\');
                        visit.name(Text { raw, escaped })
                    } else {
                        push_up_to(&mut self.split, raw, visit.longest_name());
                        let escaped = self.split.contains(&b'\\');
                        let wish = visit.name(Text { raw: &self.split, escaped });
                        self.split.clear();
                        wish
                    };
                    self.named(wish);
                }
                Mode::Text { first } => {
                    let Some(end) = cursor.next(|marks| marks.text_ends) else { return };
                    let raw = outlined.get(self.start..base + end).unwrap_or_default();
                    let escaped = cursor.escaped(self.start.saturating_sub(base), end)
                        || self.start < base && raw.contains(&b'\\');
                    let end = self.origin + (base + end) as u64 + 1;
                    let wish = visit.text(Text { raw, escaped }, first, Some(end));
                    self.ended(end, wish, visit);
                }
                Mode::Scalar => {
                    let from = self.start.max(base);
                    let end = scalar_end(outlined, from);
                    self.check_alone(&cursor, outlined, base, end.unwrap_or(limit));
                    let Some(end) = end.filter(|_| !self.stopped) else { return };
                    let raw = outlined.get(self.start..end).unwrap_or_default();
                    self.scalar(raw, self.origin + end as u64, visit);
                }
                Mode::PassText { taken } => {
                    let Some(end) = cursor.next(|marks| marks.text_ends) else { return };
                    if taken {
                        visit.raw(outlined.get(self.start..base + end + 1).unwrap_or_default());
                    }
                    let end = self.origin + (base + end) as u64 + 1;
                    let wish = visit.passed(end);
                    self.ended(end, wish, visit);
                }
                Mode::PassScalar { taken } => {
                    let from = self.start.max(base);
                    let end = scalar_end(outlined, from);
                    self.check_alone(&cursor, outlined, base, end.unwrap_or(limit));
                    let Some(end) = end.filter(|_| !self.stopped) else { return };
                    if taken {
                        visit.raw(outlined.get(self.start..end).unwrap_or_default());
                    }
                    let end = self.origin + end as u64;
                    let wish = visit.passed(end);
                    self.ended(end, wish, visit);
                }
                Mode::Pass { brackets, taken } => match cursor.pass(brackets) {
                    Err(brackets) => {
                        self.mode = Mode::Pass { brackets, taken };
                        return;
                    }
                    Ok(at) => {
                        if taken {
                            visit.raw(outlined.get(self.start..base + at + 1).unwrap_or_default());
                        }
                        let end = self.origin + (base + at) as u64 + 1;
                        let wish = visit.passed(end);
                        self.ended(end, wish, visit);
                    }
                },
            }
        }
    }

    /// A wanted value begins inside of a container, before which the mode was to go on. Strings and literals whose end is
    /// in sight are told at once, without going through the modes.
    #[inline(always)]
    fn inner<V: Visit>(
        &mut self,
        cursor: &mut Cursor<'_>,
        outlined: &[u8],
        base: usize,
        at: usize,
        visit: &mut V,
    ) {
        let (end, wish) = match outlined.get(at) {
            Some(b'"') => {
                let Some(end) = cursor.next(|marks| marks.text_ends) else {
                    self.start = at + 1;
                    self.mode = Mode::Text { first: true };
                    return;
                };
                let raw = outlined.get(at + 1..base + end).unwrap_or_default();
                let escaped = cursor.escaped(at - base, end);
                let end = self.origin + (base + end) as u64 + 1;
                (end, visit.text(Text { raw, escaped }, true, Some(end)))
            }
            Some(&byte @ (b'{' | b'[')) => return self.value(at, byte, Wish::Enter, visit),
            _ => {
                let Some(end) = scalar_end(outlined, at) else {
                    self.start = at;
                    self.mode = Mode::Scalar;
                    return;
                };
                let raw = outlined.get(at..end).unwrap_or_default();
                let end = self.origin + end as u64;
                (end, visit.scalar(raw, true, end))
            }
        };
        if wish != Wish::Enter {
            self.ended(end, wish, visit);
        }
    }

    /// Refuses a document that is a number or literal, and in which another one begins: `true1`, `01`.
    fn check_alone(&mut self, cursor: &Cursor<'_>, outlined: &[u8], base: usize, end: usize) {
        if !self.entered.is_empty() {
            return;
        }
        let mut ahead = *cursor;
        if let Some(at) = ahead.next(|marks| marks.starts).map(|at| base + at)
            && at < end
        {
            let found = outlined.get(at).map_or(Found::End, |&byte| Found::Byte(byte));
            let offset = self.origin + at as u64;
            self.invalid = Some(Invalid::Syntax { offset, expected: "the end of the value", found });
            self.stopped = true;
        }
    }

    /// A name ended; its value has not begun.
    fn named(&mut self, wish: Wish) {
        self.mode = match wish {
            // Its value is passed over together with the rest.
            Wish::Leave(_) | Wish::Stop => Mode::Value(Wish::Skip),
            wish => Mode::Value(wish),
        };
        self.follow(wish);
    }

    /// A value begins at `at`, with this byte.
    #[inline(always)]
    fn value<V: Visit>(&mut self, at: usize, byte: u8, wish: Wish, visit: &mut V) {
        let container = byte == b'{' || byte == b'[';
        self.start = at;
        self.mode = match wish {
            Wish::Enter if container => match visit.open(byte == b'{') {
                Wish::Skip => Mode::Pass { brackets: 1, taken: false },
                Wish::Take => Mode::Pass { brackets: 1, taken: true },
                Wish::Enter => {
                    self.entered.push(byte == b'{');
                    Mode::Next
                }
                wish @ (Wish::Leave(_) | Wish::Stop) => {
                    self.entered.push(byte == b'{');
                    self.mode = Mode::Next;
                    return self.follow(wish);
                }
            },
            Wish::Enter if byte == b'"' => {
                self.start = at + 1;
                Mode::Text { first: true }
            }
            Wish::Enter => Mode::Scalar,
            Wish::Take if container => Mode::Pass { brackets: 1, taken: true },
            Wish::Take if byte == b'"' => Mode::PassText { taken: true },
            Wish::Take => Mode::PassScalar { taken: true },
            Wish::Skip if container => Mode::Pass { brackets: 1, taken: false },
            // Inside documents the next start is what follows; a document that is a scalar must be seen to its end.
            Wish::Skip if !self.entered.is_empty() => Mode::Next,
            Wish::Skip if byte == b'"' => Mode::PassText { taken: false },
            Wish::Skip => Mode::PassScalar { taken: false },
            Wish::Leave(_) | Wish::Stop => {
                if container {
                    self.entered.push(byte == b'{');
                }
                self.mode = Mode::Next;
                return self.follow(wish);
            }
        };
    }

    /// A container was passed over, up to this place in the piece.
    #[inline(always)]
    fn passed<V: Visit>(&mut self, end: usize, visit: &mut V) {
        let end = self.origin + end as u64;
        let wish = visit.passed(end);
        self.ended(end, wish, visit);
    }

    /// A value ended; the visitor knows and has this wish.
    #[inline(always)]
    fn ended<V: Visit>(&mut self, end: u64, wish: Wish, visit: &mut V) {
        self.mode = Mode::Next;
        if !matches!(wish, Wish::Enter) {
            self.follow(wish);
        }
        if self.entered.is_empty()
            && self.mode == Mode::Next
            && !self.stopped
            && visit.document_end(end) == Wish::Stop
        {
            self.stopped = true;
        }
    }

    /// Leaves containers or stops, if that is the wish.
    fn follow(&mut self, wish: Wish) {
        match wish {
            Wish::Leave(depth) if depth < self.entered.len() => {
                self.mode = Mode::Pass { brackets: self.entered.len() - depth, taken: false };
                self.entered.truncate(depth);
            }
            Wish::Stop => self.stopped = true,
            _ => {}
        }
    }

    fn scalar<V: Visit>(&mut self, raw: &[u8], end: u64, visit: &mut V) {
        let wish = if self.split.is_empty() {
            visit.scalar(raw, true, end)
        } else {
            push_up_to(&mut self.split, raw, LONGEST_SCALAR);
            let wish = visit.scalar(&self.split, self.split.len() <= LONGEST_SCALAR, end);
            self.split.clear();
            wish
        };
        self.ended(end, wish, visit);
    }

    /// The piece ends and another follows: what of a token is in it must be told or kept.
    fn cut<V: Visit>(&mut self, piece: &[u8], visit: &mut V) {
        let part = piece.get(self.start..).unwrap_or_default();
        match self.mode {
            Mode::Name => push_up_to(&mut self.split, part, visit.longest_name()),
            Mode::Scalar => push_up_to(&mut self.split, part, LONGEST_SCALAR),
            Mode::Text { first } if !part.is_empty() => {
                let escaped = part.contains(&b'\\');
                let wish = visit.text(Text { raw: part, escaped }, first, None);
                self.mode = Mode::Text { first: false };
                self.follow(wish);
            }
            Mode::PassText { taken: true }
            | Mode::PassScalar { taken: true }
            | Mode::Pass { taken: true, .. }
                if !part.is_empty() =>
            {
                visit.raw(part)
            }
            _ => {}
        }
        self.start = 0;
        self.origin += piece.len() as u64;
    }

    /// The stream ends, which only a number or literal outside of everything does not know.
    fn end<V: Visit>(&mut self, piece: &[u8], visit: &mut V) {
        let end = self.origin + piece.len() as u64;
        let part = piece.get(self.start..).unwrap_or_default();
        match self.mode {
            Mode::Scalar => self.scalar(part, end, visit),
            Mode::PassScalar { taken } => {
                if taken {
                    visit.raw(part);
                }
                let wish = visit.passed(end);
                self.ended(end, wish, visit);
            }
            _ => {}
        }
        self.start = 0;
        self.origin = end;
    }
}

/// The bytes that numbers and literals consist of.
const SCALAR: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        byte += 1;
    }
    table
};

/// Where the number or literal ends that the byte at `from` belongs to, or follows; none if that is out of sight.
#[inline(always)]
fn scalar_end(bytes: &[u8], from: usize) -> Option<usize> {
    let length = bytes.get(from..)?.iter().position(|&byte| !SCALAR[usize::from(byte)])?;
    Some(from + length)
}

/// Appends until the buffer holds more than `limit`.
fn push_up_to(buffer: &mut Vec<u8>, bytes: &[u8], limit: usize) {
    let room = limit.saturating_add(1).saturating_sub(buffer.len());
    buffer.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
}

#[cfg(test)]
mod tests;
