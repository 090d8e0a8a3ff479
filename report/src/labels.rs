//! Labels of a run (model, method, dataset, mode) and TOML files of labelled runs.

use std::path::{Path, PathBuf};

use fixfly_runtime::RunRecord;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ReportError;

/// Labels that identify the configuration of a run. Defaults come from the run's
/// record.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// The base model with its size: `Qwen3-8B`.
    pub(crate) model: Option<String>,
    pub(crate) method: Option<Method>,
    /// The training dataset: `v4`.
    pub(crate) dataset: Option<String>,
    /// Rows of the dataset.
    pub(crate) rows: Option<u64>,
    pub(crate) rank: Option<u32>,
    /// The teacher of the reasoning in the training data, if there was any.
    pub(crate) reasoning: Option<String>,
    /// Whether that reasoning was shortened.
    #[serde(default)]
    pub(crate) short: bool,
    /// Whether each row was present with and without reasoning.
    #[serde(default)]
    pub(crate) hybrid: bool,
    pub(crate) mode: Option<Mode>,
    /// The checkpoint, as the number of epochs.
    pub(crate) epoch: Option<u32>,
    /// How the run differs from the student's usual one: `no feedback`.
    pub(crate) control: Option<String>,
}

/// Training method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Method {
    /// Not trained.
    Base,
    /// Low-rank adapters.
    Lora,
    /// All weights.
    Full,
}

/// Whether the model reasons before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It reasons.
    Think,
    /// It answers at once.
    Nothink,
}

impl Mode {
    /// The value of the label `mode`.
    pub fn label(self) -> &'static str {
        match self {
            Mode::Think => "think",
            Mode::Nothink => "nothink",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Think => "think",
            Mode::Nothink => "no-think",
        }
    }
}

/// A run directory with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// The run directory.
    pub path: PathBuf,
    /// Its labels.
    pub labels: Labels,
}

/// A set of runs in a TOML file. `fixfly sweep` writes it and `fixfly report` reads
/// it.
///
/// ```toml
/// [[run]]
/// path = "base-think"          # relative to this file
/// model = "Qwen3-8B"
/// mode = "think"
///
/// [[run]]
/// path = "v4-lora-r32-e8-think"
/// model = "Qwen3-8B"
/// method = "lora"
/// dataset = "v4"
/// rows = 5300
/// rank = 32
/// epoch = 8
/// mode = "think"
/// ```
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetFile {
    #[serde(default)]
    run: Vec<toml::Table>,
}

/// The text of a file of a set of runs: each has `path` and labels.
///
/// # Errors
/// An error if a value has no JSON form.
pub fn set_text(runs: &[toml::Table]) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for run in runs {
        text += "[[run]]\n";
        for (key, value) in run {
            // Plain values are the same in JSON and in TOML.
            text += &format!("{key} = {}\n", serde_json::to_string(value)?);
        }
        text += "\n";
    }
    Ok(text)
}

/// Parses arguments. Each is a run directory, a run directory with labels, or a TOML
/// file of labelled runs.
///
/// # Errors
/// [`ReportError`] if an argument cannot be parsed or read, or if there is no run.
pub fn labelled_runs(words: &[String]) -> Result<Vec<Labelled>, ReportError> {
    let runs = words.iter().map(|word| runs(word)).collect::<Result<Vec<_>, _>>()?.concat();
    if runs.is_empty() {
        return Err(ReportError::NoRuns);
    }
    Ok(runs)
}

/// Parses one argument.
fn runs(word: &str) -> Result<Vec<Labelled>, ReportError> {
    let fault = |why| ReportError::Argument { argument: word.into(), why };
    let path = Path::new(word);
    if path.extension().is_some_and(|end| end == "toml") {
        let text = fixfly_runtime::read_text(path)
            .map_err(|source| ReportError::Read { file: word.into(), source })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        return set(&text, folder).map_err(fault);
    }
    if path.exists() || !word.contains(',') {
        return Ok(vec![Labelled { path: path.into(), labels: Labels::default() }]);
    }
    let (path, labels) = word.split_once(',').unwrap_or((word, ""));
    let labels = parse_labels(labels).map_err(fault)?;
    Ok(vec![Labelled { path: path.into(), labels }])
}

