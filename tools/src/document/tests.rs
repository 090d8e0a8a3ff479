use super::*;

/// Replaces `old` in a file by `new`.
#[track_caller]
fn check(file: &[u8], old: &str, new: &str, expected: &[u8]) {
    let document = Document::read(file.to_vec()).unwrap();
    let from = document.shown().find(old).unwrap_or_else(|| panic!("{}", document.shown()));
    let bytes = document.replaced(from, from + old.len(), new).unwrap();
    let [is, should] = [&*bytes, expected].map(String::from_utf8_lossy);
    assert_eq!(bytes, expected, "{is:?} is not {should:?}");
}

#[test]
fn line_endings_are_those_of_the_lines_around() {
    check(b"a\r\nb\r\n", "a\nb\n", "c\nb\n", b"c\r\nb\r\n");
    check(b"a\r\nb\r\nc\n", "b", "b\nx", b"a\r\nb\r\nx\r\nc\n");
    check(b"a\nb\r\nc\n", "b\nc", "x\nc", b"a\nx\r\nc\n");
    check(b"a\nb\r\nc\n", "a\nb\nc\n", "A\nb\nC\n", b"A\nb\r\nC\n");
    check(b"a\nb\r\nc\n", "a\nb\nc\n", "A\nnew\nb\nC\n", b"A\nnew\nb\r\nC\n");
    check(b"a\r\nb", "b", "b\nc\n", b"a\r\nb\r\nc\r\n");
    check(b"a", "a", "a\nb", b"a\nb");
    check(b"a\rb\r", "b\n", "b\nc\n", b"a\rb\rc\r");
    check(b"a\r\r\nb\r\n", "a\nb", "a\nc", b"a\r\r\nc\r\n");
    check(b"a\r\r\nb\n", "a", "x\r\r\ny", b"x\r\r\ny\r\r\nb\n");
    check(b"a\rb\n", "a\rb", "x", b"x\n");
}

#[test]
fn the_rest_of_the_bytes_stays() {
    check(b"\xef\xbb\xbfa\n", "a", "b", b"\xef\xbb\xbfb\n");
    // Latin-1, declared.
    check(
        b"# coding: latin-1\nx = '\xe9'\ny\n",
        "y",
        "\u{e8}",
        b"# coding: latin-1\nx = '\xe9'\n\xe8\n",
    );
    check(b"# coding: latin-1\nx\n", "x", "\u{e8}", b"# coding: latin-1\n\xe8\n");
    check(b"# coding: cp1251\n'\xe9'\nx\n", "'\u{439}'", "\u{437}", b"# coding: cp1251\n\xe7\nx\n");
    check(
        b"# coding: shift_jis\n\x83e\nx\n",
        "x",
        "\u{30c6}",
        b"# coding: shift_jis\n\x83e\n\x83e\n",
    );
    // Bytes of an encoding that cannot be written, and a declaration that is changed too.
    check(b"# coding: cp437\n\x82\nz\n", "z", "y", b"# coding: cp437\n\x82\ny\n");
    check(b"# coding: cp437\n\x82x\n", "\\x82x", "\\x82y", b"# coding: cp437\n\x82y\n");
    check(
        b"# coding: ascii\nx\n",
        "ascii\nx",
        "utf-8\n\u{e9}",
        "# coding: utf-8\n\u{e9}\n".as_bytes(),
    );
    check(b"# coding: iso-8859-9\n\x80x\n", "x", "\u{11f}", b"# coding: iso-8859-9\n\x80\xf0\n");
    // A declaration that the text contradicts.
    check(
        "# coding: latin-1\n\u{e9}x\n".as_bytes(),
        "x",
        "\u{2014}",
        "# coding: latin-1\n\u{e9}\u{2014}\n".as_bytes(),
    );
    // No encoding: bytes stay bytes, and can be named.
    check(b"a\xff\r\n\xc3\xa9\xe9b\r\n", "a", "c", b"c\xff\r\n\xc3\xa9\xe9b\r\n");
    check(b"a\xffb\n", "a\\xffb", "x\\xffy\\xfe", b"x\xffy\\xfe\n");
    check(b"'\\xff'\n\xff\n", "'\\xff'", "'\\xff\\xff'", b"'\\xff\\xff'\n\xff\n");
    // UTF-16.
    check(b"\xff\xfea\0\r\0\n\0", "a", "b\nc", b"\xff\xfeb\0\r\0\n\0c\0\r\0\n\0");
    check(b"\xfe\xff\0a", "a", "\u{1f41b}", b"\xfe\xff\xd8\x3d\xdc\x1b");
}

