//! One pass over the files: what is selected from them goes to the output.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path as FilePath,
};

use lockd_lql::{
    mutation::{EditLimits, Editor, FileAccess, LocalFiles, Mutations, ParseOptions},
    path::Path,
    selector::Selector,
    stream::{Candidate, Document, Documents, DocumentsError, Matcher, Projector, Wanted},
};

use crate::{
    Surroundings,
    failure::Failure,
    flags::{Color, Invocation},
    output::Output,
    paint::Look,
    progress::Progress,
};

/// So much is read at once.
const CHUNK: usize = 256 << 10;
/// So much output is gathered before it is written, while more input is at hand.
const GATHERED: usize = 64 << 10;

/// Who judges the documents.
enum Judge {
    Picking(Documents),
    /// What is only counted need not be held, however large it is.
    Counting(Matcher),
}

pub(crate) struct Pass {
    judge: Judge,
    output: Output,
    invert: bool,
    /// Progress may be shown.
    progress: bool,
    selected: u64,
    chunk: Vec<u8>,
}

impl Pass {
    pub(crate) fn new(invocation: &Invocation, surroundings: &Surroundings) -> Result<Pass, Failure> {
        let source = invocation.selector.as_str();
        let explained = |error: lockd_lql::error::SelectorError| {
            let mut text = error.explain(source);
            // Who is used to other tools may have begun with the file.
            if FilePath::new(source).exists() {
                text.push_str(
                    "\n  this is the name of a file; the selector comes first, '.' for every document",
                );
            }
            Failure::Selector(text)
        };
        let selector = if is_json(source) {
            Selector::from_json(source.as_bytes()).map_err(explained)?
        } else {
            Selector::parse(source).map_err(explained)?
        };
        let condition = selector.compile(surroundings.now).map_err(explained)?;
        let fields: Result<Vec<Path>, _> = invocation.fields.iter().map(|field| Path::parse(field)).collect();
        let fields = fields.map_err(Failure::Field)?;
        let projector = (!invocation.fields.is_empty()).then(|| Projector::new(&fields));
        let color = match invocation.color {
            Color::Auto => surroundings.stdout_is_terminal && !surroundings.no_color,
            Color::Always => true,
            Color::Never => false,
        };
        let look = Look { pretty: invocation.pretty, color };
        let wanted = match (invocation.all, invocation.invert) {
            (true, _) => Wanted::All,
            (false, true) => Wanted::Others,
            (false, false) => Wanted::Matching,
        };
        let judge = if invocation.count {
            Judge::Counting(Matcher::new(&condition))
        } else {
            Judge::Picking(Documents::new(&condition, wanted, invocation.max_document))
        };
        Ok(Pass {
            judge,
            output: Output::new(editor(invocation, surroundings)?, projector, look),
            invert: invocation.invert,
            // Output that scrolls by on the same terminal is progress enough, and who reads from a pipe may be showing it
            // on the same terminal.
            progress: surroundings.stderr_is_terminal
                && (invocation.count || !surroundings.stdout_is_terminal && !surroundings.stdout_is_pipe),
            selected: 0,
            chunk: vec![0; CHUNK],
        })
    }

    pub(crate) fn selected(&self) -> u64 {
        self.selected
    }

    /// Reads one file, or stdin if it is called `-`.
    pub(crate) fn file(
        &mut self,
        path: &FilePath,
        stdin: &mut dyn Read,
        stdout: &mut dyn Write,
        stderr: &mut dyn Write,
    ) -> Result<(), Failure> {
        if path.as_os_str() == "-" {
            return self.stream("stdin", stdin, None, stdout, stderr);
        }
        let open = |error| Failure::Open { path: path.to_owned(), error };
        let mut file = File::open(path).map_err(open)?;
        let metadata = file.metadata().map_err(open)?;
        let total = metadata.is_file().then_some(metadata.len());
        self.stream(&path.display().to_string(), &mut file, total, stdout, stderr)
    }

    /// Everything has been read.
    pub(crate) fn finish(&mut self, stdout: &mut dyn Write) -> Result<(), Failure> {
        if let Judge::Counting(_) = self.judge {
            writeln!(stdout, "{}", self.selected).map_err(Failure::Write)?;
        }
        stdout.flush().map_err(Failure::Write)
    }

