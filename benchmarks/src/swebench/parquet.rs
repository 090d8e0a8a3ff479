//! Reads rows of a Parquet file, the format of tables on the Hugging Face hub.

use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use serde_json::Value;

/// Each row with its position.
pub(super) fn rows(bytes: Vec<u8>) -> Result<Vec<(String, Value)>, String> {
    let remedy = "if its compression is another than Snappy or gzip, turn it into JSON lines: \
                python3 -c \"import pandas; \
                pandas.read_parquet('FILE').to_json('FILE.jsonl', orient='records', lines=True)\"";
    let fault = |place: String, why: parquet::errors::ParquetError| {
        format!("{place}the Parquet file cannot be read: {why}; {remedy}")
    };
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes))
        .map_err(|e| fault(String::new(), e))?;
    let rows = reader.get_row_iter(None).map_err(|e| fault(String::new(), e))?;
    rows.enumerate()
        .map(|(at, row)| {
            let place = format!(", row {}", at + 1);
            match row {
                Ok(row) => Ok((place, row.to_json_value())),
                Err(why) => Err(fault(format!("row {}: ", at + 1), why)),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by pyarrow: `scripts/goldens/parquet.py`.
    const TABLE: &[u8] = include_bytes!("fixtures/table.parquet");

    #[test]
    fn a_table_of_pyarrow_is_read() {
        let rows = rows(TABLE.to_vec()).unwrap();
        let expected = serde_json::json!({
            "instance_id": "a__b-1", "repo": "a/b", "base_commit": "0123456789abcdef",
            "problem_statement": "It breaks.\nWhy? \u{1f41b}", "patch": "p", "test_patch": "t",
            "version": "1.0", "FAIL_TO_PASS": ["x (m.C)", "y"], "PASS_TO_PASS": "[\"z\"]",
            "hints": null, "number": 7,
        });
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0], (", row 1".to_string(), expected));
        assert_eq!(rows[1].1["FAIL_TO_PASS"], serde_json::json!([]));
    }

    #[test]
    fn a_torn_table_is_reported() {
        let why = rows(TABLE[..TABLE.len() / 2].to_vec()).unwrap_err();
        assert!(why.starts_with("the Parquet file cannot be read: "), "{why}");
    }
}
