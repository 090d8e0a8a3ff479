//! A dataset of a run's episodes.

use std::path::Path;

use fixfly_datasets::{Build, Format, Known, Recipe, Run, Tokens, Traces};
use fixfly_runtime::{TaskKind, Templates};

use super::episodes::{EPISODES, recorded};
use crate::language::Plain;

const RECIPE: &str = "about = 'What was solved.'\nloss = 'all'\n\
    [[teachers]]\nname = 'any'\nmodels = ['*']\ntake = ['repaired', 'at-once']\n\
    [leaks]\nanswers = 'keep'\n";

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
