//! Where documents begin and end. What is in them is tested by what is made of it: matcher, projector, documents.

use super::*;

/// The documents of a stream as ranges of offsets, and the error it ends with.
#[derive(Default)]
struct Ranges {
    wish: Option<Wish>,
    start: u64,
    found: Vec<(u64, u64)>,
}

impl Visit for Ranges {
    fn document(&mut self, at: u64) -> Wish {
        self.start = at;
        self.wish.unwrap_or(Wish::Enter)
    }

    fn name(&mut self, _: Text<'_>) -> Wish {
        Wish::Enter
    }

    fn longest_name(&self) -> usize {
        0
    }

    fn element(&mut self, _: u64) -> Wish {
        Wish::Enter
    }

    fn open(&mut self, _: bool) -> Wish {
        Wish::Enter
    }

    fn close(&mut self, _: u64) -> Wish {
        Wish::Enter
    }

    fn passed(&mut self, _: u64) -> Wish {
        Wish::Enter
    }

    fn text(&mut self, _: Text<'_>, _: bool, _: Option<u64>) -> Wish {
        Wish::Enter
    }

    fn scalar(&mut self, _: &[u8], _: bool, _: u64) -> Wish {
        Wish::Enter
    }

    fn raw(&mut self, _: &[u8]) {}

    fn document_end(&mut self, end: u64) -> Wish {
        self.found.push((self.start, end));
        Wish::Enter
    }
}

fn ranges(stream: &str, chunk: usize, wish: Wish) -> Result<Vec<(u64, u64)>, Invalid> {
    let mut visit = Ranges { wish: Some(wish), ..Ranges::default() };
    let mut scanner = Scanner::new(100);
    for chunk in stream.as_bytes().chunks(chunk) {
        scanner.push(chunk, &mut visit)?;
    }
    scanner.finish(&mut visit)?;
    Ok(visit.found)
}

#[test]
fn documents_end_where_they_end() {
    let spaces = " ".repeat(130);
    let long = "1".repeat(200);
    for stream in [
        "{}[]",
        " {\"a\":[1]} \n7",
        "1 2",
        "\"a\"\"b\"",
        "null\ntrue",
        &format!("{spaces}12{spaces}{long}\n-1"),
    ] {
        for wish in [Wish::Enter, Wish::Skip, Wish::Take] {
            let whole = ranges(stream, 1000, wish).unwrap();
            assert_eq!(whole.len(), if stream.len() > 300 { 3 } else { 2 }, "{stream}");
            for chunk in [1, 63, 64, 65] {
                assert_eq!(ranges(stream, chunk, wish).as_ref(), Ok(&whole), "{stream} {chunk} {wish:?}");
            }
            for (start, end) in whole {
                let document = &stream[start as usize..end as usize];
                assert!(document.trim() == document && !document.is_empty(), "{document:?}");
            }
        }
    }
}

#[test]
fn values_that_run_into_each_other_are_refused() {
    let digits = "1".repeat(300);
    let long = format!("{digits}true");
    for (stream, offset) in [("true1", 4), ("01", 1), ("{} nullnull", 7), ("-1-1", 2), (long.as_str(), 300)] {
        for wish in [Wish::Enter, Wish::Skip, Wish::Take] {
            for chunk in [1, 64, 1000] {
                let refused = ranges(stream, chunk, wish);
                assert!(
                    matches!(refused, Err(Invalid::Syntax { offset: at, .. }) if at == offset),
                    "{stream} {chunk} {wish:?}: {refused:?}"
                );
            }
        }
    }
}
