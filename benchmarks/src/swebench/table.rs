//! Reads the rows of tables: JSON lines, JSON, CSV and Parquet, as pandas and `datasets` do.

use std::io::Read;
use std::path::Path;

use fixfly_runtime::{BenchmarkError, decode_utf8, parse_json};
use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

/// The rows that could be read, and the rows that could not.
#[derive(Clone, Debug, PartialEq)]
pub struct Table<T> {
    /// The rows that could be read.
    pub rows: Vec<T>,
    /// The others.
    pub unreadable: Vec<UnreadableRow>,
}

/// A row that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRow {
    /// The instance that it names, if it names one.
    pub id: Option<String>,
    /// One sentence that names the file, the row and the column.
    pub why: String,
}

/// Number of rows that a warning names.
const NAMED: usize = 5;

impl<T> Table<T> {
    /// Logs a warning about the rows that are left out.
    pub fn warn(&self) {
        for row in self.unreadable.iter().take(NAMED) {
            tracing::warn!("{}; the row is left out", row.why);
        }
        if self.unreadable.len() > NAMED {
            tracing::warn!("{} more rows are left out", self.unreadable.len() - NAMED);
        }
    }
}

/// A row and its position: `:3`, `, row 3`.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) place: String,
    /// The columns, or why they cannot be read.
    pub(crate) columns: Result<Map<String, Value>, String>,
}

impl Row {
    fn of(place: String, value: Value) -> Row {
        let columns = match value {
            Value::Object(columns) => Ok(columns),
            _ => Err("the row is no object".into()),
        };
        Row { place, columns }
    }
}

/// Parses each row of a file.
///
/// # Errors
/// One sentence that names the file and the remedy, if no row can be read.
pub(super) fn read<T>(
    file: &Path,
    parse: impl Fn(Map<String, Value>) -> Result<T, String>,
) -> Result<Table<(String, T)>, BenchmarkError> {
    let shown = file.display();
    let broken = |why: String| BenchmarkError::Broken(format!("{shown}{why}"));
    let bytes = std::fs::read(file).map_err(|e| broken(format!(": {e}")))?;
    let mut table = Table { rows: Vec::new(), unreadable: Vec::new() };
    for Row { place, columns } in rows(bytes).map_err(broken)? {
        let id = columns.as_ref().ok().and_then(|row| row.get("instance_id")?.as_str());
        let id = id.map(str::to_string);
        match columns.and_then(&parse) {
            Ok(row) => table.rows.push((place, row)),
            Err(why) => {
                let why = format!("{shown}{place}: {why}");
                table.unreadable.push(UnreadableRow { id, why });
            }
        }
    }
    match table.unreadable.as_slice() {
        [first, others @ ..] if table.rows.is_empty() => {
            Err(BenchmarkError::Broken(match others {
                [] => first.why.clone(),
                others => format!("{}; {} more rows cannot be read", first.why, others.len()),
            }))
        }
        _ => Ok(table),
    }
}

/// The rows of a file's bytes. An error starts with its position.
fn rows(bytes: Vec<u8>) -> Result<Vec<Row>, String> {
    let bytes = unpacked(bytes).map_err(|why| format!(": {why}"))?;
    if is_parquet(&bytes) {
        return super::parquet::rows(bytes).map_err(|why| format!(": {why}"));
    }
    let text = decode_utf8(bytes).map_err(|why| format!(": {why}"))?;
    let header = text.lines().next().unwrap_or_default();
    match text.trim_start().chars().next() {
        Some('[' | '{') | None => json(&text),
        Some(_) => match delimiter(header) {
            Some(delimiter) => Ok(csv(&text, delimiter)),
            None => json(&text),
        },
    }
}

/// Whether the bytes are those of a Parquet file.
pub(crate) fn is_parquet(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PAR1")
}

/// The bytes of a table, unpacked. An error says what to do about a file that is no table.
pub(crate) fn unpacked(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let bytes = decompressed(bytes)?;
    remedy(&bytes).map_or(Ok(bytes), |remedy| Err(remedy.to_string()))
}

