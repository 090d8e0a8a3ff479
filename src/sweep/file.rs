//! The flags in the file of a sweep, checked before its first stage.

use clap::Args;
use fixfly_students::sweep::Sweep;
use toml::Table;

use crate::failure::Usage;
use crate::{bench, config, dataset, run, train};

/// Checks every table of flags.
pub(super) fn check(sweep: &Sweep) -> Result<(), Usage> {
    if let Some(flags) = &sweep.build {
        let place = if sweep.benchmark == "django" { "benchmark-dir" } else { "output" };
        bench::build::command(&sweep.benchmark, &with(flags, &[(place, "x")]))?;
    }
    let run = |policy: Option<&str>, flags: &[&Table]| {
        let own = [("benchmark", &*sweep.benchmark), ("output", "x")];
        let policy = policy.map(|policy| ("policy", policy));
        let own: Vec<_> = own.into_iter().chain(policy).collect();
        parsed::<run::Flags>("run", &own, flags)
    };
    for flags in [&[&sweep.run][..], &[&sweep.run, &sweep.validation], &[&sweep.tasks]] {
        run(None, flags)?;
    }
    for control in &sweep.control {
        run(None, &[&sweep.run, &control.flags])?;
    }
    for attempts in &sweep.attempts {
        run(attempts.policy.as_deref(), &[&attempts.flags])?;
    }
    for data in &sweep.dataset {
        let own = [("runs", "x"), ("recipe", &*data.recipe), ("output", "x")];
        parsed::<dataset::build::Flags>("dataset build", &own, &[&data.flags])?;
    }
    let train = [("base", "x"), ("dataset", "x"), ("output", "x")];
    for flags in [&sweep.lora, &sweep.full] {
        parsed::<train::Native>("train", &train, &[&sweep.train, flags])?;
    }
    for model in &sweep.model {
        let init = [("dataset", "x"), ("output", "x")];
        let flags = model.init.iter().collect::<Vec<_>>();
        parsed::<train::InitFlags>("train init", &init, &flags)?;
        let flags = model.pretrain.iter().collect::<Vec<_>>();
        parsed::<train::Native>("train full", &train, &flags)?;
    }
    #[cfg(feature = "train")]
    parsed::<crate::export::Gguf>(
        "export gguf",
        &[("from", "x"), ("output", "x")],
        &[&sweep.export],
    )?;
    Ok(())
}

/// Parses flags by name together with those that the sweep sets.
fn parsed<T: Args>(verb: &str, own: &[(&str, &str)], flags: &[&Table]) -> Result<(), Usage> {
    let mut all = Table::new();
    for flags in flags {
        all.extend((*flags).clone());
    }
    config::flags::<T>(verb, &with(&all, own)).map(|_| ())
}

/// Flags, and those that the sweep sets.
fn with(flags: &Table, own: &[(&str, &str)]) -> Table {
    let own = own.iter().map(|(key, value)| ((*key).to_string(), (*value).into()));
    flags.clone().into_iter().chain(own).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use fixfly_runtime::{TaskKind, Templates};

    use super::*;

    #[test]
    fn the_experiments_that_come_with_fixfly_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benchmarks/experiments");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<_> = files.filter(|file| file.is_file()).collect();
        assert!(files.len() >= 4, "{} files", files.len());
        for file in files {
            let sweep = Sweep::open(&file).unwrap();
            let checked = check(&sweep).map_err(|Usage(why)| why);
            assert_eq!(checked, Ok(()), "{}", file.display());
            if let Some(prompts) = &sweep.prompts {
                Templates::load(TaskKind::Method, Some(prompts)).unwrap();
            }
        }
    }

    #[test]
    fn a_mistake_in_any_table_is_found_before_the_first_stage() {
        #[track_caller]
        fn wrong(more: &str, expected: &str) {
            let least = "about = 'x'\nbenchmark = 'faults'\nmodel = [{ name = 'Q', base = 'q' }]\n";
            let sweep = Sweep::read(&format!("{least}{more}"), Path::new(".")).unwrap();
            let Err(Usage(why)) = check(&sweep) else { panic!("accepted: {more}") };
            assert!(why.contains(expected), "{why}");
        }
        wrong(
            "[build]\nmax-charz = 9\n",
            "`max-charz` is not a flag of `fixfly bench build faults`",
        );
        wrong("[run]\nturnz = 9\n", "`turnz` is not a flag of `fixfly run`");
        wrong("[validation]\nlimit = 'x'\n", "invalid value 'x'");
        wrong("[[control]]\nname = 'c'\nsamplez = 5\n", "`samplez` is not a flag");
        wrong("[[attempts]]\npolicy = 'mutants'\nturnz = 2\n", "`turnz` is not a flag");
        let data = "[[dataset]]\nrecipe = 'repairs'\n[dataset.flags]\n";
        wrong(&format!("{data}lengthh = 3\n"), "`lengthh` is not a flag of `fixfly dataset build`");
        wrong("[lora]\nrankk = 3\n", "`rankk` is not a flag of `fixfly train`");
        if cfg!(feature = "train") {
            wrong("[export]\nmerg = true\n", "`merg` is not a flag of `fixfly export gguf`");
        }
    }
}
