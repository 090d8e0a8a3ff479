use super::*;

const LEAST: &str = "about = 'x'\nbenchmark = 'django'\nmodel = [{ name = 'Q', base = 'm/q' }]\n";

#[test]
fn paths_are_beside_the_file() {
    let text = format!(
        "{LEAST}[[dataset]]\nrecipe = 'mine.toml'\nruns = ['a', 'nano=b']\n[run]\nturns = 3\n"
    );
    let sweep = Sweep::read(&text, Path::new("/s")).unwrap();
    let data = &sweep.dataset[0];
    assert_eq!((&*data.recipe, &*data.name()), ("/s/mine.toml", "mine"));
    assert_eq!(data.runs, ["/s/a", "nano=/s/b"]);
    assert_eq!(sweep.model[0].base.as_deref(), Some(Path::new("/s/m/q")));
    assert_eq!((sweep.ranks, sweep.repeats), (vec![32], 1));
}

#[test]
fn a_plain_name_that_is_no_file_is_a_models_name() {
    let folder = tempfile::tempdir().unwrap();
    let base = |name: &str| {
        let text = LEAST.replace("m/q", name);
        Sweep::read(&text, folder.path()).unwrap().model[0].base.clone().unwrap()
    };
    assert_eq!(base("qwen2.5-coder-0.5b"), Path::new("qwen2.5-coder-0.5b"));
    std::fs::write(folder.path().join("q.gguf"), "").unwrap();
    assert_eq!(base("q.gguf"), folder.path().join("q.gguf"));
}

#[track_caller]
fn check(more: &str, expected: &str) {
    let fault = Sweep::read(&format!("{LEAST}{more}"), Path::new(".")).unwrap_err();
    assert!(fault.contains(expected), "{fault}");
}

#[test]
fn faults_say_what_to_change() {
    check("repeats = 0", "repeats is 0");
    check("ranks = []", "ranks is empty; name at least one");
    check("modes = ['loud']", "unknown variant `loud`");
    check("rank = 3", "unknown field `rank`");
    check("checkpoints = 'validated'", "needs `validation` and another split");
    check(
        "checkpoints = 'all'\n[[control]]\nname = 'x'\n",
        "set checkpoints to \"validated\" or \"chosen\"",
    );
    check("[attempts]\nname = 3\n", "`name` of attempts must be a text");
    let two = "[[attempts]]\nturns = 1\n[[attempts]]\nturns = 2\n";
    check(two, "two attempts are named own; set another `name`");
    let data = "[[dataset]]\nrecipe = 'repairs'\n";
    check(&format!("{data}attempts = ['other']\n"), "no attempts are named other; there are: own");
    let second = "[[attempts]]\nname = 'second'\nstudent = 'repairs'\n";
    check(
        &format!("{second}[[dataset]]\nrecipe = 'own-passes'\nattempts = ['second']\n{data}"),
        "the dataset own-passes takes attempts of the student of repairs, which is no earlier dataset",
    );
    let control = "[[control]]\nname = 'x'\ndatasets = ['v4']\n";
    check(&format!("{data}{control}"), "no dataset is named v4; there are: repairs");
    let unused = "[[attempts]]\npolicy = 'mutants'\n";
    let named = "[[dataset]]\nrecipe = 'v4'\nruns = ['a']\n";
    check(&format!("{unused}{named}"), "no dataset takes the attempts mutants");
    let both = "[[attempts]]\npolicy = 'mutants'\nstudent = 'repairs'\n";
    check(both, "the attempts mutants have a policy and a student; keep one of them");
    let two = LEAST.replace("}]", "}, { name = 'Q', base = 'other' }]");
    let fault = Sweep::read(&two, Path::new(".")).unwrap_err();
    assert_eq!(fault, "two models are named Q; set another `name`");
}

