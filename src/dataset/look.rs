//! `fixfly dataset show`, `stats` and `diff`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use fixfly_datasets::{Dataset, Line, Reader, Row, Summary};
use fixfly_runtime::Role;

use super::Folder;
use crate::failure::Usage;
use crate::terminal::{is_colored, print};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly dataset show datasets/v4
  fixfly dataset show datasets/v4 --rows 3 --color always | less -R
  fixfly dataset show datasets/v4 --tokenizer qwen3/tokenizer.json --chat-template qwen3
  fixfly dataset show datasets/v4 --row 'django/utils/html.py::MLStripper.get_data#3f2a91bc04'")]
pub(crate) struct Show {
    #[command(flatten)]
    folder: Folder,

    /// Number of rows to show
    #[arg(long, value_name = "N", default_value_t = 1)]
    rows: usize,

    /// Show the first row whose id starts with ID
    #[arg(long, value_name = "ID", conflicts_with = "rows")]
    row: Option<String>,

    /// The student's tokenizer.json: show the row as the student sees it, with its chat
    /// template and tokens
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,

    /// The student's chat template [default: the one beside the tokenizer]
    #[arg(long, value_name = "NAME|FILE", requires = "tokenizer")]
    chat_template: Option<String>,

    /// When to use colour for lines that carry loss
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: When,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

impl When {
    fn now(self) -> bool {
        match self {
            When::Always => true,
            When::Never => false,
            When::Auto => is_colored(&std::io::stdout()),
        }
    }
}

pub(crate) fn show(flags: &Show) -> anyhow::Result<()> {
    let dataset = Dataset::open(&flags.folder.dataset)?;
    let color = flags.color.now();
    let template = flags.chat_template.as_deref();
    let reader = flags.tokenizer.as_deref().map(|file| Reader::open(file, template, None));
    let reader = reader.transpose()?;
    let shown = |row: &Row| shown(row, reader.as_ref(), color);
    let mut text = String::new();
    match &flags.row {
        None => {
            for row in dataset.rows()?.take(flags.rows) {
                text += &shown(&row?)?;
            }
        }
        Some(id) => {
            let matches =
                |row: &Result<Row, _>| row.as_ref().map_or(true, |r| r.id.starts_with(id));
            let Some(row) = dataset.rows()?.find(matches) else {
                let folder = flags.folder.dataset.display();
                return Err(Usage(format!("{folder} has no row whose id starts with {id}")).into());
            };
            text += &shown(&row?)?;
        }
    }
    print(&text)
}

/// A row: its origin in one line, then its messages. Lines that carry loss start with
/// `+`, and are green if colours are on.
fn shown(row: &Row, reader: Option<&Reader>, color: bool) -> anyhow::Result<String> {
    let paint = |code: &str, text: &str| match color {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_string(),
    };
    let origin = &row.origin;
    let mut text = format!("{}\n", paint("1", &row.id));
    let _ = writeln!(
        text,
        "{}, {} tokens, {}; {} of {} (sample {}), turns {:?} and {}\n",
        row.part.name(),
        row.tokens,
        row.kind.name(),
        origin.teacher,
        origin.run,
        origin.sample,
        origin.failing_turns,
        match origin.answer {
            fixfly_datasets::Answer::Turn(turn) => format!("turn {turn}"),
            fixfly_datasets::Answer::Original => "the original method".into(),
        },
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
                (false, said) => writeln!(text, "  {said}"),
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

#[derive(Debug, Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    folder: Folder,

    /// Output format
    #[arg(long, value_enum, default_value_t = Form::Table)]
    format: Form,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// For people
    Table,
    /// Complete, as JSON
    Json,
}

pub(crate) fn stats(flags: &Stats) -> anyhow::Result<()> {
    let summary = Dataset::open(&flags.folder.dataset)?.summary;
    print(&match flags.format {
        Form::Table => tables(&summary),
        Form::Json => format!("{}\n", serde_json::to_string_pretty(&summary)?),
    })
}

/// Statistics of a dataset, in lines of a count and its name.
pub(super) fn tables(summary: &Summary) -> String {
    let mut text = format!("{}: {}\n", summary.recipe_name, summary.recipe.about);
    let mut say = |title: &str, counts: Vec<(String, usize)>| {
        if !counts.is_empty() {
            let _ = writeln!(text, "\n{title}:");
        }
        for (name, count) in counts {
            let _ = writeln!(text, "{count:>8}  {name}");
        }
    };
    let owned = |counts: &std::collections::BTreeMap<String, usize>| {
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

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// First dataset
    #[arg(value_name = "A")]
    first: PathBuf,

    /// Second dataset
    #[arg(value_name = "B")]
    second: PathBuf,
}

pub(crate) fn diff(flags: &Diff) -> anyhow::Result<()> {
    let (first, second) = (Dataset::open(&flags.first)?, Dataset::open(&flags.second)?);
    let difference = first.difference(&second)?;
    let mut text = String::new();
    let marked =
        [("-", &difference.only_first), ("+", &difference.only_second), ("~", &difference.changed)];
    for (mark, ids) in marked {
        for id in ids {
            let _ = writeln!(text, "{mark} {id}");
        }
    }
    let _ = writeln!(
        text,
        "{} rows only in {}, {} only in {}, {} in both but changed, {} the same",
        difference.only_first.len(),
        flags.first.display(),
        difference.only_second.len(),
        flags.second.display(),
        difference.changed.len(),
        difference.same,
    );
    print(&text)
}
