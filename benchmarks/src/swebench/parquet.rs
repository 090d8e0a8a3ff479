//! Reads rows of a Parquet file, the format of tables on the Hugging Face hub.

use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use super::table::Row;

type File = SerializedFileReader<bytes::Bytes>;

/// Each row. Columns are read one by one: a column that cannot be read costs only itself,
/// from the row where that is so.
pub(crate) fn rows(bytes: Vec<u8>) -> Result<Vec<Row>, String> {
    let fault = |why: ParquetError| format!("the Parquet file cannot be read: {why}");
    let file = File::new(bytes::Bytes::from(bytes)).map_err(fault)?;
    let metadata = file.metadata().file_metadata();
    let mut rows = Vec::new();
    for field in metadata.schema().get_fields() {
        if let Err((at, why)) = column(&file, field, &mut rows) {
            let name = field.name();
            tracing::warn!("column `{name}` cannot be read from row {}: {why}", at + 1);
            let is_empty = at == 0 && metadata.schema().get_fields().len() == 1;
            if is_empty || name == "instance_id" {
                return Err(format!("row {}: column `{name}` cannot be read: {why}", at + 1));
            }
        }
    }
    let rows = rows.into_iter().enumerate();
    Ok(rows.map(|(at, row)| Row { place: format!(", row {}", at + 1), columns: Ok(row) }).collect())
}

/// Adds a column to each row. An error names the first row that has none.
fn column(
    file: &File,
    field: &Arc<Type>,
    rows: &mut Vec<Map<String, Value>>,
) -> Result<(), (usize, ParquetError)> {
    let root = file.metadata().file_metadata().schema().name();
    let only = Type::group_type_builder(root).with_fields(vec![field.clone()]).build();
    let cells = only.and_then(|only| file.get_row_iter(Some(only))).map_err(|why| (0, why))?;
    for (at, cells) in cells.enumerate() {
        // The count in the file's metadata is not to be trusted with an allocation.
        if at == rows.len() {
            rows.push(Map::new());
        }
        if let Value::Object(cells) = cells.map_err(|why| (at, why))?.to_json_value() {
            rows[at].extend(cells);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by pyarrow: `scripts/goldens/parquet.py`.
    const TABLE: &[u8] = include_bytes!("fixtures/table.parquet");

    fn check(table: &[u8]) {
        let rows = rows(table.to_vec()).unwrap();
        let expected = serde_json::json!({
            "instance_id": "a__b-1", "repo": "a/b", "base_commit": "0123456789abcdef",
            "problem_statement": "It breaks.\nWhy? \u{1f41b}", "patch": "p", "test_patch": "t",
            "version": "1.0", "FAIL_TO_PASS": ["x (m.C)", "y"], "PASS_TO_PASS": "[\"z\"]",
            "hints": null, "number": 7,
        });
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].place, ", row 1");
        assert_eq!(Value::Object(rows[0].columns.clone().unwrap()), expected);
        assert_eq!(rows[1].columns.as_ref().unwrap()["FAIL_TO_PASS"], serde_json::json!([]));
    }

    #[test]
    fn a_table_of_pyarrow_is_read_whatever_its_compression() {
        check(TABLE);
        check(include_bytes!("fixtures/table.gzip.parquet"));
        check(include_bytes!("fixtures/table.zstd.parquet"));
        check(include_bytes!("fixtures/table.brotli.parquet"));
        check(include_bytes!("fixtures/table.lz4.parquet"));
        check(include_bytes!("fixtures/table.none.parquet"));
    }

    #[test]
    fn columns_that_nobody_needs_do_not_cost_the_table() {
        // Timestamps, decimals, maps, categories, NaN, and a text that is not UTF-8.
        let rows = rows(include_bytes!("fixtures/columns.parquet").to_vec()).unwrap();
        let ids: Vec<_> =
            rows.iter().map(|row| &row.columns.as_ref().unwrap()["instance_id"]).collect();
        assert_eq!(ids, ["a__b-1", "a__b-2", "a__b-3"]);
        let row = rows[2].columns.as_ref().unwrap();
        assert_eq!((&row["score"], &row["kind"]), (&Value::Null, &Value::from("easy")));
        assert_eq!(row.get("latin"), None);
    }

    #[test]
    fn a_torn_table_is_reported() {
        let why = rows(TABLE[..TABLE.len() / 2].to_vec()).unwrap_err();
        assert!(why.starts_with("the Parquet file cannot be read: "), "{why}");
    }
}