fn set(text: &str, folder: &Path) -> Result<Vec<Labelled>, String> {
    let file: SetFile = toml::from_str(text).map_err(|error| error.to_string())?;
    let runs = file.run.into_iter().enumerate().map(|(number, mut table)| {
        let at = |why: String| format!("run {}: {why}", number + 1);
        let path = match table.remove("path") {
            Some(toml::Value::String(path)) => folder.join(path),
            _ => return Err(at("missing `path`".into())),
        };
        let labels = Labels::deserialize(table).map_err(|error| at(error.to_string()))?;
        Ok(Labelled { path, labels })
    });
    runs.collect()
}

/// Parses `model=Qwen3-8B,mode=think`.
fn parse_labels(text: &str) -> Result<Labels, String> {
    let mut table = toml::Table::new();
    for pair in text.split(',') {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| format!("`{pair}` is not KEY=VALUE"))?;
        let value = match value.parse::<i64>() {
            Ok(number) if matches!(key, "rows" | "rank" | "epoch") => toml::Value::Integer(number),
            _ if matches!(value, "true" | "false") => toml::Value::Boolean(value == "true"),
            _ => toml::Value::String(value.into()),
        };
        table.insert(key.into(), value);
    }
    Labels::deserialize(table).map_err(|error| error.to_string())
}

impl Labels {
    /// Fills missing labels from the run's record.
    pub(crate) fn or_recorded(mut self, record: &RunRecord) -> Self {
        let text =
            |value: &Value, at: &str| value.pointer(at).and_then(Value::as_str).map(String::from);
        let config = serde_json::json!(record.config);
        let adapted = config
            .pointer("/model/student/loras")
            .and_then(Value::as_array)
            .is_some_and(|loras| !loras.is_empty());
        let file = |name: String| match Path::new(&name)
            .extension()
            .is_some_and(|end| end == "gguf")
        {
            true => Path::new(&name).file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            false => name,
        };
        let recorded = || {
            let asked = ["/model/model", "/model/teacher/profile", "/policy"];
            asked.iter().find_map(|at| text(&config, at)).map(file)
        };
        self.model = self.model.or_else(recorded);
        self.mode = self.mode.or_else(|| match text(&config, "/model/thinking/mode")?.as_str() {
            "think" => Some(Mode::Think),
            "no_think" => Some(Mode::Nothink),
            _ => None,
        });
        self.method = self.method.or(match (adapted, &self.dataset) {
            (true, _) => Some(Method::Lora),
            (false, None) => Some(Method::Base),
            (false, Some(_)) => None,
        });
        self
    }

    pub(crate) fn is_base(&self) -> bool {
        self.method == Some(Method::Base)
    }

    /// The labels of the base model in the same mode.
    pub(crate) fn base(&self) -> Labels {
        let Labels { model, mode, .. } = self.clone();
        Labels { model, mode, method: Some(Method::Base), ..Labels::default() }
    }

    /// The labels without the checkpoint.
    pub(crate) fn any_epoch(&self) -> Labels {
        Labels { epoch: None, ..self.clone() }
    }

    pub(crate) fn model_name(&self) -> &str {
        self.model.as_deref().unwrap_or("unnamed model")
    }

    /// Billions of parameters, parsed from a model name such as `Qwen3-8B`.
    pub(crate) fn billions(&self) -> Option<f64> {
        let parts = self.model.as_deref()?.split(['-', '_', ' ']);
        parts.rev().find_map(|part| part.strip_suffix(['B', 'b'])?.parse().ok())
    }

