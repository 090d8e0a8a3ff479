//! The text of a file, which can be changed without changing its other bytes.
//!
//! Tools show and match one form of every file: UTF-8 lines that end with a line feed. A
//! [`Document`] keeps the file's own form: line endings, byte-order mark, encoding, and
//! bytes that are not text in any encoding.

use encoding_rs::Encoding;

use crate::declared::{self, Declared};

/// The decoded text of a file.
#[derive(Debug)]
pub(crate) struct Document {
    /// Without the byte-order mark, but with the file's own line endings.
    text: String,
    has_mark: bool,
    coding: Coding,
    ends: Ends,
}

/// How the file's bytes are decoded. Encoding the decoded text gives the same bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Coding {
    Utf8,
    Utf16(Endian),
    Latin1,
    Declared(&'static Encoding),
    /// UTF-8, in which other bytes become private characters from [`RAW`].
    Raw,
}

/// The order of the bytes of a UTF-16 unit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Endian {
    Little,
    Big,
}

/// What ends a line.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    /// A line feed, with or without carriage returns before it. Nothing else is the end of
    /// a line: git, grep and editors number lines in the same way.
    LineFeed,
    /// A carriage return, in a file without line feeds.
    CarriageReturn,
}

/// The private character of byte 0 in [`Coding::Raw`].
const RAW: u32 = 0xf700;

impl Document {
    /// Decodes a file; none if it is not text.
    pub(crate) fn read(bytes: Vec<u8>) -> Option<Document> {
        let (text, has_mark, coding) = match bytes.as_slice() {
            [0xff, 0xfe, rest @ ..] => utf16(rest, Endian::Little)?,
            [0xfe, 0xff, rest @ ..] => utf16(rest, Endian::Big)?,
            [0xef, 0xbb, 0xbf, rest @ ..] => {
                let (text, coding) = match str::from_utf8(rest) {
                    Ok(text) => (text.to_string(), Coding::Utf8),
                    Err(_) => raw(rest)?,
                };
                (text, true, coding)
            }
            _ => {
                let (text, coding) = decoded(bytes)?;
                (text, false, coding)
            }
        };
        let is_text = !text.contains('\0');
        let ends = match !text.contains('\n') && text.contains('\r') {
            true => Ends::CarriageReturn,
            false => Ends::LineFeed,
        };
        is_text.then_some(Document { text, has_mark, coding, ends })
    }

    /// The text as it is shown and matched: each line ends with a line feed, and bytes that
    /// are not UTF-8 are `\xe9`.
    pub(crate) fn shown(&self) -> String {
        let mut shown = String::with_capacity(self.text.len());
        self.pieces().for_each(|(_, piece)| piece.push_to(&mut shown));
        shown
    }

