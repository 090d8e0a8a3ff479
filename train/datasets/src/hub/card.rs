//! The card on the hub: settings in YAML, then the dataset's own card.

use serde_json::Value;

use crate::card::{Samples, card as text};
use crate::summary::Summary;

/// The languages and the kind of task are the same for every dataset of fixfly.
const FIXED: &str = "language:\n- en\ntask_categories:\n- text-generation\n\
                     tags:\n- code\n- fixfly\n- program-repair\n- python\n- sft\n";

pub(super) fn card(summary: &Summary, samples: &Samples, license: Option<&str>) -> String {
    let files =
        "`data/` (each row with its origin; `origin.trace` is JSON in text), `dataset.json`";
    format!("{}\n{}", front_matter(summary, license), text(summary, samples, files))
}

fn front_matter(summary: &Summary, license: Option<&str>) -> String {
    let configs: String = summary
        .parts
        .iter()
        .filter(|(_, rows)| **rows > 0)
        .map(|(part, _)| {
            let part = part.name();
            format!("  - split: {part}\n    path: data/{part}-*.parquet\n")
        })
        .collect();
    format!(
        "---\npretty_name: {}\nlicense: {}\nsize_categories:\n- {}\n{FIXED}\
         configs:\n- config_name: default\n  data_files:\n{configs}---\n",
        quoted(&format!("fixfly {}", summary.recipe_name)),
        quoted(license.unwrap_or("unknown")),
        size(summary.rows()),
    )
}

/// YAML reads strings of JSON.
fn quoted(text: &str) -> Value {
    Value::String(text.to_string())
}

/// The hub's word for a number of rows.
fn size(rows: usize) -> &'static str {
    match rows {
        0..1_000 => "n<1K",
        1_000..10_000 => "1K<n<10K",
        10_000..100_000 => "10K<n<100K",
        100_000..1_000_000 => "100K<n<1M",
        1_000_000..10_000_000 => "1M<n<10M",
        10_000_000.. => "n>10M",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_words_of_the_hub() {
        for (rows, expected) in [
            (1, "n<1K"),
            (999, "n<1K"),
            (1_000, "1K<n<10K"),
            (14_051, "10K<n<100K"),
            (100_000, "100K<n<1M"),
            (9_999_999, "1M<n<10M"),
            (10_000_000, "n>10M"),
        ] {
            assert_eq!(size(rows), expected);
        }
    }

    #[test]
    fn names_cannot_break_the_settings() {
        assert_eq!(quoted("a: \"b\"\n---").to_string(), r#""a: \"b\"\n---""#);
    }
}
