//! Output: results go to standard output; logs and progress go to standard error,
//! without overwriting each other.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Prints a result. A closed pipe (`| head`) is not an error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match printed {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("cannot write standard output"),
    }
}

/// The width of the terminal on standard output; none if it is not a terminal or
/// too narrow for a table.
pub(crate) fn columns() -> Option<u16> {
    let (_, columns) = console::Term::stdout().size_checked()?;
    (columns >= 40).then_some(columns)
}

/// Whether to use colours on `stream`.
pub(crate) fn is_colored(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Standard error, shared by the progress bar and the logs.
#[derive(Clone, Default)]
pub(crate) struct Terminal {
    bars: MultiProgress,
    /// Whether results are discarded.
    quiet: bool,
}

impl Terminal {
    /// Starts logging: warnings, and more with each `-v`. `RUST_LOG` takes
    /// precedence.
    pub(crate) fn log(&self, verbose: u8) {
        let level = match verbose {
            0 => "warn",
            1 => "info",
            2 => "debug",
            _ => "trace",
        };
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(self.clone())
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .without_time()
            .init();
    }

    /// Whether standard error is a terminal.
    pub(crate) fn is_watched(&self) -> bool {
        io::stderr().is_terminal()
    }

    /// Shows a progress bar until it is cleared.
    pub(crate) fn show(&self, bar: ProgressBar) -> ProgressBar {
        self.bars.add(bar)
    }

    /// Shows a progress bar of that many steps.
    pub(crate) fn bar(&self, template: &str, steps: usize) -> anyhow::Result<ProgressBar> {
        let style = ProgressStyle::with_template(template)?;
        Ok(self.show(ProgressBar::new(steps as u64).with_style(style)))
    }

    /// Shows a short bar with a message, which starts at `done`.
    pub(crate) fn line_bar(&self, steps: usize, done: usize) -> ProgressBar {
        let style = ProgressStyle::with_template("{bar:20} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(steps as u64).with_style(style);
        bar.set_position(done as u64);
        self.show(bar)
    }

    /// The same terminal, without results.
    pub(crate) fn quiet(&self) -> Terminal {
        Terminal { quiet: true, ..self.clone() }
    }

    /// Prints a result to standard output.
    pub(crate) fn print(&self, text: &str) -> anyhow::Result<()> {
        if self.quiet { Ok(()) } else { print(text) }
    }

    /// Prints a status line above the progress bar.
    pub(crate) fn status(&self, line: &str) {
        self.bars.suspend(|| eprintln!("{line}"));
    }
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bars.suspend(|| io::stderr().write(bytes))
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

/// Formats a duration: `2h 2m`.
pub(crate) fn readable(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h {minutes}m"),
        (days, hours, ..) => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let all = [59, 61, 7325, 200_000].map(|seconds| readable(Duration::from_secs(seconds)));
        assert_eq!(all, ["59s", "1m 1s", "2h 2m", "2d 7h"]);
    }
}
