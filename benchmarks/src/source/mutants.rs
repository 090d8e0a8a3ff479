//! Mutants: small faults in a method, to find the tests that detect them.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use ruff_python_ast::token::TokenKind;
use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{BoolOp, CmpOp, Expr, Number, Stmt};
use ruff_text_size::{Ranged, TextRange};
use serde::{Deserialize, Serialize};

use super::method::MethodDef;
use super::parsed::{Parsed, bytes};
use super::splice::source_of;

/// A method with one value or one effect changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// What was changed.
    pub kind: MutantKind,
    /// The whole method, dedented, without decorators.
    pub source: String,
}

/// What was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MutantKind {
    /// The test of an `if`, `elif`, `while` or conditional expression is negated.
    Condition,
    /// `None` is returned.
    Return,
    /// A comparison is inverted.
    Comparison,
    /// `and` became `or`, or the other way round.
    Connective,
    /// A number, string or truth value differs.
    Constant,
    /// A call that is made for its effect is removed.
    Call,
    /// An assignment is removed.
    Assignment,
}

/// At most `most` different mutants of a method, distributed over the kinds. The same
/// `seed` gives the same mutants. Docstrings are never changed.
pub fn mutants(text: &str, method: &MethodDef, seed: u64, most: usize) -> Vec<Mutant> {
    let source = source_of(text, method);
    let Ok(parsed) = Parsed::of(&source) else { return Vec::new() };
    let Some(function) = parsed.function() else { return Vec::new() };
    let mut sites = Sites { parsed: &parsed, found: Vec::new() };
    function.statements.iter().for_each(|statement| sites.visit_stmt(statement));
    let mut seen = HashSet::from([source.clone()]);
    shuffled(sites.found, seed)
        .into_iter()
        .map(|site| Mutant { kind: site.kind, source: edited(&source, site.edits) })
        .filter(|mutant| Parsed::of(&mutant.source).is_ok() && seen.insert(mutant.source.clone()))
        .take(most)
        .collect()
}

/// One possible mutant: the bytes to replace, and their replacement.
struct Site {
    kind: MutantKind,
    edits: Vec<(Range<usize>, String)>,
}

struct Sites<'p> {
    parsed: &'p Parsed<'p>,
    found: Vec<Site>,
}

impl Sites<'_> {
    fn add(&mut self, kind: MutantKind, span: Range<usize>, new: impl Into<String>) {
        self.found.push(Site { kind, edits: vec![(span, new.into())] });
    }

    fn negate(&mut self, test: &Expr) {
        let span = bytes(test.range());
        let negated = format!("not ({})", &self.parsed.text[span.clone()]);
        self.add(MutantKind::Condition, span, negated);
    }

    fn constant(&mut self, expression: &Expr) {
        let span = bytes(expression.range());
        let new = match expression {
            Expr::BooleanLiteral(literal) if literal.value => "False".to_string(),
            Expr::BooleanLiteral(_) => "True".to_string(),
            Expr::NumberLiteral(literal) => match &literal.value {
                Number::Int(value) => match value.as_u64().and_then(|value| value.checked_add(1)) {
                    Some(value) => value.to_string(),
                    None => return,
                },
                _ => return,
            },
            Expr::StringLiteral(_) | Expr::FString(_) => {
                let text = &self.parsed.text[span.clone()];
                let triple = text.ends_with("\"\"\"") || text.ends_with("'''");
                let quote = if triple { 3 } else { 1 };
                // `''` ends with one quote, not with part of three.
                let quote = if text.len() < 6 { 1 } else { quote };
                return self.add(MutantKind::Constant, span.end - quote..span.end - quote, "XX");
            }
            _ => return,
        };
        self.add(MutantKind::Constant, span, new);
    }
}

