//! Values that stand in files beside the client that edits a document. The server refuses them.

use std::{
    fs::File,
    io::{self, Read},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use memchr::memchr;

use super::{edit_error::EditError, mutation_error::MutationError};

/// Whether expressions may refer to files.
#[derive(Debug, Clone, Default)]
pub enum FileAccess {
    #[default]
    Disabled,
    Enabled {
        /// Where relative paths start; without it they are refused.
        base_dir: Option<PathBuf>,
        /// What `~` stands for.
        home: Option<PathBuf>,
    },
}

/// How the content of a file becomes a JSON string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileEncoding {
    /// As text if it is text, else as base64.
    Auto,
    Text,
    Base64,
}

/// A value that stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileValue {
    pub path: PathBuf,
    pub encoding: FileEncoding,
}

/// Why the value could not be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    #[error("file-backed text mutation {path:?} contains NUL byte")]
    Nul { path: PathBuf },
    #[error("file-backed text mutation {path:?} contains invalid UTF-8")]
    NotUtf8 { path: PathBuf },
    /// The editor was made without files.
    #[error("file-backed mutations are disabled")]
    Disabled,
    #[error("file-backed mutation {path:?}: {source}")]
    Read { path: PathBuf, source: Arc<io::Error> },
}

impl PartialEq for FileError {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

/// Where the content of files comes from.
pub trait FileValues: Send {
    /// Opens a file from its start. A file may be opened twice.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    fn open(&mut self, path: &Path) -> io::Result<Box<dyn Read>>;
}

/// The files of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalFiles;

impl FileValues for LocalFiles {
    fn open(&mut self, path: &Path) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(File::open(path)?))
    }
}

impl FileAccess {
    /// The place that a path in an expression means.
    pub(super) fn resolve(&self, text: &str) -> Result<PathBuf, MutationError> {
        let FileAccess::Enabled { base_dir, home } = self else { return Err(MutationError::FilesDisabled) };
        if text.is_empty() {
            return Err(MutationError::FileNoPath);
        }
        if text == "~" || text.starts_with("~/") {
            let Some(home) = home else { return Err(MutationError::FileNoHome(text.to_owned())) };
            let below = text.get(1..).unwrap_or_default().trim_start_matches('/');
            return Ok(clean(&home.join(below)));
        }
        let path = Path::new(text);
        if path.is_absolute() {
            return Ok(clean(path));
        }
        let Some(base_dir) = base_dir else { return Err(MutationError::FileNoBaseDir(text.to_owned())) };
        Ok(clean(&base_dir.join(path)))
    }
}

/// Resolves `.` and `..` by their names alone.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => match cleaned.components().next_back() {
                Some(Component::Normal(_)) => {
                    cleaned.pop();
                }
                Some(Component::RootDir | Component::Prefix(_)) => {}
                Some(Component::ParentDir | Component::CurDir) | None => cleaned.push(".."),
            },
            other => cleaned.push(other),
        }
    }
    if cleaned.as_os_str().is_empty() { PathBuf::from(".") } else { cleaned }
}

/// What is read of a file at once. Divisible by three, so that base64 needs no padding in between.
const PIECE: usize = 48 * 1024;

