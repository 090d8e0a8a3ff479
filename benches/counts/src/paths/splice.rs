//! A candidate in place of its method.

use std::path::Path;

use fixfly_benchmarks::source::{candidate, methods, spliced};

/// Classes of the file; each has three methods.
const CLASSES: usize = 40;

pub(crate) fn work(_: &Path, rounds: u64) {
    let text: String = (0..CLASSES).map(class).collect();
    let answer = "def total(self, rate=2):\n    \"\"\"Doc.\"\"\"\n    return \
                  sum(value * rate for value in self.values)\n";
    for _ in 0..rounds {
        let all = methods(&text).expect("Python");
        assert_eq!(all.len(), CLASSES * 3);
        let method = &all[CLASSES * 3 / 2 + 1];
        let code = candidate(answer, &method.name).expect("a candidate");
        assert!(spliced(&text, method, &code.source).contains("value * rate"));
    }
}

fn class(number: usize) -> String {
    format!(
        "class Shop{number}:\n    \"\"\"A shop.\"\"\"\n\n    def __init__(self, values):\n        \
         self.values = list(values)\n\n    def total(self):\n        \"\"\"The sum.\"\"\"\n        \
         result = 0\n        for value in self.values:\n            if value > {number}:\n                \
         result += value\n        return result\n\n    @property\n    def name(self):\n        \
         return f'shop {{self.values!r}}'\n\n\n"
    )
}
