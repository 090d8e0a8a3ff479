use std::fs::File;

use fixfly_runtime::{Role, Sampling, Thinking, Wording, sha256};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use serde_json::{Value, json};

use super::*;
use crate::dataset::ROWS;
use crate::item::Answer;
use crate::recipe::{Kind, Recipe};
use crate::row::{Line, Origin, Row, Verdict};
use crate::summary::{Lengths, SCHEMA, Summary};

/// Text that does not compress well; sometimes none.
fn noise(number: usize) -> String {
    (0..number % 7).map(|at| sha256(format!("{number} {at}")) + &sha256(format!("{at}"))).collect()
}

fn row(number: usize, part: Part) -> Row {
    let line = |role, content: &str, loss| Line { role, content: content.into(), loss };
    let all = number.is_multiple_of(2);
    Row {
        id: format!("a.py::A.f{number}#{number:010}"),
        part,
        kind: Kind::Repaired,
        tokens: 10 + number,
        messages: vec![
            line(Role::System, "Be brief.", false),
            line(Role::User, &format!("Write f{number}: ä\n"), false),
            line(Role::Assistant, &noise(number), true),
        ],
        origin: Origin {
            run: "runs/a".into(),
            teacher: "gpt".into(),
            policy: "openai".into(),
            task: format!("a.py::A.f{number}"),
            sample: 2,
            seed: u64::MAX - number as u64,
            failing_turns: (1..=number % 3).collect(),
            answer: if all { Answer::Turn(2) } else { Answer::Original },
            model: all.then(|| "gpt-x".into()),
            sampling: all.then(|| Sampling {
                temperature: Some(0.5),
                top_k: Some(4),
                ..Sampling::default()
            }),
            thinking: all.then(Thinking::default),
            wording: "w".into(),
            prompt_sha256: "p".into(),
            verdict: all.then_some(Verdict {
                solved: true,
                hidden_tests_pass: None,
                exact_match: false,
            }),
            reasoning: None,
            trace: None,
            masked: if all { vec![String::new(), "m".into()] } else { Vec::new() },
        },
        sequences: Vec::new(),
    }
}

fn dataset(folder: &Path, rows: &[Row]) -> Dataset {
    let (recipe, _) = Recipe::open("v5").unwrap();
    let mut summary = Summary {
        schema: SCHEMA,
        fixfly: "0".into(),
        recipe_name: "v5".into(),
        recipe,
        recipe_sha256: String::new(),
        benchmark: "django".into(),
        sources: Vec::new(),
        missing: Vec::new(),
        wording: Wording::default(),
        parts: Default::default(),
        kinds: Default::default(),
        teachers: Default::default(),
        answers: Default::default(),
        tasks: 1,
        reasoned: 0,
        messages: [0, 0],
        left_out: Default::default(),
        duplicates: 0,
        dropped: Default::default(),
        lengths: Lengths::default(),
        audit: Default::default(),
        student: None,
        files: vec!["trl/train.jsonl".into()],
    };
    rows.iter().for_each(|row| summary.count(row));
    let lines: String = rows.iter().map(|row| json!(row).to_string() + "\n").collect();
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(ROWS), lines).unwrap();
    std::fs::write(folder.join(SUMMARY), json!(summary).to_string()).unwrap();
    Dataset::open(folder).unwrap()
}

fn read(file: &Path) -> Vec<Value> {
    let reader = SerializedFileReader::new(File::open(file).unwrap()).unwrap();
    reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_json_value()).collect()
}

#[test]
fn rows_come_back_from_the_shards() {
    let folder = tempfile::tempdir().unwrap();
    let part = |number: usize| if number < 2500 { Part::Train } else { Part::Validation };
    let rows: Vec<Row> = (0..2510).map(|number| row(number, part(number))).collect();
    let dataset = dataset(&folder.path().join("dataset"), &rows);
    let to = folder.path().join("hub/mine");
    let hub = dataset.write_hub_in_shards(&to, None, 200_000).unwrap();
    assert_eq!(hub.rows, rows.len());
    let of = |part: &str| hub.files.iter().filter(|file| file.contains(part)).collect::<Vec<_>>();
    let shards = of("train");
    assert!(shards.len() > 1, "{shards:?}");
    let name = |at: usize| format!("data/train-{at:05}-of-{:05}.parquet", shards.len());
    assert_eq!(shards, (0..shards.len()).map(name).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    assert_eq!(of("validation"), ["data/validation-00000-of-00001.parquet"]);
    let read_back: Vec<Value> = hub.files.iter().flat_map(|file| read(&to.join(file))).collect();
    for (row, back) in rows.iter().zip(&read_back) {
        let messages: Vec<Value> = row.messages.iter().map(|line| json!(line)).collect();
        assert_eq!(back["messages"], json!(messages), "{}", row.id);
        assert_eq!(back["id"], json!(row.id));
        assert_eq!(back["tokens"], json!(row.tokens));
        let origin = &back["origin"];
        assert_eq!(origin["seed"], json!(row.origin.seed));
        assert_eq!(origin["failing_turns"], json!(row.origin.failing_turns));
        assert_eq!(origin["masked"], json!(row.origin.masked));
        assert_eq!(origin["model"], json!(row.origin.model));
        assert_eq!(origin["thinking"], json!(row.origin.thinking));
        assert_eq!(origin["verdict"], json!(row.origin.verdict));
    }
    assert_eq!(read_back.len(), rows.len());
    let turns: Vec<_> = read_back[..2].iter().map(|row| &row["origin"]["answer_turn"]).collect();
    assert_eq!(turns, [&json!(2), &Value::Null]);
    let sampling = &read_back[0]["origin"]["sampling"];
    assert_eq!((&sampling["temperature"], &sampling["top_p"]), (&json!(0.5), &Value::Null));
    for file in &hub.files {
        assert!(std::fs::metadata(to.join(file)).unwrap().len() <= 200_000, "{file}");
    }
}

#[test]
fn the_card_begins_with_settings_for_the_viewer() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [row(1, Part::Train), row(2, Part::Validation)];
    let dataset = dataset(&folder.path().join("dataset"), &rows);
    let to = folder.path().join("hub");
    dataset.write_hub(&to, Some("bsd-3-clause")).unwrap();
    let card = std::fs::read_to_string(to.join("README.md")).unwrap();
    insta::assert_snapshot!(card);
}

#[test]
fn a_folder_that_is_in_use_and_a_dataset_without_rows_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let full = dataset(&folder.path().join("full"), &[row(1, Part::Train)]);
    let error = full.write_hub(&folder.path().join("full"), None).unwrap_err().to_string();
    assert!(error.ends_with("is not empty; name an empty or a new folder"), "{error}");
    let empty = dataset(&folder.path().join("empty"), &[]);
    let error = empty.write_hub(&folder.path().join("out"), None).unwrap_err().to_string();
    assert_eq!(error, "the dataset has no rows, so the hub cannot show it");
    assert!(!folder.path().join("out").exists());
}
