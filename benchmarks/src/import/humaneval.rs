//! HumanEvalFix: the rows of HumanEvalPack, as JSON lines or Parquet.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use fixfly_runtime::{BenchmarkError, decode_utf8};
use serde_json::{Map, Value};

use super::cases;
use super::set::{LeftOut, Program, Set, unix};
use crate::swebench::parquet;
use crate::swebench::table::{Row, is_parquet, json_lines, unpacked};

/// The columns that a task is made of.
const COLUMNS: [&str; 6] =
    ["task_id", "prompt", "canonical_solution", "buggy_solution", "entry_point", "test"];

/// Reads the file of a set.
///
/// # Errors
/// One sentence that names the file, the row and the column.
pub(super) fn read(file: &Path) -> Result<Set, BenchmarkError> {
    let shown = file.display();
    let broken = |why: String| BenchmarkError::Broken(format!("{shown}{why}"));
    let bytes = std::fs::read(file).map_err(|why| broken(format!(" cannot be read: {why}")))?;
    set(bytes).map_err(broken)
}

/// The set of a file's bytes. An error starts with its position.
fn set(bytes: Vec<u8>) -> Result<Set, String> {
    let mut set = Set {
        name: "humanevalfix",
        framework: "unittest",
        programs: Vec::new(),
        left_out: Vec::new(),
        files: BTreeMap::from([("tests/__init__.py".to_string(), String::new())]),
    };
    let mut places: HashMap<String, String> = HashMap::new();
    for Row { place, columns } in rows(bytes)? {
        let columns = columns.map_err(|why| format!("{place}: {why}"))?;
        let task = Columns { place: &place, columns: &columns };
        let (task_id, name) = (task.text("task_id")?, task.name()?);
        if let Some(earlier) = places.insert(name.clone(), place.clone()) {
            let earlier = earlier.trim_start_matches([':', ',', ' ']);
            let why = format!("the column `task_id` is `{task_id}`, as before (`{earlier}`)");
            return Err(format!("{place}: {why}; each row needs a `task_id` of its own"));
        }
        match program(&task, &name)? {
            Ok((program, tests)) => {
                set.files.insert(program.tests.clone(), tests);
                set.programs.push(program);
            }
            Err(left_out) => set.left_out.push(left_out),
        }
    }
    Ok(set)
}

/// The rows of a file. The first one shows whether the file has the format.
fn rows(bytes: Vec<u8>) -> Result<Vec<Row>, String> {
    let bytes = unpacked(bytes).map_err(|why| format!(": {why}"))?;
    let rows = match is_parquet(&bytes) {
        true => parquet::rows(bytes).map_err(|why| format!(": {why}"))?,
        false => json_lines(&decode_utf8(bytes).map_err(|why| format!(": {why}"))?),
    };
    let has_column =
        |columns: &Map<String, Value>| COLUMNS.iter().any(|c| columns.contains_key(*c));
    match rows.first() {
        None => Err(" has no rows".to_string()),
        Some(Row { columns: Ok(columns), .. }) if !has_column(columns) => Err(unknown()),
        Some(Row { columns: Err(_), .. }) if rows.iter().all(|row| row.columns.is_err()) => {
            Err(unknown())
        }
        _ => Ok(rows),
    }
}

/// An error about a file in another format.
fn unknown() -> String {
    format!(
        " is no set that fixfly can import: that is HumanEvalFix as JSON lines or Parquet, with \
         the columns {}, or a folder of QuixBugs, with python_programs and \
         correct_python_programs",
        COLUMNS.join(", ")
    )
}

/// The columns of a row, and its position.
struct Columns<'a> {
    place: &'a str,
    columns: &'a Map<String, Value>,
}

impl Columns<'_> {
    /// The text of a column.
    fn text(&self, column: &str) -> Result<&str, String> {
        let place = self.place;
        match self.columns.get(column) {
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(format!("{place}: the column `{column}` is no text")),
            None => Err(format!("{place}: the column `{column}` is missing")),
        }
    }

    /// The text of a column that need not be there.
    fn optional(&self, column: &str) -> &str {
        self.columns.get(column).and_then(Value::as_str).unwrap_or_default()
    }

    /// The name of the module: `python_007` for `Python/7`, so that names sort as numbers do.
    fn name(&self) -> Result<String, String> {
        let id = self.text("task_id")?;
        let is_word = |c: char| c.is_ascii_alphanumeric();
        let word = |word: &str| match word.parse::<u32>() {
            Ok(number) => format!("{number:03}"),
            Err(_) => word.to_ascii_lowercase(),
        };
        let words: Vec<String> =
            id.split(|c: char| !is_word(c)).filter(|word| !word.is_empty()).map(word).collect();
        match words.join("_") {
            name if name.is_empty() => {
                let place = self.place;
                Err(format!("{place}: the column `task_id` has no letter and no digit: `{id}`"))
            }
            name if name.starts_with(|c: char| c.is_ascii_digit()) => Ok(format!("task_{name}")),
            name => Ok(name),
        }
    }
}

