//! What an answer has beside the method: what the method uses, and what can be left out.

use std::collections::BTreeSet;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, ExprContext, Parameters, Stmt, StmtClassDef, StmtFunctionDef};
use ruff_text_size::{Ranged, TextRange};

use super::method::{Accessor, accessor};
use super::parsed::{Parsed, bytes};

/// A block that defines the method.
pub(super) struct Place<'p> {
    /// Its classes, outermost first; none in the module itself.
    pub(super) classes: Vec<&'p StmtClassDef>,
    /// Its statements.
    block: Vec<&'p Stmt>,
}

/// The blocks of modules and classes that define `wanted`.
pub(super) fn places<'p>(
    block: &[&'p Stmt],
    classes: &[&'p StmtClassDef],
    wanted: &str,
    found: &mut Vec<Place<'p>>,
) {
    let defines = |statement: &&Stmt| {
        statement.as_function_def_stmt().is_some_and(|def| def.name.as_str() == wanted)
    };
    if block.iter().any(defines) {
        found.push(Place { classes: classes.to_vec(), block: block.to_vec() });
    }
    for class in block.iter().filter_map(|statement| statement.as_class_def_stmt()) {
        let classes: Vec<_> = classes.iter().copied().chain([class]).collect();
        places(&class.body.iter().collect::<Vec<_>>(), &classes, wanted, found);
    }
}

/// The definitions of the method, without stubs for types, those without a body if another
/// has one, and copies; and the number of other parts of the property, if one `part` is
/// wanted and there.
pub(super) fn definitions<'p>(
    parsed: &Parsed<'_>,
    place: &Place<'p>,
    wanted: &str,
    part: Option<Accessor>,
) -> (Vec<&'p StmtFunctionDef>, usize) {
    let defs = place.block.iter().filter_map(|statement| statement.as_function_def_stmt());
    let mut all: Vec<_> = defs.filter(|def| def.name.as_str() == wanted).collect();
    let is_part = |def: &&StmtFunctionDef| accessor(def).or(Some(Accessor::Getter)) == part;
    let of_part: Vec<_> = all.iter().copied().filter(is_part).collect();
    let is_property = all.iter().any(|def| accessor(def).is_some());
    let others = all.len() - of_part.len();
    let is_chosen = is_property && !of_part.is_empty();
    if is_chosen {
        all = of_part;
    }
    let is_stub = |def: &StmtFunctionDef| {
        let says_nothing = |statement: &Stmt| says_nothing(statement);
        let overload = |name: &str| name == "overload" || name.ends_with(".overload");
        def.body.iter().all(says_nothing)
            || def
                .decorator_list
                .iter()
                .any(|d| overload(&parsed.text[bytes(d.expression.range())]))
    };
    let whole: Vec<_> = all.iter().copied().filter(|def| !is_stub(def)).collect();
    let mut defs = if whole.is_empty() { all } else { whole };
    let mut texts = BTreeSet::new();
    defs.retain(|def| texts.insert(parsed.text[bytes(def.range())].trim_end()));
    (defs, if is_chosen { others } else { 0 })
}

/// Whether a definition is a property's setter or the like: it is beside the method of the
/// same name, not in its place.
pub(super) fn is_accessor(parsed: &Parsed<'_>, def: &StmtFunctionDef, wanted: &str) -> bool {
    def.decorator_list.iter().any(|decorator| {
        let text = &parsed.text[bytes(decorator.expression.range())];
        text.split_once('.').is_some_and(|(before, _)| before == wanted)
    })
}

/// The names of functions and classes, those in classes instead of their class.
pub(super) fn names(block: &[Stmt], found: &mut Vec<String>) {
    for statement in block {
        match statement {
            Stmt::FunctionDef(def) => found.push(def.name.to_string()),
            Stmt::ClassDef(class) => {
                let before = found.len();
                names(&class.body, found);
                if found.len() == before {
                    found.push(class.name.to_string());
                }
            }
            _ => {}
        }
    }
}

