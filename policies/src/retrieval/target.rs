//! The method or function to write, and its context in the file.

use std::collections::{BTreeMap, BTreeSet};

use fixfly_runtime::Method;

use super::python::{Class, Function, Module, module, tokens, words_of};

/// A task's statement, parsed.
pub(super) struct Target<'a> {
    pub(super) method: &'a Method,
    /// The declaration, with a body that does nothing.
    pub(super) function: Function,
    pub(super) module: Module,
    /// Its class, without the method itself; empty for a function.
    pub(super) class: Class,
    /// Names of the ancestors, nearest first, including bases that the file does not show.
    pub(super) ancestors: Vec<String>,
    /// Attributes of the class, as far as the file shows them, and how often each is
    /// used as `self.…`.
    pub(super) attributes: BTreeMap<String, usize>,
    /// Names and strings of the class (for a function of the file), and of the file.
    pub(super) class_words: BTreeSet<String>,
    pub(super) file_words: BTreeSet<String>,
    /// Names that are defined outside the method.
    pub(super) names: BTreeSet<String>,
}

impl<'a> Target<'a> {
    pub(super) fn read(method: &'a Method) -> Self {
        let stub = format!("{} pass", method.declaration);
        let module = module(&method.content);
        let class = module.classes.iter().find(|class| class.name == method.class_name);
        let class = class.cloned().unwrap_or_default();
        let ancestors = ancestors(&class, &module);
        let attributes = attributes(&class, &ancestors, &module);
        let mut names = module.names.clone();
        names.extend(BUILT_IN.split_ascii_whitespace().map(str::to_string));
        let function = Function::read(&stub).unwrap_or_default();
        let around = if method.is_function() { &method.content } else { &class.text };
        let mut class_words = words_of(around);
        class_words.extend(function.params.iter().map(|param| param.name.clone()));
        Target {
            method,
            function,
            class,
            ancestors,
            attributes,
            class_words,
            file_words: words_of(&method.content),
            names,
            module,
        }
    }

    /// A candidate with this body.
    pub(super) fn with_body(&self, body: &str) -> String {
        format!("{}\n{}\n", self.method.declaration, body.trim_end())
    }

    /// A candidate with these lines as its body; indents them.
    pub(super) fn with_lines(&self, lines: &str) -> String {
        let lines: Vec<_> = lines.lines().map(|line| format!("    {line}")).collect();
        self.with_body(&lines.join("\n"))
    }

    /// The method's name.
    pub(super) fn name(&self) -> &'a str {
        &self.method.name
    }

    /// The name of its class, without the classes around it.
    pub(super) fn class_word(&self) -> &'a str {
        self.method.class_name.rsplit('.').next().unwrap_or(&self.method.class_name)
    }

    /// The visible functions beside it: methods of its class, or functions of its file.
    pub(super) fn beside(&self) -> &[Function] {
        match self.method.is_function() {
            true => &self.module.functions,
            false => &self.class.methods,
        }
    }

    /// Whether the class has a base class other than `object`.
    pub(super) fn has_bases(&self) -> bool {
        self.class.bases.iter().any(|base| base != "object")
    }

    /// Whether `name` is a method of the class or of a visible ancestor.
    pub(super) fn has_method(&self, name: &str) -> bool {
        let own = std::iter::once(&self.class);
        let inherited = self.module.classes.iter().filter(|c| self.ancestors.contains(&c.name));
        own.chain(inherited).any(|class| class.methods.iter().any(|method| method.name == name))
    }
}

fn ancestors(class: &Class, module: &Module) -> Vec<String> {
    let mut found: Vec<String> = class.bases.clone();
    let mut at = 0;
    while at < found.len() {
        let base = module.classes.iter().find(|class| class.name == found[at]);
        for name in base.into_iter().flat_map(|base| &base.bases) {
            if !found.contains(name) && *name != class.name {
                found.push(name.clone());
            }
        }
        at += 1;
    }
    found
}

fn attributes(class: &Class, ancestors: &[String], module: &Module) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let inherited = module.classes.iter().filter(|class| ancestors.contains(&class.name));
    for class in std::iter::once(class).chain(inherited) {
        for name in class.attributes.keys().chain(class.methods.iter().map(|m| &m.name)) {
            counts.entry(name.clone()).or_insert(0);
        }
        let mut before = ["", ""];
        for token in tokens(&class.text) {
            let text = &class.text[token.range];
            if matches!(before, ["self" | "cls", "."]) {
                *counts.entry(text.to_string()).or_insert(0) += 1;
            }
            before = [before[1], text];
        }
    }
    counts
}

const BUILT_IN: &str = "\
    ArithmeticError AssertionError AttributeError BaseException DeprecationWarning Ellipsis \
    Exception False FileExistsError FileNotFoundError ImportError IndexError KeyError \
    KeyboardInterrupt LookupError MemoryError NameError None NotImplemented NotImplementedError \
    OSError OverflowError PermissionError RecursionError RuntimeError RuntimeWarning \
    StopAsyncIteration StopIteration SyntaxError SystemExit TimeoutError True TypeError \
    UnicodeDecodeError UnicodeEncodeError UnicodeError UserWarning ValueError Warning \
    ZeroDivisionError __class__ __file__ __import__ __name__ abs aiter all anext any ascii bin \
    bool breakpoint bytearray bytes callable chr classmethod compile complex delattr dict dir \
    divmod enumerate eval exec filter float format frozenset getattr globals hasattr hash hex id \
    input int isinstance issubclass iter len list locals map max memoryview min next object oct \
    open ord pow print property range repr reversed round set setattr slice sorted staticmethod \
    str sum super tuple type vars zip";
