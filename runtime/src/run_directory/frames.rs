//! The compressed file of episodes: zstd frames of whole lines.
//!
//! Each frame follows a header, which is a skippable frame: zstd passes over it, so `zstdcat`
//! prints the lines alone. A header states how many bytes and lines follow, so that a reader
//! finds a line without reading other frames. A frame is never changed.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// Maximum number of lines in a frame. Few in tests, so that they have many frames.
pub(super) const MAX_LINES: usize = if cfg!(test) { 4 } else { 256 };
/// A frame has no more bytes of text than this, unless its only line has. Every decoder of zstd
/// has a window of as many bytes (RFC 8878), and the memory of a reader is a few frames.
pub(super) const MAX_TEXT: usize = 8 << 20;
/// Base-2 logarithm of [`MAX_TEXT`]: a text that a frame has twice is stored once, however far
/// apart its copies are.
const WINDOW_LOG: u32 = 23;
/// 11 times smaller in the order of a run, where 3 gives 9 times and 12 takes twice the time.
const LEVEL: i32 = 9;

/// Bytes of a header.
pub(super) const HEADER: usize = 88;
/// Magic number of a skippable frame, little-endian.
const SKIPPABLE: [u8; 4] = 0x184D_2A5E_u32.to_le_bytes();
/// Who wrote the header, and the version of its form.
const WRITER: [u8; 8] = *b"fixfly\0\x01";

/// A frame: where it is, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// First byte of its header, in the compressed file.
    pub(super) at: u64,
    /// Bytes of the zstd frame, without the header.
    pub(super) packed: u64,
    /// First byte of its lines, among the lines of all frames.
    pub(super) start: u64,
    /// Bytes of its lines.
    pub(super) length: u64,
    /// The number of lines before it.
    pub(super) before: usize,
    /// The number of its lines.
    pub(super) lines: usize,
    /// First byte of its lines in the plain file that they were moved from. The first frame of
    /// those that are written together has 0.
    pub(super) from: u64,
    /// SHA-256 of its lines.
    pub(super) hash: [u8; 32],
}

impl Frame {
    /// The byte after it, in the compressed file.
    pub(super) fn end(&self) -> u64 {
        self.at + HEADER as u64 + self.packed
    }

    /// The byte after its lines, among the lines of all frames.
    pub(super) fn text_end(&self) -> u64 {
        self.start + self.length
    }
}

/// What follows the last complete frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Nothing,
    /// The start of a frame, or zeros: its writer was killed, or the power failed. With the
    /// frame, if its header is complete.
    Torn(Option<Frame>),
    /// Something else.
    Damaged,
}

/// The frames of a compressed file.
#[derive(Debug)]
pub(super) struct Frames {
    pub(super) all: Vec<Frame>,
    pub(super) rest: Rest,
}

/// Why a frame cannot be read.
#[derive(Debug)]
pub(super) enum FrameError {
    Io(io::Error),
    /// Its bytes are not those that were written.
    Damaged(String),
}

/// Finds the frames of a file of so many bytes, from their headers.
pub(super) fn frames(file: &File, length: u64) -> io::Result<Frames> {
    let mut all: Vec<Frame> = Vec::new();
    let rest = loop {
        let (at, start, before) = all
            .last()
            .map_or((0, 0, 0), |last| (last.end(), last.text_end(), last.before + last.lines));
        if at >= length {
            break Rest::Nothing;
        }
        match header_at(file, at, length)? {
            Some(frame) => {
                let frame = Frame { start, before, ..frame };
                match frame.packed <= length - at - HEADER as u64 {
                    true => all.push(frame),
                    false => break Rest::Torn(Some(frame)),
                }
            }
            None if is_zero(file, at, length)? || is_start(file, at, length)? => {
                break Rest::Torn(None);
            }
            None => break Rest::Damaged,
        }
    };
    Ok(Frames { all, rest })
}

/// The complete frame at this byte of a file of so many bytes, as the first of all.
pub(super) fn frame_at(file: &File, at: u64, length: u64) -> io::Result<Option<Frame>> {
    let frame = header_at(file, at, length)?;
    Ok(frame.filter(|frame| frame.packed <= length - at - HEADER as u64))
}

