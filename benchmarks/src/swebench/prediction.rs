//! Reads and writes predictions in the formats that people and agents use.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use fixfly_runtime::{BenchmarkError, LONE_SURROGATE, Recording, RunError, write_whole};
use serde_json::{Map, Value, json};

use super::instance::{Instance, whole};
use super::table::{self, Table};

/// A model's patch for an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// The instance.
    pub id: String,
    /// The model.
    pub model: String,
    /// The patch, if there is one.
    pub patch: Option<String>,
}

/// Reads the predictions of a table: JSON lines, JSON, CSV or Parquet. A row that cannot be
/// read is left out and reported.
///
/// # Errors
/// One sentence that names the file, the row, the column and the remedy.
pub fn read(file: &Path) -> Result<Table<Prediction>, BenchmarkError> {
    let Table { rows, unreadable } = table::read(file, prediction)?;
    let broken = |why: String| BenchmarkError::Broken(format!("{}{why}", file.display()));
    let mut seen: HashMap<String, (String, usize)> = HashMap::new();
    let mut predictions: Vec<Prediction> = Vec::with_capacity(rows.len());
    for (place, prediction) in rows {
        match seen.get(&prediction.id) {
            None => {
                seen.insert(prediction.id.clone(), (place, predictions.len()));
                predictions.push(prediction);
            }
            Some((_, at)) if predictions[*at] == prediction => {}
            Some((before, _)) => {
                let id = &prediction.id;
                let before = before.trim_start_matches([',', ':', ' ']);
                return Err(broken(format!(
                    "{place}: a second prediction for {id}, after that at {before}; leave one out"
                )));
            }
        }
    }
    match predictions.is_empty() {
        true => Err(broken(": it holds no prediction".into())),
        false => Ok(Table { rows: predictions, unreadable }),
    }
}

/// The gold patches as predictions.
pub fn gold(instances: &[Instance]) -> Vec<Prediction> {
    let gold = |instance: &Instance| Prediction {
        id: instance.id.clone(),
        model: "gold".into(),
        patch: Some(instance.patch.clone()),
    };
    instances.iter().map(gold).collect()
}

fn prediction(row: Map<String, Value>) -> Result<Prediction, String> {
    let text = |field: &str| row.get(field).and_then(Value::as_str).map(str::to_string);
    let id = text("instance_id").ok_or("there is no `instance_id`")?;
    let patch = match row.get("model_patch") {
        None | Some(Value::Null) => None,
        Some(Value::String(patch)) => {
            Some(whole(patch.clone(), "model_patch").map_err(|why| format!("{id}: {why}"))?)
        }
        Some(_) => return Err(format!("{id}: `model_patch` is no text")),
    };
    let model = text("model_name_or_path").unwrap_or_else(|| "None".into());
    Ok(Prediction { id, model: model.replace(LONE_SURROGATE, "\u{fffd}"), patch })
}

/// The patches of a recorded run as predictions of `model`, by instance. Of several
/// samples, it takes the first; infrastructure failures are left out.
///
/// # Errors
/// [`RunError`] if an episode cannot be read.
pub fn of_run(recording: &Recording, model: &str) -> Result<Vec<Prediction>, RunError> {
    let mut predictions: BTreeMap<String, (u32, Prediction)> = BTreeMap::new();
    for (at, summary) in recording.summaries().iter().enumerate() {
        let earlier = predictions.get(&*summary.task);
        let known = earlier.is_some_and(|(sample, _)| *sample <= summary.sample);
        if known || summary.infrastructure_failure() {
            continue;
        }
        let episode = recording.episode(at)?;
        let graded = episode.verdict.as_ref().and_then(|verdict| verdict.graded.clone());
        let patch = graded.or(episode.patch).unwrap_or_default();
        let prediction = Prediction {
            id: episode.task.id.clone(),
            model: model.to_string(),
            patch: Some(patch),
        };
        predictions.insert(episode.task.id, (summary.sample, prediction));
    }
    Ok(predictions.into_values().map(|(_, prediction)| prediction).collect())
}

/// Writes predictions in the format of [`by_instance`].
///
/// # Errors
/// One sentence that names the file.
pub fn write(file: &Path, predictions: &[Prediction]) -> Result<(), BenchmarkError> {
    write_whole(file, format!("{:#}\n", by_instance(predictions)))
        .map_err(|why| BenchmarkError::Broken(format!("cannot write {}: {why}", file.display())))
}

/// Predictions by instance, in the format of SWE-agent's and mini-swe-agent's `preds.json`.
pub fn by_instance<'a>(predictions: impl IntoIterator<Item = &'a Prediction>) -> Value {
    let rows = predictions.into_iter().map(|prediction| {
        let Prediction { id, model, patch } = prediction;
        (
            id.clone(),
            json!({ "model_name_or_path": model, "instance_id": id, "model_patch": patch }),
        )
    });
    Value::Object(rows.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Prediction>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("preds");
        std::fs::write(&file, text).unwrap();
        let named = |text: &str| text.replace(&file.display().to_string(), "FILE");
        let table = read(&file).map_err(|e| named(&e.to_string()))?;
        match table.unreadable.first() {
            Some(row) => Err(named(&row.why)),
            None => Ok(table.rows),
        }
    }

    #[test]
    fn predictions_are_read_in_every_form() {
        let row = |id: &str, patch: Value| json!({ "instance_id": id, "model_name_or_path": "m", "model_patch": patch });
        let (a, b) = (row("a", json!("p")), row("b", Value::Null));
        let expected = read_text(&format!("{a}\n{b}\n")).unwrap();
        assert_eq!(
            expected[0],
            Prediction { id: "a".into(), model: "m".into(), patch: Some("p".into()) }
        );
        assert_eq!(expected[1].patch, None);
        assert_eq!(read_text(&json!([a, b]).to_string()).unwrap(), expected);
        assert_eq!(read_text(&by_instance(&expected).to_string()).unwrap(), expected);
        let bom = format!("\u{feff}{}", by_instance(&expected));
        assert_eq!(read_text(&bom).unwrap(), expected);
        let bare = json!({ "a": { "model_name_or_path": "m", "model_patch": "p" }, "b": b });
        assert_eq!(read_text(&bare.to_string()).unwrap(), expected);
        let csv = "instance_id,model_name_or_path,model_patch\na,m,p\nb,m,\n";
        assert_eq!(read_text(csv).unwrap(), expected);
        assert_eq!(read_text(&json!([a, a, b]).to_string()).unwrap(), expected);
        let twice = read_text(&json!([a, row("a", json!("q"))]).to_string()).unwrap_err();
        assert_eq!(
            twice,
            "FILE, row 2: a second prediction for a, after that at row 1; leave one out"
        );
        for (patch, why) in [
            ("5", "FILE, row 1: a: `model_patch` is no text"),
            ("\"\\udcff\"", "FILE, row 1: a: `model_patch` has a lone surrogate"),
        ] {
            let text = format!("[{{\"instance_id\": \"a\", \"model_patch\": {patch}}}, {b}]");
            let found = read_text(&text).unwrap_err();
            assert!(found.starts_with(why), "{found}");
        }
        assert_eq!(read_text("[{}]").unwrap_err(), "FILE, row 1: there is no `instance_id`");
    }
}
