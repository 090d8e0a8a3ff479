//! `fixfly fix` on small repositories: by a teacher, by retrieval, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command;
use crate::server::{Reply, Server, words};

const CART: &str = "\
class Cart:
    \"\"\"Things to buy.\"\"\"

    def __init__(self):
        self.items = {}

    def add(self, name, price, count=1):
        self.items[name] = (price, count)

    def count(self):
        return sum(count for _, count in self.items.values())

    def is_empty(self):
        \"\"\"Whether nothing is in it.\"\"\"
        return len(self.items) != 0

    def total(self):
        \"\"\"The sum of all prices.\"\"\"
        return sum(price - count for price, count in self.items.values())
";

const TESTS: &str = "\
import unittest

from cart import Cart


def filled():
    cart = Cart()
    cart.add('tea', 3, 2)
    cart.add('cup', 5)
    return cart


class CartTests(unittest.TestCase):
    def test_total(self):
        self.assertEqual(filled().total(), 11)

    def test_total_of_nothing(self):
        self.assertEqual(Cart().total(), 0)

    def test_count(self):
        self.assertEqual(filled().count(), 3)

    def test_names(self):
        self.assertEqual(sorted(filled().items), ['cup', 'tea'])

    def test_add_twice(self):
        cart = filled()
        cart.add('tea', 4)
        self.assertEqual(cart.items['tea'], (4, 1))

    def test_is_empty(self):
        self.assertTrue(Cart().is_empty())
";

const RECEIPT: &str = "\
class Receipt:
    def __init__(self, cart):
        self.cart = cart

    def text(self):
        return f'total: {self.cart.total()}'
";

const RECEIPT_TESTS: &str = "\
import unittest

from cart import Cart
from receipt import Receipt


class ReceiptTests(unittest.TestCase):
    def test_text(self):
        self.assertEqual(Receipt(Cart()).text(), 'total: 0')
";

const TOTAL: &str = "test_cart.CartTests.test_total";
/// Fixes the test, and breaks those of an empty cart.
const BREAKS: &str = "```python\ndef total(self):\n    return 11\n```\n";
const RIGHT: &str = "The prices are added up once for each thing:\n```python\n\
- return sum(price - count for price, count in self.items.values())\n\
+ return sum(price * count for price, count in self.items.values())\n```\n";

/// A repository with two faults, and a home for fixfly.
struct Repository {
    folder: TempDir,
    home: TempDir,
}

impl Repository {
    fn new(files: &[(&str, &str)]) -> Repository {
        let repository =
            Repository { folder: tempfile::tempdir().unwrap(), home: tempfile::tempdir().unwrap() };
        let made = Command::new("git").args(["init", "-q"]).arg(repository.folder.path()).status();
        assert!(made.unwrap().success());
        for (name, text) in files {
            fs::write(repository.path(name), text).unwrap();
        }
        repository
    }

    fn cart() -> Repository {
        Repository::new(&[
            ("cart.py", CART),
            ("test_cart.py", TESTS),
            ("receipt.py", RECEIPT),
            ("test_receipt.py", RECEIPT_TESTS),
        ])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn command(&self, more: &[&str]) -> Command {
        let repo = self.folder.path().to_str().unwrap();
        let mut command = command(&["fix", "--allow-weak", "--tests", "unittest", "--repo", repo]);
        command.args(more).env("FIXFLY_HOME", self.home.path()).env_remove("VIRTUAL_ENV");
        command.env("OPENAI_API_KEY", "sk-secret-of-the-test");
        command
    }

    fn fix(&self, more: &[&str]) -> Fixed {
        Fixed::of(self.command(more).output().unwrap())
    }

    /// Asks that server.
    fn ask(&self, server: &Server, more: &[&str]) -> Fixed {
        let model = ["--policy", "openai", "--model", "m", "--base-url", &server.url];
        self.fix(&[&model, more].concat())
    }
}

/// What the program did.
struct Fixed {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Fixed {
    fn of(output: Output) -> Fixed {
        Fixed {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|why| panic!("{why}: {}", self.stderr))
    }

