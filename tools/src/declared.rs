//! The encoding that a file declares.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// An encoding other than UTF-8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Declared {
    /// Python's Latin-1, in which each byte is one character. The web's is another.
    Latin1,
    Other(&'static Encoding),
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
        match line.contains("charset=") {
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
    let latin = ["latin-1", "latin1", "iso-8859-1", "iso8859-1", "iso-latin-1", "l1", "8859"];
    let name = name.trim_end_matches("-unix").trim_end_matches("-dos");
    if latin.contains(&name) {
        return Some(Declared::Latin1);
    }
    // The web reads ASCII as Windows-1252; in Python it has no other bytes.
    if name.contains("ascii") {
        return None;
    }
    let labels = [name.to_string(), name.replace('-', "")];
    let found = labels.iter().find_map(|label| Encoding::for_label(label.as_bytes()))?;
    (![UTF_8, UTF_16LE, UTF_16BE].contains(&found)).then_some(Declared::Other(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_found() {
        let check = |text: &str, expected: Option<&str>| {
            let name = encoding(text.as_bytes()).map(|declared| match declared {
                Declared::Latin1 => "latin-1",
                Declared::Other(encoding) => encoding.name(),
            });
            assert_eq!(name, expected, "{text}");
        };
        check("# -*- coding: latin-1 -*-\n", Some("latin-1"));
        check("#!/usr/bin/python\n# vim: set fileencoding=ISO-8859-1 :\n", Some("latin-1"));
        check("#\n#\n# coding: latin-1\n", None);
        check("coding = latin-1\n", None);
        check("# coding=cp1251\n", Some("windows-1251"));
        check("# coding: euc_jp\n", Some("EUC-JP"));
        check("# coding: iso-8859-15\n", Some("ISO-8859-15"));
        check("# coding: utf-8\n# coding: latin-1", None);
        check("# coding: ascii\n", None);
        check("# coding: klingon\n", None);
        check("<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n", Some("latin-1"));
        check("msgid \"\"\n\"Content-Type: text/plain; charset=KOI8-R\\n\"\n", Some("KOI8-R"));
        check("# encoding matters\n", None);
        check("", None);
    }
}
