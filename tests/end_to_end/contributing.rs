//! The examples of CONTRIBUTING.md: they run, and the page shows them as they are.

mod benchmark;
mod metric;
mod policy;
mod sandbox;
mod tool;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use fixfly_runtime::{
    Attempt, Benchmark, BenchmarkError, Host, Observation, Outcome, Split, TaskKind, Templates,
    Tool, ToolContext, ToolError, attempt,
};
use fixfly_sandboxes::HostOptions;
use serde_json::{Value, json};
use tempfile::TempDir;

const PAGE: &str = "CONTRIBUTING.md";
/// Stands above a block of code that shows a file.
const INCLUDE: &str = "<!-- include: ";

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(path).unwrap_or_else(|why| panic!("{PAGE} names {file}: {why}"))
}

/// The page with each block of Rust as its file has it.
fn filled(page: &str, read: impl Fn(&str) -> String) -> String {
    let (mut filled, mut file, mut is_old) = (String::new(), None, false);
    for line in page.split_inclusive('\n') {
        let words = line.trim_end();
        match words {
            "```" if is_old => is_old = false,
            _ if is_old => continue,
            "```rust" => {
                let name: String = file.take().expect("a block of Rust names its file above it");
                filled += line;
                filled += &read(&name);
                is_old = true;
                continue;
            }
            _ => {}
        }
        filled += line;
        let name = words.strip_prefix(INCLUDE).and_then(|name| name.strip_suffix(" -->"));
        file = name.map(str::to_owned);
    }
    filled
}

#[test]
fn the_page_shows_each_example_as_it_is() {
    let (page, file) = (read(PAGE), Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE));
    let expected = filled(&page, read);
    assert!(expected.matches(INCLUDE).count() > 5, "the page has its examples");
    if std::env::var("FIXFLY_CONTRIBUTING").is_ok_and(|how| how == "write") {
        fs::write(file, expected).unwrap();
        return;
    }
    assert!(
        page == expected,
        "{PAGE} shows an example that has changed: run FIXFLY_CONTRIBUTING=write cargo test --test \
         end_to_end contributing"
    );
}

#[test]
fn a_block_is_filled_with_its_file_and_nothing_else_changes() {
    let read = |name: &str| format!("// {name}\n");
    let page = "# A\n<!-- include: a.rs -->\n```rust\nold\n```\ntext\n```sh\nls\n```\n";
    let expected = "# A\n<!-- include: a.rs -->\n```rust\n// a.rs\n```\ntext\n```sh\nls\n```\n";
    assert_eq!(filled(page, read), expected);
    assert_eq!(filled(expected, read), expected);
}

#[test]
#[should_panic(expected = "a block of Rust names its file above it")]
fn a_block_without_a_file_is_found() {
    filled("<!-- include: a.rs -->\ntext\n```rust\n```\n", |_| String::new());
}

/// What a page states of the files: name, lines, and the words of which each line
/// has one; none for all lines.
fn counts(page: &str) -> Vec<(String, usize, Vec<String>)> {
    let mut counts = Vec::new();
    for (at, _) in page.match_indices("` (") {
        let Some((_, file)) = page[..at].rsplit_once('`') else { continue };
        let stated = page[at + 3..].split_once(')').map_or("", |(stated, _)| stated);
        let Some((count, rest)) = stated.split_once(" lines") else { continue };
        let words = rest.split('`').skip(1).step_by(2).map(str::to_owned);
        counts.push((file.to_owned(), count.parse().unwrap(), words.collect()));
    }
    counts
}

/// What is wrong with a count; a file may grow by a fifth before it is.
fn miscounted((file, stated, words): &(String, usize, Vec<String>), text: &str) -> Option<String> {
    let has = |line: &&str| words.is_empty() || words.iter().any(|word| line.contains(&**word));
    let real = text.lines().filter(has).count();
    let allowed = if words.is_empty() { (stated / 5).max(3) } else { 0 };
    (real.abs_diff(*stated) > allowed).then(|| format!("{file} {words:?}: {real}, not {stated}"))
}

#[test]
fn the_page_counts_right() {
    let counts = counts(&read(PAGE));
    assert!(counts.len() > 10, "{counts:?}");
    let wrong: Vec<_> =
        counts.iter().filter_map(|count| miscounted(count, &read(&count.0))).collect();
    assert!(wrong.is_empty(), "{PAGE} counts wrong: {wrong:#?}");
}

