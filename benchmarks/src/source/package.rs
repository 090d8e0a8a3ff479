//! The classes of a package and their inheritance, as far as the text shows it.

use std::collections::{BTreeMap, HashMap};

use ruff_python_ast::{Expr, Stmt};
use ruff_text_size::Ranged;

use super::method::blocks;
use super::parsed::{Parsed, bytes, docstring_text};

/// A class, by its module and its qualified name there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ClassId<'p> {
    pub(super) module: &'p str,
    pub(super) name: &'p str,
}

/// The definition of a class.
#[derive(Debug, Default)]
pub(super) struct Class {
    bases: Vec<String>,
    /// The methods it defines, with their docstrings.
    pub(super) methods: HashMap<String, Option<String>>,
}

#[derive(Debug, Default)]
struct Module {
    classes: HashMap<String, Class>,
    /// What each name refers to: a dotted path from the root of the package.
    names: HashMap<String, String>,
    /// Modules that are imported with `*`.
    stars: Vec<String>,
}

/// The modules of a package, by dotted name.
#[derive(Debug, Default)]
pub(super) struct Package {
    modules: BTreeMap<String, Module>,
}

/// Maximum number of imports to follow to find a class.
const HOPS: usize = 16;

impl Package {
    /// Reads modules, each given by its dotted name, whether it is an `__init__.py`, and
    /// its text. Text that is not Python is left out.
    pub(super) fn of<'t>(files: impl Iterator<Item = (String, bool, &'t str)>) -> Self {
        let read = |(name, is_package, text): (String, bool, &str)| {
            let parsed = Parsed::of(text).ok()?;
            let here = match is_package {
                true => name.as_str(),
                false => name.rsplit_once('.').map_or("", |(parent, _)| parent),
            };
            let mut reader = Reader { text, here, module: Module::default() };
            reader.block(parsed.statements(), "");
            let module = reader.module;
            Some((name, module))
        };
        Package { modules: files.filter_map(read).collect() }
    }

    /// The class of that name in a module, if the module itself defines it.
    pub(super) fn class(&self, id: ClassId<'_>) -> Option<&Class> {
        self.modules.get(id.module)?.classes.get(id.name)
    }

    /// The class that a dotted path such as `package.module.Class` leads to.
    pub(super) fn find(&self, path: &str) -> Option<ClassId<'_>> {
        self.follow(path, HOPS)
    }

    fn follow(&self, path: &str, hops: usize) -> Option<ClassId<'_>> {
        let hops = hops.checked_sub(1)?;
        let mut dots = path.rmatch_indices('.').map(|(dot, _)| dot);
        let dot = dots.find(|dot| self.modules.contains_key(&path[..*dot]))?;
        self.resolve(&path[..dot], &path[dot + 1..], hops)
    }

    /// The class that `name`, possibly dotted, refers to in a module.
    fn resolve(&self, module: &str, name: &str, hops: usize) -> Option<ClassId<'_>> {
        let (module_name, module) = self.modules.get_key_value(module)?;
        if let Some((name, _)) = module.classes.get_key_value(name) {
            return Some(ClassId { module: module_name, name });
        }
        let (first, rest) = name.split_once('.').unwrap_or((name, ""));
        if let Some(target) = module.names.get(first) {
            let path = if rest.is_empty() { target.clone() } else { format!("{target}.{rest}") };
            return self.follow(&path, hops);
        }
        let mut stars = module.stars.iter();
        stars.find_map(|star| self.resolve(star, name, hops.checked_sub(1)?))
    }

    /// The ancestors of a class, nearest first. A class that is reached twice counts where
    /// it is reached last, as in Python's order.
    pub(super) fn ancestors<'p>(&'p self, id: ClassId<'p>) -> Vec<ClassId<'p>> {
        let mut reached = Vec::new();
        self.reach(id, HOPS, &mut reached);
        let mut order: Vec<ClassId<'p>> = Vec::new();
        for ancestor in reached.into_iter().rev() {
            if ancestor != id && !order.contains(&ancestor) {
                order.push(ancestor);
            }
        }
        order.reverse();
        order
    }

    fn reach<'p>(&'p self, id: ClassId<'p>, hops: usize, reached: &mut Vec<ClassId<'p>>) {
        let (Some(class), Some(hops)) = (self.class(id), hops.checked_sub(1)) else { return };
        for base in class.bases.iter().filter_map(|base| self.base(id, base)) {
            // A class may extend an imported class of the same name.
            if base != id {
                reached.push(base);
                self.reach(base, hops, reached);
            }
        }
    }

    /// A base class; the enclosing classes are searched first.
    fn base<'p>(&'p self, id: ClassId<'p>, base: &str) -> Option<ClassId<'p>> {
        let mut outer = id.name;
        while let Some((parent, _)) = outer.rsplit_once('.') {
            outer = parent;
            let nested =
                self.modules.get(id.module)?.classes.get_key_value(&format!("{outer}.{base}"));
            if let Some((name, _)) = nested {
                return Some(ClassId { module: id.module, name });
            }
        }
        self.resolve(id.module, base, HOPS)
    }
}

struct Reader<'t> {
    text: &'t str,
    /// The package that relative imports start from.
    here: &'t str,
    module: Module,
}