    /// The part of the model name before the size: `Qwen3`.
    pub(crate) fn family(&self) -> Option<&str> {
        let name = self.model.as_deref()?;
        let size = name.split(['-', '_', ' ']).find(|part| {
            part.strip_suffix(['B', 'b']).is_some_and(|size| size.parse::<f64>().is_ok())
        })?;
        name.split(size).next().map(|family| family.trim_end_matches(['-', '_', ' ']))
    }

    /// Short description of the training.
    pub(crate) fn training(&self) -> String {
        let mut words = Vec::new();
        words.push(match self.method {
            Some(Method::Base) => return "base".into(),
            Some(Method::Lora) => "LoRA".to_string(),
            Some(Method::Full) => "full".to_string(),
            None => "unknown method".to_string(),
        });
        words.extend(self.rank.map(|rank| format!("r{rank}")));
        words.extend(self.dataset.clone());
        if let Some(teacher) = &self.reasoning {
            let short = if self.short { "short " } else { "" };
            words.push(format!("{short}reasoning of {teacher}"));
        }
        words.extend(self.hybrid.then(|| "hybrid".to_string()));
        words.extend(self.epoch.map(|epoch| format!("epoch {epoch}")));
        words.extend(self.control.as_ref().map(|control| format!("({control})")));
        words.join(" ")
    }

    pub(crate) fn mode_name(&self) -> &'static str {
        self.mode.map_or("unknown", Mode::name)
    }

    /// Model, training and mode.
    pub(crate) fn shown(&self) -> String {
        let mode = self.mode.map_or(String::new(), |mode| format!(", {}", mode.name()));
        format!("{} {}{mode}", self.model_name(), self.training())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_parsed() {
        #[track_caller]
        fn check(word: &str, expected: &str) {
            let runs = runs(word).unwrap();
            assert_eq!(runs[0].labels.shown(), expected);
            assert_eq!(runs[0].path, Path::new("runs/x"));
        }
        check("runs/x", "unnamed model unknown method");
        check(
            "runs/x,model=Qwen3-8B,method=lora,rank=32,dataset=v4,epoch=8,mode=nothink",
            "Qwen3-8B LoRA r32 v4 epoch 8, no-think",
        );
        check(
            "runs/x,model=M,method=full,reasoning=Qwen3-32B,short=true,hybrid=true",
            "M full short reasoning of Qwen3-32B hybrid",
        );
    }

    #[test]
    fn a_toml_file_is_parsed() {
        let text = "[[run]]\npath = 'a'\nmodel = 'Qwen3-8B'\n[[run]]\npath = 'b'\nrank = 16\n";
        let runs = set(text, Path::new("sets")).unwrap();
        assert_eq!((runs[0].path.as_path(), runs[1].labels.rank), (Path::new("sets/a"), Some(16)));
        let tables: SetFile = toml::from_str(text).unwrap();
        assert_eq!(set(&set_text(&tables.run).unwrap(), Path::new("sets")).unwrap(), runs);
    }

    #[test]
    fn errors_name_the_problem() {
        let error = |word: &str| runs(word).unwrap_err().to_string();
        assert!(error("runs/x,rank").contains("`rank` is not KEY=VALUE"));
        assert!(
            error("runs/x,ranks=3").contains("unknown field `ranks`"),
            "{}",
            error("runs/x,ranks=3")
        );
        assert!(error("runs/x,mode=perhaps").contains("unknown variant `perhaps`"));
        assert_eq!(set("[[run]]\n", Path::new("")).unwrap_err(), "run 1: missing `path`");
    }

    #[test]
    fn size_and_family_are_parsed() {
        #[track_caller]
        fn check(model: &str, expected: (Option<f64>, Option<&str>)) {
            let labels = Labels { model: Some(model.into()), ..Labels::default() };
            assert_eq!((labels.billions(), labels.family()), expected);
        }
        check("Qwen3-8B", (Some(8.0), Some("Qwen3")));
        check("Llama-3.1-8B-Instruct", (Some(8.0), Some("Llama-3.1")));
        check("Qwen3-0.6B", (Some(0.6), Some("Qwen3")));
        check("gpt-4.1", (None, None));
    }
}
