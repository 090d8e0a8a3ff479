//! Reads descriptions of functions and methods from a project's reference documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::lines::{indent_of, is_blank};
use super::rest::{Directive, capped, dedented, directive, is_object, nested, plain};

/// Maximum bytes of an entry that are shown.
pub(super) const MOST: usize = 1500;

/// The reference documentation of functions and class members.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    /// Entries by `Class.member`, then by the part of the path before it.
    entries: BTreeMap<String, BTreeMap<String, String>>,
    /// Those of functions by name, then by module.
    functions: BTreeMap<String, BTreeMap<String, String>>,
    /// The dotted paths of the classes that are described.
    classes: BTreeSet<String>,
}

impl Reference {
    /// Reads every `.txt` and `.rst` file below a folder.
    ///
    /// # Errors
    /// If the folder or a file cannot be read.
    pub fn read(folder: &Path) -> std::io::Result<Self> {
        let mut files = Vec::new();
        collect(folder, &mut files)?;
        files.sort();
        let mut reference = Reference::default();
        for file in files {
            let text = std::fs::read(file)?;
            reference.add(&String::from_utf8_lossy(&text));
        }
        Ok(reference)
    }

    /// Adds the entries of one reStructuredText document. Existing entries stay.
    pub fn add(&mut self, document: &str) {
        let lines: Vec<&str> = document.lines().collect();
        let mut page = Page::of(&lines);
        for at in 0..lines.len() {
            let entries = page.entry(at);
            for (path, text) in page.functions.drain(..) {
                let (module, name) = path.rsplit_once('.').unwrap_or(("", &path));
                let known = self.functions.entry(name.to_string()).or_default();
                known.entry(module.to_string()).or_insert(text);
            }
            for (path, text) in entries {
                let (place, member) = split(&path);
                let known = self.entries.entry(member.to_string()).or_default();
                known.entry(place.to_string()).or_insert(text);
            }
        }
        self.classes.append(&mut page.described);
    }

    /// The dotted paths of the classes that are described.
    pub(super) fn classes(&self) -> impl Iterator<Item = &str> {
        self.classes.iter().map(String::as_str)
    }

    /// Removes the entries for which `taken` returns true. It gets each entry's class as a
    /// dotted path, its member and its text.
    pub(super) fn take(&mut self, mut taken: impl FnMut(&str, &str, &str) -> bool) {
        for (member, places) in &mut self.entries {
            let (class, name) = member.rsplit_once('.').unwrap_or(("", member));
            places.retain(|place, text| !taken(&join(place, class), name, text));
        }
    }

    /// The description of a module's function: the one described in `module`, or in a package
    /// around it or inside it, if there is only one.
    pub(super) fn function(&self, module: &str, name: &str) -> Option<&str> {
        let places = self.functions.get(name)?;
        if let Some(text) = places.get(module) {
            return Some(text);
        }
        let mut near = places.iter().filter(|(place, _)| {
            place.is_empty() || is_within(module, place) || is_within(place, module)
        });
        let (_, text) = near.next()?;
        near.next().is_none().then_some(text)
    }

    /// The description of a class's method or attribute. The class is the one described in
    /// `module`, or in a package around it or inside it; if there is no such class, or more
    /// than one, there is no description.
    pub fn lookup(&self, module: &str, class: &str, name: &str) -> Option<&str> {
        let path = join(&join(module, class), name);
        let (place, member) = split(&path);
        let outer = class.rsplit_once('.').map_or("", |(outer, _)| outer);
        let places = self.entries.get(member)?;
        if let Some(text) = places.get(place) {
            return Some(text);
        }
        let mut near = places.iter().filter(|(place, _)| {
            let place = place.strip_suffix(outer).map(|place| place.trim_end_matches('.'));
            place.is_some_and(|place| is_within(module, place) || is_within(place, module))
        });
        let (_, text) = near.next()?;
        near.next().is_none().then_some(text)
    }
}

