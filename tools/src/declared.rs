//! The encoding that a file declares.

use encoding_rs::{
    BIG5, EUC_JP, EUC_KR, Encoding, GBK, ISO_2022_JP, KOI8_U, REPLACEMENT, SHIFT_JIS, UTF_8,
    UTF_16BE, UTF_16LE, WINDOWS_874, WINDOWS_1252, WINDOWS_1254, X_USER_DEFINED,
};

/// An encoding other than UTF-8.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Declared {
    /// Python's Latin-1, in which each byte is one character. The web's is another.
    Latin1,
    Ascii,
    /// The web's encoding of this name, which may have more characters than Python's.
    Other(&'static Encoding, Strict),
    /// An encoding of Python that the web does not have: `cp437`.
    Unsupported(String),
}

/// The characters that Python's encoding of a name has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Strict {
    /// Those of the web's encoding.
    Same,
    /// Without the control characters that stand for unused bytes.
    Windows,
    /// Without Windows' characters in bytes 80 to 9F.
    Iso,
    Tis620,
    Gb2312,
    EucKr,
    /// JIS X 0208, without the rows that NEC and IBM added.
    Japanese,
    Big5,
    Koi8U,
}

impl Declared {
    /// Why a character cannot be written, if Python could not read it back.
    pub(crate) fn lacks(&self, letter: char) -> Option<String> {
        let has = match self {
            _ if letter.is_ascii() => true,
            Declared::Unsupported(name) => {
                return Some(format!("fixfly cannot write {name}, the encoding that it declares"));
            }
            Declared::Ascii => false,
            Declared::Latin1 => true,
            Declared::Other(encoding, strict) => strict.has(encoding, letter),
        };
        (!has).then(|| format!("its encoding has no {letter:?}"))
    }
}

impl Strict {
    fn has(self, encoding: &'static Encoding, letter: char) -> bool {
        // One table of Japanese characters serves three encodings of it.
        let encoding = if self == Strict::Japanese { SHIFT_JIS } else { encoding };
        let text = letter.to_string();
        let (bytes, _, is_lossy) = encoding.encode(&text);
        // A yen sign becomes a backslash.
        if is_lossy || encoding.decode_without_bom_handling(&bytes).0 != text {
            return false;
        }
        let (first, last) = match *bytes {
            [first, last] => (first, last),
            [only] => (only, only),
            _ => return self == Strict::Same,
        };
        match self {
            // The web's GBK has a euro sign in byte 80.
            Strict::Same => encoding != GBK || bytes.len() == 2,
            Strict::Windows => !('\u{80}'..='\u{9f}').contains(&letter),
            Strict::Iso => first >= 0xa0,
            Strict::Tis620 => first > 0xa0,
            Strict::Gb2312 => bytes.len() == 2 && is_gb2312(first, last),
            // The filler of syllables, A4D4, is of no use alone.
            Strict::EucKr => first >= 0xa1 && last >= 0xa1 && letter != '\u{3164}',
            Strict::Japanese => {
                let lacking = "\u{ff5e}\u{2225}\u{ff0d}\u{ffe0}\u{ffe1}\u{ffe2}";
                let is_row_13 = first == 0x87 && last < 0x9f;
                let is_half = (0xa1..=0xdf).contains(&first) && bytes.len() == 1;
                let is_full = bytes.len() == 2 && first < 0xed && !is_row_13;
                (is_half || is_full) && !lacking.contains(letter)
            }
            Strict::Big5 => {
                let lacking = "\u{2027}\u{fe51}\u{af}\u{ff5e}\u{2295}\u{2299}\u{2215}\u{fe68}\
                               \u{ffe5}\u{ffe0}\u{ffe1}\u{20ac}";
                let at = u16::from_be_bytes([first, last]);
                let is_there = (0xa140..0xc6a1).contains(&at) || (0xc940..0xf9d6).contains(&at);
                is_there && !lacking.contains(letter)
            }
            Strict::Koi8U => !"\u{45e}\u{40e}".contains(letter),
        }
    }
}

/// Whether GB 2312 has a character of GBK, by its bytes.
fn is_gb2312(first: u8, last: u8) -> bool {
    let ranges: &[(u8, u8)] = match first {
        // Two punctuation marks are other characters in Python: A1A4 and A1AA.
        0xa1 => &[(0xa1, 0xa3), (0xa5, 0xa9), (0xab, 0xfe)],
        0xa2 => &[(0xb1, 0xe2), (0xe5, 0xee), (0xf1, 0xfc)],
        0xa4 => &[(0xa1, 0xf3)],
        0xa5 => &[(0xa1, 0xf6)],
        0xa6 => &[(0xa1, 0xb8), (0xc1, 0xd8)],
        0xa7 => &[(0xa1, 0xc1), (0xd1, 0xf1)],
        0xa8 => &[(0xa1, 0xba), (0xc5, 0xe9)],
        0xa9 => &[(0xa4, 0xef)],
        0xd7 => &[(0xa1, 0xf9)],
        0xa3 | 0xb0..=0xf7 => &[(0xa1, 0xfe)],
        _ => &[],
    };
    ranges.iter().any(|(from, to)| (*from..=*to).contains(&last))
}

