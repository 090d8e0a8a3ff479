//! Output: results go to standard output; logs and progress go to standard error,
//! without overwriting each other.
//!
//! Everything that fixfly prints passes through this module, which escapes control
//! characters: answers of models, output of tests, errors of servers and names of files
//! cannot act on the terminal. `clippy.toml` refuses the other ways.
#![allow(clippy::print_stderr, clippy::disallowed_methods, reason = "the only module that prints")]

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
pub(crate) use fixfly_runtime::one_line;
use fixfly_runtime::{log_event, now, printable, printable_styled};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Prints a result. A closed pipe (`| head`) is not an error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    print_if_read(text).map(drop)
}

/// Prints a result. Returns false if nobody reads it, because the pipe is closed.
pub(crate) fn print_if_read(text: &str) -> anyhow::Result<bool> {
    write_out(&printable(text))
}

/// Prints a result that has colours. Its foreign parts are already escaped.
pub(crate) fn print_styled(text: &str) -> anyhow::Result<()> {
    write_out(&printable_styled(text)).map(drop)
}

/// Prints a line to standard error, for example why a command line cannot be read.
pub(crate) fn print_error(line: &str) {
    eprintln!("{}", printable(line));
}

/// Prints a help text or a usage error of clap.
pub(crate) fn print_usage(error: &clap::Error) {
    let text = |color: bool| match color {
        true => error.render().ansi().to_string(),
        false => error.render().to_string(),
    };
    if error.use_stderr() {
        eprint!("{}", printable_styled(&text(is_error_colored())));
    } else {
        // If standard output is closed, nobody reads the help.
        let _ = print_styled(&text(is_output_colored()));
    }
}

/// Prints a result that has colours; on a terminal through `$PAGER`, or else `less`.
pub(crate) fn page(text: &str) -> anyhow::Result<()> {
    let pager = std::env::var("PAGER").unwrap_or_else(|_| "less -R".into());
    if !io::stdout().is_terminal() || pager.trim().is_empty() {
        return print_styled(text);
    }
    let mut command = Command::new("sh");
    command.args(["-c", &pager]).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        // Passes colours on, and ends at once where the text fits the screen.
        command.env("LESS", "FRX");
    }
    let Ok(mut child) = command.spawn() else { return print_styled(text) };
    if let Some(mut input) = child.stdin.take() {
        // A reader may close the pager before the end.
        let _ = input.write_all(printable_styled(text).as_bytes());
    }
    match child.wait().context("cannot wait for the pager")?.code() {
        // The shell found no such program.
        Some(127) => print_styled(text),
        _ => Ok(()),
    }
}

/// Returns whether anybody reads it.
fn write_out(text: &str) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        printed => printed.map(|()| true).context("cannot write standard output"),
    }
}

/// The width of the terminal on standard output; none if it is not a terminal or
/// too narrow for a table.
pub(crate) fn columns() -> Option<u16> {
    let (_, columns) = console::Term::stdout().size_checked()?;
    (columns >= 40).then_some(columns)
}

/// Whether to use colours on standard output.
pub(crate) fn is_output_colored() -> bool {
    is_colored(&io::stdout())
}

/// Whether to use colours on standard error.
pub(crate) fn is_error_colored() -> bool {
    is_colored(&io::stderr())
}

fn is_colored(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A progress bar. What it shows is escaped, and one line.
#[derive(Clone, Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn set_message(&self, text: impl AsRef<str>) {
        self.0.set_message(printable(&one_line(text.as_ref())).into_owned());
    }

    pub(crate) fn set_length(&self, steps: u64) {
        self.0.set_length(steps);
    }

    pub(crate) fn set_position(&self, done: u64) {
        self.0.set_position(done);
    }

    pub(crate) fn inc(&self, steps: u64) {
        self.0.inc(steps);
    }

    /// The number of steps, if it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.0.length()
    }

    /// Redraws the bar regularly, for its clock and its spinner.
    pub(crate) fn tick_every(&self, interval: Duration) {
        self.0.enable_steady_tick(interval);
    }

    pub(crate) fn finish_and_clear(&self) {
        self.0.finish_and_clear();
    }
}

/// The form of what standard error shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// A JSON object per line, without a progress bar
    Json,
}

/// Standard error, shared by the progress bar and the logs.
#[derive(Clone)]
pub(crate) struct Terminal {
    bars: MultiProgress,
    verbose: u8,
    quiet: bool,
    format: LogFormat,
    /// Whether results are printed.
    results: bool,
}

impl Terminal {
    pub(crate) fn new(verbose: u8, quiet: bool, format: LogFormat) -> Terminal {
        let bars = match quiet || format == LogFormat::Json {
            true => MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            false => MultiProgress::new(),
        };
        Terminal { bars, verbose, quiet, format, results: true }
    }