fn header_at(file: &File, at: u64, length: u64) -> io::Result<Option<Frame>> {
    let mut header = [0; HEADER];
    if length - at < HEADER as u64 {
        return Ok(None);
    }
    file.read_exact_at(&mut header, at)?;
    Ok(parse(&header).map(|frame| Frame { at, ..frame }))
}

/// Makes a frame of these lines, with its header.
pub(super) fn pack(text: &[u8], lines: usize, from: u64) -> io::Result<Vec<u8>> {
    let mut compressor = Compressor::new(LEVEL)?;
    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
    compressor.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    compressor.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
    let packed = compressor.compress(text)?;
    let mut bytes = Vec::with_capacity(HEADER + packed.len());
    bytes.extend(SKIPPABLE);
    bytes.extend((HEADER as u32 - 8).to_le_bytes());
    bytes.extend(WRITER);
    for number in [packed.len() as u64, text.len() as u64, lines as u64, from] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(Sha256::digest(text));
    bytes.extend(check(&bytes));
    bytes.extend(packed);
    Ok(bytes)
}

/// The lines of a frame.
pub(super) fn unpack(file: &File, frame: &Frame) -> Result<Vec<u8>, FrameError> {
    let damaged = |why: &str| FrameError::Damaged(why.into());
    let size = |bytes: u64| usize::try_from(bytes).map_err(|_| damaged("it is too large"));
    let mut packed = vec![0; size(frame.packed)?];
    file.read_exact_at(&mut packed, frame.at + HEADER as u64).map_err(|e| match e.kind() {
        ErrorKind::UnexpectedEof => damaged("it is incomplete"),
        _ => FrameError::Io(e),
    })?;
    let length = size(frame.length)?;
    let text = zstd::bulk::decompress(&packed, length);
    let text = text.map_err(|e| FrameError::Damaged(e.to_string()))?;
    match text.len() == length {
        true => Ok(text),
        false => Err(damaged("its length is not the one in its header")),
    }
}

/// The first header from this byte on, if there is one.
pub(super) fn next_header(file: &File, from: u64, length: u64) -> io::Result<Option<u64>> {
    const BLOCK: u64 = 1 << 20;
    let mut at = from;
    while at + HEADER as u64 <= length {
        let mut bytes = vec![0; usize::try_from((length - at).min(BLOCK)).unwrap_or(HEADER)];
        file.read_exact_at(&mut bytes, at)?;
        let found = bytes.windows(HEADER).position(|window| parse(window).is_some());
        if let Some(found) = found {
            return Ok(Some(at + found as u64));
        }
        at += bytes.len() as u64 - (HEADER as u64 - 1);
    }
    Ok(None)
}

/// Reads a header; the places of the frame are still missing.
fn parse(header: &[u8]) -> Option<Frame> {
    let (fields, found) = header.split_at_checked(HEADER - 8)?;
    let start = [&SKIPPABLE[..], &(HEADER as u32 - 8).to_le_bytes(), &WRITER].concat();
    if !fields.starts_with(&start) || *found != check(fields) {
        return None;
    }
    let number = |nth: usize| {
        let bytes = fields[start.len() + 8 * nth..].first_chunk().copied();
        bytes.map(u64::from_le_bytes)
    };
    Some(Frame {
        at: 0,
        packed: number(0)?,
        start: 0,
        length: number(1)?,
        before: 0,
        lines: usize::try_from(number(2)?).ok()?,
        from: number(3)?,
        hash: *fields.last_chunk()?,
    })
}

/// Whether the rest of the file is the start of a header.
fn is_start(file: &File, from: u64, to: u64) -> io::Result<bool> {
    let start = [&SKIPPABLE[..], &(HEADER as u32 - 8).to_le_bytes(), &WRITER].concat();
    let length = usize::try_from(to - from).unwrap_or(HEADER);
    let mut found = vec![0; length.min(start.len())];
    file.read_exact_at(&mut found, from)?;
    Ok(length < HEADER && start.starts_with(&found))
}

/// Shows that a header is as it was written.
fn check(fields: &[u8]) -> [u8; 8] {
    let digest = Sha256::digest(fields);
    digest.first_chunk().copied().unwrap_or_default()
}