/// The program of a row and the text of its tests, or why it is no task. An error is about
/// the file.
fn program(row: &Columns<'_>, name: &str) -> Result<Result<(Program, String), LeftOut>, String> {
    let [task_id, prompt, correct, faulty, function, test] = [
        row.text(COLUMNS[0])?,
        row.text(COLUMNS[1])?,
        row.text(COLUMNS[2])?,
        row.text(COLUMNS[3])?,
        row.text(COLUMNS[4])?,
        row.text(COLUMNS[5])?,
    ];
    let start = format!("{}{}", unix(row.optional("import")), unix(prompt));
    let start = start.trim_start_matches('\n');
    let bug_type = Some(row.optional("bug_type")).filter(|kind| !kind.is_empty());
    let program = Program {
        task_id: task_id.to_string(),
        bug_type: bug_type.map(str::to_string),
        file: format!("humaneval/{name}.py"),
        function: function.to_string(),
        correct: format!("{start}{}", unix(correct)),
        faulty: format!("{start}{}", unix(faulty)),
        tests: format!("tests/test_{name}.py"),
    };
    let program = match program.paired() {
        Ok(program) => program,
        Err(left_out) => return Ok(Err(left_out)),
    };
    let test = format!("{}{}", unix(row.optional("test_setup")), unix(test));
    Ok(match cases::of_check(&format!("humaneval.{name}"), function, &test) {
        Ok(tests) => Ok((program, tests)),
        Err(why) => Err(LeftOut::new(task_id, "its tests have another form", why)),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    /// A row in the form of the set.
    fn row(id: &str) -> Value {
        json!({
            "task_id": id,
            "prompt": "\n\ndef half(number: int) -> float:\n    \"\"\" Half of a number.\n    >>> half(3)\n    1.5\n    \"\"\"\n",
            "declaration": "def half(number: int) -> float:\n",
            "canonical_solution": "    return number / 2\n",
            "buggy_solution": "    return number // 2\n",
            "bug_type": "operator misuse",
            "failure_symptoms": "incorrect output",
            "entry_point": "half",
            "import": "",
            "test_setup": "",
            "test": "\n\n\n\n\ndef check(half):\n    assert half(4) == 2\n    assert half(3) == 1.5\n\ncheck(half)",
            "example_test": "def check(half):\n    assert half(3) == 1.5\ncheck(half)\n",
        })
    }

    fn lines(rows: &[Value]) -> Vec<u8> {
        rows.iter().map(|row| format!("{row}\n")).collect::<String>().into_bytes()
    }

    #[test]
    fn a_row_becomes_a_program_and_its_tests() {
        let set = set(lines(&[row("Python/7")])).unwrap();
        let [program] = set.programs.as_slice() else { panic!("{set:?}") };
        insta::assert_debug_snapshot!(program, @r#"
        Program {
            task_id: "Python/7",
            bug_type: Some(
                "operator misuse",
            ),
            file: "humaneval/python_007.py",
            function: "half",
            correct: "def half(number: int) -> float:\n    \"\"\" Half of a number.\n    >>> half(3)\n    1.5\n    \"\"\"\n    return number / 2\n",
            faulty: "def half(number: int) -> float:\n    \"\"\" Half of a number.\n    >>> half(3)\n    1.5\n    \"\"\"\n    return number // 2\n",
            tests: "tests/test_python_007.py",
        }
        "#);
        let files: Vec<_> = set.files.keys().collect();
        assert_eq!(files, ["tests/__init__.py", "tests/test_python_007.py"]);
        assert!(set.files["tests/test_python_007.py"].contains("def case_2(half):"));
    }

    #[test]
    fn modules_are_named_after_tasks() {
        #[track_caller]
        fn check(id: &str, expected: &str) {
            let columns = row(id);
            let row = Columns { place: ":1", columns: columns.as_object().unwrap() };
            assert_eq!(row.name().unwrap_or_else(|why| why), expected);
        }
        check("Python/7", "python_007");
        check("HumanEval/163", "humaneval_163");
        check("12", "task_012");
        check("a b-C", "a_b_c");
        check("/", ":1: the column `task_id` has no letter and no digit: `/`");
    }

    #[test]
    fn rows_that_are_no_tasks_are_left_out_by_name() {
        #[track_caller]
        fn check(column: &str, text: &str, expected: &str) {
            let mut other = row("Python/1");
            other[column] = text.into();
            let set = set(lines(&[row("Python/0"), other])).unwrap();
            assert_eq!(set.programs.len(), 1);
            let left_out: Vec<_> = set.left_out.iter().map(|l| (&*l.task_id, &*l.reason)).collect();
            assert_eq!(left_out, [("Python/1", expected)]);
        }
        check("buggy_solution", "    return number / 2\n", "it has no fault");
        check("buggy_solution", "    return (\n", "its program is not Python");
        check("entry_point", "third", "its function is not found");
        check("test", "assert half(2) == 1\n", "its tests have another form");
        let solution = "    return g(number)\n\ndef g(a): return a\n";
        check("buggy_solution", solution, "its fault is not in one function");
    }

    #[test]
    fn helpers_of_a_prompt_stay_in_the_module() {
        let mut row = row("Python/0");
        row["prompt"] = "def two():\n    return 2\n\n\ndef half(number):\n".into();
        row["canonical_solution"] = "    return number / two()\n".into();
        row["buggy_solution"] = "    return two() / number\n".into();
        row["import"] = "import math".into();
        let set = set(lines(&[row])).unwrap();
        let expected = "import math\ndef two():\n    return 2\n\n\ndef half(number):\n    return two() / number\n";
        assert_eq!(set.programs[0].faulty, expected);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_place() {
        #[track_caller]
        fn check(bytes: impl Into<Vec<u8>>, expected: &str) {
            let why = set(bytes.into()).map(|set| format!("{set:?}")).unwrap_or_else(|why| why);
            assert!(why.starts_with(expected), "{why}");
        }
        check("", " has no rows");
        let other = " is no set that fixfly can import: that is HumanEvalFix as JSON lines";
        check("{\"instance_id\": 1}\n", other);
        check("prompt,test\n1,2\n", other);
        let mut first = row("Python/0");
        first.as_object_mut().unwrap().remove("buggy_solution");
        check(lines(&[first]), ":1: the column `buggy_solution` is missing");
        let mut second = row("Python/1");
        second["test"] = 5.into();
        check(lines(&[row("Python/0"), second]), ":2: the column `test` is no text");
        let same = lines(&[row("Python/0"), row("Python/1"), row("Python/0")]);
        check(same, ":3: the column `task_id` is `Python/0`, as before (`1`); each row");
        let torn = [lines(&[row("Python/0")]), b"{\"task_id\": \"Pyth\n".to_vec()].concat();
        check(torn, ":2:17: the line is not JSON: ");
        check([&b"PAR1"[..], &[0; 8]].concat(), ": the Parquet file cannot be read: ");
        check("BZh9", ": it is packed by bzip2; unpack it with `bunzip2`");
        check(b"\xff\xff\xff".to_vec(), ": ");
    }

    /// The rows as a Parquet file.
    fn parquet_of(rows: &[Value]) -> Vec<u8> {
        use ::parquet::data_type::{ByteArray, ByteArrayType};
        use ::parquet::file::writer::SerializedFileWriter;
        use ::parquet::schema::parser::parse_message_type;

        let fields = COLUMNS.map(|column| format!("REQUIRED BYTE_ARRAY {column} (UTF8);"));
        let schema =
            parse_message_type(&format!("message rows {{ {} }}", fields.concat())).unwrap();
        let mut writer =
            SerializedFileWriter::new(Vec::new(), schema.into(), Default::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        for name in COLUMNS {
            let cells = rows.iter().map(|row| ByteArray::from(row[name].as_str().unwrap()));
            let mut column = group.next_column().unwrap().unwrap();
            let cells: Vec<_> = cells.collect();
            column.typed::<ByteArrayType>().write_batch(&cells, None, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.into_inner().unwrap()
    }

    #[test]
    fn parquet_gives_the_same_programs_as_json_lines() {
        let rows = [row("Python/0"), row("Python/1")];
        let mut expected = set(lines(&rows)).unwrap();
        expected.programs.iter_mut().for_each(|program| program.bug_type = None);
        assert_eq!(set(parquet_of(&rows)).unwrap(), expected);
        let why = set(parquet_of(&[row("Python/0"), row("Python/0")])).unwrap_err();
        let expected = ", row 2: the column `task_id` is `Python/0`, as before (`row 1`)";
        assert!(why.starts_with(expected), "{why}");
    }

    #[test]
    fn a_parquet_file_of_another_table_is_not_taken_for_the_set() {
        let table = include_bytes!("../swebench/fixtures/table.parquet");
        let why = set(table.to_vec()).unwrap_err();
        assert!(why.starts_with(" is no set that fixfly can import"), "{why}");
    }
}
