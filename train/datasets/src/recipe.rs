//! Recipes, which state which episodes become which rows of a dataset.

use std::path::Path;

use fixfly_runtime::Entry;
use serde::{Deserialize, Serialize};

use crate::error::DatasetError;

/// The text of a built-in recipe.
pub type Shipped = &'static str;

macro_rules! shipped {
    ($name:literal, $about:literal) => {
        Entry {
            name: $name,
            about: $about,
            open: include_str!(concat!("../recipes/", $name, ".toml")),
        }
    };
}

/// All built-in recipes.
pub const RECIPES: &[Entry<Shipped>] = &[
    shipped!("v1", "repairs of GPT-4.1 and Qwen3-32B"),
    shipped!("v2", "v1 and repairs of DeepSeek R1"),
    shipped!("v3", "v2 and repairs of Qwen3-Coder"),
    shipped!("v3.1", "v3, each failure also with the original method"),
    shipped!("v4", "v3.1 and failures of GPT-4.1-nano with the original method"),
    shipped!("v5", "v4 and what was solved at once"),
    shipped!("v4-reasoning", "v4, each answer with a reasoning trace"),
    shipped!("v4-short-reasoning", "v4, each answer with a trace of at most 300 tokens"),
    shipped!("v5-reasoning", "v5, each answer with a reasoning trace"),
    shipped!("v4-hybrid", "v4, each row with and without its trace"),
    shipped!("v4-short-hybrid", "v4, each row with and without its short trace"),
    shipped!("v5-hybrid", "v5, each row with and without its trace"),
    shipped!("originals", "each task with the original method, whatever was tried"),
    shipped!("repairs", "any runs: failing attempts with feedback, then the answer that passed"),
    shipped!("repairs-and-originals", "repairs, failures with the original method, passes at once"),
    shipped!("repairs-single-turn", "the same answers without failing attempts: a control"),
    shipped!("own-passes", "any runs: what passed, at once or repaired (rejection sampling)"),
];

/// States which episodes become which rows. `docs/distillation.md` documents the TOML
/// format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The result, in one line.
    pub about: String,
    /// Which messages of the model carry loss.
    pub loss: Loss,
    /// Which failing attempts stay in the conversation.
    #[serde(default)]
    pub failing: Failing,
    /// Whether each repair gets a second row with the original method as its answer.
    #[serde(default)]
    pub doubled: bool,
    /// The model to train.
    #[serde(default)]
    pub student: Student,
    /// The teachers. Their order decides which of two duplicates stays.
    pub teachers: Vec<Teacher>,
    /// When two rows are duplicates.
    #[serde(default)]
    pub duplicates: Duplicates,
    /// Whether answers start with reasoning.
    #[serde(default)]
    pub reasoning: Reasoning,
    /// Limits of a row and of the build.
    #[serde(default)]
    pub limits: Limits,
    /// How to handle methods of the benchmark's own split.
    #[serde(default)]
    pub leaks: Leaks,
    /// Share of tasks whose rows are validation rows, 0 to 1.
    #[serde(default)]
    pub validation: f64,
    /// Determines the order of rows, and which tasks are for validation.
    #[serde(default)]
    pub seed: u64,
}

/// Which messages of the model carry loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// All messages, failing attempts included.
    All,
    /// The answer.
    Last,
    /// The answer, and each failing attempt that fixed a test and broke none.
    PerMessage,
}

/// Which failing attempts stay in the conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failing {
    /// The last one.
    #[default]
    Last,
    /// The first one.
    First,
    /// All of them, in order.
    All,
    /// None: the row has the task, then the answer.
    None,
}

/// A model to train.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Student {
    /// Its name.
    pub model: String,
    /// The licence of its weights.
    pub licence: String,
}

/// A model whose episodes become rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Teacher {
    /// The recipe's name of the teacher.
    pub name: String,
    /// Its names in runs: on a server, of a profile or of a policy; `*` matches any.
    #[serde(default)]
    pub models: Vec<String>,
    /// The kinds of episodes to use.
    pub take: Vec<Kind>,
    /// The licence of its output.
    #[serde(default)]
    pub licence: String,
    /// Maximum number of its rows; which ones, is drawn by the recipe's seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
}

/// The kind of an episode in a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Solved after a failure: the row has the failure, then the solution.
    Repaired,
    /// Never solved: the row has the failure, then the original method.
    Unsolved,
    /// Solved at the first turn: the row shows how to write a method, not how to fix one.
    AtOnce,
    /// Any episode, even without attempts: the row has the task, then the original method.
    Original,
}

