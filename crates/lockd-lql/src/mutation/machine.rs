//! The machine that reads compacted, valid JSON and writes what the program makes of it. It may stop between any two
//! bytes and go on later.

use std::ops::Range;

use lockd_json::Skipper;

use super::{
    built::{Impossible, Token},
    edit_error::{Blocked, EditError, Kind},
    file_value::{FileError, FileValues},
    literal::{add, push_number},
    program::{Action, Code, EditId},
    scan::{decode, scalar_end, text_end},
    states::{DEAD, Plan, StateId, States, Written},
};

/// Longest number that is incremented, in bytes.
const LONGEST_NUMBER: usize = 4096;

/// What remains to be known between two bytes.
#[derive(Debug)]
pub(super) struct Machine {
    phase: Phase,
    /// Bytes that are read now are part of the result.
    writing: bool,
    /// The state of the value that begins next.
    state: StateId,
    /// The arrays and objects around this place. All of them are looked into; what is passed over is not here.
    frames: Vec<Frame>,
    /// For each object that members are created in, one bit for each of their names.
    seen: Vec<u64>,
    /// The beginning of a name that was cut, without its quotes.
    name: Vec<u8>,
    /// A name without its escapes.
    decoded: Vec<u8>,
    /// The beginning of a number that was cut.
    number: Vec<u8>,
    /// The edits that change this number.
    deltas: Range<usize>,
    /// Whether the sum is written.
    write_sum: bool,
    skipper: Skipper,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Start,
    /// A value begins.
    Value,
    /// In a string, behind a backslash or not.
    Text {
        escaped: bool,
    },
    /// In a literal or number.
    Scalar,
    /// In a number that is incremented.
    Number,
    /// In an array or object that is passed over.
    Container,
    /// Behind `{`.
    FirstMember,
    /// Behind the comma before a member, which is not written yet.
    Member,
    /// In a name that was cut.
    Name {
        escaped: bool,
    },
    /// In a name that is longer than all that the program knows.
    LongName {
        escaped: bool,
    },
    /// Behind a name.
    Colon,
    /// Behind `[`.
    FirstElement,
    /// Behind a value.
    After,
    Done,
}

#[derive(Debug)]
struct Frame {
    state: StateId,
    object: bool,
    writing: bool,
    /// Something has been written between its brackets.
    filled: bool,
    /// Of the element that is being read.
    index: u64,
    /// Where its bits start in [`Machine::seen`].
    seen: usize,
}

impl Machine {
    pub(super) fn new(root: StateId) -> Self {
        Machine {
            phase: Phase::Start,
            writing: true,
            state: root,
            frames: Vec::new(),
            seen: Vec::new(),
            name: Vec::new(),
            decoded: Vec::new(),
            number: Vec::new(),
            deltas: 0..0,
            write_sum: false,
            skipper: Skipper::default(),
        }
    }

    pub(super) fn reset(&mut self, root: StateId) {
        self.phase = Phase::Start;
        self.writing = true;
        self.state = root;
        self.frames.clear();
        self.seen.clear();
        self.name.clear();
        self.number.clear();
    }
}

/// One run of the machine over one piece of input.
pub(super) struct Run<'a> {
    pub(super) code: &'a Code,
    pub(super) max_depth: u32,
    pub(super) files: &'a mut Option<Box<dyn FileValues>>,
    pub(super) states: &'a mut States,
    pub(super) machine: &'a mut Machine,
    pub(super) input: &'a [u8],
    pub(super) at: usize,
    /// While writing: the input from here to `at` belongs to the result but is not in `out` yet.
    pub(super) from: usize,
    pub(super) out: &'a mut Vec<u8>,
    /// How long `out` was at the start.
    pub(super) start: usize,
    /// Checked where much can be appended at once; the caller looks again in the end.
    pub(super) limit: OutputLimit,
}

/// How much may be appended to the result now, and in total.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutputLimit {
    pub(super) room: usize,
    pub(super) total: u64,
}

impl OutputLimit {
    fn error(self) -> EditError {
        EditError::TooLarge { limit: self.total }
    }
}