impl Reader<'_> {
    fn block(&mut self, block: &[Stmt], class: &str) {
        for statement in block {
            match statement {
                Stmt::ClassDef(def) => {
                    let name = qualified(class, &def.name);
                    let arguments = def.arguments.as_deref();
                    let bases = arguments.into_iter().flat_map(|arguments| &arguments.args);
                    let bases = bases.filter_map(|base| self.dotted(base)).collect();
                    let read = Class { bases, methods: HashMap::new() };
                    self.module.classes.insert(name.clone(), read);
                    self.block(&def.body, &name);
                }
                Stmt::FunctionDef(def) => {
                    if let Some(class) = self.module.classes.get_mut(class) {
                        let docstring = docstring_text(&def.body);
                        let known = class.methods.entry(def.name.to_string()).or_default();
                        *known = known.take().or(docstring);
                    }
                }
                Stmt::Import(_) | Stmt::ImportFrom(_) | Stmt::Assign(_) if class.is_empty() => {
                    self.bind(statement);
                }
                _ => blocks(statement).into_iter().for_each(|block| self.block(block, class)),
            }
        }
    }

    fn bind(&mut self, statement: &Stmt) {
        match statement {
            Stmt::Import(import) => {
                for alias in &import.names {
                    let path = alias.name.as_str();
                    let root = path.split('.').next().unwrap_or(path);
                    let (name, path) = match &alias.asname {
                        Some(name) => (name.as_str(), path),
                        None => (root, root),
                    };
                    self.module.names.insert(name.into(), path.into());
                }
            }
            Stmt::ImportFrom(import) => {
                let Some(from) = self.absolute(import.level, import.module.as_deref()) else {
                    return;
                };
                for alias in &import.names {
                    if alias.name.as_str() == "*" {
                        self.module.stars.push(from.clone());
                        continue;
                    }
                    let name = alias.asname.as_ref().unwrap_or(&alias.name);
                    self.module.names.insert(name.to_string(), qualified(&from, &alias.name));
                }
            }
            Stmt::Assign(assign) => {
                let target = assign.targets.first().and_then(Expr::as_name_expr);
                let value = self.dotted(&assign.value);
                let (Some(target), Some(value)) = (target, value) else { return };
                let (first, rest) = value.split_once('.').unwrap_or((&value, ""));
                let known = self.module.names.get(first).cloned();
                let path =
                    known.map(|path| if rest.is_empty() { path } else { qualified(&path, rest) });
                self.module.names.extend(path.map(|path| (target.id.to_string(), path)));
            }
            _ => {}
        }
    }

    /// The module that an import refers to, however many dots it has.
    fn absolute(&self, level: u32, module: Option<&str>) -> Option<String> {
        let mut base = if level == 0 { "" } else { self.here };
        for _ in 1..level {
            base = base.rsplit_once('.').map(|(parent, _)| parent)?;
        }
        Some(module.map_or(base.to_string(), |module| qualified(base, module)))
    }

    /// A name such as `models.Model`; the parameters of a generic class are left out.
    fn dotted(&self, expression: &Expr) -> Option<String> {
        match expression {
            Expr::Name(_) => Some(self.text[bytes(expression.range())].to_string()),
            Expr::Attribute(e) => Some(qualified(&self.dotted(&e.value)?, &e.attr)),
            Expr::Subscript(e) => self.dotted(&e.value),
            _ => None,
        }
    }
}

fn qualified(outer: &str, name: &str) -> String {
    if outer.is_empty() { name.to_string() } else { format!("{outer}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &[(&str, bool, &str)] = &[
        ("p", true, "from .base import *\nfrom .sub import mod as m\nimport p.sub.mod\n"),
        (
            "p.base",
            false,
            "class Base:\n    def f(self): 'Base.'\n    class Meta: pass\nclass _X(Base): pass\nY = _X\n",
        ),
        ("p.sub", true, "from .. import Base\nfrom ..base import Base as B\n"),
        (
            "p.sub.mod",
            false,
            "import p\nfrom p.sub import B\ntry:\n    from p import Base\nexcept E: pass\nclass C(p.Base): pass\nclass D(B[int], other()): pass\nclass E(C, D):\n    class Meta(Base.Meta): pass\n    class Inner(Meta): pass\nclass Loop(Loop): pass\n",
        ),
        ("p.broken", false, "class ("),
    ];

    fn package() -> Package {
        Package::of(
            FILES.iter().map(|(name, is_package, text)| ((*name).into(), *is_package, *text)),
        )
    }

    #[test]
    fn paths_lead_through_imports() {
        #[track_caller]
        fn check(path: &str, expected: Option<(&str, &str)>) {
            let package = package();
            assert_eq!(package.find(path).map(|id| (id.module, id.name)), expected);
        }
        let base = Some(("p.base", "Base"));
        check("p.base.Base", base);
        check("p.Base", base);
        check("p.sub.Base", base);
        check("p.sub.B.Meta", Some(("p.base", "Base.Meta")));
        check("p.m.C", Some(("p.sub.mod", "C")));
        check("p.p.sub.mod.C", Some(("p.sub.mod", "C")));
        check("p.sub.mod.p.Base", base);
        check("p.Y", None);
        check("q.Base", None);
        check("p.nothing.Base", None);
        check("p.broken.A", None);
    }

    #[test]
    fn ancestors_come_in_the_order_python_asks_them() {
        #[track_caller]
        fn check(name: &str, expected: &[&str]) {
            let package = package();
            let found = package.ancestors(ClassId { module: "p.sub.mod", name });
            assert_eq!(found.iter().map(|id| id.name).collect::<Vec<_>>(), expected);
        }
        check("C", &["Base"]);
        check("E", &["C", "D", "Base"]);
        check("E.Meta", &["Base.Meta"]);
        check("E.Inner", &["E.Meta", "Base.Meta"]);
        check("Loop", &[]);
        check("Nothing", &[]);
    }
}
