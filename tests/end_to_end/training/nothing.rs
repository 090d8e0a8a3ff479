//! The whole loop from nothing: faults, a randomly initialised model, its pretraining,
//! its attempts, and an adapter trained on them.

use std::collections::BTreeMap;
use std::fs;

use fixfly_benchmarks::Manifest;
use fixfly_runtime::{Episode, Split, read_episodes};

use crate::project::{benchmark, item};
use crate::{command, fixfly, printed, refused, runs};

const STOCK: &str = r#"class Stock:
    def __init__(self):
        self.items = {}

    def put(self, name, count):
        """Add some of a thing."""
        if count < 0:
            raise ValueError(name)
        self.items[name] = self.items.get(name, 0) + count

    def has(self, name):
        """Tell whether some is left."""
        if name not in self.items:
            return False
        return self.items[name] > 0

    def drop(self, name):
        if name in self.items:
            del self.items[name]
"#;

const TILL: &str = r#"class Till:
    def __init__(self):
        self.coins = []

    def pay(self, coin):
        """Take a coin."""
        if coin == 0 or coin is None:
            return False
        self.coins.append(coin)
        return True
"#;

const TESTS: &str = r#"
import unittest

from shop.stock import Stock
from shop.till import Till


class AllTests(unittest.TestCase):
    def test_put(self):
        stock = Stock()
        stock.put("pear", 2)
        self.assertEqual(stock.items, {"pear": 2})
        with self.assertRaises(ValueError):
            stock.put("pear", -1)

    def test_has(self):
        stock = Stock()
        self.assertIs(stock.has("pear"), False)
        stock.items["pear"] = 1
        self.assertIs(stock.has("pear"), True)

    def test_pay(self):
        till = Till()
        self.assertIs(till.pay(1), True)
        self.assertIs(till.pay(None), False)
        self.assertEqual(till.coins, [1])
"#;

/// A project whose methods can have faults.
fn shop() -> tempfile::TempDir {
    let folder = benchmark(0.0);
    let write = |path: &str, text: &str| fs::write(folder.path().join(path), text).unwrap();
    write("source/shop/stock.py", STOCK);
    write("source/shop/till.py", TILL);
    write("source/tests/test_all.py", TESTS);
    let file = folder.path().join("manifest.jsonl");
    let mut manifest = Manifest::read(&file).unwrap();
    let test = |name: &str| format!("tests.test_all.AllTests.test_{name}");
    let of = |file, text, method: &str, split| {
        let name = method.rsplit('.').next().unwrap();
        item(file, text, method, split, &test(name))
    };
    manifest.items.extend([
        of("shop/stock.py", STOCK, "Stock.put", Split::Train),
        of("shop/stock.py", STOCK, "Stock.has", Split::Train),
        of("shop/till.py", TILL, "Till.pay", Split::Benchmark),
    ]);
    fs::write(file, manifest.text()).unwrap();
    folder
}

