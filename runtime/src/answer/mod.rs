//! Reads a model's answer in words: the method in it, or the command of a shell.
//!
//! Every part of fixfly that takes code from words uses this module. Models add examples,
//! outputs, drafts and fences of every kind, so a fence alone does not decide where code
//! ends: Python's strings and the shell's heredocs may contain fences. What is taken is a
//! part of the answer, without the indentation of the list or quotation around it.
//!
//! ```
//! use fixfly_runtime::answer::{Asked, command, method};
//!
//! let words = "Here:\n```python\ndef f(self):\n    return 1\n```\nUsage:\n```python\na.f()\n```\n";
//! let code = method(words, &Asked::named("f")).unwrap();
//! assert_eq!(code.text, "def f(self):\n    return 1\n");
//! assert_eq!(command("I look.\n```Bash\nls\n```\n").unwrap().text, "ls\n");
//! ```

mod change;
mod fences;
mod layout;
mod lines;
mod method;
mod opening;
mod python;
mod rewrite;
mod shell;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use change::{ChangeError, EditForm, repaired};
pub use method::{Asked, Code, NoMethod, method};
pub use python::too_deep;
pub use shell::{Command, NoCommand, command};

use fences::Mode;
use opening::Kind;

/// The byte spans of the blocks that contain Python or shell commands, in order. A tag of
/// a tool call inside them is part of the code.
pub fn code_spans(text: &str) -> Vec<Range<usize>> {
    let is_code = |kind| matches!(kind, Kind::Python | Kind::Shell | Kind::Session | Kind::Mini);
    let blocks = fences::blocks(text, Mode::Shell).into_iter();
    blocks.filter(|block| block.closed && is_code(block.kind)).map(|block| block.span).collect()
}

/// The byte offset of the first `tag` outside code.
pub fn outside_code(text: &str, tag: &str) -> Option<usize> {
    let mut found = text.match_indices(tag).map(|(at, _)| at).peekable();
    found.peek()?;
    if python::parses(text) {
        return None;
    }
    let blocks = fences::blocks(text, Mode::Aware).into_iter();
    let mut spans = blocks.filter(|block| block.closed).peekable();
    found.find(|at| {
        while spans.next_if(|block| block.span.end <= *at).is_some() {}
        !spans.peek().is_some_and(|block| block.span.contains(at))
    })
}
