//! `fixfly view`: runs, datasets and trainings in a browser.

mod sources;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::Args;
use fixfly_report::{Server, Site, ViewError, export_pages};

use crate::failure::Usage;
use crate::terminal::{print, print_error};
use crate::threads::on_threads;
use sources::Installed;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly view
  fixfly view runs/first --open
  fixfly view runs sweeps/mine --port 8080
  fixfly view runs/first --export public

The printed address has a token: only who knows it can read the pages. Nothing can be
changed through them. Runs that go on are updated by themselves.")]
pub(crate) struct Flags {
    /// Runs, datasets, trainings and sweeps, or folders of them
    #[arg(default_value = ".", value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Port to listen on; 0 is any free one
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    port: u16,

    /// Address or name of this machine to listen on, for browsers on other machines
    /// [default: 127.0.0.1]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,

    /// `tokenizer.json` or GGUF file of a student, with its chat template: datasets show
    /// which of its tokens carry loss
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,

    /// Open the home page in a browser
    #[arg(long, conflicts_with = "export")]
    open: bool,

    /// Write the pages to a new folder instead, without filters and updates
    #[arg(long, value_name = "DIR", conflicts_with_all = ["port", "host"])]
    export: Option<PathBuf>,
}

pub(crate) fn view(flags: &Flags) -> anyhow::Result<()> {
    let sources = Installed::with_student(flags.tokenizer.as_deref())?;
    let site = Site::open(&flags.paths, Box::new(sources)).map_err(failure)?;
    if let Some(folder) = &flags.export {
        let pages = export_pages(&site, folder).map_err(failure)?;
        return print(&format!("pages: {pages}, from {}\n", folder.join("index.html").display()));
    }
    on_threads(async {
        let server =
            Server::bind(site, flags.host.as_deref(), flags.port).await.map_err(failure)?;
        let url = server.url();
        print(&format!("{url}\nPress Ctrl-C to stop.\n"))?;
        if flags.open {
            open(&url);
        }
        server.run().await.map_err(failure)
    })
}

fn failure(error: ViewError) -> anyhow::Error {
    match error.is_usage() {
        true => Usage(error.to_string()).into(),
        false => error.into(),
    }
}

/// Opens the address in a browser. Without one, the address is printed all the same.
fn open(url: &str) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let quiet = || Stdio::null();
    let mut browser = Command::new(program);
    browser.arg(url).stdin(quiet()).stdout(quiet()).stderr(quiet());
    if let Err(error) = browser.spawn() {
        print_error(&format!(
            "warning: cannot start a browser with {program}: {error}; open the address yourself"
        ));
    }
}