/// Unpacks gzip and Zstandard.
fn decompressed(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let (how, result) = if bytes.starts_with(&[0x1f, 0x8b]) {
        ("gzip", MultiGzDecoder::new(&*bytes).read_to_end(&mut unpacked))
    } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        ("Zstandard", zstd::Decoder::new(&*bytes).and_then(|mut d| d.read_to_end(&mut unpacked)))
    } else {
        return Ok(bytes);
    };
    match result {
        Ok(_) => Ok(unpacked),
        Err(why) => Err(format!("its {how} data cannot be unpacked: {why}")),
    }
}

/// What to do about a file that is no table.
fn remedy(bytes: &[u8]) -> Option<&'static str> {
    let start = bytes.trim_ascii_start();
    let starts = |magic: &[u8]| {
        start.len() >= magic.len() && start[..magic.len()].eq_ignore_ascii_case(magic)
    };
    Some(match () {
        () if starts(b"BZh") => "it is packed by bzip2; unpack it with `bunzip2`",
        () if starts(b"\xfd7zXZ") => "it is packed by xz; unpack it with `unxz`",
        () if starts(b"PK\x03\x04") => "it is a zip archive; unpack it with `unzip`",
        () if starts(b"PARE") => "it is an encrypted Parquet file; decrypt it first",
        () if starts(b"ARROW1") => {
            "it is an Arrow file; convert it to JSON lines, for example with \
             `datasets.Dataset.from_file(FILE).to_json(NEW)`"
        }
        () if starts(b"version https://git-lfs") => {
            "it is a pointer of Git LFS, not the table; fetch the table with `git lfs pull`"
        }
        () if starts(b"<!doctype") || starts(b"<html") => {
            "it is a web page, not the table; download the file itself"
        }
        () => return None,
    })
}

/// The delimiter of a CSV table whose header names the instances.
fn delimiter(header: &str) -> Option<u8> {
    [',', '\t', ';'].into_iter().find_map(|delimiter| {
        let mut names = header.split(delimiter).map(|name| name.trim().trim_matches('"'));
        names.any(|name| name == "instance_id").then_some(delimiter as u8)
    })
}

/// The rows of a CSV table. As in pandas, an empty cell is a missing value.
fn csv(text: &str, delimiter: u8) -> Vec<Row> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
    let header = reader.headers().cloned().unwrap_or_default();
    let cell = |text: &str| match text {
        "" => Value::Null,
        text => Value::String(text.to_string()),
    };
    let mut lines = Lines { text: text.as_bytes(), at: 0, line: 1 };
    let mut place = |at: Option<&csv::Position>| {
        let byte = at.map_or(0, |at| usize::try_from(at.byte()).unwrap_or(usize::MAX));
        format!(":{}", lines.of(byte))
    };
    let row = |record: Result<csv::StringRecord, csv::Error>| match record {
        Ok(record) => {
            let names = header.iter().map(|name| name.trim().to_string());
            let columns = names.zip(record.iter().map(cell)).collect();
            Row { place: place(record.position()), columns: Ok(columns) }
        }
        Err(why) => {
            let place = place(why.position());
            let why = match why.kind() {
                csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                    format!("the row has {len} cells, the header {expected_len}")
                }
                _ => why.to_string(),
            };
            Row { place, columns: Err(why) }
        }
    };
    reader.records().map(row).collect()
}

/// Counts lines. The reader's own count is that of the line before if a quoted cell or an
/// empty line comes between.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl Lines<'_> {
    /// The line of a row that starts at this byte, or after line ends there.
    fn of(&mut self, byte: usize) -> usize {
        let is_end = |at: usize| matches!(self.text.get(at), Some(b'\r' | b'\n'));
        let mut byte = byte.clamp(self.at, self.text.len());
        while is_end(byte) {
            byte += 1;
        }
        self.line += self.text[self.at..byte].iter().filter(|byte| **byte == b'\n').count();
        self.at = byte;
        self.line
    }
}

/// The rows of JSON or JSON lines.
fn json(text: &str) -> Result<Vec<Row>, String> {
    let fault = match parse_json(text) {
        Ok(value) => return of_value(value).map_err(|why| format!(": {why}")),
        Err(fault) => fault,
    };
    let rows = json_lines(text);
    if rows.len() > 1 && rows.iter().all(|row| row.columns.is_err()) {
        let (line, column, why) = parts(&fault);
        return Err(format!(":{line}:{column}: the file is not JSON: {why}"));
    }
    Ok(rows)
}