#[test]
fn every_text_is_shown_as_lines() {
    let check = |file: &[u8], expected: Option<&str>| {
        let shown = Document::read(file.to_vec()).map(|document| document.shown());
        assert_eq!(shown.as_deref(), expected, "{file:?}");
    };
    check(b"", Some(""));
    check(b"a\r\nb\rc\n", Some("a\nb\rc\n"));
    check(b"a\r\r\r\nb\r", Some("a\nb\r"));
    check(b"a\rb", Some("a\nb"));
    check(b"\xef\xbb\xbfa", Some("a"));
    check(b"\xef\xbb\xbf\xff", Some("\\xff"));
    check(b"\xff\xfea\0", Some("a"));
    check(b"\xff\xfe\0\xd8", None);
    check(b"a\0b", None);
    check(b"\x89PNG\r\n\x1a\n\0", None);
    check("\u{f7ff}\u{e9}".as_bytes(), Some("\u{f7ff}\u{e9}"));
    check(b"\xef\x9f\xbf \xff", None);
    assert!(Document::read(b"\xff".to_vec()).unwrap().note().is_some());
    assert!(Document::read("\u{f7ff}".into()).unwrap().note().is_none());
}

#[test]
fn what_an_encoding_lacks_is_refused() {
    let check = |file: &[u8], new: &str, expected: &str| {
        let document = Document::read(file.to_vec()).unwrap();
        let end = document.shown().len();
        assert_eq!(document.replaced(end, end, new).unwrap_err(), expected);
    };
    check(b"# coding: latin-1\n\xe9", "\u{20ac}", "its encoding has no '\u{20ac}'");
    check(b"# coding: cp1251\n\xe9", "\u{3042}", "its encoding has no '\u{3042}'");
    check(b"# coding: ascii\nx", "\u{e9}", "its encoding has no '\u{e9}'");
    check(b"# coding: gb2312\nx", "\u{5586}", "its encoding has no '\u{5586}'");
    check(b"# coding: shift_jis\nx", "\u{2460}", "its encoding has no '\u{2460}'");
    check(b"# coding: euc-kr\nx", "\u{b620}", "its encoding has no '\u{b620}'");
    check(b"# coding: iso-8859-9\nx", "\u{20ac}", "its encoding has no '\u{20ac}'");
    let unsupported = "fixfly cannot write cp437, the encoding that it declares";
    check(b"# coding: cp437\n\x82", "\u{e9}", unsupported);
    check(b"\xff", "\u{f7ff}", "it cannot contain '\\u{f7ff}'");
    let raw = Document::read(b"\xff".to_vec()).unwrap();
    assert!(raw.is_boundary(0) && !raw.is_boundary(1) && raw.is_boundary(4));
    assert!(raw.replaced(1, 2, "x").is_err());
}

#[test]
fn new_files_are_in_the_encoding_that_they_declare() {
    let check = |text: &str, expected: Result<&[u8], &str>| {
        let bytes = Document::created(text);
        assert_eq!(bytes.as_deref().map_err(String::as_str), expected, "{text:?}");
    };
    check("\u{e9}\r\n", Ok("\u{e9}\r\n".as_bytes()));
    check("\u{feff}\u{e9}", Ok("\u{feff}\u{e9}".as_bytes()));
    check("# coding: latin-1\n\u{e9}", Ok(b"# coding: latin-1\n\xe9"));
    check("# coding: gb2312\n\u{4e2d}", Ok(b"# coding: gb2312\n\xd6\xd0"));
    check("# coding: gb2312\n\u{5586}", Err("its encoding has no '\u{5586}'"));
    check("# coding: ascii\n\u{e9}", Err("its encoding has no '\u{e9}'"));
}

proptest::proptest! {
    /// A change touches what it names, and nothing else.
    #[test]
    fn bytes_outside_of_a_change_stay(
        head in "[a\u{e9}]{0,3}", tail in "[b\u{e9}]{0,3}",
        parts in proptest::collection::vec(
            proptest::sample::select(vec![&b"a\r\n"[..], b"b\n", b"\xff", b"\xc3\xa9", b"c", b"\r", b"\\xff"]), 0..12),
        new in "[xy\n]{0,6}",
    ) {
        let before = [head.as_bytes(), &parts.concat(), b"OLD", &parts.concat(), tail.as_bytes()].concat();
        let document = Document::read(before.clone()).unwrap();
        let at = document.shown().find("OLD").unwrap();
        let after = document.replaced(at, at + 3, &new).unwrap();
        let place = before.windows(3).position(|part| part == b"OLD").unwrap();
        proptest::prop_assert_eq!(&after[..place], &before[..place]);
        proptest::prop_assert!(after.ends_with(&before[place + 3..]));
        let middle = &after[place..after.len() - (before.len() - place - 3)];
        let middle = String::from_utf8(middle.to_vec()).unwrap();
        proptest::prop_assert_eq!(middle.replace("\r\n", "\n").replace('\r', "\n"), new);
        let same = document.replaced(at, at + 3, "OLD").unwrap();
        proptest::prop_assert_eq!(same, before);
    }
}
