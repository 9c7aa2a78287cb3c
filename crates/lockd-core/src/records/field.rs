//! Tagged fields: the encoding of every record value.
//!
//! A field is a tag (one byte), a length (LEB128) and that many bytes. Integers are LEB128 inside their bytes; a nested
//! value is again a sequence of fields. Fields with tags that the reader does not know are handed back to it raw, so that
//! an older program can write them back unharmed.

use super::Damaged;

/// Fields that a newer program wrote and this one keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unknown(Box<[u8]>);

impl Unknown {
    fn keep(&mut self, tag: u8, value: &[u8]) {
        let mut raw = std::mem::take(&mut self.0).into_vec();
        write_field(&mut raw, tag, value);
        self.0 = raw.into();
    }
}

fn write_length(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn write_field(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    out.push(tag);
    write_length(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Collects fields.
#[derive(Debug, Default)]
pub struct FieldWriter {
    out: Vec<u8>,
}

impl FieldWriter {
    pub fn with_capacity(bytes: usize) -> FieldWriter {
        FieldWriter { out: Vec::with_capacity(bytes) }
    }

    pub fn bytes(&mut self, tag: u8, value: &[u8]) {
        write_field(&mut self.out, tag, value);
    }

    /// A number; zero is written as absence.
    pub fn number(&mut self, tag: u8, value: u64) {
        if value != 0 {
            self.number_or_zero(tag, value);
        }
    }

    /// A number whose presence means something even when it is zero.
    pub fn number_or_zero(&mut self, tag: u8, value: u64) {
        let significant = (64 - value.leading_zeros()).max(1);
        self.out.push(tag);
        write_length(&mut self.out, u64::from(significant.div_ceil(7)));
        write_length(&mut self.out, value);
    }

    pub fn nested(&mut self, tag: u8, fill: impl FnOnce(&mut FieldWriter)) {
        let mut inner = FieldWriter::default();
        fill(&mut inner);
        write_field(&mut self.out, tag, &inner.out);
    }

    pub fn unknown(&mut self, unknown: &Unknown) {
        self.out.extend_from_slice(&unknown.0);
    }

    /// Exactly as long as it has to be: records stay in memory in great numbers.
    pub fn finish(self) -> Box<[u8]> {
        self.out.into_boxed_slice()
    }
}

/// Walks over fields.
#[derive(Debug)]
pub struct FieldReader<'a> {
    record: &'static str,
    rest: &'a [u8],
}

/// One field as read.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    pub tag: u8,
    pub value: &'a [u8],
    record: &'static str,
}

impl<'a> FieldReader<'a> {
    pub fn new(record: &'static str, bytes: &'a [u8]) -> FieldReader<'a> {
        FieldReader { record, rest: bytes }
    }

    pub fn next_field(&mut self) -> Result<Option<Field<'a>>, Damaged> {
        let Some((&tag, rest)) = self.rest.split_first() else { return Ok(None) };
        let (length, rest) = read_number(rest).ok_or(self.damaged("field length"))?;
        let length = usize::try_from(length).ok().filter(|&length| length <= rest.len());
        let (value, rest) = rest.split_at(length.ok_or(self.damaged("field is cut short"))?);
        self.rest = rest;
        Ok(Some(Field { tag, value, record: self.record }))
    }

    pub fn damaged(&self, what: &'static str) -> Damaged {
        Damaged { record: self.record, what }
    }
}

fn read_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (place, &byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if place == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * place);
        if byte < 0x80 {
            return Some((value, &bytes[place + 1..]));
        }
    }
    None
}

impl<'a> Field<'a> {
    fn damaged(&self, what: &'static str) -> Damaged {
        Damaged { record: self.record, what }
    }

    pub fn number(&self) -> Result<u64, Damaged> {
        match read_number(self.value) {
            Some((value, [])) => Ok(value),
            _ => Err(self.damaged("number")),
        }
    }

    pub fn flag(&self) -> Result<bool, Damaged> {
        Ok(self.number()? != 0)
    }

    pub fn array<const N: usize>(&self) -> Result<[u8; N], Damaged> {
        self.value.try_into().map_err(|_| self.damaged("identifier or digest has a wrong length"))
    }

    pub fn text(&self) -> Result<String, Damaged> {
        String::from_utf8(self.value.to_vec()).map_err(|_| self.damaged("text is not UTF-8"))
    }

    pub fn nested(&self) -> FieldReader<'a> {
        FieldReader::new(self.record, self.value)
    }

    /// Keeps a field that the reader does not know.
    pub fn keep(&self, unknown: &mut Unknown) {
        unknown.keep(self.tag, self.value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_round_trip(value: u64) {
            let mut writer = FieldWriter::default();
            writer.number_or_zero(1, value);
            let bytes = writer.finish();
            let field = FieldReader::new("test", &bytes).next_field().unwrap().unwrap();
            prop_assert_eq!(field.number().unwrap(), value);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let mut reader = FieldReader::new("test", &bytes);
            while let Ok(Some(field)) = reader.next_field() {
                let _ = (field.number(), field.text(), field.array::<12>());
            }
        }
    }
}
