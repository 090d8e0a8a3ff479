use super::*;
use crate::budget::Budget;
use crate::episode::{Boundary, End, FailureKind, Provenance};
use crate::statement::{DescribedBy, Method, Statement};
use crate::task::{SandboxSpec, Task};
use tempfile::TempDir;

pub(super) fn episode(id: &str, sample: u32, end: End) -> Episode {
    let method = Method {
        file: "a.py".into(),
        class_name: "A".into(),
        name: "f".into(),
        declaration: "def f(self):".into(),
        decorators: Vec::new(),
        description: "Räum auf.\n".into(),
        described_by: DescribedBy::Docstring,
        content: String::new(),
        faulty: None,
        options: crate::FaultOptions::default(),
    };
    Episode {
        schema: SCHEMA,
        task: Task {
            id: id.into(),
            benchmark: "b".into(),
            statement: Statement::Method(method),
            sandbox: SandboxSpec::default(),
            tools: Vec::new(),
            budget: Budget { turns: 5, tokens: None, seconds: None, usd: None },
        },
        policy: "null".into(),
        provenance: Provenance { sample, seed: u64::MAX, seconds: 0.1, ..Default::default() },
        turns: Vec::new(),
        end,
        patch: None,
        left_out: Vec::new(),
        verdict: None,
    }
}

pub(super) fn infrastructure() -> End {
    End::Failed {
        at: Boundary::Sandbox,
        kind: FailureKind::Infrastructure,
        why: "no memory".into(),
    }
}

pub(super) fn record() -> RunRecord {
    RunRecord {
        schema: SCHEMA,
        fixfly: "0.1.0".into(),
        started: "2026-01-01T00:00:00Z".into(),
        config: [("policy".to_string(), "null".into())].into(),
        seed: 0,
        benchmark: [("tasks".to_string(), 3.into())].into(),
        templates: Wording { hash: "ab".into(), texts: Default::default() },
        isolation: "none".into(),
        machine: Machine::default(),
        tasks: None,
        merged: Vec::new(),
    }
}

/// A run directory with these episodes; removed when dropped.
fn run_of(episodes: &[Episode]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (mut run, _) = RunDirectory::open(folder.path(), &record()).unwrap();
    for episode in episodes {
        run.append(episode).unwrap();
    }
    folder
}

fn refused(path: &Path, record: &RunRecord) -> String {
    let error = RunDirectory::open(path, record).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error.replace(&path.display().to_string(), "RUN")
}

#[test]
fn what_is_written_is_read_back_and_continued() {
    let episodes = [
        episode("a", 0, End::Submitted),
        episode("b", 0, infrastructure()),
        episode("a", 1, End::Solved),
    ];
    let folder = run_of(&episodes);
    assert_eq!(read_episodes(folder.path()).unwrap(), episodes);
    assert_eq!(read_run(folder.path()).unwrap(), record());

    let (mut run, recorded) = RunDirectory::open(folder.path(), &record()).unwrap();
    assert_eq!(recorded.summaries(), episodes.each_ref().map(EpisodeSummary::of));
    run.append(&episode("b", 0, End::Submitted)).unwrap();
    let ends: Vec<_> = read_episodes(folder.path()).unwrap().into_iter().map(|e| e.end).collect();
    assert_eq!(ends, [End::Submitted, End::Submitted, End::Solved], "the later line wins");
    assert_eq!(one_by_one(folder.path()).unwrap(), read_episodes(folder.path()).unwrap());
}

fn one_by_one(run: &Path) -> Result<Vec<Episode>, RunError> {
    let recording = Recording::open(run)?;
    (0..recording.len()).map(|at| recording.episode(at)).collect()
}