#[test]
fn faults_are_validated_and_fixed_by_one_line() {
    let shop = shop();
    let word = |name: &str| shop.path().join(name).display().to_string();
    let (of, made) = (word(""), word("faults"));
    let build =
        ["bench", "build", "faults", "--source", "python", "--source-dir", &of, "-o", &made];
    let output = printed(&build);
    // Two faults of a held-out method, one of each to learn from, and those of
    // the method that has no tests.
    insta::assert_snapshot!(output.replace(&made, "[FAULTS]"));
    assert_eq!(printed(&build), output, "what was tried is not tried again");
    let run = |policy: &str, split: &str, turns: &str| {
        let run = word(&format!("{policy}-{split}"));
        let words = ["run", "faults", "--benchmark-dir", &made, "--policy", policy];
        let more = ["--split", split, "--turns", turns, "-o", &run];
        runs::ended_well(command(&[&words[..], &more].concat()));
        read_episodes(run.as_ref()).unwrap()
    };
    let fixed = run("oracle", "benchmark", "1");
    assert!(!fixed.is_empty() && fixed.iter().all(|episode| episode.solved()), "{fixed:?}");
    let answer = &fixed[0].turns[0].action.text;
    assert!(answer.starts_with("```python\n- ") && answer.contains("\n+ "), "{answer}");
    let method = fixed[0].task.statement.method().unwrap();
    assert!(method.faulty.is_some() && method.content.is_empty());
    assert!(run("null", "benchmark", "1").iter().all(|episode| !episode.solved()));
    // Options are recorded with the run and with its tasks; the oracle's answers pass all the same.
    let words = ["run", "faults", "--benchmark-dir", &made, "--policy", "oracle", "--turns", "1"];
    let options = ["--edit", "text", "--feedback", "none", "--mention-repeats"];
    let kept = word("options");
    runs::ended_well(command(&[&words[..], &options, &["-o", &kept]].concat()));
    let options =
        serde_json::json!({ "edit": "text", "feedback": "none", "mention_repeats": true });
    let record = fixfly_runtime::read_run(kept.as_ref()).unwrap();
    assert_eq!(record.config["fault_options"], options);
    for episode in read_episodes(kept.as_ref()).unwrap() {
        assert!(episode.solved());
        assert_eq!(serde_json::json!(episode.task.statement)["options"], options);
    }
    let (_, why) = refused(&[&words[..], &["-o", &kept]].concat());
    assert!(why.contains("fault_options"), "{why}");
    // Nothing is tried, and every task is there to learn from.
    let asked = run("null", "train", "0");
    assert!(asked.len() > 1 && asked.iter().all(|episode| episode.turns.is_empty()));
    let check = |manifest: &str, expected: &str| {
        fs::write(shop.path().join("faults/faults.jsonl"), manifest).unwrap();
        let (code, why) = refused(&["run", "faults", "--benchmark-dir", &made, "-o", &word("x")]);
        assert!(code != 0 && why.contains(expected), "{why}");
    };
    check("{}\n", "faults.jsonl, line 1: missing field `schema`");
    check(
        "{\"schema\":1,\"of\":\"python\",\"of_dir\":null,\"longest\":480}\n",
        "faults.jsonl is of version 1, not 2; run `fixfly bench build faults` again",
    );
}

#[test]
fn untried_faults_are_there_with_other_names() {
    let shop = shop();
    let word = |name: &str| shop.path().join(name).display().to_string();
    let (of, made, run) = (word(""), word("faults"), word("tasks"));
    let build =
        ["bench", "build", "faults", "--source", "python", "--source-dir", &of, "-o", &made];
    printed(&[&build[..], &["--train-methods", "1", "--renamed-copies", "2"]].concat());
    let asks = ["run", "faults", "--benchmark-dir", &made, "--policy", "null", "--split", "train"];
    let only = ["--task-id", "*~*", "--turns", "0", "-o", &run];
    runs::ended_well(command(&[&asks[..], &only].concat()));
    let faulty = |episode: &Episode| {
        let method = episode.task.statement.method().unwrap();
        assert!(method.faulty.as_ref().unwrap().contains(&format!("def {}(", method.name)));
        method.faulty.clone().unwrap()
    };
    let all = read_episodes(run.as_ref()).unwrap();
    let texts: BTreeMap<&str, String> =
        all.iter().map(|episode| (&*episode.task.id, faulty(episode))).collect();
    let own: Vec<_> = texts.iter().filter(|(id, _)| !id.contains('@')).collect();
    assert!(!own.is_empty() && texts.len() == 3 * own.len(), "{texts:?}");
    for (id, text) in own {
        let others = [1, 2].map(|names| &texts[&*format!("{id}@{names}")]);
        assert!(others[0] != others[1] && !others.contains(&text), "{texts:?}");
        assert!(others.iter().all(|other| other.lines().count() == text.lines().count()));
    }
    // The fix of a copy has the names of the copy.
    let (rows, recipe) = (word("rows"), ["dataset", "build", "--recipe", "originals"]);
    printed(&[&recipe[..], &["--max-dropped", "1", &run, "-o", &rows]].concat());
    let rows = fs::read_to_string(shop.path().join("rows/rows.jsonl")).unwrap();
    let row = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let mut seen = 0;
    for row in rows.lines().map(row) {
        let content = |at: usize| row["messages"][at]["content"].as_str().unwrap().to_string();
        let answer = content(row["messages"].as_array().unwrap().len() - 1);
        let is = answer.lines().find_map(|line| line.strip_prefix("- ")).unwrap();
        assert!(texts[row["origin"]["task"].as_str().unwrap()].contains(is), "{answer}");
        seen += 1;
    }
    assert!(seen > 2, "{rows}");
    let tried = ["run", "faults", "--benchmark-dir", &made, "--policy", "oracle"];
    let renamed = ["--split", "train", "--task-id", "*@1", "--turns", "1", "-o", &word("tried")];
    let output = fixfly(&[&tried[..], &renamed].concat());
    let why = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && why.contains("it has other names than the project"),
        "{why}"
    );
}

