//! Gives back the memory that a forked process inherited from fixfly. What stays forked for
//! long would otherwise keep a copy of all that fixfly changes later, and each fork of it
//! would copy the tables of all that fixfly has.

use std::os::fd::RawFd;

use nix::libc;

/// Length of the part of a line that is read: the addresses, what is allowed, the inode and
/// the start of the name.
const LINE: usize = 128;
/// The most mappings that are unmapped at once.
const MOST: usize = 256;

/// A line of `/proc/PID/maps`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mapping {
    start: usize,
    end: usize,
    /// It is private and writable, and no file is behind it.
    own: bool,
    /// A file is behind it.
    file: bool,
}

/// Unmaps what this freshly forked process can write and no file is behind, except where
/// `kept` lie and the zeroed data of programs and libraries. `maps` is its open
/// `/proc/self/maps`. Makes only system calls.
///
/// # Safety
/// Nothing may use what is unmapped afterwards: no allocated memory, no other thread's stack.
pub(super) unsafe fn forget(maps: RawFd, kept: &[usize]) {
    loop {
        let mut found = [(0, 0); MOST];
        let count = list(maps, kept, &mut found);
        for &(start, end) in found.iter().take(count) {
            // SAFETY: the caller uses none of it.
            unsafe { libc::munmap(std::ptr::with_exposed_provenance_mut(start), end - start) };
        }
        // SAFETY: plain system call on a number.
        if count < MOST || unsafe { libc::lseek(maps, 0, libc::SEEK_SET) } != 0 {
            return;
        }
    }
}

/// Lists what can be unmapped. Returns how many there are, at most as many as fit.
fn list(maps: RawFd, kept: &[usize], found: &mut [(usize, usize); MOST]) -> usize {
    let (mut piece, mut line) = ([0_u8; 4096], Line::default());
    let (mut before, mut count) = (None::<Mapping>, 0);
    loop {
        // SAFETY: the pointer and the length are those of `piece`.
        let read = unsafe { libc::read(maps, piece.as_mut_ptr().cast(), piece.len()) };
        let Some(read) = usize::try_from(read).ok().filter(|read| *read > 0) else { return count };
        for byte in piece.iter().take(read) {
            let Some(mapping) = line.take(*byte) else { continue };
            let Some(place) = found.get_mut(count) else { return count };
            if is_unused(&mapping, before, kept) {
                *place = (mapping.start, mapping.end);
                count += 1;
            }
            before = Some(mapping);
        }
    }
}

/// Whether a mapping can be unmapped. A library's zeroed data follow its file.
fn is_unused(mapping: &Mapping, before: Option<Mapping>, kept: &[usize]) -> bool {
    let is_data = before.is_some_and(|before| before.file && before.end == mapping.start);
    let is_kept = kept.iter().any(|at| (mapping.start..mapping.end).contains(at));
    mapping.own && !is_data && !is_kept
}

/// A line as it is read.
struct Line {
    bytes: [u8; LINE],
    length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Line { bytes: [0; LINE], length: 0 }
    }
}

impl Line {
    /// Adds a byte; a mapping when the line ends.
    fn take(&mut self, byte: u8) -> Option<Mapping> {
        if byte == b'\n' {
            let length = std::mem::take(&mut self.length);
            return self.bytes.get(..length).and_then(parse);
        }
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
        None
    }
}

/// `START-END PERMISSIONS OFFSET DEVICE INODE NAME`, numbers but the inode in base 16.
fn parse(line: &[u8]) -> Option<Mapping> {
    let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let (mut places, allowed) = (fields.next()?.split(|byte| *byte == b'-'), fields.next()?);
    let (start, end) = (address(places.next()?)?, address(places.next()?)?);
    let file = fields.nth(2)? != b"0";
    let name = fields.next().unwrap_or_default();
    let special = name.starts_with(b"[v") || name.starts_with(b"[u");
    let own = allowed.starts_with(b"rw") && allowed.ends_with(b"p") && !file && !special;
    Some(Mapping { start, end, own, file })
}

fn address(digits: &[u8]) -> Option<usize> {
    digits.iter().try_fold(0_usize, |value, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(value << 4 | digit as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_memory_of_no_file_is_unused() {
        const LINES: [(&str, bool); 9] = [
            ("55d0-55d5 rw-p 00001000 fe:00 131 /usr/bin/a b", false),
            // The zeroed data of the file before.
            ("55d5-55d6 rw-p 00000000 00:00 0 ", false),
            ("5600-5700 rw-p 00000000 00:00 0                          [heap]", true),
            ("7f00-7f10 rw-p 00000000 00:00 0 ", true),
            ("7f10-7f20 ---p 00000000 00:00 0 ", false),
            ("7f20-7f30 rw-s 00000000 00:01 77 /dev/zero (deleted)", false),
            ("7fa0-7fb0 rw-p 00000000 00:00 0 ", false),
            ("7ffc-7ffe rw-p 00000000 00:00 0                          [stack]", true),
            ("7fff-8000 r-xp 00000000 00:00 0                          [vdso]", false),
        ];
        let mut before = None;
        for (line, expected) in LINES {
            let mapping = parse(line.as_bytes()).unwrap();
            assert_eq!(is_unused(&mapping, before, &[0x7fa8]), expected, "{line}");
            before = Some(mapping);
        }
    }

    #[test]
    fn a_line_is_read_byte_by_byte_and_a_long_one_is_cut() {
        let name = "x".repeat(300);
        let text = format!("10-2f rw-p 0 00:00 0 \n2f-ff r--p 0 fe:00 7 /{name}\nff");
        let mut line = Line::default();
        let found: Vec<Mapping> = text.bytes().filter_map(|byte| line.take(byte)).collect();
        let expected = [
            Mapping { start: 0x10, end: 0x2f, own: true, file: false },
            Mapping { start: 0x2f, end: 0xff, own: false, file: true },
        ];
        assert_eq!(found, expected);
    }
}