/// Bytes at the start of a file that may contain a declaration.
const START: usize = 1024;

/// The encoding that a comment of Python (`coding: latin-1`), an XML declaration
/// (`encoding="latin-1"`) or the header of a catalogue of translations
/// (`charset=latin-1`) declares at the start of a file.
pub(crate) fn encoding(bytes: &[u8]) -> Option<Declared> {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(START)]);
    let mut lines = start.lines().take(20).enumerate();
    let name = lines.find_map(|(at, line)| {
        let is_python = at < 2 && line.trim_start().starts_with('#');
        let is_xml = at == 0 && line.contains("<?xml");
        // A page or a catalogue; in a program, these words may be any text.
        let is_header = line.trim_start().starts_with(['<', '"']);
        match is_header && line.contains("charset=") {
            true => after(line, "charset"),
            false if is_python || is_xml => after(line, "coding"),
            false => None,
        }
    });
    named(name?)
}

/// The name after a key: `coding: NAME`, `coding="NAME"`.
fn after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(key)?;
    let rest = rest.strip_prefix([':', '='])?.trim_start_matches([' ', '\t', '"', '\'']);
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
    Some(&rest[..end])
}

fn named(name: &str) -> Option<Declared> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let latin = ["latin", "latin-1", "iso-latin-1", "8859", "iso8859"];
    let ascii = ["646", "us", "cp367", "ibm367", "ansi-x3.4-1968", "iso646-us"];
    let name = name.trim_end_matches("-unix").trim_end_matches("-dos");
    if latin.contains(&name) {
        return Some(Declared::Latin1);
    }
    // The web reads ASCII as Windows-1252; in Python it has no other bytes.
    if name.contains("ascii") || ascii.contains(&name) {
        return Some(Declared::Ascii);
    }
    let label = match name {
        "cp932" | "932" | "mskanji" | "ms-kanji" => "windows-31j",
        "cp949" | "949" | "ms949" | "uhc" => "windows-949",
        "cp936" | "936" | "ms936" => "gbk",
        "cp874" => "windows-874",
        "big5hkscs" | "hkscs" => "big5-hkscs",
        "s-jis" => "shift_jis",
        "euc-cn" | "gb2312-80" => "gb2312",
        _ => name,
    };
    let labels = [label.to_string(), label.replace('-', ""), label.replace('-', "_")];
    let found = labels.iter().find_map(|label| Encoding::for_label(label.as_bytes()));
    match found {
        Some(found) if [UTF_8, UTF_16LE, UTF_16BE].contains(&found) => None,
        Some(found) if ![REPLACEMENT, X_USER_DEFINED].contains(&found) => {
            let is_latin = found == WINDOWS_1252 && !label.contains("1252");
            Some(match is_latin {
                true => Declared::Latin1,
                false => Declared::Other(found, strict(found, label)),
            })
        }
        _ => is_codec(name).then(|| Declared::Unsupported(name.to_string())),
    }
}

fn strict(encoding: &'static Encoding, label: &str) -> Strict {
    let windows = [WINDOWS_874, WINDOWS_1254].contains(&encoding);
    match label {
        _ if windows && !label.contains("874") && !label.contains("1254") => {
            if label.contains("tis") { Strict::Tis620 } else { Strict::Iso }
        }
        _ if encoding.name().starts_with("windows-") => Strict::Windows,
        "windows-31j" | "ms932" | "windows-949" | "big5-hkscs" => Strict::Same,
        _ if encoding == GBK && !label.contains("gbk") => Strict::Gb2312,
        _ if encoding == EUC_KR => Strict::EucKr,
        _ if [SHIFT_JIS, EUC_JP, ISO_2022_JP].contains(&encoding) => Strict::Japanese,
        _ if encoding == BIG5 => Strict::Big5,
        _ if encoding == KOI8_U => Strict::Koi8U,
        _ => Strict::Same,
    }
}