    /// Starts logging: warnings, and more with each `-v`; with `--quiet` errors alone.
    /// `RUST_LOG` takes precedence.
    ///
    /// # Errors
    /// One sentence if `RUST_LOG` is not a filter.
    pub(crate) fn log(&self) -> Result<(), String> {
        let level = match (self.quiet, self.verbose) {
            (true, _) => "error",
            (_, 0) => "warn",
            (_, 1) => "info",
            (_, 2) => "debug",
            _ => "trace",
        };
        let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
            Ok(text) if !text.trim().is_empty() => EnvFilter::try_new(&text).map_err(|why| {
                format!("RUST_LOG is `{text}`: {why}; set it to a level or to TARGET=LEVEL, such as fixfly=debug")
            })?,
            _ => EnvFilter::new(level),
        };
        let logs = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(self.clone())
            // [`Terminal::write`] adds the colours, so that it can escape everything else.
            .with_ansi(false)
            .with_ansi_sanitization(false);
        match self.format {
            LogFormat::Text => logs.with_target(false).without_time().init(),
            LogFormat::Json => logs.json().init(),
        }
        Ok(())
    }

    /// Whether standard error is a terminal that shows progress bars.
    pub(crate) fn is_watched(&self) -> bool {
        !self.quiet && self.format == LogFormat::Text && io::stderr().is_terminal()
    }

    /// Whether to print more than usual.
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    /// Shows that something goes on, until the returned bar is cleared.
    pub(crate) fn doing(&self, what: &str) -> Bar {
        let bar = self.show(ProgressBar::new_spinner());
        bar.tick_every(Duration::from_millis(100));
        bar.set_message(what);
        bar
    }

    /// Shows a progress bar until it is cleared.
    pub(crate) fn show(&self, bar: ProgressBar) -> Bar {
        Bar(self.bars.add(bar))
    }

    /// Shows a progress bar of that many steps.
    pub(crate) fn bar(&self, template: &str, steps: usize) -> anyhow::Result<Bar> {
        let style = ProgressStyle::with_template(template)?;
        Ok(self.show(ProgressBar::new(steps as u64).with_style(style)))
    }

    /// Shows a short bar with a message, which starts at `done`.
    pub(crate) fn line_bar(&self, steps: usize, done: usize) -> Bar {
        let style = ProgressStyle::with_template("{bar:20} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        // Before it is one of `bars`, a change of the bar would draw a line that stays.
        let bar = self.show(ProgressBar::new(steps as u64).with_style(style));
        bar.set_position(done as u64);
        bar
    }

    /// The same terminal, without results.
    pub(crate) fn without_results(&self) -> Terminal {
        Terminal { results: false, ..self.clone() }
    }

    /// Prints a result to standard output.
    pub(crate) fn print(&self, text: &str) -> anyhow::Result<()> {
        if self.results { print(text) } else { Ok(()) }
    }

    /// Prints a status line above the progress bar.
    pub(crate) fn status(&self, line: &str) {
        if !self.quiet {
            self.line("INFO", line);
        }
    }

    /// Prints why the command failed.
    pub(crate) fn error(&self, sentence: &str) {
        self.line("ERROR", sentence);
    }

    /// Prints a line to standard error, with its level if it is JSON.
    fn line(&self, level: &str, line: &str) {
        self.bars.suspend(|| match self.format {
            LogFormat::Text => eprintln!("{}", printable(line)),
            LogFormat::Json => {
                let fields = json!({ "message": line });
                let event = json!({ "timestamp": now(), "level": level, "fields": fields, "target": "fixfly" });
                eprintln!("{}", printable(&event.to_string()));
            }
        });
    }

    /// Prints status lines that have colours. Their foreign parts are already escaped.
    #[cfg(feature = "train")]
    pub(crate) fn status_styled(&self, lines: &str) {
        match self.format {
            _ if self.quiet => {}
            LogFormat::Text => self.bars.suspend(|| eprintln!("{}", printable_styled(lines))),
            LogFormat::Json => self.line("INFO", &console::strip_ansi_codes(lines)),
        }
    }
}

/// Writes log events; `tracing` writes each of them at once.
impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let event = match self.format {
            LogFormat::Text => log_event(&text, is_error_colored()),
            LogFormat::Json => printable(&text).into_owned(),
        };
        self.bars.suspend(|| io::stderr().write_all(event.as_bytes()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Terminal {
    type Writer = Terminal;

    fn make_writer(&'a self) -> Terminal {
        self.clone()
    }
}