    fn last_error(&self) -> &str {
        self.stderr.lines().last().unwrap_or_default()
    }
}

#[test]
fn a_teacher_fixes_a_test_and_may_break_no_other() {
    let repository = Repository::cart();
    let server = Server::new([Reply::Message(words(BREAKS)), Reply::Message(words(RIGHT))]);
    let run = repository.path("run");
    let fixed = repository.ask(&server, &["--test", TOTAL, "--json", "-o", run.to_str().unwrap()]);
    assert_eq!(fixed.code, 0, "{}", fixed.stderr);
    let report = fixed.json();
    assert_eq!(report["solved"], true);
    assert_eq!(report["place"], "cart.py::Cart.total");
    assert_eq!((&report["turns"], &report["policy"]), (&json!(2), &json!("openai")));
    assert_eq!(report["tests"], json!({ "passed": 1, "total": 1, "ids": [TOTAL] }));
    let guards = &report["guards"];
    assert_eq!((&guards["passed"], &guards["total"]), (&json!(5), &json!(5)));
    let ids = guards["ids"].to_string();
    assert!(ids.contains("test_receipt.ReceiptTests.test_text"), "{ids}");
    assert!(!ids.contains("test_is_empty"), "it failed before: {ids}");
    let diff: Vec<&str> = report["diff"].as_str().unwrap().lines().collect();
    let sum = |sign: char, operator: char| {
        format!(
            "{sign}        return sum(price {operator} count for price, count in self.items.values())"
        )
    };
    let changed = [sum('-', '-'), sum('+', '*')];
    assert_eq!(diff[..3], ["--- a/cart.py", "+++ b/cart.py", "@@ -16,4 +16,4 @@"]);
    assert_eq!(diff[6..], changed);
    let episode = json!({ "run": run, "task": "cart.py::Cart.total" });
    assert_eq!((&report["episode"], &report["applied"]), (&episode, &Value::Null));
    assert!(report["tokens"].as_u64().unwrap() > 200, "{report}");
    assert_eq!(repository.text("cart.py"), CART, "the tree is the user's");

    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    let content = |request: usize, message: usize| {
        requests[request]["messages"][message]["content"].as_str().unwrap().to_string()
    };
    insta::assert_snapshot!("prompt", content(0, 1));
    insta::assert_snapshot!("feedback", content(1, 3));
}

#[test]
fn only_apply_writes_the_fix_and_keeps_line_endings() {
    let repository = Repository::cart();
    let windows = CART.replace('\n', "\r\n");
    fs::write(repository.path("cart.py"), &windows).unwrap();
    let server = Server::new([Reply::Message(words(RIGHT))]);
    let fixed = repository.ask(&server, &["--test", TOTAL]);
    assert_eq!(fixed.code, 0, "{}", fixed.stderr);
    assert!(fixed.stdout.contains("Nothing was written; run it again with --apply"));
    assert_eq!(repository.text("cart.py"), windows);
    let runs: Vec<_> = fs::read_dir(repository.home.path().join("fixes")).unwrap().collect();
    assert_eq!(runs.len(), 1, "the episodes are in fixfly's home");

    let fixed = repository.ask(&server, &["--test", TOTAL, "--apply"]);
    assert_eq!(fixed.code, 0, "{}", fixed.stderr);
    let real = repository.path("cart.py").canonicalize().unwrap();
    assert!(fixed.stdout.ends_with(&format!("Written to {}\n", real.display())));
    assert_eq!(repository.text("cart.py"), windows.replace("price - count", "price * count"));
    let again = repository.fix(&["--test", TOTAL]);
    assert_eq!(again.code, 2);
    let expected = format!("error: the test `{TOTAL}` passes already: there is nothing to fix");
    assert_eq!(again.last_error(), expected);
}

#[test]
fn what_breaks_another_test_is_not_a_fix() {
    let repository = Repository::cart();
    let server = Server::new([Reply::Message(words(BREAKS))]);
    let more = ["--test", TOTAL, "--places", "1", "--turns", "2", "--apply"];
    let fixed = repository.ask(&server, &more);
    assert_eq!(fixed.code, 1, "{}", fixed.stderr);
    insta::assert_snapshot!(
        fixed.stdout.lines().filter(|line| !line.contains("tokens")).collect::<Vec<_>>().join("\n"),
        @r"
    Not fixed. Places that were tried:
      cart.py::Cart.total: turn limit
      failing tests that pass now: 0 of 1
      turns: 2 (policy openai)
    "
    );
    assert!(fixed.last_error().starts_with("error: not fixed; `fixfly show "), "{}", fixed.stderr);
    assert_eq!(repository.text("cart.py"), CART);
    let json = repository.ask(&server, &[&more[..], &["--json"]].concat());
    assert_eq!((json.code, &json.json()["solved"]), (1, &json!(false)));
}

#[test]
fn a_fix_that_does_not_use_the_method_is_no_fix() {
    let repository = Repository::cart();
    let cheats = "```python\ndef total(self):\n    import unittest\n    \
                  unittest.TestCase.assertEqual = lambda *_: None\n    return 0\n```\n";
    let server = Server::new([Reply::Message(words(cheats))]);
    let fixed =
        repository.ask(&server, &["--test", TOTAL, "--places", "1", "--turns", "1", "--json"]);
    assert_eq!((fixed.code, &fixed.json()["solved"]), (1, &json!(false)), "{}", fixed.stderr);
}

#[test]
fn the_next_place_is_tried_until_one_is_fixed() {
    let repository = Repository::cart();
    let wrong = Reply::Message(words("```python\ndef total(self):\n    return 0\n```\n"));
    let add = "```python\ndef add(self, name, price, count=1):\n    \
               self.items[name] = (price * count + count, count)\n```\n";
    let add = Reply::Message(words(add));
    // The statement names the method to fix.
    let server = Server::new([Reply::If("The method `add`", Box::new(add), Box::new(wrong))]);
    let fixed = repository.ask(&server, &["--test", TOTAL, "--turns", "1", "--json"]);
    assert_eq!(fixed.code, 1, "test_add_twice guards `add`: {}", fixed.stdout);
    let tried = fixed.json()["attempts"].clone();
    let places: Vec<&str> =
        tried.as_array().unwrap().iter().map(|one| one[0].as_str().unwrap()).collect();
    assert_eq!(places, ["cart.py::Cart.total", "cart.py::Cart.add", "cart.py::Cart.__init__"]);
}

#[test]
fn retrieval_tries_small_changes_of_the_method() {
    let repository = Repository::cart();
    let fixed = repository.fix(&["--test", "test_cart.CartTests.test_is_empty", "--json"]);
    assert_eq!(fixed.code, 0, "{}", fixed.stderr);
    let report = fixed.json();
    assert_eq!((&report["policy"], &report["tokens"]), (&json!("retrieval"), &Value::Null));
    let diff = report["diff"].as_str().unwrap();
    assert!(diff.contains("+        return len(self.items) == 0"), "{diff}");
}

#[test]
fn a_dry_run_lists_the_places_and_asks_nobody() {
    let repository = Repository::cart();
    let fixed = repository.fix(&["--test", TOTAL, "--dry-run"]);
    assert_eq!(fixed.code, 0, "{}", fixed.stderr);
    insta::assert_snapshot!(fixed.stdout, @r"
    1 test is failing:
      test_cart.CartTests.test_total: AssertionError: 5 != 11
    Places to try, the likeliest first, with Ochiai's score:
      1  0.58  cart.py::Cart.total (line 17): entered by 1 failing and 2 passing tests
      2  0.50  cart.py::Cart.add (line 7): entered by 1 failing and 3 passing tests
      3  0.41  cart.py::Cart.__init__ (line 4): entered by 1 failing and 5 passing tests
    ");
    assert!(!repository.home.path().join("fixes").exists());
    let json = repository.fix(&["--test", TOTAL, "--dry-run", "--json", "--places", "1"]).json();
    assert_eq!(json["tests"], json!([TOTAL]));
    assert_eq!(json["places"][0]["id"], "cart.py::Cart.total");
    assert_eq!(json["places"].as_array().unwrap().len(), 1);

    // Without --test, all tests that fail.
    let all = repository.fix(&["--dry-run"]);
    assert!(all.stdout.starts_with("2 tests are failing:\n"), "{}{}", all.stdout, all.stderr);
}

#[test]
fn a_file_that_changed_meanwhile_is_not_written() {
    let repository = Repository::cart();
    let server = Server::new([Reply::Late(1500, words(RIGHT))]);
    let model = ["--policy", "openai", "--model", "m", "--base-url", &server.url];
    let mut command = repository.command(&[&model[..], &["--test", TOTAL, "--apply"]].concat());
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while server.requests().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(120), "nothing was asked");
        std::thread::sleep(Duration::from_millis(20));
    }
    let changed = format!("# mine\n{CART}");
    fs::write(repository.path("cart.py"), &changed).unwrap();
    let fixed = Fixed::of(running.wait_with_output().unwrap());
    assert_eq!(fixed.code, 1, "{}", fixed.stderr);
    assert!(
        fixed.last_error().ends_with(
            "cart.py was changed since the tests ran, and nothing was written; run the same \
             command again"
        ),
        "{}",
        fixed.stderr
    );
    assert!(fixed.stdout.contains("+        return sum(price * count"), "the diff is printed");
    assert_eq!(repository.text("cart.py"), changed);
}

#[test]
fn what_cannot_be_fixed_is_refused_in_one_sentence() {
    let repository = Repository::cart();
    fs::write(repository.path("test_broken.py"), "import nowhere\n").unwrap();
    fs::write(
        repository.path("test_alone.py"),
        "import unittest\n\n\nclass Alone(unittest.TestCase):\n    def test_x(self):\n        \
         self.fail('no')\n",
    )
    .unwrap();
    let check = |more: &[&str], expected: &str| {
        let fixed = repository.fix(more);
        assert_eq!(fixed.code, 2, "{more:?}: {}", fixed.stderr);
        assert_eq!(
            (fixed.stdout.as_str(), fixed.stderr.lines().count()),
            ("", 1),
            "{}",
            fixed.stderr
        );
        assert!(fixed.last_error().contains(expected), "{}", fixed.stderr);
    };
    check(&["--test", "test_cart.CartTests.test_count"], "passes already: there is nothing to fix");
    check(
        &["--test", "test_cart.CartTests.test_nothing"],
        "no test has the id `test_cart.CartTests.test_nothing`",
    );
    check(&["--test", "test_broken"], "test_broken cannot be imported: ModuleNotFoundError");
    check(&["--test", "test_alone"], "fails before it enters a function of the project");
    check(&["--policy", "oracle"], "the policy `oracle` needs the right answer");
    check(&["--budget", "1"], "the policy `retrieval` uses no model");
    check(&["--python", "/bin/false"], "`/bin/false` cannot be used");
    let other = tempfile::tempdir().unwrap();
    let mut outside = command(&["fix", "--allow-weak", "--repo", other.path().to_str().unwrap()]);
    let fixed = Fixed::of(outside.env("FIXFLY_HOME", other.path()).output().unwrap());
    assert_eq!(fixed.code, 2);
    assert!(fixed.last_error().contains("is not in a git repository; run `git init` there"));
    assert!(Path::new(&repository.path("cart.py")).exists());
}

#[test]
fn a_function_is_a_place_too() {
    let sums = "def total(prices):\n    return sum(price for price in prices if price < 0)\n";
    let tests = "import unittest\n\nfrom sums import total\n\n\nclass SumTests(unittest.TestCase):\n    \
                 def test_total(self):\n        self.assertEqual(total([1, 2]), 3)\n";
    let repository = Repository::new(&[("sums.py", sums), ("test_sums.py", tests)]);
    let fixed = repository.fix(&["--json"]);
    assert_eq!(fixed.code, 0, "{}", fixed.stderr);
    assert_eq!(fixed.json()["place"], "sums.py::total");
}