impl FileValue {
    /// Appends the value as JSON, in pieces. After each one, `full` may take away what is there.
    pub(super) fn push(
        &self,
        files: &mut dyn FileValues,
        out: &mut Vec<u8>,
        full: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), EditError>,
    ) -> Result<(), EditError> {
        let text = match self.encoding {
            FileEncoding::Text => true,
            FileEncoding::Base64 => false,
            FileEncoding::Auto => self.is_text(files)?,
        };
        out.push(b'"');
        if text {
            self.each_text(files, &mut |piece| {
                // Escaping needs no knowledge of what is around a piece.
                let start = out.len();
                lockd_json::push_string(out, piece);
                out.remove(start);
                out.pop();
                full(out)
            })?;
        } else {
            self.each_piece(files, &mut |piece| {
                push_base64(out, piece);
                full(out)
            })?;
        }
        out.push(b'"');
        full(out)
    }

    fn is_text(&self, files: &mut dyn FileValues) -> Result<bool, EditError> {
        match self.each_text(files, &mut |_| Ok(())) {
            Ok(()) => Ok(true),
            Err(EditError::File(FileError::Nul { .. } | FileError::NotUtf8 { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn each_text(
        &self,
        files: &mut dyn FileValues,
        take: &mut dyn FnMut(&str) -> Result<(), EditError>,
    ) -> Result<(), EditError> {
        let not_utf8 = || FileError::NotUtf8 { path: self.path.clone() };
        // The beginning of a character whose end is in the next piece.
        let mut cut: Vec<u8> = Vec::new();
        self.each_piece(files, &mut |piece| {
            if memchr(0, piece).is_some() {
                return Err(FileError::Nul { path: self.path.clone() }.into());
            }
            cut.extend_from_slice(piece);
            let (valid, rest) = match std::str::from_utf8(&cut) {
                Ok(text) => (text, 0),
                Err(error) if error.error_len().is_some() => return Err(not_utf8().into()),
                Err(error) => {
                    let (valid, rest) = cut.split_at(error.valid_up_to());
                    (std::str::from_utf8(valid).unwrap_or_default(), rest.len())
                }
            };
            take(valid)?;
            cut.drain(..cut.len() - rest);
            Ok(())
        })?;
        if cut.is_empty() { Ok(()) } else { Err(not_utf8().into()) }
    }

    fn each_piece(
        &self,
        files: &mut dyn FileValues,
        take: &mut dyn FnMut(&[u8]) -> Result<(), EditError>,
    ) -> Result<(), EditError> {
        let failed =
            |source: io::Error| FileError::Read { path: self.path.clone(), source: Arc::new(source) };
        let mut reader = files.open(&self.path).map_err(failed)?;
        let mut piece = vec![0; PIECE];
        loop {
            let mut length = 0;
            while let Some(free) = piece.get_mut(length..)
                && !free.is_empty()
            {
                match reader.read(free) {
                    Ok(0) => break,
                    Ok(read) => length += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(failed(error).into()),
                }
            }
            take(piece.get(..length).unwrap_or_default())?;
            if length < PIECE {
                return Ok(());
            }
        }
    }
}

/// Appends the standard encoding, padded.
fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let mut three = [0; 3];
        for (to, byte) in three.iter_mut().zip(group) {
            *to = *byte;
        }
        let [a, b, c] = three;
        let bits = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
        for place in 0..4 {
            let letter = LETTERS.get((bits >> (18 - 6 * place) & 63) as usize).copied().unwrap_or(b'=');
            out.push(if place <= group.len() { letter } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    struct Shelf(HashMap<PathBuf, Vec<u8>>);

    impl FileValues for Shelf {
        fn open(&mut self, path: &Path) -> io::Result<Box<dyn Read>> {
            let content = self.0.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
            Ok(Box::new(io::Cursor::new(content)))
        }
    }

    fn read(content: &[u8], encoding: FileEncoding) -> Result<String, EditError> {
        let mut shelf = Shelf(HashMap::from([(PathBuf::from("/f"), content.to_vec())]));
        let mut out = Vec::new();
        let mut pieces = 0;
        let value = FileValue { path: "/f".into(), encoding };
        value.push(&mut shelf, &mut out, &mut |_| {
            pieces += 1;
            Ok(())
        })?;
        assert!(pieces > content.len() / PIECE);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn lql_53_text_is_utf8_without_nul_and_auto_falls_back_to_base64() {
        use FileEncoding::{Auto, Base64, Text};
        assert_eq!(read("a\"ü\n".as_bytes(), Text).unwrap(), "\"a\\\"ü\\n\"");
        assert_eq!(read("a\"ü\n".as_bytes(), Auto).unwrap(), "\"a\\\"ü\\n\"");
        assert_eq!(read(b"", Auto).unwrap(), "\"\"");
        assert_eq!(read(b"a\0b", Auto).unwrap(), "\"YQBi\"");
        assert_eq!(read(b"\xFFab\xFE", Auto).unwrap(), "\"/2Fi/g==\"");
        assert_eq!(read(b"abcde", Base64).unwrap(), "\"YWJjZGU=\"");
        let failure = |content| read(content, Text).unwrap_err().to_string();
        assert_eq!(failure(b"a\0"), "file-backed text mutation \"/f\" contains NUL byte");
        assert_eq!(failure(b"a\xFF"), "file-backed text mutation \"/f\" contains invalid UTF-8");
        assert_eq!(failure(b"a\xC3"), "file-backed text mutation \"/f\" contains invalid UTF-8");
        let value = FileValue { path: "/none".into(), encoding: Auto };
        let full = &mut |_: &mut Vec<u8>| Ok(());
        let error = value.push(&mut Shelf(HashMap::new()), &mut Vec::new(), full).unwrap_err();
        assert!(error.to_string().starts_with("file-backed mutation \"/none\": "), "{error}");
    }

    #[test]
    fn characters_cut_between_two_pieces_are_whole_again() {
        for shift in 0..3 {
            let text = "x".repeat(PIECE - shift) + "€" + &"ü".repeat(PIECE);
            assert_eq!(read(text.as_bytes(), FileEncoding::Text).unwrap(), format!("\"{text}\""));
            let bytes = vec![0xFF; 2 * PIECE + shift];
            let encoded = read(&bytes, FileEncoding::Auto).unwrap();
            assert_eq!(encoded.len(), bytes.len().div_ceil(3) * 4 + 2);
            assert!(!encoded.trim_end_matches(['"', '=']).contains('='));
        }
    }

    #[test]
    fn lql_53_paths_are_resolved_by_home_and_base() {
        let access = |base: Option<&str>| FileAccess::Enabled {
            base_dir: base.map(PathBuf::from),
            home: Some("/home/me".into()),
        };
        let resolve = |text: &str| access(Some("/base")).resolve(text).unwrap();
        assert_eq!(resolve("~"), PathBuf::from("/home/me"));
        assert_eq!(resolve("~/a/../b"), PathBuf::from("/home/me/b"));
        assert_eq!(resolve("~a"), PathBuf::from("/base/~a"));
        assert_eq!(resolve("/x/./y/../../../z"), PathBuf::from("/z"));
        assert_eq!(resolve("./x.bin"), PathBuf::from("/base/x.bin"));
        assert_eq!(access(Some("rel")).resolve("../../x").unwrap(), PathBuf::from("../x"));
        let failure = |access: FileAccess, text| access.resolve(text).unwrap_err().to_string();
        assert_eq!(
            failure(access(None), "x"),
            "relative file-backed mutation path \"x\" requires file value base dir"
        );
        assert_eq!(failure(access(None), ""), "file-backed mutation missing file path");
        assert_eq!(failure(FileAccess::Disabled, "x"), "file-backed mutations are disabled");
    }
}
