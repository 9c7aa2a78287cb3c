//! Framing: a request is three lines of at most 256 bytes, ended by LF, with any CRs before it taken off.

/// Longest line in bytes, CRs included, LF not.
pub const LINE_LIMIT: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    /// Three lines, and how many bytes they took.
    Complete { lines: [&'a [u8]; 3], length: usize },
    /// More bytes are needed; so many lines are complete.
    Partial { lines: u8 },
    /// A line is too long. `ended` tells whether its LF was seen.
    Oversized { ended: bool },
}

/// Looks at the first request in `input`.
pub fn next_frame(input: &[u8]) -> Frame<'_> {
    let mut lines: [&[u8]; 3] = [&[]; 3];
    let mut from = 0;
    for (number, line) in lines.iter_mut().enumerate() {
        let rest = &input[from..];
        match memchr::memchr(b'\n', rest) {
            Some(end) if end > LINE_LIMIT => return Frame::Oversized { ended: true },
            Some(end) => {
                *line = strip_returns(&rest[..end]);
                from += end + 1;
            }
            None if rest.len() > LINE_LIMIT => return Frame::Oversized { ended: false },
            None => return Frame::Partial { lines: number as u8 },
        }
    }
    Frame::Complete { lines, length: from }
}

fn strip_returns(mut line: &[u8]) -> &[u8] {
    while let [rest @ .., b'\r'] = line {
        line = rest;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_of_the_input_gives_the_same_frames() {
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..3000 {
            let input: Vec<u8> = (0..rng.usize(..600))
                .map(|_| if rng.u8(..40) == 0 { b'\n' } else { *rng.choice(b"ab \r\t\xff").unwrap() })
                .collect();
            let whole = next_frame(&input);
            let mut cut = rng.usize(..=input.len());
            while next_frame(&input[..cut]) != whole && cut < input.len() {
                match next_frame(&input[..cut]) {
                    Frame::Partial { .. } | Frame::Oversized { ended: false } => {}
                    other => panic!("{other:?} in a prefix, {whole:?} in the whole of {input:?}"),
                }
                cut += 1;
            }
            assert_eq!(next_frame(&input[..cut]), whole);
        }
    }

    #[test]
    fn the_limit_counts_returns() {
        let line = |length: usize, end: &str| {
            [vec![b'k'; length], end.as_bytes().to_vec(), b"\n\n".to_vec()].concat()
        };
        assert!(matches!(next_frame(&line(256, "\n")), Frame::Complete { length: 259, .. }));
        assert_eq!(next_frame(&line(257, "\n")), Frame::Oversized { ended: true });
        assert_eq!(next_frame(&line(256, "\r\n")), Frame::Oversized { ended: true });
        assert_eq!(next_frame(&[b'x'; 257]), Frame::Oversized { ended: false });
        assert_eq!(next_frame(&[b'x'; 256]), Frame::Partial { lines: 0 });
    }
}