/// The rows of JSON lines.
pub(crate) fn json_lines(text: &str) -> Vec<Row> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(at, line): (usize, &str)| match parse_json(line) {
        Ok(value) => Row::of(format!(":{}", at + 1), value),
        Err(why) => {
            let (_, column, why) = parts(&why);
            let columns = Err(format!("the line is not JSON: {why}"));
            Row { place: format!(":{}:{column}", at + 1), columns }
        }
    };
    lines.map(row).collect()
}

/// Line, column and message of an error.
fn parts(fault: &serde_json::Error) -> (usize, usize, String) {
    let (line, column) = (fault.line(), fault.column());
    let text = fault.to_string();
    let place = format!(" at line {line} column {column}");
    (line, column, text.strip_suffix(&place).unwrap_or(&text).to_string())
}

/// The rows of a JSON value, in every layout that pandas, `datasets` and the Hugging Face
/// hub write.
fn of_value(value: Value) -> Result<Vec<Row>, String> {
    let no_rows = || "it has no rows".to_string();
    let mut table = match value {
        Value::Array(rows) => return Ok(numbered(rows)),
        Value::Object(table) => table,
        _ => return Err(no_rows()),
    };
    match (table.get("instance_id"), table.get("data"), table.get("rows")) {
        (Some(Value::Object(_) | Value::Array(_)), ..) => return Ok(by_column(&table)),
        (Some(_), ..) => return Ok(vec![Row { place: String::new(), columns: Ok(table) }]),
        (None, Some(Value::Array(_)), _) => {
            let Some(Value::Array(rows)) = table.remove("data") else { return Err(no_rows()) };
            return Ok(match table.remove("columns") {
                Some(Value::Array(names)) => numbered(split(&names, rows)),
                _ => numbered(rows),
            });
        }
        (None, _, Some(Value::Array(_))) => {
            let Some(Value::Array(rows)) = table.remove("rows") else { return Err(no_rows()) };
            let row = |mut row: Value| match row.get_mut("row") {
                Some(inner @ Value::Object(_)) => inner.take(),
                _ => row,
            };
            return Ok(numbered(rows.into_iter().map(row).collect()));
        }
        _ => {}
    }
    if table.len() == 1 && table.values().all(Value::is_array) {
        // A table with one split.
        return of_value(table.into_iter().map(|(_, rows)| rows).next().unwrap_or_default());
    }
    if table.values().any(Value::is_object) {
        return Ok(table.into_iter().map(keyed).collect());
    }
    Err(no_rows())
}

fn numbered(rows: Vec<Value>) -> Vec<Row> {
    let rows = rows.into_iter().enumerate();
    rows.map(|(at, row)| Row::of(format!(", row {}", at + 1), row)).collect()
}

/// A row by the id of its instance. It need not repeat the id.
fn keyed((key, mut row): (String, Value)) -> Row {
    if let Value::Object(columns) = &mut row {
        columns.entry("instance_id").or_insert_with(|| Value::String(key.clone()));
    }
    Row::of(format!(", `{key}`"), row)
}

/// Rows of cells, as `orient="split"` of pandas writes them.
fn split(names: &[Value], rows: Vec<Value>) -> Vec<Value> {
    let row = |row: Value| match row {
        Value::Array(cells) if cells.len() == names.len() => {
            let names = names.iter().map(|name| name.as_str().unwrap_or_default().to_string());
            Value::Object(names.zip(cells).collect())
        }
        other => other,
    };
    rows.into_iter().map(row).collect()
}

/// The rows of columns: lists, or objects by index as pandas writes them by default.
fn by_column(table: &Map<String, Value>) -> Vec<Row> {
    let keys: Vec<String> = match &table["instance_id"] {
        Value::Array(ids) => (0..ids.len()).map(|at| at.to_string()).collect(),
        Value::Object(ids) => ids.keys().cloned().collect(),
        _ => Vec::new(),
    };
    let cell = |column: &Value, key: &str| match column {
        Value::Array(cells) => cells.get(key.parse::<usize>().ok()?).cloned(),
        column => column.get(key).cloned(),
    };
    let row = |key: &String| {
        let cells = table.iter();
        let columns =
            cells.filter_map(|(name, column)| Some((name.clone(), cell(column, key)?))).collect();
        Value::Object(columns)
    };
    numbered(keys.iter().map(row).collect())
}

#[cfg(test)]
#[path = "table/tests.rs"]
mod tests;