fn is_zero(file: &File, from: u64, to: u64) -> io::Result<bool> {
    let mut block = vec![0; 1 << 16];
    let mut at = from;
    while at < to {
        let length = usize::try_from(to - at).unwrap_or(block.len()).min(block.len());
        file.read_exact_at(&mut block[..length], at)?;
        if block[..length].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += length as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    const TEXT: &str = "{\"a\":1}\n{\"b\":\"é\"}\n";

    fn file_of(parts: &[&[u8]]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&parts.concat()).unwrap();
        file
    }

    fn found(file: &File) -> Frames {
        frames(file, file.metadata().unwrap().len()).unwrap()
    }

    fn packed() -> Vec<u8> {
        [pack(TEXT.as_bytes(), 2, 0).unwrap(), pack(b"{}\n", 1, 20).unwrap()].concat()
    }

    #[test]
    fn frames_are_found_by_their_headers_and_zstd_reads_the_lines_alone() {
        let file = file_of(&[&packed()]);
        let Frames { all, rest } = found(&file);
        assert_eq!(rest, Rest::Nothing);
        let places = |frame: &Frame| (frame.start, frame.length, frame.before, frame.lines);
        let length = TEXT.len() as u64;
        assert_eq!(
            all.iter().map(places).collect::<Vec<_>>(),
            [(0, length, 0, 2), (length, 3, 2, 1)]
        );
        assert_eq!(all[1].from, 20);
        let read: Vec<_> = all.iter().flat_map(|frame| unpack(&file, frame).unwrap()).collect();
        let mut plain = String::new();
        zstd::Decoder::new(&*packed()).unwrap().read_to_string(&mut plain).unwrap();
        assert_eq!(plain.as_bytes(), read);
        assert_eq!(plain, format!("{TEXT}{{}}\n"));
    }

    #[test]
    fn a_file_that_is_cut_anywhere_ends_after_its_last_complete_frame() {
        let bytes = packed();
        let first = found(&file_of(&[&bytes])).all[0].end() as usize;
        for cut in 0..bytes.len() {
            let Frames { all, rest } = found(&file_of(&[&bytes[..cut]]));
            assert_eq!(all.len(), usize::from(cut >= first), "cut at {cut}");
            let is_whole = cut == 0 || cut == first;
            assert_eq!(rest == Rest::Nothing, is_whole, "cut at {cut}");
            assert!(rest != Rest::Damaged, "cut at {cut}");
        }
        for zeros in [1, HEADER, 500] {
            let Frames { all, rest } = found(&file_of(&[&bytes, &vec![0; zeros]]));
            assert_eq!((all.len(), rest), (2, Rest::Torn(None)), "{zeros}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let (bytes, whole) = (packed(), format!("{TEXT}{{}}\n"));
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0x20;
            let file = file_of(&[&wrong]);
            let Frames { all, rest } = found(&file);
            let read: Result<Vec<_>, _> = all.iter().map(|frame| unpack(&file, frame)).collect();
            // Some bits of zstd's own header do not change what is read.
            let is_other = read.is_ok_and(|read| read.concat() != whole.as_bytes());
            assert!(rest != Rest::Nothing || !is_other, "byte {at}");
        }
    }

    #[test]
    fn the_next_header_is_found_after_damage() {
        let bytes = packed();
        let file = file_of(&[&[7; 3], &vec![1; 2 << 20], &bytes]);
        let length = file.metadata().unwrap().len();
        assert!(found(&file).rest == Rest::Damaged);
        assert_eq!(next_header(&file, 0, length).unwrap(), Some(3 + (2 << 20)));
        assert_eq!(next_header(&file, length - 5, length).unwrap(), None);
    }

    #[test]
    fn a_text_that_is_far_away_is_stored_once() {
        let mut state = 1_u32;
        let mut noise = |length: usize| -> Vec<u8> {
            let next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            };
            std::iter::repeat_with(next).take(length).collect()
        };
        let (file, between) = (noise(100_000), noise(3 << 20));
        let size = |parts: &[&[u8]]| pack(&parts.concat(), 1, 0).unwrap().len();
        let twice = size(&[&file, &between, &file]);
        assert!(twice < size(&[&file, &between]) + 1_000, "{twice}");
    }
}