    fn stream(
        &mut self,
        name: &str,
        input: &mut dyn Read,
        total: Option<u64>,
        stdout: &mut dyn Write,
        stderr: &mut dyn Write,
    ) -> Result<(), Failure> {
        let mut progress = Progress::new(self.progress, total);
        match &mut self.judge {
            Judge::Picking(documents) => documents.reset(),
            Judge::Counting(matcher) => matcher.reset(),
        }
        let mut result = Ok(());
        while result.is_ok() {
            let length = match input.read(&mut self.chunk) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    result = Err(Failure::Read { source: name.to_owned(), error });
                    break;
                }
            };
            let last = length == 0;
            result = self.chunk(name, length, stdout);
            // Who reads along should see what has been selected so far before the next read waits.
            result = result.and(flush(&mut self.output.bytes, stdout));
            if last {
                break;
            }
            progress.advance(length, self.selected, stderr);
        }
        progress.clear(stderr);
        result
    }

    /// Takes the first bytes of the chunk; none mean that the stream has ended.
    fn chunk(&mut self, name: &str, length: usize, stdout: &mut dyn Write) -> Result<(), Failure> {
        let Pass { judge, output, invert, selected, chunk, .. } = self;
        let bytes = chunk.get(..length).filter(|bytes| !bytes.is_empty());
        let broken = |error: DocumentsError| Failure::Stream { source: name.to_owned(), error };
        let documents = match judge {
            Judge::Picking(documents) => documents,
            Judge::Counting(matcher) => {
                let sink = |candidate: Candidate| {
                    *selected += u64::from(candidate.matched != *invert);
                    true
                };
                let judged = match bytes {
                    Some(bytes) => matcher.push(bytes, sink),
                    None => matcher.finish(sink),
                };
                return judged.map_err(|error| broken(error.into()));
            }
        };
        let mut failure = None;
        let sink = |document: Document<'_>| {
            let is_selected = document.matched != *invert;
            *selected += u64::from(is_selected);
            let written = match output.document(document.json, is_selected) {
                Err(error) => {
                    let (source, start) = (name.to_owned(), document.start);
                    Err(Failure::Document { source, start, error })
                }
                Ok(()) if output.bytes.len() >= GATHERED => flush(&mut output.bytes, stdout),
                Ok(()) => Ok(()),
            };
            failure = written.err();
            failure.is_none()
        };
        let pushed = match bytes {
            Some(bytes) => documents.push(bytes, sink),
            None => documents.finish(sink),
        };
        match (failure, pushed) {
            (Some(failure), _) => Err(failure),
            (None, Err(error)) => Err(broken(error)),
            (None, Ok(())) => Ok(()),
        }
    }
}

fn flush(bytes: &mut Vec<u8>, stdout: &mut dyn Write) -> Result<(), Failure> {
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    bytes.clear();
    written.map_err(Failure::Write)
}

/// `{"` begins the JSON form; a selector of the text form begins with `{` only if that is `{}`.
fn is_json(selector: &str) -> bool {
    selector.trim_start().strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with('"'))
}

fn editor(invocation: &Invocation, surroundings: &Surroundings) -> Result<Option<Editor>, Failure> {
    if invocation.mutations.is_empty() {
        return Ok(None);
    }
    let files =
        FileAccess::Enabled { base_dir: surroundings.directory.clone(), home: surroundings.home.clone() };
    let options = ParseOptions { files };
    // One by one, to know which one is wrong.
    for expression in &invocation.mutations {
        Mutations::parse_list(&[expression], &options)
            .map_err(|error| Failure::Mutation { expression: expression.clone(), error })?;
    }
    let mutations = Mutations::parse_list(&invocation.mutations, &options)
        .map_err(|error| Failure::Mutation { expression: invocation.mutations.join("\n"), error })?;
    let limits = EditLimits {
        max_input: invocation.max_document,
        max_output: invocation.max_document,
        ..EditLimits::default()
    };
    Ok(Some(mutations.compile(surroundings.now).editor_with_files(limits, Box::new(LocalFiles))))
}