#[test]
fn mutants_record_failing_attempts_to_train_on() {
    let shop = shop();
    let word = |name: &str| shop.path().join(name).display().to_string();
    let (of, made, run) = (word(""), word("faults"), word("mutants"));
    let build =
        ["bench", "build", "faults", "--source", "python", "--source-dir", &of, "-o", &made];
    printed(&build);
    let asks = ["run", "faults", "--benchmark-dir", &made, "--policy", "mutants"];
    let on = |split: &'static str| ["--split", split, "--task-id", "*#*", "-o"];
    let (code, why) = refused(&[&asks[..], &on("benchmark"), &[&word("held-out")]].concat());
    assert!(code == 2 && why.contains("run it with --split train"), "{why}");
    runs::ended_well(command(&[&asks[..], &on("train"), &[&run]].concat()));
    let episodes = read_episodes(run.as_ref()).unwrap();
    let attempts: Vec<_> = episodes.iter().flat_map(|episode| &episode.turns).collect();
    assert!(!attempts.is_empty() && episodes.iter().any(|episode| !episode.solved()));
    for episode in &episodes {
        let answers: std::collections::BTreeSet<_> =
            episode.turns.iter().map(|turn| &turn.action.text).collect();
        assert_eq!(answers.len(), episode.turns.len(), "{answers:?}");
        assert!(episode.turns.iter().all(|turn| turn.observation.tests.is_some()));
    }
    // Whole trajectories, or the same answers without them.
    let rows = |recipe: &str, more: &[&str]| {
        let to = word(&format!("{recipe}{}", more.concat()));
        let words = ["dataset", "build", "--recipe", recipe, &run, "-o", &to];
        printed(&[&words[..], &["--max-dropped", "1"], more].concat());
        let text = fs::read_to_string(shop.path().join(&to).join("rows.jsonl")).unwrap();
        let row = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        let messages = |row: serde_json::Value| row["messages"].as_array().unwrap().len();
        text.lines().map(row).map(messages).collect::<Vec<_>>()
    };
    let whole = rows("repairs-and-originals", &[]);
    assert!(whole.iter().any(|messages| *messages > 3), "{whole:?}");
    assert!(rows("repairs-single-turn", &[]).iter().all(|messages| *messages == 3));
    assert_eq!(rows("repairs-and-originals", &["--max-rows", "any=1"]).len(), 1);
    let few = rows("repairs-and-originals", &["--max-total-tokens", "400"]).len();
    assert!(few < whole.len() || whole.len() == 1, "{few} of {whole:?}");
    let words = ["dataset", "build", "--recipe", "repairs", &run, "-o", &word("x")];
    let (_, why) = refused(&[&words[..], &["--max-rows", "teacher=1"]].concat());
    assert!(why.contains("the teachers of the recipe are any"), "{why}");
    let words = ["dataset", "build", "--recipe", "repairs-and-originals", &run, "-o", &word("x")];
    let (_, why) = refused(&[&words[..], &["--max-total-tokens", "1"]].concat());
    let expected = "the first row has more than 1 tokens, the limit of all rows together";
    assert!(why.contains(expected), "{why}");
}