#[test]
fn a_flag_that_the_sweep_sets_is_refused_in_every_table() {
    let data = "[[dataset]]\nrecipe = 'repairs'\n";
    for (more, flag, table) in [
        ("[run]\nmodel = 'x'\n", "model", "run"),
        ("[validation]\nsplit = 'train'\n", "split", "validation"),
        ("[[control]]\nname = 'c'\nseed = 3\n", "seed", "control"),
        ("modes = ['think']\n[run]\nthink = 'no'\n", "think", "run"),
        ("prompts = 'p'\n[tasks]\nprompts = 'q'\n", "prompts", "tasks"),
        ("[build]\n[attempts]\nbenchmark_dir = 'b'\n", "benchmark-dir", "attempts"),
        ("[[attempts]]\nmodel = 'x'\n", "model", "attempts"),
        ("[lora]\nrank = 3\n", "rank", "lora"),
        ("seeds = [1]\n[train]\nseed = 3\n", "seed", "train"),
        ("[export]\nfrom = 'x'\n", "from", "export"),
        (&format!("{data}[dataset.flags]\ntokenizer = 'x'\n"), "tokenizer", "dataset.flags"),
        (&format!("{data}[run]\nlora = 'x'\n"), "lora", "run"),
    ] {
        check(more, &format!("remove `{flag}` from [{table}]: the sweep sets it itself"));
    }
    let twice = "[train]\nlr = 1e-4\n[lora]\nlr = 1e-3\n";
    check(twice, "`lr` is in [train] and in [lora]; keep one of them");
    for fine in ["[run]\nthink = 'no'\nlora = 'x'\n", "methods = ['full']\n[full]\nseed = 3\n"] {
        assert!(Sweep::read(&format!("{LEAST}{fine}"), Path::new(".")).is_ok(), "{fine}");
    }
}

#[test]
fn attempts_are_one_table_or_several() {
    #[track_caller]
    fn check(more: &str, expected: &[(&str, Option<&str>, usize)]) {
        let sweep = Sweep::read(&format!("{LEAST}{more}"), Path::new(".")).unwrap();
        let found: Vec<_> = (sweep.attempts.iter())
            .map(|one| (&*one.name, one.policy.as_deref(), one.flags.len()))
            .collect();
        assert_eq!(found, expected);
    }
    check("", &[("own", None, 0)]);
    check("[attempts]\nturns = 1\n", &[("own", None, 1)]);
    check(
        "[[attempts]]\nturns = 3\n[[attempts]]\npolicy = 'mutants'\n[[attempts]]\nname = 'hot'\npolicy = 'llama'\n",
        &[("own", None, 1), ("mutants", Some("mutants"), 0), ("hot", None, 0)],
    );
}

#[test]
fn a_model_is_there_or_made() {
    let fault = |model: &str| {
        let text = format!("about = 'x'\nbenchmark = 'django'\nmodel = [{{ {model} }}]");
        Sweep::read(&text, Path::new(".")).unwrap_err()
    };
    let both = "the model Q needs either `base` or `init`";
    assert_eq!(fault("name = 'Q', base = 'q', init = {}"), both);
    assert_eq!(fault("name = 'Q'"), both);
    let pretrain = "the model Q has `pretrain`, which needs `init`";
    assert_eq!(fault("name = 'Q', base = 'q', pretrain = {}"), pretrain);
}

#[test]
fn flags_may_be_written_with_underscores() {
    let text = "about = 'x'\nbenchmark = 'faults'\n[build]\nmax_chars = 9\n[[model]]\nname = 'Q'\n\
                [model.init]\nhidden_size = 2\n[run]\nmax_tokens = 8\ntask-id = 'a'\n\
                [[control]]\nname = 'c'\nmax_tokens = 2\n[[attempts]]\nmax_tokens = 3\n";
    let sweep = Sweep::read(text, Path::new(".")).unwrap();
    let (build, init) = (sweep.build.as_ref().unwrap(), sweep.model[0].init.as_ref().unwrap());
    let all = [build, init, &sweep.run, &sweep.control[0].flags, &sweep.attempts[0].flags];
    let keys: Vec<&str> = all.into_iter().flat_map(Table::keys).map(String::as_str).collect();
    assert_eq!(keys.join(" "), "max-chars hidden-size max-tokens task-id max-tokens max-tokens");
}

/// Commands that make empty folders.
struct Empty;

impl Commands for Empty {
    type Error = SweepError;
    type Student = ();

    fn status(&self, _: &str) {}

    fn is_stopped(&self) -> bool {
        false
    }

    fn waits(&self, error: &SweepError) -> bool {
        matches!(error, SweepError::Waits)
    }

    fn execute(&self, stage: &Stage) -> Result<(), SweepError> {
        let output = stage.flags()["output"].as_str().unwrap();
        std::fs::create_dir_all(output).unwrap();
        Ok(())
    }

    fn failed(&self, error: SweepError, _: &str) -> SweepError {
        error
    }

