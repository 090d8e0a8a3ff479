//! `fixfly dataset show`, `stats` and `diff`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use fixfly_datasets::{Dataset, Reader, Row, row_text, summary_text};

use super::Folder;
use crate::failure::Usage;
use crate::terminal::{is_output_colored, print, print_styled};

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

    /// The student's tokenizer.json or GGUF file: show the row as the student sees it,
    /// with its chat template and tokens
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,

    /// The student's chat template [default: the tokenizer's]
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
            When::Auto => is_output_colored(),
        }
    }
}

pub(crate) fn show(flags: &Show) -> anyhow::Result<()> {
    let dataset = Dataset::open(&flags.folder.dataset)?;
    let color = flags.color.now();
    let template = flags.chat_template.as_deref();
    let reader = flags.tokenizer.as_deref().map(|file| Reader::open(file, template, None));
    let reader = reader.transpose()?;
    let shown = |row: &Row| row_text(row, reader.as_ref(), color);
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
    print_styled(&text)
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
        Form::Table => summary_text(&summary),
        Form::Json => format!("{}\n", serde_json::to_string_pretty(&summary)?),
    })
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
    print(&difference.text(&flags.first, &flags.second))
}