impl Kind {
    /// Its name in recipes and tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Repaired => "repaired",
            Kind::Unsolved => "unsolved",
            Kind::AtOnce => "at-once",
            Kind::Original => "original",
        }
    }
}

/// When two rows are duplicates. The first one stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Duplicates {
    /// How code is compared.
    pub key: Same,
    /// Which code is compared.
    pub scope: Scope,
}

/// How code is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Same {
    /// Byte for byte, including the text around it.
    #[default]
    Exact,
    /// Ignoring differences in whitespace.
    Whitespace,
    /// By syntax tree.
    SyntaxTree,
}

/// Which code is compared. Only rows of the same task are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The failing attempts and the answer.
    #[default]
    Pair,
    /// Only the answer.
    Answer,
    /// Nothing: duplicates stay.
    Off,
}

/// Whether answers start with reasoning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reasoning {
    /// Which rows have reasoning.
    pub rows: Traced,
    /// The source of the reasoning.
    pub from: TraceSource,
    /// Maximum tokens of a trace; longer traces are dropped.
    #[serde(alias = "most_tokens")]
    pub max_trace_tokens: Option<usize>,
}

/// Which rows have reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Traced {
    /// No rows.
    #[default]
    Without,
    /// All rows.
    With,
    /// Each row occurs twice, with and without reasoning, in mixed order.
    Both,
}

/// The source of reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TraceSource {
    /// A file of traces for these rows.
    #[default]
    Traces,
    /// The teacher's own reasoning. The original method has none.
    Teacher,
}

/// Limits of a row and of the build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Maximum tokens of a row. Longer rows are dropped, never truncated.
    pub tokens: Option<usize>,
    /// Maximum share of rows that may be dropped, 0 to 1; the build fails above it.
    pub dropped: f64,
    /// Maximum tokens of all rows together. The first rows that fit stay, in the dataset's
    /// order; the rest is not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_tokens: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { tokens: None, dropped: 0.1, total_tokens: None }
    }
}

/// How to handle methods of the benchmark's own split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Leaks {
    /// What to do with a row whose answer equals or nearly equals such a method.
    pub answers: Leaked,
    /// Share of common runs of five tokens from which two methods count as nearly equal:
    /// above 0, at most 1.
    pub alike: f64,
}

impl Default for Leaks {
    fn default() -> Self {
        Leaks { answers: Leaked::Drop, alike: 0.8 }
    }
}

/// What to do with a row that leaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leaked {
    /// Drop and count it.
    #[default]
    Drop,
    /// Drop and count it if it is a whole method; keep and count a change of one line, which
    /// is like many others.
    DropMethods,
    /// Keep and count it.
    Keep,
}

impl Recipe {
    /// Reads the built-in recipe of this name, or else the recipe in this file. Also
    /// returns its text.
    ///
    /// # Errors
    /// [`DatasetError::Recipe`], with the available names or the fault.
    pub fn open(name: &str) -> Result<(Self, String), DatasetError> {
        if let Some(entry) = RECIPES.iter().find(|entry| entry.name == name) {
            return Ok((Self::parse(entry.open, name)?, entry.open.to_string()));
        }
        let file = Path::new(name);
        if file.extension().is_none_or(|extension| extension != "toml") {
            let names: Vec<_> = RECIPES.iter().map(|entry| entry.name).collect();
            return Err(DatasetError::Recipe(format!(
                "unknown recipe `{name}`; available: {}; the name of a recipe file must end in .toml",
                names.join(", ")
            )));
        }
        let text = fixfly_runtime::read_text(file)
            .map_err(|e| DatasetError::Recipe(format!("cannot read the recipe {name}: {e}")))?;
        Ok((Self::parse(&text, name)?, text))
    }

