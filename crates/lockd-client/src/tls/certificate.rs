//! What a certificate says about itself, as far as lockd needs it: whether it is that of a CA, and the URIs that name its holder.
//!
//! This reads no more of DER than that takes. Whether a certificate is genuine is decided elsewhere, by the TLS library.

/// The identifiers of the two extensions (2.5.29.19 and 2.5.29.17) as DER has them.
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// A URI among the alternative names.
const URI: u8 = 0x86;
/// Where the extensions of a certificate are.
const EXTENSIONS: u8 = 0xa3;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) is_authority: bool,
    pub(crate) uris: Vec<String>,
}

/// `None` if these bytes are not a certificate.
pub(crate) fn read(der: &[u8]) -> Option<Profile> {
    let mut certificate = Der(der).only(SEQUENCE)?;
    let mut body = certificate.only(SEQUENCE)?;
    let mut profile = Profile::default();
    while let Some((tag, content)) = body.next()? {
        if tag == EXTENSIONS {
            let mut extensions = Der(content).only(SEQUENCE)?;
            while let Some((SEQUENCE, extension)) = extensions.next()? {
                profile.learn(Der(extension))?;
            }
        }
    }
    Some(profile)
}

impl Profile {
    fn learn(&mut self, mut extension: Der<'_>) -> Option<()> {
        let (OBJECT_IDENTIFIER, identifier) = extension.next()?? else { return None };
        let value = loop {
            match extension.next()?? {
                (OCTET_STRING, value) => break value,
                (BOOLEAN, _) => {}
                _ => return None,
            }
        };
        match identifier {
            BASIC_CONSTRAINTS => {
                let first = Der(value).only(SEQUENCE)?.next()?;
                self.is_authority = matches!(first, Some((BOOLEAN, [truth])) if *truth != 0);
            }
            SUBJECT_ALTERNATIVE_NAME => {
                let mut names = Der(value).only(SEQUENCE)?;
                while let Some((tag, name)) = names.next()? {
                    if tag == URI {
                        self.uris.push(std::str::from_utf8(name).ok()?.to_owned());
                    }
                }
            }
            _ => {}
        }
        Some(())
    }
}

/// Values of DER, one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The tag and the content of the next value: `Some(None)` at the end, `None` if it is not DER.
    #[allow(clippy::option_option, reason = "the end and an error are different things")]
    fn next(&mut self) -> Option<Option<(u8, &'a [u8])>> {
        let Some((&tag, rest)) = self.0.split_first() else { return Some(None) };
        let (&length, rest) = rest.split_first()?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Some((tag, content)))
    }

    /// The next value, which must have this tag.
    fn only(&mut self, wanted: u8) -> Option<Der<'a>> {
        let (tag, content) = self.next()??;
        (tag == wanted).then_some(Der(content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut value = vec![tag, 0x82, (content.len() >> 8) as u8, content.len() as u8];
        value.extend_from_slice(content);
        value
    }

    fn certificate(extensions: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
        let extensions: Vec<u8> = extensions
            .iter()
            .flat_map(|(identifier, content)| {
                let parts = [
                    value(OBJECT_IDENTIFIER, identifier),
                    value(BOOLEAN, &[0xff]),
                    value(OCTET_STRING, &value(SEQUENCE, content)),
                ];
                value(SEQUENCE, &parts.concat())
            })
            .collect();
        let body = [value(0xa0, &[2]), value(2, &[1]), value(EXTENSIONS, &value(SEQUENCE, &extensions))];
        value(SEQUENCE, &[value(SEQUENCE, &body.concat()), value(SEQUENCE, &[])].concat())
    }

    #[test]
    fn authorities_and_names_are_found() {
        let names = [value(0x82, b"*"), value(URI, b"spiffe://lockd/sdk/a"), value(URI, b"lockd://ns/ALL")];
        let leaf = certificate(&[(&[0x55, 0x1d, 0x0f], vec![]), (SUBJECT_ALTERNATIVE_NAME, names.concat())]);
        let read_leaf = read(&leaf).unwrap();
        assert!(!read_leaf.is_authority);
        assert_eq!(read_leaf.uris, ["spiffe://lockd/sdk/a", "lockd://ns/ALL"]);
        let is_authority =
            |content| read(&certificate(&[(BASIC_CONSTRAINTS, content)])).unwrap().is_authority;
        assert!(is_authority(value(BOOLEAN, &[0xff])));
        assert!(!is_authority(value(BOOLEAN, &[0])));
        assert!(!is_authority(vec![]));
        for end in 0..leaf.len() - 4 {
            assert_eq!(read(&leaf[..end]), None, "cut after {end} bytes");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut random = fastrand::Rng::with_seed(7);
        let whole = certificate(&[(SUBJECT_ALTERNATIVE_NAME, value(URI, b"spiffe://lockd/sdk/a"))]);
        for _ in 0..20_000 {
            let mut broken = whole.clone();
            for _ in 0..random.usize(1..4) {
                let place = random.usize(..broken.len());
                broken[place] = random.u8(..);
            }
            drop(read(&broken));
        }
    }
}