#[cfg(all(feature = "train", feature = "llama"))]
const SWEEP: &str = r#"
about = "The whole loop."
benchmark = "faults"
modes = ["nothink"]
ranks = [4]
checkpoints = "validated"
splits = ["validation", "benchmark"]
seeds = [7]
tables = ["5.2", "students"]

[build]
source = "python"
source-dir = "SHOP"

[[model]]
name = "Tiny"

[model.init]
hidden-size = 32
num-hidden-layers = 1
num-attention-heads = 2
num-key-value-heads = 1
intermediate-size = 48
vocab-size = 400

[model.pretrain]
epochs = 1

[[dataset]]
recipe = "repairs-and-originals"
attempts = ["own", "mutants"]
tasks = true

[dataset.flags]
max-rows = ["tasks=4"]
max-dropped = 1

[[attempts]]
limit = 2
turns = 1
max-tokens = 8
keep-going = true

[[attempts]]
policy = "mutants"
task-id = "*#*"

[[control]]
name = "two samples"
samples = 2

[train]
epochs = 1

[run]
turns = 1
max-tokens = 8
keep-going = true

[validation]
limit = 1
"#;

/// Adds a method of the split validation.
#[cfg(all(feature = "train", feature = "llama"))]
fn add_validation(shop: &std::path::Path) {
    let desk = TILL.replace("Till", "Desk");
    fs::write(shop.join("source/shop/desk.py"), &desk).unwrap();
    let test = "\n    def test_desk(self):\n        from shop.desk import Desk\n        \
                desk = Desk()\n        self.assertIs(desk.pay(1), True)\n        \
                self.assertIs(desk.pay(None), False)\n        self.assertEqual(desk.coins, [1])\n";
    fs::write(shop.join("source/tests/test_all.py"), format!("{TESTS}{test}")).unwrap();
    let file = shop.join("manifest.jsonl");
    let mut manifest = Manifest::read(&file).unwrap();
    let test = "tests.test_all.AllTests.test_desk";
    manifest.items.push(item("shop/desk.py", &desk, "Desk.pay", Split::Validation, test));
    fs::write(file, manifest.text()).unwrap();
}

#[cfg(all(feature = "train", feature = "llama"))]
#[test]
fn a_student_goes_through_the_whole_loop_from_nothing() {
    let shop = shop();
    add_validation(shop.path());
    let word = |name: &str| shop.path().join(name).display().to_string();
    fs::write(shop.path().join("loop.toml"), SWEEP.replace("SHOP", &word(""))).unwrap();
    let (file, made) = (word("loop.toml"), word("made"));
    let output = fixfly(&["sweep", &file, "-o", &made]);
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr));
    let stderr = stderr.unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(stdout.contains("Tiny") && stdout.contains("repairs-and-originals"), "{stdout}");
    assert!(stdout.contains("(two samples)"), "{stdout}");
    let steps = stderr.lines().filter_map(|line| line.strip_prefix("making "));
    let kinds: Vec<&str> = steps.filter_map(|step| step.split('/').next()).collect();
    let expected = [
        "benchmarks",
        "runs",
        "datasets",
        "models",
        "datasets",
        "students",
        "models",
        "runs",
        // The attempts of the model and of the policy `mutants`.
        "runs",
        "runs",
        "datasets",
        "students",
        "adapters",
        // Validation, the benchmark, the control.
        "runs",
        "runs",
        "runs",
    ];
    assert_eq!(kinds, expected, "{stderr}");
    let tiny = fixfly(&["sweep", &file, "--smoke-test", "-o", &made]);
    assert!(tiny.status.success(), "{}", String::from_utf8_lossy(&tiny.stderr));
}