    /// What a reader should know about how the text is shown.
    pub(crate) fn note(&self) -> Option<&'static str> {
        (self.text.contains(|letter| self.is_raw(letter)))
            .then_some("(bytes that are not UTF-8 are shown as \\x and two digits)")
    }

    fn is_raw(&self, letter: char) -> bool {
        self.coding == Coding::Raw && raw_byte(letter).is_some()
    }

    /// The file's bytes with a part of the shown text replaced. New lines end as the lines
    /// around them.
    ///
    /// # Errors
    /// One sentence, if the file's encoding lacks a character.
    pub(crate) fn replaced(&self, from: usize, to: usize, new: &str) -> Result<Vec<u8>, String> {
        if let Some(letter) = new.chars().find(|letter| self.is_raw(*letter)) {
            return Err(format!("it cannot contain {letter:?}"));
        }
        let shown = self.shown();
        let new = self.with_bytes(self.part(from, to)?.1, &with_line_feeds(new));
        let (from, to, new) = self.changed(&shown, (from, to), &new);
        let (head, old, tail) = self.part(from, to)?;
        let new = self.with_endings(head, old, new);
        let text = [head, &new, tail].concat();
        let form = self.form_of(&text);
        form.check(old, &new, &text)?;
        form.encoded(&text)
    }

    /// The bytes of a new file, in the encoding that it declares.
    ///
    /// # Errors
    /// One sentence, if the file's encoding lacks a character.
    pub(crate) fn created(text: &str) -> Result<Vec<u8>, String> {
        let ends = Ends::LineFeed;
        let has_mark = text.starts_with('\u{feff}');
        let empty = Document { text: String::new(), has_mark, coding: Coding::Utf8, ends };
        let form = empty.form_of(text);
        form.check("", text, text)?;
        form.encoded(text.trim_start_matches('\u{feff}'))
    }

    /// How a changed text is encoded: bytes that are the same in each encoding do not
    /// decide it, the changed text's declaration does.
    fn form_of(&self, text: &str) -> Document {
        let is_free = self.text.is_ascii() && !self.has_mark;
        let coding = match self.coding {
            Coding::Utf8 | Coding::Latin1 | Coding::Declared(_) if is_free => {
                let declared = declared::encoding(text.as_bytes());
                declared.and_then(Coding::of).unwrap_or(Coding::Utf8)
            }
            coding => coding,
        };
        Document { text: String::new(), has_mark: self.has_mark, coding, ends: self.ends }
    }

    /// Refuses new characters that cannot be read in the encoding that the changed file
    /// declares. Text that is UTF-8 in spite of its declaration stays UTF-8.
    fn check(&self, old: &str, new: &str, text: &str) -> Result<(), String> {
        let Some(declared) = declared::encoding(text.as_bytes()) else {
            return Ok(());
        };
        let is_checked = match (&declared, self.coding) {
            (_, Coding::Utf16(_)) => false,
            (Declared::Ascii | Declared::Unsupported(_), _) => !self.has_mark,
            (Declared::Latin1 | Declared::Other(..), coding) => {
                matches!(coding, Coding::Declared(_))
            }
        };
        let is_new = |letter: &char| !old.contains(*letter) && !self.is_raw(*letter);
        let lacking = new.chars().filter(is_new).find_map(|letter| declared.lacks(letter));
        lacking.filter(|_| is_checked).map_or(Ok(()), Err)
    }

    /// The file's own text before, in and after a part of the shown text.
    fn part(&self, from: usize, to: usize) -> Result<(&str, &str, &str), String> {
        match (self.own(from), self.own(to)) {
            (Some(start), Some(end)) => {
                Ok((&self.text[..start], &self.text[start..end], &self.text[end..]))
            }
            _ => Err("a change cannot start or end in the middle of a byte".into()),
        }
    }

    /// Whether a shown position is between two characters of the file.
    pub(crate) fn is_boundary(&self, at: usize) -> bool {
        self.own(at).is_some()
    }

    /// The part of a replacement that differs: what stays keeps its bytes and line endings.
    fn changed<'a>(
        &self,
        shown: &str,
        (mut from, mut to): (usize, usize),
        new: &'a str,
    ) -> (usize, usize, &'a str) {
        let boundary = |at: usize| self.own(at).is_some();
        let old = &shown[from..to];
        let mut same: usize = (old.chars().zip(new.chars()))
            .take_while(|(one, other)| one == other)
            .map(|(one, _)| one.len_utf8())
            .sum();
        while same > 0 && !(old.is_char_boundary(same) && boundary(from + same)) {
            same -= 1;
        }
        let (old, new) = (&old[same..], &new[same..]);
        from += same;
        let mut same: usize = (old.chars().rev().zip(new.chars().rev()))
            .take_while(|(one, other)| one == other)
            .map(|(one, _)| one.len_utf8())
            .sum();
        while same > 0 && !(old.is_char_boundary(old.len() - same) && boundary(to - same)) {
            same -= 1;
        }
        to -= same;
        (from, to, &new[..new.len() - same])
    }

    /// The new lines with the file's line endings: lines that were there before keep theirs.
    fn with_endings(&self, head: &str, old: &str, new: &str) -> String {
        let before = self.lines(head).filter_map(|(_, end)| end).last();
        let after = || self.lines(&self.text[head.len()..]).find_map(|(_, end)| end);
        let usual = before.or_else(after).unwrap_or("\n");
        let old: Vec<_> = self.lines(old).filter_map(|(line, end)| Some((line, end?))).collect();
        let is_same_length = old.len() == new.matches('\n').count();
        let mut next = 0;
        let mut text = String::new();
        for (at, line) in new.split_inclusive('\n').enumerate() {
            let Some(line) = line.strip_suffix('\n') else {
                text += line;
                break;
            };
            let found = old.iter().skip(next).position(|(there, _)| *there == line);
            let end = match (is_same_length, found) {
                (true, _) => old[at].1,
                (false, Some(after)) => {
                    next += after + 1;
                    old[next - 1].1
                }
                (false, None) => next.checked_sub(1).map_or(usual, |last| old[last].1),
            };
            text += line;
            text += end;
        }
        text
    }

    /// Lines of a text of the file, and what ends each of them.
    fn lines<'a>(&self, text: &'a str) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let (last, before_last): (char, &[char]) = match self.ends {
            Ends::LineFeed => ('\n', &['\r']),
            Ends::CarriageReturn => ('\r', &[]),
        };
        text.split_inclusive(last).map(move |line| match line.strip_suffix(last) {
            Some(content) => {
                let content = content.trim_end_matches(before_last);
                (content, Some(&line[content.len()..]))
            }
            None => (line, None),
        })
    }

    /// Turns `\xe9` back into a byte, if the replaced part of the file has this byte.
    fn with_bytes(&self, old: &str, new: &str) -> String {
        let raw = old.chars().filter(|letter| self.is_raw(*letter));
        raw.fold(new.to_string(), |new, letter| match raw_byte(letter) {
            Some(byte) => new.replace(&format!("\\x{byte:02x}"), &letter.to_string()),
            None => new,
        })
    }

    /// The position in the file's own text of a position in the shown text.
    fn own(&self, at: usize) -> Option<usize> {
        let (mut own, mut shown) = (0, 0);
        for (length, piece) in self.pieces() {
            if shown >= at {
                break;
            }
            own += length;
            shown += piece.len();
        }
        (shown == at).then_some(own)
    }

    /// The shown pieces of the text, each with its own length in the file.
    fn pieces(&self) -> impl Iterator<Item = (usize, Piece)> {
        let mut rest = self.text.as_str();
        std::iter::from_fn(move || {
            let letter = rest.chars().next()?;
            let returns = rest.len() - rest.trim_start_matches('\r').len();
            let (length, piece) = match (letter, self.ends) {
                ('\r', Ends::CarriageReturn) => (1, Piece::Letter('\n')),
                ('\r', Ends::LineFeed) if rest[returns..].starts_with('\n') => {
                    (returns + 1, Piece::Letter('\n'))
                }
                (letter, _) => match raw_byte(letter).filter(|_| self.coding == Coding::Raw) {
                    Some(byte) => (letter.len_utf8(), Piece::Byte(byte)),
                    None => (letter.len_utf8(), Piece::Letter(letter)),
                },
            };
            rest = &rest[length..];
            Some((length, piece))
        })
    }

    fn encoded(&self, text: &str) -> Result<Vec<u8>, String> {
        let lacks = |letter: char| format!("its encoding has no {letter:?}");
        let encode = |letter: char| -> Result<Vec<u8>, String> {
            Ok(match self.coding {
                Coding::Utf8 => letter.to_string().into_bytes(),
                Coding::Utf16(endian) => {
                    let mut units = [0; 2];
                    let units = letter.encode_utf16(&mut units).iter();
                    units.flat_map(|unit| endian.bytes(*unit)).collect()
                }
                Coding::Latin1 => vec![u8::try_from(letter).map_err(|_| lacks(letter))?],
                Coding::Declared(encoding) => {
                    let letter_text = letter.to_string();
                    let (bytes, _, is_lossy) = encoding.encode(&letter_text);
                    if is_lossy { Err(lacks(letter))? } else { bytes.into_owned() }
                }
                Coding::Raw => match raw_byte(letter) {
                    Some(byte) => vec![byte],
                    None => letter.to_string().into_bytes(),
                },
            })
        };
        let mark = if self.has_mark { "\u{feff}" } else { "" };
        mark.chars().chain(text.chars()).try_fold(Vec::new(), |mut bytes, letter| {
            bytes.extend(encode(letter)?);
            Ok(bytes)
        })
    }
}