impl<'p> Visitor<'p> for Sites<'p> {
    fn visit_stmt(&mut self, statement: &'p Stmt) {
        let span = bytes(statement.range());
        match statement {
            Stmt::If(s) => {
                self.negate(&s.test);
                let tests = s.elif_else_clauses.iter().filter_map(|clause| clause.test.as_ref());
                tests.for_each(|test| self.negate(test));
            }
            Stmt::While(s) => self.negate(&s.test),
            Stmt::Return(s) => match s.value.as_deref() {
                None | Some(Expr::NoneLiteral(_)) => {}
                Some(value) => self.add(MutantKind::Return, bytes(value.range()), "None"),
            },
            Stmt::Assign(_) | Stmt::AugAssign(_) => self.add(MutantKind::Assignment, span, "pass"),
            Stmt::AnnAssign(s) if s.value.is_some() => {
                self.add(MutantKind::Assignment, span, "pass");
            }
            Stmt::Expr(s) => match &*s.value {
                // A string statement has no effect, and may be a docstring.
                Expr::StringLiteral(_) => return,
                Expr::Call(_) | Expr::Await(_) => self.add(MutantKind::Call, span, "pass"),
                _ => {}
            },
            _ => {}
        }
        visitor::walk_stmt(self, statement);
    }

    fn visit_annotation(&mut self, _: &'p Expr) {}

    fn visit_expr(&mut self, expression: &'p Expr) {
        match expression {
            Expr::If(e) => self.negate(&e.test),
            Expr::Compare(e) => {
                let operands: Vec<_> = std::iter::once(&*e.left).chain(&e.comparators).collect();
                for (pair, op) in operands.windows(2).zip(&e.ops) {
                    if let Some(span) = operator(self.parsed, pair[0], pair[1]) {
                        self.add(MutantKind::Comparison, span, opposite(*op));
                    }
                }
            }
            Expr::BoolOp(e) => {
                let other = if e.op == BoolOp::And { "or" } else { "and" };
                let pairs = e.values.windows(2);
                let operators = pairs.map(|pair| operator(self.parsed, &pair[0], &pair[1]));
                let edits: Vec<_> = operators.flatten().map(|span| (span, other.into())).collect();
                self.found.push(Site { kind: MutantKind::Connective, edits });
            }
            _ => self.constant(expression),
        }
        visitor::walk_expr(self, expression);
    }
}

/// The bytes of the operator between two operands, whatever else is between them.
pub(crate) fn operator(parsed: &Parsed<'_>, left: &Expr, right: &Expr) -> Option<Range<usize>> {
    let between = TextRange::new(left.end(), right.start());
    let is_operator = |kind| {
        !matches!(
            kind,
            TokenKind::Lpar | TokenKind::Rpar | TokenKind::Comment | TokenKind::NonLogicalNewline
        )
    };
    let tokens = parsed.tokens().in_range(between);
    let mut operator = tokens.iter().filter(|token| is_operator(token.kind()));
    let first = bytes(operator.next()?.range());
    let last = operator.next_back().map_or(first.end, |token| bytes(token.range()).end);
    Some(first.start..last)
}

fn opposite(op: CmpOp) -> &'static str {
    match op {
        CmpOp::Eq => "!=",
        CmpOp::NotEq => "==",
        CmpOp::Lt => ">=",
        CmpOp::LtE => ">",
        CmpOp::Gt => "<=",
        CmpOp::GtE => "<",
        CmpOp::Is => "is not",
        CmpOp::IsNot => "is",
        CmpOp::In => "not in",
        CmpOp::NotIn => "in",
    }
}

/// Applies edits to `source`. They are ordered and do not overlap. A space is inserted
/// where two words would otherwise join.
pub(crate) fn edited(source: &str, edits: Vec<(Range<usize>, String)>) -> String {
    let mut out = String::with_capacity(source.len() + 16);
    let mut done = 0;
    for (span, new) in edits {
        out.push_str(&source[done..span.start]);
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let is_insertion = span.is_empty();
        if !is_insertion && out.ends_with(is_word) && new.starts_with(is_word) {
            out.push(' ');
        }
        out.push_str(&new);
        done = span.end;
    }
    out.push_str(&source[done..]);
    out
}

