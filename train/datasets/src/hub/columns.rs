//! Rows as the columns of a Parquet file, with lists and structures as such.

use parquet::basic::{Repetition, Type as Physical};
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::Type;
use serde_json::{Value, json};

use crate::item::Answer;
use crate::row::Row;

/// The columns. They are the same for every dataset, so that files of several can be
/// concatenated. The origin of a trace can hold another one, which no column can express:
/// it is JSON in text.
const SCHEMA: &str = "
message row {
  required binary id (STRING);
  required binary kind (STRING);
  required int64 tokens;
  required group messages (LIST) { repeated group list { required group element {
    required binary role (STRING);
    required binary content (STRING);
    required boolean loss;
  } } }
  required group origin {
    required binary run (STRING);
    required binary teacher (STRING);
    required binary policy (STRING);
    required binary task (STRING);
    required int64 sample;
    required int64 seed (INTEGER(64,false));
    required group failing_turns (LIST) { repeated group list { required int64 element; } }
    required binary answer (STRING);
    optional int64 answer_turn;
    optional binary model (STRING);
    optional group sampling {
      optional double temperature;
      optional double top_p;
      optional int64 top_k;
      optional int64 max_tokens;
      optional int64 seed (INTEGER(64,false));
    }
    optional group thinking {
      required binary mode (STRING);
      required binary told_by (STRING);
    }
    required binary wording (STRING);
    required binary prompt_sha256 (STRING);
    optional group verdict {
      required boolean solved;
      optional boolean hidden_tests_pass;
      required boolean exact_match;
    }
    optional binary reasoning (STRING);
    optional binary trace (STRING);
    required group masked (LIST) { repeated group list { required binary element (STRING); } }
  }
}";

pub(super) fn schema() -> Result<Type, ParquetError> {
    parse_message_type(SCHEMA)
}

/// A row as the JSON of its columns.
pub(super) fn record(row: &Row) -> Value {
    let mut record = json!(row);
    let (answer, turn) = match row.origin.answer {
        Answer::Turn(turn) => ("turn", json!(turn)),
        Answer::Original => ("original", Value::Null),
    };
    let trace = row.origin.trace.as_ref().map(|trace| json!(trace).to_string());
    let origin = &mut record["origin"];
    origin["answer"] = json!(answer);
    origin["answer_turn"] = turn;
    origin["trace"] = json!(trace);
    origin["masked"] = json!(row.origin.masked);
    record
}

/// The values of a leaf of the schema, with their levels of definition and repetition.
#[derive(Debug, Default)]
pub(super) struct Column {
    pub(super) values: Values,
    pub(super) defined: Vec<i16>,
    pub(super) repeated: Vec<i16>,
}

#[derive(Debug, Default)]
pub(super) enum Values {
    #[default]
    Unknown,
    Text(Vec<ByteArray>),
    Whole(Vec<i64>),
    Real(Vec<f64>),
    Flag(Vec<bool>),
}

/// Rows that wait to be written.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) all: Vec<Column>,
    pub(super) rows: usize,
    /// Bytes of text.
    pub(super) bytes: usize,
}

/// The place of a value: how often something was repeated and defined on the way to it, and
/// how deep in lists it is.
#[derive(Clone, Copy)]
struct Place {
    repeated: i16,
    defined: i16,
    depth: i16,
}

impl Columns {
    pub(super) fn new(schema: &Type) -> Self {
        let mut all = Vec::new();
        leaves(schema, &mut all);
        Columns { all, rows: 0, bytes: 0 }
    }

    /// Adds a row. The error names the column that cannot hold its value.
    pub(super) fn add(&mut self, schema: &Type, record: &Value) -> Result<(), String> {
        let mut leaf = 0;
        for field in schema.get_fields() {
            let place = Place { repeated: 0, defined: 0, depth: 0 };
            self.take(field, record.get(field.name()), place, &mut leaf)?;
        }
        self.rows += 1;
        Ok(())
    }

    fn take(
        &mut self,
        node: &Type,
        value: Option<&Value>,
        mut place: Place,
        leaf: &mut usize,
    ) -> Result<(), String> {
        let value = match value.filter(|value| !value.is_null()) {
            Some(value) => value,
            None if node.is_optional() => {
                self.absent(node, place, leaf);
                return Ok(());
            }
            None => return Err(format!("`{}` is missing", node.name())),
        };
        place.defined += i16::from(node.is_optional());
        if let Some(list) = repeated(node) {
            return self.items(list, value, place, leaf);
        }
        if node.is_group() {
            for field in node.get_fields() {
                self.take(field, value.get(field.name()), place, leaf)?;
            }
            return Ok(());
        }
        self.push(value, place, *leaf).ok_or_else(|| format!("`{}` is {value}", node.name()))?;
        *leaf += 1;
        Ok(())
    }

    fn items(
        &mut self,
        list: &Type,
        value: &Value,
        place: Place,
        leaf: &mut usize,
    ) -> Result<(), String> {
        let items = value.as_array().ok_or_else(|| format!("`{}` is no list", list.name()))?;
        if items.is_empty() {
            self.absent(list, place, leaf);
            return Ok(());
        }
        let first = *leaf;
        let depth = place.depth + 1;
        for (at, item) in items.iter().enumerate() {
            *leaf = first;
            let repeated = if at == 0 { place.repeated } else { depth };
            let place = Place { repeated, defined: place.defined + 1, depth };
            for element in list.get_fields() {
                self.take(element, Some(item), place, leaf)?;
            }
        }
        Ok(())
    }

    /// Notes in every leaf of a node that there is no value.
    fn absent(&mut self, node: &Type, place: Place, leaf: &mut usize) {
        if node.is_group() {
            return node.get_fields().iter().for_each(|field| self.absent(field, place, leaf));
        }
        let column = &mut self.all[*leaf];
        column.defined.push(place.defined);
        column.repeated.push(place.repeated);
        *leaf += 1;
    }

    fn push(&mut self, value: &Value, place: Place, leaf: usize) -> Option<()> {
        let column = &mut self.all[leaf];
        match &mut column.values {
            Values::Text(all) => {
                let text = value.as_str()?;
                self.bytes += text.len();
                all.push(text.into());
            }
            // The bits of an unsigned number are those of the column's signed one.
            Values::Whole(all) => {
                let unsigned = || value.as_u64().map(u64::cast_signed);
                all.push(value.as_i64().or_else(unsigned)?);
            }
            Values::Real(all) => all.push(value.as_f64()?),
            Values::Flag(all) => all.push(value.as_bool()?),
            Values::Unknown => return None,
        }
        column.defined.push(place.defined);
        column.repeated.push(place.repeated);
        Some(())
    }
}

/// The repeated child of a list.
fn repeated(node: &Type) -> Option<&Type> {
    match node.is_group().then(|| node.get_fields())? {
        [only] if only.get_basic_info().repetition() == Repetition::REPEATED => Some(only),
        _ => None,
    }
}

fn leaves(node: &Type, all: &mut Vec<Column>) {
    if node.is_group() {
        return node.get_fields().iter().for_each(|field| leaves(field, all));
    }
    let values = match node.get_physical_type() {
        Physical::BYTE_ARRAY => Values::Text(Vec::new()),
        Physical::INT64 => Values::Whole(Vec::new()),
        Physical::DOUBLE => Values::Real(Vec::new()),
        Physical::BOOLEAN => Values::Flag(Vec::new()),
        _ => Values::Unknown,
    };
    all.push(Column { values, ..Column::default() });
}