/// A text whose lines end as they are shown.
pub(crate) fn with_line_feeds(text: &str) -> String {
    let mut text = text.replace("\r\n", "\n");
    while text.contains("\r\n") {
        text = text.replace("\r\n", "\n");
    }
    text
}

/// A shown piece of text.
enum Piece {
    Letter(char),
    Byte(u8),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Piece::Letter(letter) => letter.len_utf8(),
            Piece::Byte(_) => 4,
        }
    }

    fn push_to(&self, text: &mut String) {
        match self {
            Piece::Letter(letter) => text.push(*letter),
            Piece::Byte(byte) => *text += &format!("\\x{byte:02x}"),
        }
    }
}

fn raw_byte(letter: char) -> Option<u8> {
    let byte = u32::from(letter).checked_sub(RAW)?;
    u8::try_from(byte).ok().filter(|byte| !byte.is_ascii())
}

impl Endian {
    fn unit(self, bytes: [u8; 2]) -> u16 {
        match self {
            Endian::Little => u16::from_le_bytes(bytes),
            Endian::Big => u16::from_be_bytes(bytes),
        }
    }

    fn bytes(self, unit: u16) -> [u8; 2] {
        match self {
            Endian::Little => unit.to_le_bytes(),
            Endian::Big => unit.to_be_bytes(),
        }
    }
}

