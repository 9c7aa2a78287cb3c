//! What a needle leaves behind in the bytes of every document that has it in a string: a quick look for that tells of
//! most documents, and parts of them, that nothing in them contains the needle.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// The traces of the needles of one test.
#[derive(Clone, Debug)]
pub(crate) struct Traces {
    needles: Vec<Trace>,
    /// Any escape may hide a needle, and not only those that write characters as numbers.
    hidden_by_all: bool,
}

#[derive(Clone, Debug)]
enum Trace {
    /// The needle itself.
    Itself(Box<Finder<'static>>),
    Window(Window),
}

impl Traces {
    /// Of needles that are searched for as they stand.
    pub(crate) fn exact(needles: &[String]) -> Self {
        let hides = |byte: u8| byte < b' ' || matches!(byte, b'"' | b'\\' | b'/');
        Traces {
            needles: needles
                .iter()
                .map(|needle| Trace::Itself(Box::new(Finder::new(needle.as_bytes()).into_owned())))
                .collect(),
            hidden_by_all: needles.iter().any(|needle| needle.bytes().any(hides)),
        }
    }

    /// Of needles in lower case that are searched for in any case; none if one has too few letters that tell.
    pub(crate) fn folded(needles: &[String]) -> Option<Self> {
        let needles =
            needles.iter().map(|needle| Window::of(needle).map(Trace::Window)).collect::<Option<_>>()?;
        Some(Traces { needles, hidden_by_all: false })
    }

    /// Whether one of the needles may stand in these bytes of a document, if it is not hidden by escapes.
    pub(crate) fn may_be_in(&self, json: &[u8]) -> bool {
        self.needles.iter().any(|needle| match needle {
            Trace::Itself(finder) => finder.find(json).is_some(),
            Trace::Window(window) => window.is_in(json),
        })
    }

    /// Whether there is an escape in these bytes that may hide one.
    pub(crate) fn may_be_hidden_in(&self, json: &[u8]) -> bool {
        static AS_NUMBER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\\u"));
        if self.hidden_by_all {
            memchr::memchr(b'\\', json).is_some()
        } else {
            AS_NUMBER.find(json).is_some()
        }
    }
}

/// A few letters or digits that follow each other in a needle in lower case, rare ones if possible: what contains the
/// needle in any case contains them in any case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// All bits of a third one that there is not.
    bytes: [u8; 3],
    /// The bit in which the cases of a letter differ.
    case: [u8; 3],
}

impl Window {
    /// None if there are not two of them together.
    pub(crate) fn of(needle: &str) -> Option<Self> {
        /// The more frequent ones last. Not among them are `i` and `k`, which letters outside of ASCII have as their
        /// lower case.
        const LETTERS: &[u8; 34] = b"zqxjvwbpgyfmucdlhrsnoate0123456789";
        let rank = |letter: &u8| LETTERS.iter().position(|known| known == letter);
        let rarest = |length: usize| {
            needle
                .as_bytes()
                .windows(length)
                .filter_map(|letters| Some((letters.iter().map(rank).sum::<Option<usize>>()?, letters)))
                .min_by_key(|&(rank, _)| rank)
        };
        let (_, letters) = rarest(3).or_else(|| rarest(2))?;
        let mut window = Window { bytes: [u8::MAX; 3], case: [u8::MAX; 3] };
        for ((byte, case), letter) in window.bytes.iter_mut().zip(&mut window.case).zip(letters) {
            *byte = *letter;
            *case = if letter.is_ascii_lowercase() { b' ' } else { 0 };
        }
        Some(window)
    }

    /// Whether they follow each other in a text, in any case.
    pub(crate) fn is_in(&self, text: &[u8]) -> bool {
        let ([a, b, c], [a_case, b_case, c_case]) = (self.bytes, self.case);
        let mut rest = text;
        // Without branches, so that many bytes are compared at once.
        while let Some((first, behind)) = rest.split_first_chunk::<32>()
            && let (Some(second), Some(third)) = (
                rest.get(1..).and_then(|rest| rest.first_chunk::<32>()),
                rest.get(2..).and_then(|rest| rest.first_chunk::<32>()),
            )
        {
            let mut found = 0;
            for ((x, y), z) in first.iter().zip(second).zip(third) {
                found |= u8::from((x | a_case == a) & (y | b_case == b) & (z | c_case == c));
            }
            if found != 0 {
                return true;
            }
            rest = behind;
        }
        let mut last = [0; 36];
        // What is left is shorter than that, and a third one that there is not is found behind it.
        if let Some(place) = last.get_mut(..rest.len()) {
            place.copy_from_slice(rest);
        }
        let mut found = 0;
        for ((x, y), z) in last.iter().zip(&last[1..]).zip(&last[2..]) {
            found |= u8::from((x | a_case == a) & (y | b_case == b) & (z | c_case == c));
        }
        found != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::condition::fold_case;

    proptest! {
        #[test]
        fn a_needle_in_any_case_is_never_overlooked(
            before in "[a-eA-E0-2 éİ]{0,80}",
            needle in "[a-eA-E0-2K-]{1,6}",
            after in "[a-eA-E0-2 éİ]{0,80}",
        ) {
            if let Some(window) = Window::of(&fold_case(&needle)) {
                let text = format!("{before}{needle}{after}");
                prop_assert!(window.is_in(text.as_bytes()), "{needle:?} in {text:?}");
                let upper = format!("{before}{}{after}", needle.to_ascii_uppercase());
                prop_assert!(window.is_in(upper.as_bytes()), "{needle:?} in {upper:?}");
            }
        }

        #[test]
        fn only_what_is_there_is_found(text in "[a-dA-D0-1]{0,120}") {
            for letters in ["ab", "abc", "d0", "0d1"] {
                let there = text.to_ascii_lowercase().contains(letters);
                prop_assert_eq!(Window::of(letters).unwrap().is_in(text.as_bytes()), there, "{} in {:?}", letters, text);
            }
        }
    }

    #[test]
    fn letters_that_others_have_as_lower_case_do_not_count() {
        assert!(Window::of("kiki").is_none());
        assert!(Window::of("é").is_none());
        assert!(Window::of("a").is_none());
        assert!(Window::of("a-b").is_none());
        assert!(Window::of("kab").is_some());
    }
}