impl Run<'_> {
    pub(super) fn run(&mut self) -> Result<(), EditError> {
        while let Some(&byte) = self.input.get(self.at) {
            match self.machine.phase {
                Phase::Start if byte != b'{' => return Err(EditError::NotAnObject),
                Phase::Start | Phase::Value => self.begin_value(byte)?,
                Phase::Text { escaped } => self.pass_text(escaped),
                Phase::Scalar => self.pass_scalar(),
                Phase::Number => self.read_number()?,
                Phase::Container => self.pass_container(),
                Phase::FirstMember if byte == b'}' => self.close()?,
                Phase::FirstMember => self.begin_member(false),
                Phase::Member => self.begin_member(true),
                Phase::Name { escaped } => self.continue_name(escaped),
                Phase::LongName { escaped } => self.pass_name(escaped),
                Phase::Colon => {
                    self.at += 1;
                    self.machine.phase = Phase::Value;
                }
                Phase::FirstElement if byte == b']' => self.close()?,
                Phase::FirstElement => self.begin_element(),
                Phase::After if byte == b',' => self.comma(),
                Phase::After => self.close()?,
                // The compactor lets nothing follow a document.
                Phase::Done => self.at += 1,
            }
        }
        if self.machine.writing {
            self.flush(self.at);
        }
        Ok(())
    }

    /// Moves the input before `to` into the result.
    fn flush(&mut self, to: usize) {
        self.out.extend_from_slice(self.input.get(self.from..to).unwrap_or_default());
        self.from = to;
    }

    /// What follows is not part of the result.
    fn stop_writing(&mut self, at: usize) {
        if self.machine.writing {
            self.flush(at);
            self.machine.writing = false;
        }
    }

    fn start_writing(&mut self, at: usize) {
        self.from = at;
        self.machine.writing = true;
    }

    fn rest(&self) -> &[u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    fn begin_value(&mut self, byte: u8) -> Result<(), EditError> {
        let kind = Kind::starting(byte);
        let mut state = self.machine.state;
        self.check_work()?;
        while state != DEAD {
            let plan = self.states.plan(state, kind);
            self.check_work()?;
            match plan {
                Plan::Keep => break,
                Plan::Descend => {
                    self.open(state, kind == Kind::Object);
                    return Ok(());
                }
                Plan::Add(deltas) => {
                    self.machine.write_sum = self.machine.writing;
                    self.stop_writing(self.at);
                    self.machine.deltas = deltas;
                    self.machine.number.clear();
                    self.machine.phase = Phase::Number;
                    return Ok(());
                }
                Plan::Replace { value, below } => {
                    if self.machine.writing {
                        self.stop_writing(self.at);
                        self.write(&value, 0)?;
                    }
                    state = below;
                }
                Plan::NotNumeric(edit) => return Err(self.impossible(edit, Blocked::NotNumeric(kind))),
                Plan::Impossible(impossible) => return Err(self.failed(impossible)),
            }
        }
        self.machine.phase = match kind {
            Kind::Object | Kind::Array => {
                self.machine.skipper.begin();
                Phase::Container
            }
            Kind::Text => {
                self.at += 1;
                Phase::Text { escaped: false }
            }
            Kind::Number | Kind::Bool | Kind::Null => Phase::Scalar,
        };
        Ok(())
    }

    fn check_work(&self) -> Result<(), EditError> {
        if self.states.is_exhausted() { Err(EditError::TooComplex) } else { Ok(()) }
    }

    fn impossible(&self, edit: EditId, reason: Blocked) -> EditError {
        let route = self.code.edits.get(edit as usize).map_or(0, |(route, _)| *route);
        EditError::Increment { path: self.code.path(route), reason }
    }

    fn failed(&self, Impossible { edit, reason }: Impossible) -> EditError {
        self.impossible(edit, reason)
    }

    fn open(&mut self, mut state: StateId, object: bool) {
        let machine = &mut *self.machine;
        if self.states.is_full(machine.frames.len() + 1) {
            let frames = machine.frames.iter_mut().map(|frame| &mut frame.state);
            self.states.trim(frames.chain(std::iter::once(&mut state)));
        }
        let seen = machine.seen.len();
        if object && let Some(spine) = self.states.spine(state) {
            machine.seen.resize(seen + self.code.named(spine).len().div_ceil(64), 0);
        }
        let writing = machine.writing;
        machine.frames.push(Frame { state, object, writing, filled: false, index: 0, seen });
        machine.phase = if object { Phase::FirstMember } else { Phase::FirstElement };
        self.at += 1;
    }

    /// A value has ended before this byte.
    fn end_value(&mut self) {
        self.machine.phase = match self.machine.frames.last() {
            None => Phase::Done,
            Some(frame) => {
                if frame.writing && !self.machine.writing {
                    self.start_writing(self.at);
                }
                Phase::After
            }
        };
    }

    fn pass_text(&mut self, mut escaped: bool) {
        match text_end(self.rest(), &mut escaped) {
            Some(length) => {
                self.at += length + 1;
                self.end_value();
            }
            None => {
                self.at = self.input.len();
                self.machine.phase = Phase::Text { escaped };
            }
        }
    }

    fn pass_scalar(&mut self) {
        match scalar_end(self.rest()) {
            Some(length) => {
                self.at += length;
                self.end_value();
            }
            None => self.at = self.input.len(),
        }
    }

    fn pass_container(&mut self) {
        let rest = self.input.get(self.at..).unwrap_or_default();
        match self.machine.skipper.skip(rest) {
            Some(length) => {
                self.at += length;
                self.end_value();
            }
            None => self.at = self.input.len(),
        }
    }

    fn read_number(&mut self) -> Result<(), EditError> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let end = scalar_end(rest);
        let digits = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        self.at += digits.len();
        let first = self.states.deltas.get(self.machine.deltas.start).copied().unwrap_or(0);
        let number = &mut self.machine.number;
        if number.len() + digits.len() > LONGEST_NUMBER {
            return Err(self.impossible(first, Blocked::TooLong { limit: LONGEST_NUMBER }));
        }
        number.extend_from_slice(digits);
        if end.is_none() {
            return Ok(());
        }
        // The compactor has seen that this is a number.
        let mut sum: f64 = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0);
        // The first sum is part of reading the document.
        self.states.spend_on_sums(self.machine.deltas.len().saturating_sub(1));
        for place in self.machine.deltas.clone() {
            let Some(&edit) = self.states.deltas.get(place) else { continue };
            let Some(Action::Increment(delta)) = self.code.action(edit) else { continue };
            sum = add(sum, *delta).ok_or_else(|| self.impossible(edit, Blocked::NotFinite))?;
        }
        if self.machine.write_sum {
            push_number(self.out, sum);
        }
        self.end_value();
        Ok(())
    }

    fn comma(&mut self) {
        let Some(frame) = self.machine.frames.last_mut() else { return };
        if frame.object {
            self.machine.phase = Phase::Member;
            if self.at + 1 == self.input.len() {
                // Whether this comma is written depends on what is in the next piece.
                self.stop_writing(self.at);
            }
            self.at += 1;
        } else {
            frame.index += 1;
            self.at += 1;
            self.begin_element();
        }
    }

    fn begin_element(&mut self) {
        let Some(frame) = self.machine.frames.last() else { return };
        self.machine.state = self.states.element(frame.state, frame.index);
        self.machine.phase = Phase::Value;
    }

    /// At the quote of a name; `comma` tells whether a comma stands before it, which is not written yet.
    fn begin_member(&mut self, comma: bool) {
        let quote = self.at;
        let start = if comma { quote.saturating_sub(1) } else { quote };
        let rest = self.input.get(quote + 1..).unwrap_or_default();
        let mut escaped = false;
        let Some(length) = text_end(rest, &mut escaped) else {
            // Whether this name is written depends on what is in the next piece.
            self.stop_writing(start);
            self.machine.name.clear();
            self.machine.phase = Phase::Name { escaped: false };
            self.at += 1;
            return;
        };
        self.at += length + 2;
        let known = self.known(rest.get(..length).unwrap_or_default());
        let keep = self.enter(known);
        match keep {
            Keep::Not => self.stop_writing(start),
            // The comma is not in this piece any more.
            Keep::Next if !self.machine.writing => {
                self.out.push(b',');
                self.start_writing(quote);
            }
            Keep::Next => {}
            Keep::First => {
                self.stop_writing(start);
                self.start_writing(quote);
            }
        }
    }

    fn continue_name(&mut self, mut escaped: bool) {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let end = text_end(rest, &mut escaped);
        let part = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        self.at += part.len() + usize::from(end.is_some());
        self.machine.name.extend_from_slice(part);
        if end.is_none() && self.machine.name.len() <= self.longest_name() {
            self.machine.phase = Phase::Name { escaped };
            return;
        }
        let name = std::mem::take(&mut self.machine.name);
        let known = if end.is_some() { self.known(&name) } else { None };
        let keep = self.enter(known);
        if keep != Keep::Not {
            if keep == Keep::Next {
                self.out.push(b',');
            }
            self.out.push(b'"');
            self.out.extend_from_slice(&name);
            if end.is_some() {
                self.out.push(b'"');
            }
            self.start_writing(self.at);
        }
        self.machine.name = name;
        if end.is_none() {
            self.machine.phase = Phase::LongName { escaped };
        }
    }

    fn pass_name(&mut self, mut escaped: bool) {
        match text_end(self.rest(), &mut escaped) {
            Some(length) => {
                self.at += length + 1;
                self.machine.phase = Phase::Colon;
            }
            None => {
                self.at = self.input.len();
                self.machine.phase = Phase::LongName { escaped };
            }
        }
    }

    /// How long a name may be that the program knows, each byte of it being an escape of six.
    fn longest_name(&self) -> usize {
        self.code.longest_name * 6
    }

    /// The number of a name, given without its quotes.
    fn known(&mut self, name: &[u8]) -> Option<u32> {
        let frame = self.machine.frames.last()?;
        if !self.states.has_names(frame.state) || name.len() > self.longest_name() {
            return None;
        }
        if !name.contains(&b'\\') {
            return self.code.name_of(name);
        }
        self.machine.decoded.clear();
        decode(name, &mut self.machine.decoded);
        self.code.name_of(&self.machine.decoded)
    }

    /// The next value is a member with this name.
    fn enter(&mut self, name: Option<u32>) -> Keep {
        self.machine.phase = Phase::Colon;
        let Some(frame) = self.machine.frames.last_mut() else { return Keep::Not };
        self.machine.state = self.states.member(frame.state, name);
        if let Some(name) = name
            && let Some(spine) = self.states.spine(frame.state)
            && let Some(slot) = self.code.slot(spine, name)
            && let Some(bits) = self.machine.seen.get_mut(frame.seen + slot / 64)
        {
            *bits |= 1 << (slot % 64);
        }
        if let Some(below) = self.states.removed(self.machine.state) {
            self.machine.state = below;
            return Keep::Not;
        }
        if !frame.writing {
            return Keep::Not;
        }
        if std::mem::replace(&mut frame.filled, true) { Keep::Next } else { Keep::First }
    }

    /// At a closing bracket.
    fn close(&mut self) -> Result<(), EditError> {
        let Some(mut frame) = self.machine.frames.pop() else {
            self.machine.phase = Phase::Done;
            return Ok(());
        };
        if frame.object
            && let Some(spine) = self.states.spine(frame.state)
        {
            let names = self.code.named(spine);
            self.states.spend_on_finding(names.len());
            for (slot, (name, _)) in names.enumerate() {
                let seen = self
                    .machine
                    .seen
                    .get(frame.seen + slot / 64)
                    .is_some_and(|bits| bits >> (slot % 64) & 1 == 1);
                self.add_member(&mut frame, name, seen)?;
            }
            self.machine.seen.truncate(frame.seen);
        }
        if frame.writing && !self.machine.writing {
            self.start_writing(self.at);
        }
        self.at += 1;
        self.end_value();
        Ok(())
    }

    /// Adds the member that edits create, if they do, to an object that is being closed.
    fn add_member(&mut self, frame: &mut Frame, name: u32, seen: bool) -> Result<(), EditError> {
        let state = self.states.member(frame.state, Some(name));
        if state == DEAD || seen && self.states.removed(state).is_none() {
            return Ok(());
        }
        let addition = self.states.addition(state, seen);
        self.check_work()?;
        let value = match addition {
            Ok(Some(value)) if frame.writing => value,
            Ok(_) => return Ok(()),
            Err(impossible) => return Err(self.failed(impossible)),
        };
        self.stop_writing(self.at);
        if std::mem::replace(&mut frame.filled, true) {
            self.out.push(b',');
        }
        lockd_json::push_string(self.out, self.code.name(name));
        self.out.push(b':');
        // This object is still open.
        self.write(&value, 1)
    }

    /// Writes a value that does not come from the document, `inside` more brackets than there are frames.
    fn write(&mut self, value: &Written, inside: usize) -> Result<(), EditError> {
        if self.machine.frames.len() + inside + value.depth as usize > self.max_depth as usize {
            return Err(EditError::TooDeep { limit: self.max_depth });
        }
        for token in self.states.tokens.get(value.tokens.clone()).unwrap_or_default() {
            match *token {
                Token::Open => self.out.push(b'{'),
                Token::Close => self.out.push(b'}'),
                Token::Name { name, comma } => {
                    if comma {
                        self.out.push(b',');
                    }
                    lockd_json::push_string(self.out, self.code.name(name));
                    self.out.push(b':');
                }
                Token::Number(number) => push_number(self.out, number),
                Token::Null => self.out.extend_from_slice(b"null"),
                Token::Value(edit) => match self.code.action(edit) {
                    Some(Action::Set(literal)) => literal.push(self.out),
                    Some(Action::SetFile(file)) => {
                        let Some(files) = self.files else {
                            return Err(FileError::Disabled.into());
                        };
                        let (start, limit) = (self.start, self.limit);
                        file.push(files.as_mut(), self.out, &mut |out| {
                            if out.len() - start > limit.room { Err(limit.error()) } else { Ok(()) }
                        })?;
                    }
                    _ => {}
                },
            }
        }
        if self.out.len() - self.start > self.limit.room { Err(self.limit.error()) } else { Ok(()) }
    }
}

/// What becomes of the comma and the name of a member.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Keep {
    /// They are not written.
    Not,
    /// The name is written.
    First,
    /// Both are written.
    Next,
}