    fn students(&self, stages: &[Stage]) -> Result<Vec<()>, SweepError> {
        Ok(vec![(); stages.len()])
    }

    fn run(&self, (): ()) -> Result<(), SweepError> {
        Ok(())
    }

    fn base_model(&self, base: &Path) -> Result<PathBuf, SweepError> {
        Ok(base.into())
    }

    fn rows(&self, _: &Path) -> Result<usize, SweepError> {
        Ok(7)
    }

    fn teachers(&self, _: &str) -> Result<Vec<String>, SweepError> {
        Ok(Vec::new())
    }

    fn placeholder_traces(&self, _: &Path, _: &Path) -> Result<(), SweepError> {
        Ok(())
    }
}

/// A sweep of one model in a file, with two runs of it and two datasets.
fn two_datasets(folder: &Path) -> Sweep {
    std::fs::write(folder.join("q.gguf"), "x").unwrap();
    let text = "about = 'x'\nbenchmark = 'faults'\nrepeats = 2\nmodel = [{ name = 'Q', base = 'q.gguf' }]\n\
                [[attempts]]\npolicy = 'retrieval'\n[[attempts]]\npolicy = 'mutants'\n\
                [[dataset]]\nname = 'a'\nrecipe = 'repairs'\nattempts = ['retrieval']\n\
                [[dataset]]\nname = 'b'\nrecipe = 'repairs'\nattempts = ['retrieval', 'mutants']\n";
    Sweep::read(text, folder).unwrap()
}

#[test]
fn stages_that_can_run_beside_each_other_are_listed_and_each_runs_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (sweep, output) = (two_datasets(folder.path()), folder.path().join("out"));
    let ready = || sweep.ready(&output, false, &Empty).unwrap();
    let kinds = || -> Vec<String> {
        let name = |name: &String| name.rsplit_once('-').unwrap().0.to_string();
        ready().iter().map(name).collect()
    };
    let run = |at: usize| sweep.execute_one(&ready()[at], &output, false, &Empty).unwrap();
    let first =
        ["runs/Q-benchmark-0", "runs/Q-benchmark-1", "runs/retrieval-train", "runs/mutants-train"];
    assert_eq!(kinds(), first);
    run(2);
    let second = ["runs/Q-benchmark-0", "runs/Q-benchmark-1", "datasets/a", "runs/mutants-train"];
    assert_eq!(kinds(), second);
    let why = sweep.execute_one("datasets/b-0", &output, false, &Empty).unwrap_err().to_string();
    assert!(
        why.starts_with("no stage datasets/b-0 can run now; those that can are: runs/Q"),
        "{why}"
    );
    // A stage that is done stays as it is.
    let done = ready()[2].clone();
    run(2);
    sweep.execute_one(&done, &output, false, &Empty).unwrap();
    assert_eq!(kinds()[2..], ["students/Q-a-lora-r32", "runs/mutants-train"]);
    // The whole sweep has the same stages.
    while !ready().is_empty() {
        run(0);
    }
    let before = std::fs::read_dir(output.join("runs")).unwrap().count();
    assert_eq!(sweep.execute(&output, false, &Empty).unwrap().len(), 2);
    assert_eq!(std::fs::read_dir(output.join("runs")).unwrap().count(), before);
}

#[test]
fn a_second_sweep_in_the_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (sweep, output) = (two_datasets(folder.path()), folder.path().join("out"));
    sweep.execute(&output, false, &Empty).unwrap();
    let held = fixfly_runtime::lock(&output.join("sweep.lock")).unwrap();
    let expected = format!(
        "{} is in use by another fixfly process (pid {} on ",
        output.canonicalize().unwrap().display(),
        std::process::id()
    );
    for refused in [
        sweep.execute(&output, false, &Empty).map(drop),
        sweep.execute_one("datasets/b-0", &output, false, &Empty),
    ] {
        let why = refused.unwrap_err().to_string();
        assert!(why.starts_with(&expected), "{why}");
    }
    drop(held);
    let stage = fixfly_runtime::lock_shared(&output.join("sweep.lock")).unwrap();
    assert!(sweep.execute(&output, false, &Empty).is_err());
    let why = sweep.execute_one("datasets/b-0", &output, false, &Empty).unwrap_err().to_string();
    assert!(why.starts_with("no stage datasets/b-0 can run now"), "{why}");
    drop(stage);
    sweep.execute(&output, false, &Empty).unwrap();
}