/// Whether a statement is a docstring or a placeholder.
fn says_nothing(statement: &Stmt) -> bool {
    match statement {
        Stmt::Pass(_) => true,
        Stmt::Expr(s) => s.value.is_string_literal_expr() || s.value.is_ellipsis_literal_expr(),
        _ => false,
    }
}

/// The statements beside a method.
pub(super) struct Beside<'p> {
    /// Those of the module.
    module: Vec<&'p Stmt>,
    /// Those of the classes around the method.
    members: Vec<&'p Stmt>,
    method: Names,
    /// The names that the statements of the module bind.
    bound: BTreeSet<String>,
    /// The names that the file itself binds.
    file: BTreeSet<String>,
    /// The attributes that the method uses and the file does not mention; none without a
    /// file.
    missing: BTreeSet<String>,
}

impl<'p> Beside<'p> {
    /// What is beside `def` in an answer for `file`, apart from `taken`.
    pub(super) fn of(
        module: &[&'p Stmt],
        place: &Place<'p>,
        def: &StmtFunctionDef,
        (file, taken): (&str, &[TextRange]),
    ) -> Self {
        let is_around = |statement: &Stmt| {
            statement.range() == def.range()
                || taken.contains(&statement.range())
                || place.classes.iter().any(|class| class.range() == statement.range())
        };
        let is_copy = |statement: &Stmt| {
            statement
                .as_function_def_stmt()
                .is_some_and(|other| other.name.as_str() == def.name.as_str())
        };
        let other = |s: &&Stmt| !is_around(s) && !says_nothing(s);
        let own = |s: &&Stmt| !(place.classes.is_empty() && is_copy(s));
        let module: Vec<_> = module.iter().copied().filter(other).filter(own).collect();
        let members = place.classes.iter().flat_map(|class| &class.body);
        let members = members.filter(other).filter(|s| !is_copy(s)).collect();
        let parsed = Parsed::of(file).ok();
        let mut used = Attributes::default();
        if !file.is_empty() {
            used.visit_body(&def.body);
        }
        let mut mentioned = Attributes::default();
        parsed.iter().for_each(|parsed| mentioned.visit_body(parsed.statements()));
        let missing = used.0.difference(&mentioned.0).cloned().collect();
        let top = parsed.iter().flat_map(|parsed| parsed.statements());
        Beside {
            method: Names::of_function(def),
            bound: module.iter().flat_map(|s| Names::of(s).bound).collect(),
            file: top.flat_map(|statement| Names::of(statement).bound).collect(),
            module,
            members,
            missing,
        }
    }

    /// The first statement that the method needs, or that was part of its body.
    pub(super) fn needed(&self) -> Option<&'p Stmt> {
        let mut module = self.module.iter().copied();
        let needed = module.find(|statement| self.is_needed(statement));
        needed.or_else(|| self.members.iter().copied().find(|member| self.is_missing(member)))
    }

    /// Whether a member of the class around the method is an attribute that the method uses
    /// and the file lacks.
    fn is_missing(&self, member: &Stmt) -> bool {
        // An annotation alone and a method without a body stand for what the class inherits.
        let is_bare = match member {
            Stmt::AnnAssign(s) => s.value.is_none(),
            Stmt::FunctionDef(def) => def.body.iter().all(says_nothing),
            _ => false,
        };
        !is_bare && Names::of(member).bound.iter().any(|name| self.missing.contains(name))
    }

    fn is_needed(&self, statement: &Stmt) -> bool {
        let names = Names::of(statement);
        let used = |name: &&String| {
            let reads = self.method.loaded.contains(*name) && !self.method.bound.contains(*name);
            reads || name.as_str() == "*"
        };
        let missing = |name: &String| !self.file.contains(name);
        let is_part = |name: &String| {
            self.method.bound.contains(name)
                && !self.bound.contains(name)
                && !self.file.contains(name)
        };
        match statement {
            Stmt::ImportFrom(import) if import.module.as_deref() == Some("__future__") => false,
            Stmt::FunctionDef(_) | Stmt::ClassDef(_) | Stmt::Import(_) | Stmt::ImportFrom(_) => {
                names.bound.iter().filter(used).any(missing)
            }
            _ if names.leaves => true,
            _ => names.bound.iter().filter(used).any(missing) || names.loaded.iter().any(is_part),
        }
    }