/// Splits a dotted path into its last two names and the rest before them.
fn split(path: &str) -> (&str, &str) {
    match path.rmatch_indices('.').nth(1) {
        Some((dot, _)) => (&path[..dot], &path[dot + 1..]),
        None => ("", path),
    }
}

fn join(outer: &str, name: &str) -> String {
    if outer.is_empty() { name.to_string() } else { format!("{outer}.{name}") }
}

fn is_within(module: &str, package: &str) -> bool {
    module.strip_prefix(package).is_some_and(|rest| rest.starts_with('.'))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_document = path.extension().is_some_and(|end| end == "txt" || end == "rst");
        if path.is_dir() {
            collect(&path, files)?;
        } else if is_document {
            files.push(path);
        }
    }
    Ok(())
}

/// The reading position in a document.
struct Page<'t> {
    lines: &'t [&'t str],
    module: String,
    /// The enclosing classes, each with its indentation and dotted path.
    classes: Vec<(usize, String)>,
    /// The dotted paths of the classes so far.
    described: BTreeSet<String>,
    /// The functions of the last directive: each path with its text.
    functions: Vec<(String, String)>,
}

impl<'t> Page<'t> {
    fn of(lines: &'t [&'t str]) -> Self {
        Page {
            lines,
            module: String::new(),
            classes: Vec::new(),
            described: BTreeSet::new(),
            functions: Vec::new(),
        }
    }

    /// The entries that the directive on line `at` describes: each path with its text.
    fn entry(&mut self, at: usize) -> Vec<(String, String)> {
        let line = self.lines[at];
        if is_blank(line) {
            return Vec::new();
        }
        let indent = indent_of(line).len();
        self.classes.retain(|(outer, _)| *outer < indent);
        let Some(found) = directive(line) else { return Vec::new() };
        match found.name.strip_prefix("py:").unwrap_or(found.name) {
            "module" | "currentmodule" => self.module = found.argument.to_string(),
            "class" | "exception" => {
                let path = self.path(found.argument);
                self.described.insert(path.clone());
                self.classes.push((indent, path));
            }
            "method" | "classmethod" | "staticmethod" | "attribute" | "property" => {
                return self.entries_of(at, &found);
            }
            "function" => self.functions = self.entries_of(at, &found),
            _ => {}
        }
        Vec::new()
    }

    /// The paths that a directive names, each with its text; none without a text.
    fn entries_of(&self, at: usize, found: &Directive<'t>) -> Vec<(String, String)> {
        let text = self.text(at, found);
        let text = capped(complete(&text), MOST).to_string();
        let paths = self.signatures(at, found).filter(|_| !text.is_empty());
        paths.map(|signature| (self.path(signature), text.clone())).collect()
    }

    /// The directive's argument, and more arguments on the lines right below it.
    fn signatures(&self, at: usize, found: &Directive<'t>) -> impl Iterator<Item = &'t str> {
        let below = self.below(at, found.indent);
        let more = self.lines[at + 1..below].iter().map(|line| line.trim());
        std::iter::once(found.argument).chain(more.filter(|line| !line.starts_with(':')))
    }

    /// The line after a directive's arguments and options.
    fn below(&self, at: usize, indent: usize) -> usize {
        let more = self.lines[at + 1..].iter();
        at + 1 + more.take_while(|line| !is_blank(line) && indent_of(line).len() > indent).count()
    }

    /// The block below a directive. If there is none, the text that follows, up to the next
    /// heading or description.
    fn text(&self, at: usize, found: &Directive<'_>) -> String {
        let below = self.below(at, found.indent);
        let block = nested(&self.lines[below..], found.indent);
        if block > 0 {
            return plain(&dedented(&self.lines[below..below + block]));
        }
        // Directives right below one another share a description.
        if let Some(next) = self.lines.get(below).copied().and_then(directive)
            && next.indent == found.indent
            && is_object(next.name)
        {
            return self.text(below, &next);
        }
        let rest = &self.lines[below..];
        let ends = |at: usize| {
            let line = rest[at];
            let is_outside = !is_blank(line) && indent_of(line).len() < found.indent;
            let is_next = directive(line).is_some_and(|d| is_object(d.name));
            let is_heading = rest.get(at + 1).is_some_and(|next| is_underline(line, next));
            is_outside || is_next || is_heading
        };
        let end = (0..rest.len()).find(|&at| ends(at)).unwrap_or(rest.len());
        plain(&dedented(&rest[..end]))
    }

    /// The dotted path of what a signature names.
    fn path(&self, signature: &str) -> String {
        let name = signature.split('(').next().unwrap_or("").trim();
        let name = name.rsplit(' ').next().unwrap_or(name);
        let outer = self.classes.last().map_or(&self.module, |(_, path)| path);
        let root = self.module.split('.').next().unwrap_or("");
        let is_whole = !root.is_empty() && name.split('.').next() == Some(root);
        if is_whole || outer.is_empty() { name.to_string() } else { format!("{outer}.{name}") }
    }
}

