//! A dataset of a run's episodes.

use std::path::Path;

use fixfly_datasets::{Build, Format, Known, Language, Recipe, Run, Tokens, Traces};
use fixfly_runtime::{TaskKind, Templates};

use super::episodes::{EPISODES, recorded};

const RECIPE: &str = "about = 'What was solved.'\nloss = 'all'\n\
    [[teachers]]\nname = 'any'\nmodels = ['*']\ntake = ['repaired', 'at-once']\n\
    [leaks]\nanswers = 'keep'\n";

/// A language without functions.
struct Plain;

impl Language for Plain {
    fn tree_hash(&self, _: &str) -> Option<String> {
        None
    }

    fn shingles(&self, _: &str) -> Vec<u64> {
        Vec::new()
    }

    fn methods(&self, _: &str) -> Vec<(String, String)> {
        Vec::new()
    }

    fn without(&self, text: &str, _: &[String]) -> String {
        text.into()
    }
}

pub(crate) fn work(folder: &Path, rounds: u64) {
    let run = folder.join("run");
    recorded(&run);
    let recipe = Recipe::parse(RECIPE, "here").expect("a recipe");
    let templates = Templates::load(TaskKind::Method, None).expect("the built-in prompts");
    let build = Build {
        recipe_name: "here".into(),
        recipe_text: RECIPE.into(),
        runs: Run::open_all(&[run.display().to_string()], &recipe).expect("a run"),
        recipe,
        templates: &templates,
        known: Known {
            about: "nothing".into(),
            original: &|_| Err("there is none".into()),
            held_out: Vec::new(),
            language: &Plain,
        },
        tokens: Tokens::Estimated,
        student: None,
        traces: Traces::default(),
        mask: false,
        formats: vec![Format::Sharegpt],
    };
    for round in 0..rounds {
        let summary = build.write(&folder.join(format!("dataset-{round}"))).expect("a dataset");
        assert_eq!(summary.parts.values().sum::<usize>(), EPISODES as usize);
    }
}