fn utf16(bytes: &[u8], endian: Endian) -> Option<(String, bool, Coding)> {
    let (units, rest) = bytes.as_chunks::<2>();
    let units = units.iter().map(|unit| endian.unit(*unit));
    let text: String = char::decode_utf16(units).collect::<Result<_, _>>().ok()?;
    rest.is_empty().then_some((text, true, Coding::Utf16(endian)))
}

/// Decodes bytes so that encoding the text gives the same bytes.
fn decoded(bytes: Vec<u8>) -> Option<(String, Coding)> {
    let coding = declared::encoding(&bytes);
    let bytes = match String::from_utf8(bytes) {
        // A declaration decides how new characters are written. Text that is UTF-8 in spite
        // of it stays UTF-8.
        Ok(text) if text.is_ascii() => {
            return Some((text, coding.and_then(Coding::of).unwrap_or(Coding::Utf8)));
        }
        Ok(text) => return Some((text, Coding::Utf8)),
        Err(error) => error.into_bytes(),
    };
    if let Some(coding) = coding.and_then(Coding::of)
        && let Some(text) = coding.decode(&bytes)
    {
        return Some((text, coding));
    }
    raw(&bytes)
}

fn raw(bytes: &[u8]) -> Option<(String, Coding)> {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        // A private character of the file itself would come back as a byte.
        if chunk.valid().contains(|letter| raw_byte(letter).is_some()) {
            return None;
        }
        text += chunk.valid();
        text.extend(
            chunk.invalid().iter().filter_map(|byte| char::from_u32(RAW + u32::from(*byte))),
        );
    }
    Some((text, Coding::Raw))
}

impl Coding {
    fn of(declared: Declared) -> Option<Coding> {
        match declared {
            Declared::Latin1 => Some(Coding::Latin1),
            Declared::Other(encoding, _) => Some(Coding::Declared(encoding)),
            Declared::Ascii | Declared::Unsupported(_) => None,
        }
    }

    /// The text, if it can be encoded again.
    fn decode(self, bytes: &[u8]) -> Option<String> {
        let text = match self {
            Coding::Latin1 => bytes.iter().map(|byte| char::from(*byte)).collect(),
            Coding::Declared(encoding) => {
                encoding.decode_without_bom_handling_and_without_replacement(bytes)?.into_owned()
            }
            _ => return None,
        };
        let document = Document { text, has_mark: false, coding: self, ends: Ends::LineFeed };
        let again = document.encoded(&document.text).ok()?;
        (again == bytes).then_some(document.text)
    }
}

#[cfg(test)]
#[path = "document/tests.rs"]
mod tests;