#[test]
fn a_cut_anywhere_in_the_last_line_costs_that_line_only() {
    let whole = [episode("a", 0, End::Submitted), episode("b", 0, End::Submitted)];
    let folder = run_of(&whole);
    let file = folder.path().join(EPISODES);
    let kept = fs::read(&file).unwrap();
    let last = serde_json::to_vec(&episode("c", 0, End::Submitted)).unwrap();
    for cut in 1..=last.len() {
        let torn = &last[..cut];
        fs::write(&file, [&kept, torn].concat()).unwrap();
        assert_eq!(read_episodes(folder.path()).unwrap(), whole, "cut at {cut}");
        assert_eq!(one_by_one(folder.path()).unwrap(), whole, "cut at {cut}");

        let (mut run, recorded) = RunDirectory::open(folder.path(), &record()).unwrap();
        let expected = whole.each_ref().map(EpisodeSummary::of);
        assert_eq!(recorded.summaries(), expected, "cut at {cut}");
        assert_eq!(fs::read(&file).unwrap(), kept, "cut at {cut}");
        let aside = folder.path().join(format!("episodes.torn-{cut}.jsonl"));
        assert_eq!(fs::read(aside).unwrap(), torn);
        run.append(&episode("c", 0, End::Submitted)).unwrap();
        drop(run);
        assert_eq!(read_episodes(folder.path()).unwrap().len(), 3, "cut at {cut}");
    }
}

#[test]
fn what_a_power_cut_leaves_at_the_end_is_set_aside_too() {
    for tail in [&b"\0\0\0\0"[..], b"{\"schema\":1,\0\0\0\n", b"\n", b"\xff"] {
        let folder = run_of(&[episode("a", 0, End::Submitted)]);
        let file = folder.path().join(EPISODES);
        let kept = fs::read(&file).unwrap();
        fs::write(&file, [&kept, tail].concat()).unwrap();
        let (_, recorded) = RunDirectory::open(folder.path(), &record()).unwrap();
        assert_eq!(recorded.len(), 1);
        assert_eq!(fs::read(&file).unwrap(), kept);
    }
}

#[track_caller]
fn check_bad_line(line: &str, expected: &str) {
    let folder = run_of(&[episode("a", 0, End::Submitted)]);
    let file = folder.path().join(EPISODES);
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{good}{line}\n{good}")).unwrap();
    let error = refused(folder.path(), &record());
    assert!(error.starts_with(expected), "{error}");
    let said = |error: RunError| error.to_string();
    let whole = read_episodes(folder.path()).map_err(said);
    assert_eq!(one_by_one(folder.path()).map_err(said), whole);
    assert!(whole.is_err());
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{good}{line}\n{good}"));
}

#[test]
fn a_bad_line_elsewhere_is_named_and_left_alone() {
    check_bad_line("{\"schema\":1,", "RUN/episodes.jsonl:2 is not JSON: EOF while parsing");
    check_bad_line("{\"schema\":1}", "RUN/episodes.jsonl:2 is not an episode: missing field");
    check_bad_line("", "RUN/episodes.jsonl:2 is not JSON:");
    check_bad_line(
        "{\"schema\":4}",
        "RUN/episodes.jsonl:2 was written by a newer fixfly (schema 4, this one reads up to 3)",
    );
}

#[test]
fn an_altered_byte_is_found_where_the_line_is_still_an_episode() {
    let folder = run_of(&[episode("a", 0, End::Submitted), episode("b", 0, End::Submitted)]);
    let file = folder.path().join(EPISODES);
    let whole = fs::read_to_string(&file).unwrap();
    let altered = whole.replacen("\"policy\":\"null\"", "\"policy\":\"nulk\"", 1);
    fs::write(&file, &altered).unwrap();
    let error = refused(folder.path(), &record());
    assert_eq!(
        error,
        "RUN/episodes.jsonl:1 is not what was recorded: its crc32c is another one; fix or remove it"
    );
    // As older versions recorded it, and as somebody edits it.
    let (start, sum) = altered.split_once(",\"crc32c\":\"").unwrap();
    fs::write(&file, format!("{start}{}", &sum[9..])).unwrap();
    assert_eq!(read_episodes(folder.path()).unwrap()[0].policy, "nulk");
}

