use std::io::Write;

use serde_json::json;

use super::*;

const LINES: &str = "{\"instance_id\":\"a\",\"n\":\"1\"}\n{\"instance_id\":\"b\",\"n\":null}\n";

#[track_caller]
fn check(bytes: impl AsRef<[u8]>, expected: Result<&[(&str, &str)], &str>) {
    let found = rows(bytes.as_ref().to_vec());
    let found: Result<Vec<(String, String)>, String> = found.map(|rows| {
        let cell = |row: Row| match row.columns {
            Ok(columns) => columns["instance_id"].as_str().unwrap_or("?").to_string(),
            Err(why) => format!("! {why}"),
        };
        rows.into_iter().map(|row| (row.place.clone(), cell(row))).collect()
    });
    let expected = expected.map(|rows| {
        rows.iter().map(|(place, id)| (place.to_string(), id.to_string())).collect::<Vec<_>>()
    });
    assert_eq!(found, expected.map_err(str::to_string));
}

#[test]
fn every_layout_of_json_is_read() {
    let lines = [(":1", "a"), (":2", "b")];
    check(LINES, Ok(&lines));
    check(format!("\u{feff}{LINES}"), Ok(&lines));
    check(LINES.replace('\n', "\r\n"), Ok(&lines));
    check(LINES.replace('\n', "\n\n  \n"), Ok(&[(":1", "a"), (":4", "b")]));
    check(LINES.trim_end(), Ok(&lines));
    check(LINES.lines().next().unwrap(), Ok(&[("", "a")]));
    let (a, b) = (json!({ "instance_id": "a" }), json!({ "instance_id": "b" }));
    let numbered = [(", row 1", "a"), (", row 2", "b")];
    for value in [
        json!([a, b]),
        json!({ "data": [a, b] }),
        json!({ "schema": { "fields": [] }, "data": [a, b] }),
        json!({ "columns": ["instance_id", "n"], "index": [0, 1], "data": [["a", 1], ["b", 2]] }),
        json!({ "rows": [{ "row_idx": 0, "row": a }, { "row_idx": 1, "row": b }] }),
        json!({ "rows": [a, b], "total": 2 }),
        json!({ "test": [a, b] }),
        json!({ "instance_id": { "0": "a", "1": "b" }, "n": { "0": 1, "1": 2 } }),
        json!({ "instance_id": ["a", "b"], "n": [1, 2] }),
    ] {
        check(value.to_string(), Ok(&numbered));
        check(format!("\u{feff}{value:#}\r\n"), Ok(&numbered));
    }
    check(json!({ "a": a, "b": { "n": 1 } }).to_string(), Ok(&[(", `a`", "a"), (", `b`", "b")]));
    check("", Ok(&[]));
    check("[]", Ok(&[]));
}

#[test]
fn csv_and_packed_tables_are_read() {
    let csv = "instance_id,patch,n\na,\"x\n,\"\"y\",1\nb,,2\n";
    check(csv, Ok(&[(":2", "a"), (":4", "b")]));
    check(csv.replace(',', "\t").replace('\n', "\r\n"), Ok(&[(":2", "a"), (":4", "b")]));
    check(
        "n,\"instance_id\"\n1,a\n2\n",
        Ok(&[(":2", "a"), (":3", "! the row has 1 cells, the header 2")]),
    );
    let rows = rows(csv.as_bytes().to_vec()).unwrap();
    let columns = rows[0].columns.as_ref().unwrap();
    assert_eq!((&columns["patch"], &columns["n"]), (&json!("x\n,\"y"), &json!("1")));
    assert_eq!(rows[1].columns.as_ref().unwrap()["patch"], Value::Null);

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(LINES.as_bytes()).unwrap();
    check(gzip.finish().unwrap(), Ok(&[(":1", "a"), (":2", "b")]));
    check(zstd::encode_all(LINES.as_bytes(), 1).unwrap(), Ok(&[(":1", "a"), (":2", "b")]));
}

#[test]
fn a_bad_line_costs_itself() {
    check(
        format!("{LINES}{{\"instance_id\": x\n[1]\n{{\"instance_id\":\"\\ud800\",\"x\":NaN}}"),
        Ok(&[
            (":1", "a"),
            (":2", "b"),
            (":3:17", "! the line is not JSON: expected value"),
            (":4", "! the row is no object"),
            (":5", "\u{fdd0}"),
        ]),
    );
    check(
        "[{\"instance_id\": \"a\"}, 5]",
        Ok(&[(", row 1", "a"), (", row 2", "! the row is no object")]),
    );
}

#[test]
fn what_is_no_table_is_named_with_a_remedy() {
    let utf16: Vec<u8> =
        format!("\u{feff}{LINES}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    check(
        utf16,
        Err(
            ": it is UTF-16LE text; convert it to UTF-8, for example with `iconv -f UTF-16LE -t UTF-8`",
        ),
    );
    for (bytes, part) in [
        (
            &b"[\n{\"instance_id\": \"a\"},\n{\"instance_id\" 5}\n]"[..],
            ":3:16: the file is not JSON: expected `:`",
        ),
        (b"5", ": it has no rows"),
        (b"{\"a\": 1}", ": it has no rows"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "it is a web page"),
        (b"\xfd7zXZ\0..", "unxz"),
        (b"BZh91AY", "bunzip2"),
        (b"PK\x03\x04..", "unzip"),
        (b"ARROW1\0\0", "to_json"),
        (b"PARE....", "encrypted"),
        (b"\x1f\x8b\x08broken", "its gzip data cannot be unpacked"),
        (b"{\"a\": \"\xe9\"}", "byte 8 of line 1 is not UTF-8"),
    ] {
        let why = rows(bytes.to_vec()).unwrap_err();
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn a_table_without_a_readable_row_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.jsonl");
    let parse = |row: Map<String, Value>| match row["instance_id"].as_str() {
        Some("b") => Err("`n` is missing".to_string()),
        id => Ok(id.map(str::to_string)),
    };
    std::fs::write(&file, LINES).unwrap();
    let table = read(&file, parse).unwrap();
    assert_eq!(table.rows, [(":1".to_string(), Some("a".to_string()))]);
    let why = format!("{}:2: `n` is missing", file.display());
    assert_eq!(table.unreadable, [UnreadableRow { id: Some("b".into()), why: why.clone() }]);
    std::fs::write(&file, LINES.replace("\"a\"", "\"b\"")).unwrap();
    let refused = read(&file, parse).unwrap_err().to_string();
    assert_eq!(refused, format!("{}; 1 more rows cannot be read", why.replace(":2:", ":1:")));
}
