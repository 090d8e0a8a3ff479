//! A Python project of three methods, as a benchmark directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use fixfly_benchmarks::{Header, Item, Manifest, RunPath, Source, source};
use fixfly_runtime::{DescribedBy, Split, sha256};
use tempfile::TempDir;

const CART: &str = r#""""A shopping cart."""


class Cart:
    """Things somebody may buy."""

    def __init__(self):
        self.items = {}

    def add(self, name, price):
        """Put something into the cart."""
        self.items[name] = price

    def total(self):
        """Return the price of everything in the cart."""
        return sum(self.items.values())

    def names(self):
        """Return the names in the cart in alphabetical order."""
        return sorted(self.items)
"#;

const TESTS: &str = r#"
import os
import time
import unittest

from shop.cart import Cart


class CartTests(unittest.TestCase):
    def setUp(self):
        time.sleep(PAUSE)
        self.cart = Cart()
        self.cart.add("pear", 2)
        self.cart.add("apple", 3)

    def test_add(self):
        self.assertEqual(self.cart.items, {"pear": 2, "apple": 3})

    def test_total(self):
        self.assertEqual(self.cart.total(), 5)

    def test_names(self):
        self.assertEqual(self.cart.names(), ["apple", "pear"])
"#;

/// Makes the benchmark directory; each of its tests takes so many seconds.
/// Gone when dropped.
pub(crate) fn benchmark(seconds: f64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let file = folder.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    write("source/shop/__init__.py", "");
    write("source/shop/cart.py", CART);
    write("source/tests/__init__.py", "");
    write("source/tests/test_cart.py", &TESTS.replace("PAUSE", &seconds.to_string()));
    write("manifest.jsonl", &manifest().text());
    write("venv.ready", "");
    environment(folder.path());
    folder
}

fn environment(folder: &Path) {
    let made = Command::new("python3")
        .args(["-m", "venv", "--without-pip"])
        .arg(folder.join("venv"))
        .status()
        .unwrap();
    assert!(made.success());
}

/// The item of a method of a file's text, judged by one test.
pub(crate) fn item(file: &str, text: &str, qualname: &str, split: Split, test: &str) -> Item {
    let methods = source::methods(text).unwrap();
    let method = methods.iter().find(|method| method.qualname == qualname).unwrap();
    Item {
        id: format!("{file}::{qualname}"),
        split,
        spans: vec![[method.span.start, method.span.end]],
        hash: sha256(&text[method.span.clone()])[..16].to_string(),
        path: RunPath::Cold,
        tests: [test].iter().collect(),
        wider: [""; 0].iter().collect(),
        seconds: 0.1,
        described_by: DescribedBy::Docstring,
        lines: 1,
        mutants: [0, 0],
        copies: Vec::new(),
    }
}

fn manifest() -> Manifest {
    let items = ["add", "total", "names"].map(|name| {
        let (qualname, test) =
            (format!("Cart.{name}"), format!("tests.test_cart.CartTests.test_{name}"));
        item("shop/cart.py", CART, &qualname, Split::Benchmark, &test)
    });
    Manifest {
        header: Header {
            schema: 1,
            benchmark: "python".into(),
            source: Source { package: "shop".into(), version: "1".into(), sha256: "".into() },
            framework: "unittest".into(),
            python: "3".into(),
            left_out: BTreeMap::new(),
            unexamined: 0,
            tests_left_out: BTreeMap::new(),
            mask_copies: false,
            span: None,
        },
        items: items.into(),
    }
}
