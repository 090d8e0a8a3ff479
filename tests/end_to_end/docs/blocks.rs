//! The commands in README.md and docs/: blocks of `sh`, each marked in the line above.
//!
//! `<!-- run -->`: a test runs the block. `<!-- not run: WHY -->`: no test does.

use std::fs;
use std::path::{Path, PathBuf};

/// How the line above a block marks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A test runs it.
    Run,
    /// No test runs it, and why.
    NotRun(String),
    /// Nothing is written.
    Missing,
}

/// A fenced block of a page.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// The page, relative to the repository.
    pub(crate) file: String,
    /// Line of its fence, from 1.
    pub(crate) line: usize,
    /// What follows the fence, such as `sh`.
    pub(crate) language: String,
    pub(crate) mark: Mark,
    pub(crate) text: String,
}

impl Block {
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }

    /// The lines that call fixfly, in words.
    #[allow(dead_code, reason = "one of two programs that share this file needs it")]
    pub(crate) fn commands(&self) -> Vec<Vec<String>> {
        let joined = self.text.replace("\\\n", " ");
        let words = joined.lines().filter_map(shlex::split);
        let calls = words.filter_map(|words| {
            let at = words.iter().position(|word| !is_assignment(word))?;
            words[at].rsplit('/').next().filter(|program| *program == "fixfly")?;
            let end = words.iter().position(|word| ["|", ">", "&", "&&"].contains(&word.as_str()));
            let mut call = words[at..end.unwrap_or(words.len())].to_vec();
            call[0] = "fixfly".into();
            Some(call)
        });
        calls.collect()
    }
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_'))
}

/// The pages that people read, relative to the repository.
pub(crate) fn pages() -> Vec<String> {
    fn walk(folder: &Path, pages: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, pages);
            } else if path.extension().is_some_and(|end| end == "md") {
                pages.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![];
    walk(&root.join("docs"), &mut pages);
    pages.extend(["README.md", "SECURITY.md", "ARCHITECTURE.md"].map(|name| root.join(name)));
    pages.push(root.join("CONTRIBUTING.md"));
    pages.sort();
    pages.iter().map(|page| page.strip_prefix(root).unwrap().display().to_string()).collect()
}

/// The blocks of a page.
pub(crate) fn blocks(file: &str, text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = vec![];
    let (mut open, mut before) = (None, "");
    for (index, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (open.take(), fence) {
            (None, Some(language)) => {
                let mark = mark(before);
                let (file, language) = (file.to_owned(), language.trim().to_owned());
                open = Some(Block { file, line: index + 1, language, mark, text: String::new() });
            }
            (Some(block), Some("")) => blocks.push(block),
            (Some(mut block), _) => {
                block.text += line;
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
        before = line;
    }
    assert!(open.is_none(), "{file}: a block does not end");
    blocks
}

fn mark(line: &str) -> Mark {
    let comment = line.trim().strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->"));
    match comment.map(str::trim) {
        Some("run") => Mark::Run,
        Some(text) => match text.strip_prefix("not run: ") {
            Some(why) => Mark::NotRun(why.to_owned()),
            None => Mark::Missing,
        },
        None => Mark::Missing,
    }
}

/// The blocks of every page.
pub(crate) fn all() -> Vec<Block> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let of = |file: &String| blocks(file, &fs::read_to_string(root.join(file)).unwrap());
    pages().iter().flat_map(of).collect()
}