#[test]
fn a_run_made_differently_is_not_continued() {
    let folder = run_of(&[]);
    let mut other = record();
    other.config.insert("policy".into(), "oracle".into());
    other.config.insert("only".into(), "x*".into());
    other.seed = 7;
    other.benchmark.insert("tasks".into(), 4.into());
    other.started = "later".into();
    assert_eq!(
        refused(folder.path(), &other),
        "RUN contains a run with other settings (benchmark tasks was 3, now 4; only was not \
         set, now \"x*\"; policy was \"null\", now \"oracle\"; seed was 0, now 7); use the \
         same flags to resume it, or name another folder"
    );
    let elsewhere = RunRecord { machine: Machine { cpus: 64, ..record().machine }, ..record() };
    assert!(RunDirectory::open(folder.path(), &elsewhere).is_ok(), "any machine may continue");
}

#[test]
fn a_folder_that_is_no_run_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), "x").unwrap();
    assert!(RunDirectory::check(folder.path()).is_err());
    assert!(refused(folder.path(), &record()).starts_with("RUN is not a run directory"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(RunDirectory::check(&folder.path().join("new")).is_ok());

    let error = read_episodes(folder.path()).unwrap_err().to_string();
    assert!(error.starts_with("there is no run in "), "{error}");
    let file = folder.path().join("thesis.tex");
    assert!(refused(&file, &record()).starts_with("cannot make RUN: "));
    assert!(matches!(read_run(&file), Err(RunError::NoRun(_))));
}

#[test]
fn a_start_that_was_killed_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(LOCK), "").unwrap();
    fs::write(folder.path().join(DRAFT), "{").unwrap();
    fs::write(folder.path().join(".aB3dE6.partial"), "{").unwrap();
    assert!(RunDirectory::open(folder.path(), &record()).is_ok());
    assert_eq!(read_run(folder.path()).unwrap(), record());
    fs::remove_file(folder.path().join(EPISODES)).unwrap();
    assert_eq!(read_episodes(folder.path()).unwrap(), [], "killed before the first episode");
}

#[test]
fn a_record_that_cannot_be_read_is_named() {
    let folder = run_of(&[]);
    let file = folder.path().join(RECORD);
    fs::write(&file, "{").unwrap();
    let error = refused(folder.path(), &record());
    assert!(error.starts_with("RUN/run.json is not JSON: "), "{error}");
    assert!(error.ends_with("the run.json that the same command with a new folder writes there"));
    fs::write(&file, "{}").unwrap();
    assert!(refused(folder.path(), &record()).starts_with("RUN/run.json is not a run record"));
    fs::write(&file, "{\"schema\":99}").unwrap();
    assert!(refused(folder.path(), &record()).contains("newer fixfly (schema 99"));
}

#[test]
fn one_run_has_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let (run, _) = RunDirectory::open(folder.path(), &record()).unwrap();
    let error = refused(folder.path(), &record());
    let owner = format!("RUN is in use by another fixfly process (pid {} on ", std::process::id());
    assert!(error.starts_with(&owner), "{error}");
    assert!(error.ends_with("); wait until it ends or name another folder"), "{error}");
    assert!(read_episodes(folder.path()).is_ok(), "but any number of readers");
    drop(run);
    assert!(RunDirectory::open(folder.path(), &record()).is_ok());
}

#[test]
fn a_full_disk_is_reported_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let (mut run, _) = RunDirectory::open(folder.path(), &record()).unwrap();
    run.episodes = OpenOptions::new().append(true).open("/dev/full").unwrap();
    let error = run.append(&episode("a", 0, End::Submitted)).unwrap_err().to_string();
    assert!(error.contains("episodes.jsonl: No space left on device"), "{error}");
    assert!(error.ends_with("free some disk space and run the same command again to resume"));
}