    /// Parses a recipe. `place` is its name in errors.
    ///
    /// # Errors
    /// [`DatasetError::Recipe`], with the place and the remedy.
    pub fn parse(text: &str, place: &str) -> Result<Self, DatasetError> {
        let wrong = |why: String| DatasetError::Recipe(format!("the recipe {place}: {why}"));
        let recipe: Recipe = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            wrong(format!("line {line}: {}", error.message()))
        })?;
        match recipe.fault() {
            Some(fault) => Err(wrong(fault)),
            None => Ok(recipe),
        }
    }

    fn fault(&self) -> Option<String> {
        let mut names: Vec<&str> = self.teachers.iter().map(|teacher| &*teacher.name).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        let idle = self.teachers.iter().find(|teacher| teacher.take.is_empty());
        let share = |name: &str, value: f64| {
            (!(0.0..=1.0).contains(&value)).then(|| format!("`{name}` must be from 0 to 1"))
        };
        if self.teachers.is_empty() {
            return Some("it has no `[[teachers]]`; add one".into());
        }
        (twice.map(|name| format!("two teachers are named {name}; rename one")))
            .or_else(|| {
                idle.map(|teacher| {
                    format!("`take` of the teacher {} is empty; add a kind", teacher.name)
                })
            })
            .or_else(|| share("validation", self.validation))
            .or_else(|| share("limits.dropped", self.limits.dropped))
            .or_else(|| share("leaks.alike", self.leaks.alike))
            .or_else(|| (self.leaks.alike == 0.0).then(|| "`leaks.alike` must be above 0".into()))
    }

    /// Sets the maximum number of rows of a teacher, from `TEACHER=N`.
    ///
    /// # Errors
    /// [`DatasetError::Usage`] if that is no number of rows, or the recipe has no such
    /// teacher.
    pub fn limit_rows(&mut self, limit: &str) -> Result<(), DatasetError> {
        let wrong = |why: String| DatasetError::Usage(format!("--max-rows {limit}: {why}"));
        let pair = limit.split_once('=');
        let pair = pair.and_then(|(name, rows)| Some((name, rows.parse().ok()?)));
        let Some((name, rows)) = pair.filter(|(_, rows)| *rows > 0) else {
            return Err(wrong("it must be TEACHER=N, with N above 0".into()));
        };
        let names: Vec<&str> = self.teachers.iter().map(|teacher| &*teacher.name).collect();
        let names = names.join(", ");
        match self.teachers.iter_mut().find(|teacher| teacher.name == name) {
            Some(teacher) => teacher.rows = Some(rows),
            None => return Err(wrong(format!("the teachers of the recipe are {names}"))),
        }
        Ok(())
    }

    /// The teacher that a run with any of these names belongs to.
    pub fn teacher(&self, names: &[String]) -> Option<&Teacher> {
        let named = |teacher: &&Teacher| {
            let own = std::iter::once(&teacher.name).chain(&teacher.models);
            own.clone().any(|own| names.iter().any(|name| name.eq_ignore_ascii_case(own)))
        };
        let any = |teacher: &&Teacher| teacher.models.iter().any(|model| model == "*");
        self.teachers.iter().find(named).or_else(|| self.teachers.iter().find(any))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_recipe_is_one() {
        for entry in RECIPES {
            let (recipe, _) = Recipe::open(entry.name).unwrap();
            assert!(!recipe.about.is_empty() && !recipe.student.model.is_empty(), "{}", entry.name);
            let licensed = |teacher: &Teacher| !teacher.licence.is_empty();
            assert!(recipe.teachers.iter().all(licensed), "{}", entry.name);
        }
    }

    #[test]
    fn a_faulty_recipe_is_named_with_its_remedy() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let error = Recipe::parse(text, "mine.toml").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let teacher = "[[teachers]]\nname = 'a'\ntake = ['repaired']\n";
        let head = "about = ''\nloss = 'last'\n";
        check("about = ", "the recipe mine.toml: line 1: ");
        check(&format!("about = ''\nloss = 'first'\n{teacher}"), "line 2: unknown variant `first`");
        check(&format!("{head}dubled = true\n{teacher}"), "line 3: unknown field `dubled`");
        check(&format!("{head}teachers = []"), "it has no `[[teachers]]`; add one");
        check(&format!("{head}{teacher}{teacher}"), "two teachers are named a; rename one");
        check(
            &format!("{head}[[teachers]]\nname='a'\ntake=[]"),
            "`take` of the teacher a is empty; add a kind",
        );
        check(&format!("{head}validation = 2\n{teacher}"), "`validation` must be from 0 to 1");
        check(&format!("{head}{teacher}[leaks]\nalike = 0"), "`leaks.alike` must be above 0");
        let error = Recipe::open("v9").unwrap_err().to_string();
        assert!(error.starts_with("unknown recipe `v9`; available: v1, v2, v3"), "{error}");
    }

    #[test]
    fn a_run_finds_its_teacher_by_name_before_by_star() {
        let text = "about = ''\nloss = 'last'\n[[teachers]]\nname = 'any'\nmodels = ['*']\n\
                    take = ['repaired']\n[[teachers]]\nname = 'qwen'\nmodels = ['Qwen/Qwen3-32B']\n\
                    take = ['repaired']\n";
        let recipe = Recipe::parse(text, "x").unwrap();
        let found = |name: &str| recipe.teacher(&[name.to_string()]).unwrap().name.clone();
        assert_eq!(found("qwen/qwen3-32b"), "qwen");
        assert_eq!(found("QWEN"), "qwen");
        assert_eq!(found("retrieval"), "any");
    }
}