    pub(super) fn left_out(&self) -> impl Iterator<Item = &'p Stmt> {
        self.module.iter().chain(&self.members).copied()
    }

    /// The functions and classes that the method needs.
    pub(super) fn definitions(&self) -> Vec<String> {
        let needed = self.module.iter().filter(|statement| self.is_needed(statement));
        let needed = needed.chain(self.members.iter().filter(|member| self.is_missing(member)));
        let names = needed.filter_map(|statement| match statement {
            Stmt::FunctionDef(def) => Some(def.name.to_string()),
            Stmt::ClassDef(class) => Some(class.name.to_string()),
            _ => None,
        });
        names.collect()
    }
}

/// The names that some code uses as attributes, or binds in a class.
#[derive(Default)]
struct Attributes(BTreeSet<String>);

impl<'a> Visitor<'a> for Attributes {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        if let Stmt::ClassDef(class) = statement {
            self.0.extend(class.body.iter().flat_map(|member| Names::of(member).bound));
        }
        visitor::walk_stmt(self, statement);
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        if let Expr::Attribute(attribute) = expression {
            self.0.insert(attribute.attr.to_string());
        }
        visitor::walk_expr(self, expression);
    }
}

/// The names of some code. Attributes are none.
#[derive(Default)]
struct Names {
    bound: BTreeSet<String>,
    loaded: BTreeSet<String>,
    /// Whether there is a `return`, a `yield` or the like, which only a function can have.
    leaves: bool,
}

impl Names {
    /// What a statement binds and loads around it.
    fn of(statement: &Stmt) -> Names {
        let mut names = Names::default();
        names.visit_stmt(statement);
        names
    }

    /// What a function loads, and what its parameters and its body bind.
    fn of_function(def: &StmtFunctionDef) -> Names {
        let mut names = Names::default();
        names.visit_parameters(&def.parameters);
        names.bound.extend(def.parameters.iter().map(|p| p.name().to_string()));
        if let Some(returns) = &def.returns {
            names.visit_expr(returns);
        }
        names.visit_body(&def.body);
        names
    }
}

impl<'a> Visitor<'a> for Names {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        match statement {
            // What a definition binds inside is its own.
            Stmt::FunctionDef(def) => {
                self.bound.insert(def.name.to_string());
                self.loaded.extend(Names::of_function(def).loaded);
            }
            Stmt::ClassDef(class) => {
                self.bound.insert(class.name.to_string());
                let mut inside = Names::default();
                inside.visit_body(&class.body);
                self.loaded.extend(inside.loaded);
            }
            Stmt::Import(import) => self.bound.extend(import.names.iter().map(|alias| {
                let name = alias.asname.as_ref().unwrap_or(&alias.name).as_str();
                name.split('.').next().unwrap_or(name).to_string()
            })),
            Stmt::ImportFrom(import) => self.bound.extend(
                import.names.iter().map(|a| a.asname.as_ref().unwrap_or(&a.name).to_string()),
            ),
            _ => {
                self.leaves |= statement.is_return_stmt();
                visitor::walk_stmt(self, statement);
            }
        }
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        if let Expr::Name(name) = expression {
            match name.ctx {
                ExprContext::Store | ExprContext::Del => self.bound.insert(name.id.to_string()),
                _ => self.loaded.insert(name.id.to_string()),
            };
        }
        self.leaves |= matches!(expression, Expr::Yield(_) | Expr::YieldFrom(_) | Expr::Await(_));
        visitor::walk_expr(self, expression);
    }

    fn visit_parameters(&mut self, parameters: &'a Parameters) {
        visitor::walk_parameters(self, parameters);
    }
}
