//! How a command ends when it does not end well.

use std::process::ExitCode;

/// Asked for wrongly: nothing was done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Stopped because somebody asked; says how to go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Interrupted(pub(crate) String);

/// Says why in one sentence, and gives the exit code that tells scripts.
pub(crate) fn end(error: &anyhow::Error) -> ExitCode {
    let sentence = one_line(&format!("{error:#}"));
    if error.is::<Interrupted>() {
        eprintln!("{sentence}");
        return ExitCode::from(130);
    }
    eprintln!("error: {sentence}");
    match error.is::<Usage>() {
        true => ExitCode::from(2),
        false => ExitCode::FAILURE,
    }
}

/// Libraries break their messages for a screen; a sentence has one line.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
