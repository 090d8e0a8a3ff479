//! The summary of a manifest, as a build prints it.

use std::collections::BTreeMap;
use std::path::Path;

use fixfly_runtime::Split;

use crate::manifest::{Manifest, RunPath};

/// What a benchmark directory holds, split by split, and what was left out.
pub fn summary(folder: &Path, manifest: &Manifest) -> String {
    let mut text = format!("Benchmark directory: {}\n", folder.display());
    for split in Split::ALL {
        let items: Vec<_> = manifest.items.iter().filter(|item| item.split == split).collect();
        let tests: usize = items.iter().map(|item| item.tests.len()).sum();
        let hot = items.iter().filter(|item| item.path == RunPath::Hot).count();
        let mean = tests as f64 / items.len().max(1) as f64;
        let name = split.name();
        let count = items.len();
        let share = 100 * hot / count.max(1);
        text += &format!(
            "  {name:10} {count:5} items, {mean:.1} tests each, {hot} on the hot path ({share} %)\n"
        );
    }
    text += &format!("  not examined yet: {}\n", manifest.header.unexamined);
    let header = &manifest.header;
    if manifest.items.is_empty() && header.unexamined == 0 && header.left_out.is_empty() {
        text += "  the project has no functions and no methods\n";
    }
    text + &left_out(&manifest.header.left_out)
}

/// Why functions and methods were left out, the most frequent reason first.
pub fn left_out(reasons: &BTreeMap<String, usize>) -> String {
    let mut rows: Vec<_> = reasons.iter().collect();
    rows.sort_by_key(|(reason, count)| (std::cmp::Reverse(**count), (*reason).clone()));
    let row = |(reason, count)| format!("  left out: {count:5}  {reason}\n");
    rows.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use fixfly_runtime::DescribedBy;

    use super::*;
    use crate::manifest::{Header, Item, SCHEMA, Source, Tests};

    fn item(split: Split, path: RunPath) -> Item {
        Item {
            id: "a.py::A.f".into(),
            split,
            span: [0, 1],
            hash: String::new(),
            path,
            tests: ["t.py::test_f"].into_iter().collect(),
            wider: Tests::default(),
            seconds: 0.1,
            described_by: DescribedBy::Nothing,
            lines: 2,
            mutants: [1, 1],
        }
    }

    #[test]
    fn the_share_of_the_hot_path_is_printed_per_split() {
        let source = Source { package: "a".into(), version: "1".into(), sha256: String::new() };
        let header = Header {
            schema: SCHEMA,
            benchmark: "python".into(),
            source,
            framework: "pytest".into(),
            python: String::new(),
            left_out: BTreeMap::from([("its body has fewer than two lines".into(), 3)]),
            unexamined: 0,
        };
        let items = vec![
            item(Split::Train, RunPath::Hot),
            item(Split::Train, RunPath::Hot),
            item(Split::Train, RunPath::Cold),
            item(Split::Benchmark, RunPath::Hot),
        ];
        insta::assert_snapshot!(summary(Path::new("b"), &Manifest { header, items }), @r"
        Benchmark directory: b
          train          3 items, 1.0 tests each, 2 on the hot path (66 %)
          validation     0 items, 0.0 tests each, 0 on the hot path (0 %)
          benchmark      1 items, 1.0 tests each, 1 on the hot path (100 %)
          not examined yet: 0
          left out:     3  its body has fewer than two lines
        ");
    }
}