#[test]
fn counts_are_read_and_compared() {
    let page = "`a.rs` (12 lines), `b.rs` (2 lines with `x;` or `y`) and `c` (see `d`)";
    let found = counts(page);
    let names: Vec<_> =
        found.iter().map(|(file, count, words)| (&**file, *count, words.len())).collect();
    assert_eq!(names, [("a.rs", 12, 0), ("b.rs", 2, 2)]);
    assert_eq!(miscounted(&found[0], &"\n".repeat(15)), None);
    assert!(miscounted(&found[0], &"\n".repeat(16)).is_some());
    assert_eq!(miscounted(&found[1], "x;\nz\ny\n"), None);
    assert!(miscounted(&found[1], "x;\n").is_some());
}

/// The benchmark of the example.
fn in_folder(folder: Option<&Path>) -> Result<Arc<dyn Benchmark>, BenchmarkError> {
    let fixfly_benchmarks::Open::Folder(open) = benchmark::ENTRY.open else {
        panic!("the benchmark is in a folder")
    };
    open(folder)
}

/// A folder with a benchmark, the benchmark, and the sandboxes of the example.
fn opened() -> (TempDir, Arc<dyn Benchmark>, Arc<dyn Host>) {
    let folder = crate::project::benchmark(0.0);
    let benchmark = in_folder(Some(folder.path())).unwrap();
    (folder, benchmark, (sandbox::ENTRY.open)(&HostOptions::default()).unwrap())
}

#[test]
fn the_benchmark_asks_for_its_folder() {
    let why = in_folder(None).err().unwrap().to_string();
    assert!(why.contains("--benchmark-dir"), "{why}");
}

#[tokio::test]
async fn the_policy_solves_a_task_of_the_benchmark_in_the_sandbox() {
    let (_folder, benchmark, host) = opened();
    let fixfly_policies::Open::Answers(open) = policy::ENTRY.open else {
        panic!("the policy sees answers")
    };
    let policy = open(benchmark.clone());
    let tools: Vec<Box<dyn Tool>> = fixfly_tools::ALL.iter().map(|entry| (entry.open)()).collect();
    let with = Attempt {
        policy: (policy::ENTRY.name, &*policy),
        tools: &tools,
        host: &*host,
        benchmark: &*benchmark,
        templates: &Templates::load(TaskKind::Method, None).unwrap(),
    };
    let tasks = benchmark.tasks(Split::Benchmark).await.unwrap();
    let episode = attempt(&with, &tasks[0], 0, 0, String::new()).await;
    assert_eq!(episode.solved_at(), Some(2), "{:?}", episode.end);
    assert_eq!(episode.turns[0].observation.outcome, Outcome::Failed);
    assert!(episode.provenance.isolation.starts_with("timed: local: "));
    assert!(!host.protections().await.is_empty(), "those of `local`");
}

#[tokio::test]
async fn the_tool_lists_a_folder_and_refuses_what_is_wrong() {
    let (_folder, benchmark, host) = opened();
    let tasks = benchmark.tasks(Split::Benchmark).await.unwrap();
    let sandbox = host.open(&tasks[0].sandbox).await.unwrap();
    let tool = (tool::ENTRY.open)();
    assert_eq!(tool.spec().name, tool::ENTRY.name);
    let call = async |args: Value| -> Result<Observation, ToolError> {
        let (sandbox, benchmark) = (&*sandbox, &*benchmark);
        tool.call(args, ToolContext { task: &tasks[0], turns: &[], sandbox, benchmark }).await
    };
    let listed = call(json!({ "path": "/src/shop" })).await;
    let listed = listed.unwrap_or_else(|why| panic!("{why}: {:?}", tasks[0].sandbox));
    assert_eq!((listed.outcome, &*listed.text), (Outcome::Done, "__init__.py\ncart.py\n"));
    for args in [json!(null), json!({ "folder": "/" }), json!({ "path": "/nothing" })] {
        let refused = call(args).await;
        assert!(matches!(&refused, Err(ToolError::Refused(why)) if why.contains("`list`")));
    }
    sandbox.write("/tmp/note", b"kept").await.unwrap();
    assert_eq!(sandbox.read("/tmp/note").await.unwrap(), b"kept");
    sandbox.close().await.unwrap();
}