/// Whether a name is that of another encoding of Python. Other words may follow `coding:`
/// or `charset=` in a file too.
fn is_codec(name: &str) -> bool {
    let is_utf_8 = ["utf-8-sig", "u8", "cp65001"].contains(&name) || name.starts_with("utf-8");
    let families = [
        "cp", "csibm", "ibm", "iso", "koi8", "utf", "u", "euc", "shift", "sjis", "s-jis", "big5",
        "gb", "ptcp", "kz", "hp-roman", "tis", "windows", "latin", "l",
    ];
    let has_digit = name.contains(|c: char| c.is_ascii_digit());
    let is_number = has_digit && name.chars().all(|c| c.is_ascii_digit());
    let is_family = has_digit && families.iter().any(|family| name.starts_with(family));
    let others = ["hz", "hz-gb-2312", "johab", "palmos", "ruscii", "thai", "punycode", "idna"];
    !is_utf_8 && (is_number || is_family || name.starts_with("mac-") || others.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_found() {
        let check = |text: &str, expected: Option<&str>| {
            let name = encoding(text.as_bytes()).map(|declared| match declared {
                Declared::Latin1 => "latin-1".to_string(),
                Declared::Ascii => "ascii".to_string(),
                Declared::Other(encoding, _) => encoding.name().to_string(),
                Declared::Unsupported(name) => format!("not {name}"),
            });
            assert_eq!(name.as_deref(), expected, "{text}");
        };
        check("# -*- coding: latin-1 -*-\n", Some("latin-1"));
        check("#!/usr/bin/python\n# vim: set fileencoding=ISO-8859-1 :\n", Some("latin-1"));
        check("#\n#\n# coding: latin-1\n", None);
        check("coding = latin-1\n", None);
        check("# coding=cp1251\n", Some("windows-1251"));
        check("# coding: euc_jp\n", Some("EUC-JP"));
        check("# coding: iso-8859-15\n", Some("ISO-8859-15"));
        check("# coding: utf-8\n# coding: latin-1", None);
        check("# coding: ascii\n", Some("ascii"));
        check("# coding: US-ASCII\n", Some("ascii"));
        check("# coding: cp819\n", Some("latin-1"));
        check("# coding: cp932\n", Some("Shift_JIS"));
        check("# coding: cp437\n", Some("not cp437"));
        check("# coding: mac_roman\n", Some("not mac-roman"));
        check("# coding: hz\n", Some("not hz"));
        check("# coding: iso2022_kr\n", Some("not iso2022-kr"));
        check("# coding: utf-8-sig\n", None);
        check("\"Content-Type: text/plain; charset=CHARSET\\n\"\n", None);
        check("def read(path, charset=None):\n", None);
        check("import x\nKIND = 'text/html; charset=latin-1'\n", None);
        check("<meta charset=\"koi8-r\">\n", Some("KOI8-R"));
        check("# coding: klingon\n", None);
        check("<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n", Some("latin-1"));
        check("msgid \"\"\n\"Content-Type: text/plain; charset=KOI8-R\\n\"\n", Some("KOI8-R"));
        check("# encoding matters\n", None);
        check("", None);
    }

    #[test]
    fn characters_are_those_of_python() {
        let check = |name: &str, there: &str, lacking: &str| {
            let declared = named(name).unwrap();
            for letter in there.chars() {
                assert_eq!(declared.lacks(letter), None, "{name} has {letter:?}");
            }
            for letter in lacking.chars() {
                assert!(declared.lacks(letter).is_some(), "{name} has no {letter:?}");
            }
        };
        check("ascii", "a~", "\u{e9}\u{20ac}");
        check("latin-1", "\u{e9}\u{85}", "");
        check("cp437", "a", "\u{e9}");
        check("gb2312", "a\u{4e2d}\u{3000}\u{2460}\u{ff01}", "\u{5586}\u{20ac}\u{2170}\u{b7}");
        check("gbk", "\u{4e2d}\u{5586}\u{b7}", "\u{ac00}\u{20ac}");
        check("euc-kr", "\u{ac00}\u{3000}", "\u{b620}\u{bdc1}");
        check("cp949", "\u{ac00}\u{b620}", "");
        for name in ["shift_jis", "euc_jp", "sjis"] {
            check(
                name,
                "\u{30c6}\u{4e9c}\u{7199}\u{ff71}\u{30fb}",
                "\u{2460}\u{7e8a}\u{ff5e}\u{a5}",
            );
        }
        check("cp932", "\u{2460}\u{7e8a}\u{ff5e}", "");
        check("big5", "\u{4e2d}\u{4e00}", "\u{7881}\u{20ac}\u{2460}");
        check("iso-8859-9", "\u{11f}\u{a0}", "\u{20ac}\u{2026}");
        check("cp1254", "\u{11f}\u{20ac}", "\u{81}");
        check("iso-8859-11", "\u{e01}\u{a0}", "\u{20ac}\u{2018}");
        check("tis-620", "\u{e01}", "\u{20ac}\u{a0}");
        check("iso-8859-15", "\u{20ac}\u{85}", "\u{a4}");
        check("koi8-u", "\u{457}", "\u{45e}");
    }
}
