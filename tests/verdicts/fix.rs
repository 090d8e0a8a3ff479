//! `fixfly fix` with pytest, in a repository whose packages are below `src`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::python::built;

const PRICE: &str = "\
class Price:
    def __init__(self, amount):
        self.amount = amount

    def is_at_least(self, limit):
        \"\"\"Whether it reaches a limit.\"\"\"
        return self.amount > limit
";

const TESTS: &str = "\
import pytest

from shop.price import Price


@pytest.mark.parametrize('limit', [1, 2, 3])
def test_limits(limit):
    assert Price(3).is_at_least(limit)


class TestPrice:
    def test_less(self):
        assert not Price(3).is_at_least(4)
";

#[test]
fn a_parametrised_test_of_pytest_is_fixed_in_the_work_tree() {
    let (environment, _) = built();
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name);
    for made in ["src/shop", "tests"] {
        fs::create_dir_all(at(made)).unwrap();
    }
    for (name, text) in
        [("src/shop/__init__.py", ""), ("src/shop/price.py", PRICE), ("tests/test_price.py", TESTS)]
    {
        fs::write(at(name), text).unwrap();
    }
    assert!(
        Command::new("git").args(["init", "-q"]).arg(folder.path()).status().unwrap().success()
    );
    let output = Command::new(env!("CARGO_BIN_EXE_fixfly"))
        .args(["fix", "--allow-weak", "--apply", "--json", "--repo"])
        .arg(folder.path())
        .args(["--test", "tests/test_price.py::test_limits[3]", "--python"])
        .arg(environment.join("venv/bin/python"))
        .env("FIXFLY_HOME", home.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["place"], "src/shop/price.py::Price.is_at_least");
    let ids = json!([
        "tests/test_price.py::test_limits[1]",
        "tests/test_price.py::test_limits[2]",
        "tests/test_price.py::TestPrice::test_less"
    ]);
    assert_eq!(report["guards"]["ids"], ids);
    assert_eq!(
        fs::read_to_string(at("src/shop/price.py")).unwrap(),
        PRICE.replace("> limit", ">= limit")
    );
    assert!(!Path::new(&at("src/shop/__pycache__")).exists());
}
