//! Joint items of a real project, through the real binary. Needs the network once, for pytest.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fixfly_benchmarks::{Manifest, Project, python, source};
use fixfly_runtime::{Answer, Benchmark, Outcome, Split, read_episodes};
use tempfile::TempDir;

use crate::python::{fixture, refused, succeeds};

#[test]
fn the_methods_of_a_file_are_joined_and_each_of_them_counts() {
    let home = TempDir::new().unwrap();
    let word = |name: &str| home.path().join(name).display().to_string();
    let (repository, folder) = (fixture("ledger").display().to_string(), word("benchmark"));
    let build = ["bench", "build", "python", "--repo", &repository, "-o", &folder];
    let stdout = succeeds(&[&build[..], &["--span", "2"]].concat());
    assert!(stdout.contains("each item is 2 functions or methods of one file"), "{stdout}");

    let file = home.path().join("benchmark/manifest.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    let manifest = Manifest::read(&file).unwrap();
    assert_eq!((manifest.header.schema, manifest.header.span), (2, Some(2)));
    let ids: Vec<&str> = manifest.items.iter().map(|item| item.id.as_str()).collect();
    let joined: Vec<&str> =
        ids.iter().flat_map(|id| id.split_once("::").unwrap().1.split('+')).collect();
    assert_eq!(joined.iter().collect::<BTreeSet<_>>().len(), 2 * ids.len(), "{ids:?}");
    assert!(ids.contains(&"src/ledger/book.py::Book.open+Book.transfer"), "{ids:?}");
    assert!(manifest.items.iter().any(|item| item.path == fixfly_benchmarks::RunPath::Hot));

    for split in Split::ALL {
        let count = manifest.items.iter().filter(|item| item.split == split).count();
        let name = split.name();
        let words = ["bench", "verify", "python", "--benchmark-dir", &folder, "--split", name];
        let stdout = succeeds(&words);
        assert!(stdout.contains(&format!("original solves {count} / {count}")), "{stdout}");
        assert!(stdout.contains(&format!("stub solves     0 / {count}")), "{stdout}");
        // Originals, the stubs of all and of each, sabotage and mutants.
        let stdout = succeeds(&[&words[..], &["--both"]].concat());
        assert!(!stdout.contains("differs") && !stdout.contains("not compared"), "{stdout}");
    }
    check_each(Path::new(&folder), &manifest);

    let run = word("run");
    let words = ["run", "python", "--benchmark-dir", &folder, "--policy", "retrieval"];
    succeeds(&[&words[..], &["--split", "train", "-o", &run]].concat());
    for episode in read_episodes(Path::new(&run)).unwrap() {
        assert_eq!((episode.schema, episode.task.tools.len()), (3, 1));
        for turn in &episode.turns {
            let candidate = turn.observation.candidate.as_deref().unwrap();
            assert_eq!(source::methods(candidate).unwrap().len(), 2, "{candidate}");
        }
    }

    // A number that no file has enough items for, of the files that are chosen.
    let more = ["--span", "8", "--files", "src/ledger/account.py"];
    let why = refused(&[&build[..], &more].concat());
    let expected = "--span 8: no file of the project has 8 items of different names; the most is \
                    4, in src/ledger/account.py: build with a smaller --span, or without";
    assert!(why.contains(expected), "{why}");
    // What is examined already is joined again, to the same bytes; or left as it is.
    succeeds(&[&build[..], &["--span", "2"]].concat());
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    succeeds(&build);
    let single = Manifest::read(&file).unwrap();
    assert_eq!((single.header.schema, single.header.span), (1, None));
    assert!(single.items.len() > manifest.items.len() * 2);
}

/// A stub of one method among originals fails; the test server says so, not the build.
fn check_each(folder: &Path, manifest: &Manifest) {
    let methods = python::load(Some(folder)).unwrap();
    let host = fixfly_sandboxes::open("local", "joint").unwrap();
    let spec = Project::open(folder, &manifest.header.framework).unwrap().spec().clone();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let sandbox = host.open(&spec).await.unwrap();
        for split in Split::ALL {
            for task in methods.tasks(split).await.unwrap() {
                let truth = answer(&methods, &task, Answer::Truth);
                let stub = answer(&methods, &task, Answer::Stub);
                for at in 0..truth.len() {
                    let mut sources = truth.clone();
                    sources[at] = stub[at].clone();
                    let evaluator = methods.evaluator().unwrap();
                    let code = source::joined(&sources);
                    let seen = evaluator.evaluate(&task, &code, &*sandbox).await.unwrap();
                    assert_eq!(seen.outcome, Outcome::Failed, "{}: {code}", task.id);
                }
            }
        }
        sandbox.close().await.unwrap();
    });
}

fn answer(
    methods: &fixfly_benchmarks::Methods,
    task: &fixfly_runtime::Task,
    answer: Answer,
) -> Vec<String> {
    let text = methods.ground_truth().answer(task, answer).unwrap();
    let found = source::methods(&text).unwrap();
    found.iter().map(|method| source::source_of(&text, method)).collect()
}