/// The sites in an order drawn from `seed`: one of each kind, then again.
fn shuffled(sites: Vec<Site>, seed: u64) -> Vec<Site> {
    let mut random = seed;
    let mut kinds: BTreeMap<MutantKind, Vec<(u64, Site)>> = BTreeMap::new();
    for site in sites {
        kinds.entry(site.kind).or_default().push((next(&mut random), site));
    }
    let mut ranked: Vec<_> = kinds
        .into_values()
        .flat_map(|mut sites| {
            sites.sort_by_key(|(order, _)| *order);
            sites.into_iter().enumerate()
        })
        .map(|(round, (order, site))| ((round, order), site))
        .collect();
    ranked.sort_by_key(|(order, _)| *order);
    ranked.into_iter().map(|(_, site)| site).collect()
}

/// SplitMix64: the same numbers on every machine and in every version.
pub(crate) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::super::method::methods;
    use super::*;

    fn of(body: &str, seed: u64, most: usize) -> Vec<Mutant> {
        let text = format!("class A:\n    def f(self, a=1):\n        'doc'\n        {body}\n");
        mutants(&text, &methods(&text).unwrap()[0], seed, most)
    }

    #[test]
    fn each_kind_changes_one_thing() {
        #[track_caller]
        fn check(body: &str, kind: MutantKind, expected: &[&str]) {
            let start = "def f(self, a=1):\n    'doc'\n    ";
            let mut found: Vec<_> = (of(body, 0, 100).iter())
                .filter(|mutant| mutant.kind == kind)
                .map(|mutant| mutant.source.strip_prefix(start).unwrap().to_string())
                .collect();
            found.sort();
            assert_eq!(found, expected);
        }
        use MutantKind::{Assignment, Call, Comparison, Condition, Connective, Constant, Return};
        check("return(a)", Return, &["return(None)"]);
        check("return\"é\"", Return, &["return None"]);
        check("return None", Return, &[]);
        check("return a, b", Return, &["return None"]);
        check("while a: b", Condition, &["while not (a): b"]);
        check("b if(a)else c", Condition, &["b if(not (a))else c"]);
        check(
            "if x := a():\n            b\n        elif\"c\": d",
            Condition,
            &[
                "if not (x := a()):\n        b\n    elif\"c\": d",
                "if x := a():\n        b\n    elif not (\"c\"): d",
            ],
        );
        check("a<b(c)not in(d)", Comparison, &["a<b(c)in(d)", "a>=b(c)not in(d)"]);
        check("(a) is not (b)", Comparison, &["(a) is (b)"]);
        check("(a  # in\n            in b)", Comparison, &["(a  # in\n        not in b)"]);
        check(
            "a and (b) and (c or d)",
            Connective,
            &["a and (b) and (c and d)", "a or (b) or (c or d)"],
        );
        check("-0x1F; True", Constant, &["-0x1F; False", "-32; True"]);
        check("g('')", Constant, &["g('XX')"]);
        check("g('a' \"\"\"b\n\"\"\")", Constant, &["g('a' \"\"\"b\nXX\"\"\")"]);
        check("g(f'{a!r}')", Constant, &["g(f'{a!r}XX')"]);
        check("x: 'int' = g", Constant, &[]);
        check("await g(); h()", Call, &["await g(); pass", "pass; h()"]);
        check(
            "a.b = c; d += e; f: int = g; h: int",
            Assignment,
            &[
                "a.b = c; d += e; pass; h: int",
                "a.b = c; pass; f: int = g; h: int",
                "pass; d += e; f: int = g; h: int",
            ],
        );
        check(
            "def g():\n            'doc'\n            return 1",
            Return,
            &["def g():\n        'doc'\n        return None"],
        );
        check("def g():\n            'doc'", Constant, &[]);
    }

    #[test]
    fn a_few_are_spread_over_the_kinds_and_drawn_by_the_seed() {
        let body = "x = 1; y = 2; z = 3\n        if x == y and z: g()\n        return x";
        let found = of(body, 7, 7);
        let kinds: HashSet<_> = found.iter().map(|mutant| mutant.kind).collect();
        assert_eq!(kinds.len(), 7);
        assert_eq!(found, of(body, 7, 7));
        assert_ne!(of(body, 8, 3), of(body, 9, 3));
        let all = of(body, 0, 100);
        let sources: HashSet<_> = all.iter().map(|mutant| &mutant.source).collect();
        assert_eq!(sources.len(), all.len());
        assert_eq!(of(body, 0, 0), []);
    }
}