/// Removes a last paragraph that only introduces something that is not in the description.
/// A description that only names a method's asynchronous twin counts as empty.
fn complete(text: &str) -> &str {
    let start = text.rfind("\n\n").unwrap_or(0);
    let text = if text.ends_with(':') { text[..start].trim_end() } else { text };
    let names_twin = text.starts_with("*Asynchronous version") && !text.contains("\n\n");
    if names_twin { "" } else { text }
}

/// Whether `next` underlines the heading `line`.
fn is_underline(line: &str, next: &str) -> bool {
    let mut marks = next.trim_end().chars();
    let Some(mark) = marks.next() else { return false };
    let is_rule = mark.is_ascii_punctuation() && marks.all(|c| c == mark);
    is_rule && !is_blank(line) && next.trim_end().chars().count() >= line.trim().chars().count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    const DOCUMENT: &str = "\
=====
Birds
=====

.. module:: birds

.. class:: Bird(name)

    A :class:`Bird` flies.

    .. method:: sing(loud=False)
                hum()

        Sings :attr:`~Bird.song`, see :ref:`songs <songs>`.

        .. versionchanged:: 2.0

            It was silent.

        .. note::

            Not at night.

        For example::

            bird.sing()

        .. code-block:: pycon
            :linenos:

            >>> bird.sing()
            'tweet'

        .. attribute:: volume

            How loud.

    .. attribute:: song

        The song.

.. _flying:

Flying
======

.. method:: Bird.fly()
.. method:: Bird.afly()

*Asynchronous version*: ``afly()``

Flies away.

* To the north::

    bird.fly(NORTH)

There are more ways:

.. function:: land()

    Lands.

.. method:: Bird.swim()

*Asynchronous version*: ``aswim()``

.. currentmodule:: birds.water

.. classmethod:: birds.water.Duck.hatch(n)

   Hatches.
";

    fn reference() -> Reference {
        let mut reference = Reference::default();
        reference.add(DOCUMENT);
        reference
    }

    #[test]
    fn entries_read_as_plain_text() {
        let reference = reference();
        let names = ["sing", "song", "fly"];
        let found = names.map(|name| reference.lookup("birds", "Bird", name).unwrap());
        insta::assert_snapshot!(found.join("\n======\n"));
        assert_eq!(reference.lookup("birds", "Bird", "hum"), Some(found[0]));
        assert_eq!(reference.lookup("birds", "Bird", "afly"), Some(found[2]));
        assert_eq!(reference.lookup("birds", "Bird", "swim"), None);
    }

    #[test]
    fn an_entry_is_never_that_of_another_class() {
        #[track_caller]
        fn check(module: &str, class: &str, name: &str, expected: bool) {
            assert_eq!(reference().lookup(module, class, name).is_some(), expected);
        }
        check("birds", "Bird", "song", true);
        check("birds.base", "Bird", "song", true);
        check("fish", "Bird", "song", false);
        check("birdsong", "Bird", "song", false);
        check("birds", "Duck", "song", false);
        check("birds.water", "Duck", "hatch", true);
        check("birds", "Duck", "hatch", true);
        check("birds", "", "land", false);
    }
}
