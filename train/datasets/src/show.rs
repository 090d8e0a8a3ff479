//! Datasets as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use fixfly_runtime::{Role, printable};

use crate::dataset::Difference;
use crate::error::DatasetError;
use crate::reader::Reader;
use crate::row::{Line, Row};
use crate::summary::Summary;

/// A row: its origin in one line, then its messages, or its sequences if there is a reader.
/// Lines that carry loss start with `+`, and are green with colours. All other control
/// characters are escaped.
///
/// # Errors
/// [`DatasetError::Input`] if the student cannot read the row.
pub fn row_text(row: &Row, reader: Option<&Reader>, color: bool) -> Result<String, DatasetError> {
    // The text is escaped before it gets a colour: it may contain colours of its own.
    let paint = |code: &str, text: &str| match (printable(text), color) {
        (text, true) => format!("\x1b[{code}m{text}\x1b[0m"),
        (text, false) => text.into_owned(),
    };
    let origin = &row.origin;
    let mut text = format!("{}\n", paint("1", &row.id));
    let _ = writeln!(
        text,
        "{}, {} tokens, {}; {} of {} (sample {}), turns {:?} and {}\n",
        row.part.name(),
        row.tokens,
        row.kind.name(),
        printable(&origin.teacher),
        printable(&origin.run),
        origin.sample,
        origin.failing_turns,
        origin.answer,
    );
    let parts: Vec<(&str, String, bool)> = match reader {
        None => {
            let line = |line: &Line| (role(line), format!("{}\n\n", line.content), line.loss);
            row.messages.iter().map(line).collect()
        }
        Some(reader) => {
            let headings = ["as the student sees it"].into_iter().chain(std::iter::repeat(""));
            let sequences = reader.pieces(row)?.into_iter();
            let headed = sequences.map(|pieces| headings.clone().zip(pieces));
            headed.flatten().map(|(heading, (said, loss))| (heading, said, loss)).collect()
        }
    };
    for (heading, said, loss) in parts {
        if !heading.is_empty() {
            let _ = writeln!(text, "{}", paint("1;36", heading));
        }
        for said in said.lines() {
            let _ = match (loss, said) {
                (_, "") => writeln!(text),
                (true, said) => writeln!(text, "{}", paint("32", &format!("+ {said}"))),
                (false, said) => writeln!(text, "  {}", printable(said)),
            };
        }
    }
    Ok(text)
}

fn role(line: &Line) -> &'static str {
    match line.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

/// Statistics of a dataset: lines with a count and its name.
pub fn summary_text(summary: &Summary) -> String {
    let mut text = format!("{}: {}\n", summary.recipe_name, summary.recipe.about);
    for run in summary.divided() {
        let _ = writeln!(text, "divided run of {run}");
    }
    let mut say = |title: &str, counts: Vec<(String, usize)>| {
        if !counts.is_empty() {
            let _ = writeln!(text, "\n{title}:");
        }
        for (name, count) in counts {
            let _ = writeln!(text, "{count:>8}  {name}");
        }
    };
    let owned = |counts: &BTreeMap<String, usize>| {
        counts.iter().map(|(name, count)| (name.clone(), *count)).collect::<Vec<_>>()
    };
    say("rows", summary.parts.iter().map(|(part, n)| (part.name().to_string(), *n)).collect());
    say("kinds of episodes", owned(&summary.kinds));
    say("teachers", owned(&summary.teachers));
    say("sources of answers", owned(&summary.answers));
    let [messages, learned] = summary.messages;
    say(
        "content",
        vec![
            ("tasks".into(), summary.tasks),
            ("rows with reasoning".into(), summary.reasoned),
            ("messages of the model".into(), messages),
            ("of those, with loss".into(), learned),
        ],
    );
    say("episodes not used", owned(&summary.left_out));
    say("rows dropped", {
        let mut counts = owned(&summary.dropped);
        counts.insert(0, ("duplicates".into(), summary.duplicates));
        counts
    });
    let lengths = &summary.lengths;
    let rows = lengths.histogram.iter().map(|(limit, n)| (format!("up to {limit}"), *n)).collect();
    say(&format!("tokens per row ({})", lengths.how), rows);
    let audit = &summary.audit;
    let showing = match audit.masked {
        true => "tasks whose prompt showed such a method; it was removed",
        false => "tasks whose prompt shows such a method word for word",
    };
    say(
        &format!("leaks of the benchmark's {} methods", audit.held_out),
        vec![
            (format!("answers, out of {}", audit.answers), audit.leaks.len()),
            (format!("{showing}, out of {}", audit.contexts), audit.showing),
        ],
    );
    text
}

impl Difference {
    /// The rows that differ, one per line, and a summary. The folders are the names of the
    /// datasets.
    pub fn text(&self, first: &Path, second: &Path) -> String {
        let mut text = String::new();
        let marked = [("-", &self.only_first), ("+", &self.only_second), ("~", &self.changed)];
        for (mark, ids) in marked {
            for id in ids {
                let _ = writeln!(text, "{mark} {id}");
            }
        }
        let _ = writeln!(
            text,
            "{} rows only in {}, {} only in {}, {} in both but changed, {} the same",
            self.only_first.len(),
            first.display(),
            self.only_second.len(),
            second.display(),
            self.changed.len(),
            self.same,
        );
        text
    }
}
