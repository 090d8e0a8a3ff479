//! The rules by which faults are made. A fault changes one place so that the rest of the
//! method shows what it should be, and nothing about the place itself says that it was
//! changed.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::iter;
use std::ops::Range;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{
    BoolOp, CmpOp, Comprehension, Expr, ExprAttribute, ExprCall, ExprContext, Number, Operator,
    Stmt, UnaryOp,
};
use ruff_text_size::Ranged;
use serde::{Deserialize, Serialize};

use super::change::Pair;
use super::names::{Names, Used, is_short};
use super::odd::odd;
use crate::manifest::short_hash;
use crate::source::{self, Parsed, bytes, edited, next, operator};

/// Larger numbers stay: 404 says by itself that 405 is wrong.
const LARGEST: u64 = 16;

/// What was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A comparison is inverted, turned round or off by one.
    Comparison,
    /// `and` became `or`, or the other way round.
    Connective,
    /// A `not` is missing or one too many.
    Negation,
    /// A number is off by one.
    Number,
    /// An index or the bound of a slice is off by one, or counts from the other end.
    Index,
    /// `True` became `False`, or the other way round.
    Boolean,
    /// Another variable of the method is used.
    Variable,
    /// Another variable of the method is returned.
    Return,
    /// Another attribute that the method uses is used.
    Attribute,
    /// Two neighbouring arguments of a call are swapped.
    Argument,
    /// `+` became `-`, or the other way round.
    Operator,
    /// Another string of the method is used.
    String,
    /// `break` became `continue`, or the other way round.
    Jump,
    /// No rule: a published set gives it.
    Given,
}

/// The faults that can be made in a method and that a change of one line fixes: one of each
/// kind, then again. The order is drawn from the method alone.
pub(super) fn faults(truth: &str) -> impl Iterator<Item = (FaultKind, Pair)> + '_ {
    let (sites, odd_before) = sites(truth).unwrap_or_default();
    let tree = source::tree_hash(truth);
    let mut seen = HashSet::new();
    let mut fault = move |site: Site| {
        let faulty = edited(truth, site.edits);
        let is_odd = odd(&Parsed::of(&faulty).ok()?) > odd_before;
        if is_odd || source::tree_hash(&faulty) == tree || !seen.insert(faulty.clone()) {
            return None;
        }
        let pair = Pair { faulty, truth: truth.to_string() };
        pair.change().is_some().then_some((site.kind, pair))
    };
    let mut kinds = by_kind(sites, &short_hash(truth.as_bytes()));
    iter::from_fn(move || {
        while let Some(mut sites) = kinds.pop_front() {
            while let Some(site) = sites.pop() {
                if let Some(found) = fault(site) {
                    kinds.push_back(sites);
                    return Some(found);
                }
            }
        }
        None
    })
}

/// The sites of each kind in an order drawn from a hash, and the kinds likewise, however
/// many sites each has.
fn by_kind(sites: Vec<Site>, hash: &str) -> VecDeque<Vec<Site>> {
    let mut random = u64::from_str_radix(hash, 16).unwrap_or_default();
    let mut kinds: BTreeMap<FaultKind, Vec<Site>> = BTreeMap::new();
    for site in sites {
        kinds.entry(site.kind).or_default().push(site);
    }
    let mut kinds: Vec<Vec<Site>> = kinds.into_values().collect();
    kinds.iter_mut().for_each(|sites| sites.sort_by_cached_key(|_| next(&mut random)));
    kinds.sort_by_cached_key(|_| next(&mut random));
    kinds.into()
}

/// The possible faults of a method, and how much of it is odd as it is.
fn sites(truth: &str) -> Option<(Vec<Site>, usize)> {
    let parsed = Parsed::of(truth).ok()?;
    let body = parsed.function()?.statements;
    let [Stmt::FunctionDef(def), ..] = parsed.statements() else { return None };
    let names = Names::of(&parsed, def, body);
    let mut sites = Sites { parsed: &parsed, names: &names, in_string: 0, found: Vec::new() };
    sites.visit_body(body);
    let found = sites.found;
    Some((found, odd(&parsed)))
}

/// One possible fault: the bytes to replace, and their replacement.
struct Site {
    kind: FaultKind,
    edits: Vec<(Range<usize>, String)>,
}

struct Sites<'p> {
    parsed: &'p Parsed<'p>,
    names: &'p Names<'p>,
    /// How many f-strings are around.
    in_string: usize,
    found: Vec<Site>,
}

impl<'p> Sites<'p> {
    fn add(&mut self, kind: FaultKind, span: Range<usize>, new: impl Into<String>) {
        self.found.push(Site { kind, edits: vec![(span, new.into())] });
    }

    fn text(&self, of: &impl Ranged) -> &'p str {
        &self.parsed.text[bytes(of.range())]
    }

    /// The test of an `if` or the like, the whole of which can be negated.
    fn condition(&mut self, test: &'p Expr) {
        if let Expr::UnaryOp(e) = test
            && e.op == UnaryOp::Not
        {
            self.add(FaultKind::Negation, bytes(e.range()), self.text(&*e.operand));
        }
        self.operand(test);
    }

    /// A condition that can be negated without parentheses.
    fn operand(&mut self, expression: &Expr) {
        if is_plain(expression) {
            let start = bytes(expression.range()).start;
            self.add(FaultKind::Negation, start..start, "not ");
        }
    }

    fn number(&mut self, expression: &Expr, place: NumberPlace) -> bool {
        let (negative, literal) = match expression {
            Expr::UnaryOp(e) if e.op == UnaryOp::USub => (true, &*e.operand),
            other => (false, other),
        };
        let Expr::NumberLiteral(literal) = literal else { return false };
        let Number::Int(value) = &literal.value else { return true };
        let Some(value) = value.as_u64().filter(|value| *value <= LARGEST) else { return true };
        // Other notations than the decimal one are kept as they are.
        if self.text(literal) != value.to_string() {
            return true;
        }
        let less = value.saturating_sub(1);
        let others = match (negative, place) {
            (false, NumberPlace::Index) if value == 0 => vec!["1".into(), "-1".into()],
            (false, _) if value == 0 => vec!["1".into()],
            (false, NumberPlace::Bound) if value == 1 => vec!["2".into()],
            (false, _) => vec![less.to_string(), (value + 1).to_string()],
            (true, NumberPlace::Index) if value == 1 => vec!["0".into(), "-2".into()],
            (true, _) => vec![value.to_string(), format!("-{}", value + 1)],
        };
        let kind = match place {
            NumberPlace::Value => FaultKind::Number,
            NumberPlace::Index | NumberPlace::Bound => FaultKind::Index,
        };
        others.into_iter().for_each(|new: String| self.add(kind, bytes(expression.range()), new));
        true
    }

    /// What is between the brackets of a subscript.
    fn slice(&mut self, slice: &'p Expr) {
        if let Expr::Slice(e) = slice {
            for bound in [&e.lower, &e.upper].into_iter().flatten() {
                if !self.number(bound, NumberPlace::Bound) {
                    self.visit_expr(bound);
                }
            }
            e.step.iter().for_each(|step| self.visit_expr(step));
        } else if !self.number(slice, NumberPlace::Index) {
            self.visit_expr(slice);
        }
    }

    fn attribute(&mut self, attribute: &ExprAttribute, called: bool) {
        let own = self.names.used(attribute, called);
        let is_other = |other: &&Used<'_>| {
            other.called == called && other.name != own.name && !other.name.starts_with("__")
        };
        let others: Vec<&Used<'_>> = self.names.attributes.iter().filter(is_other).collect();
        let near: Vec<&Used<'_>> = others.iter().copied().filter(|o| o.of == own.of).collect();
        for other in if near.is_empty() { others } else { near } {
            self.add(FaultKind::Attribute, bytes(attribute.attr.range()), other.name);
        }
    }

    fn call(&mut self, call: &'p ExprCall) {
        for pair in call.arguments.args.windows(2) {
            let [one, other] = pair else { continue };
            if one.is_starred_expr() || other.is_starred_expr() {
                continue;
            }
            let edits = vec![
                (bytes(one.range()), self.text(other).to_string()),
                (bytes(other.range()), self.text(one).to_string()),
            ];
            self.found.push(Site { kind: FaultKind::Argument, edits });
        }
        match &*call.func {
            // Another variable can hardly be called.
            Expr::Name(_) => {}
            Expr::Attribute(attribute) => {
                self.attribute(attribute, true);
                self.visit_expr(&attribute.value);
            }
            func => self.visit_expr(func),
        }
        self.visit_arguments(&call.arguments);
    }

    fn string(&mut self, literal: &Expr) {
        if self.in_string > 0 || !is_short(literal, self.parsed.text) {
            return;
        }
        let own = self.text(literal);
        // A sentence says by itself that it is no key.
        let is_sentence = |text: &str| text.contains(' ');
        let others = self
            .names
            .strings
            .iter()
            .filter(|other| **other != own && is_sentence(other) == is_sentence(own));
        others.for_each(|other| self.add(FaultKind::String, bytes(literal.range()), *other));
    }

    /// `+` and `-`, if both can be meant.
    fn sum(&mut self, left: &Expr, op: Operator, right: &Expr) {
        let minus = match op {
            Operator::Add if !is_sequence(left) && !is_sequence(right) => "-",
            Operator::Sub => "+",
            _ => return,
        };
        let Some(span) = operator(self.parsed, left, right) else { return };
        let equals = if self.parsed.text[span.clone()].ends_with('=') { "=" } else { "" };
        self.add(FaultKind::Operator, span, format!("{minus}{equals}"));
    }
}

/// Where a number is.
#[derive(Clone, Copy)]
enum NumberPlace {
    Value,
    Index,
    Bound,
}

/// Whether `not` can be put before an expression.
fn is_plain(expression: &Expr) -> bool {
    matches!(expression, Expr::Name(_) | Expr::Attribute(_) | Expr::Call(_) | Expr::Subscript(_))
}

/// Whether an expression is a string or a list by its looks, from which nothing can be
/// subtracted.
fn is_sequence(expression: &Expr) -> bool {
    match expression {
        Expr::BinOp(e) => is_sequence(&e.left) || is_sequence(&e.right),
        Expr::StringLiteral(_) | Expr::BytesLiteral(_) | Expr::FString(_) => true,
        Expr::List(_) | Expr::Tuple(_) | Expr::ListComp(_) => true,
        _ => false,
    }
}

fn others(op: CmpOp) -> &'static [&'static str] {
    match op {
        CmpOp::Eq => &["!="],
        CmpOp::NotEq => &["=="],
        CmpOp::Lt => &["<=", ">"],
        CmpOp::LtE => &["<", ">="],
        CmpOp::Gt => &[">=", "<"],
        CmpOp::GtE => &[">", "<="],
        CmpOp::Is => &["is not"],
        CmpOp::IsNot => &["is"],
        CmpOp::In => &["not in"],
        CmpOp::NotIn => &["in"],
    }
}

impl<'p> Visitor<'p> for Sites<'p> {
    fn visit_stmt(&mut self, statement: &'p Stmt) {
        let span = bytes(statement.range());
        match statement {
            Stmt::If(s) => {
                self.condition(&s.test);
                let tests = s.elif_else_clauses.iter().filter_map(|clause| clause.test.as_ref());
                tests.for_each(|test| self.condition(test));
            }
            Stmt::While(s) => self.condition(&s.test),
            Stmt::Assert(s) => self.condition(&s.test),
            Stmt::Break(_) => self.add(FaultKind::Jump, span, "continue"),
            Stmt::Continue(_) => self.add(FaultKind::Jump, span, "break"),
            Stmt::AugAssign(s) => self.sum(&s.target, s.op, &s.value),
            Stmt::Return(s) => {
                if let Some(Expr::Name(name)) = s.value.as_deref() {
                    let mut others = self.names.variables(name.start());
                    others.extend(self.names.has_self.then_some("self"));
                    for other in others.into_iter().filter(|other| *other != name.id.as_str()) {
                        self.add(FaultKind::Return, bytes(name.range()), other);
                    }
                    return;
                }
            }
            // A string statement has no effect, and may be a docstring.
            Stmt::Expr(s) if s.value.is_string_literal_expr() => return,
            _ => {}
        }
        visitor::walk_stmt(self, statement);
    }

    fn visit_annotation(&mut self, _: &'p Expr) {}

    fn visit_comprehension(&mut self, comprehension: &'p Comprehension) {
        comprehension.ifs.iter().for_each(|test| self.condition(test));
        visitor::walk_comprehension(self, comprehension);
    }

    fn visit_expr(&mut self, expression: &'p Expr) {
        let span = bytes(expression.range());
        match expression {
            Expr::Name(name) if name.ctx == ExprContext::Load => {
                for other in self.names.others(name.id.as_str(), name.start()) {
                    self.add(FaultKind::Variable, span.clone(), other);
                }
            }
            Expr::If(e) => self.condition(&e.test),
            Expr::Compare(e) => {
                let operands: Vec<_> = iter::once(&*e.left).chain(&e.comparators).collect();
                for (pair, op) in operands.windows(2).zip(&e.ops) {
                    let Some(span) = operator(self.parsed, pair[0], pair[1]) else { continue };
                    for other in others(*op) {
                        self.add(FaultKind::Comparison, span.clone(), *other);
                    }
                }
            }
            Expr::BoolOp(e) => {
                let other = if e.op == BoolOp::And { "or" } else { "and" };
                let pairs = e.values.windows(2);
                let operators = pairs.map(|pair| operator(self.parsed, &pair[0], &pair[1]));
                let edits: Vec<_> = operators.flatten().map(|span| (span, other.into())).collect();
                self.found.push(Site { kind: FaultKind::Connective, edits });
                e.values.iter().for_each(|value| self.operand(value));
            }
            Expr::BinOp(e) => self.sum(&e.left, e.op, &e.right),
            Expr::UnaryOp(e) if e.op == UnaryOp::Not && is_plain(&e.operand) => {
                self.add(FaultKind::Negation, span, self.text(&*e.operand));
            }
            Expr::UnaryOp(_) | Expr::NumberLiteral(_)
                if self.number(expression, NumberPlace::Value) =>
            {
                return;
            }
            Expr::BooleanLiteral(e) => {
                self.add(FaultKind::Boolean, span, if e.value { "False" } else { "True" });
            }
            Expr::StringLiteral(_) => self.string(expression),
            Expr::Attribute(e) => self.attribute(e, false),
            Expr::Call(e) => return self.call(e),
            Expr::Subscript(e) => {
                self.visit_expr(&e.value);
                return self.slice(&e.slice);
            }
            Expr::FString(_) => {
                self.in_string += 1;
                visitor::walk_expr(self, expression);
                self.in_string -= 1;
                return;
            }
            _ => {}
        }
        visitor::walk_expr(self, expression);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "def f(self, a, b=1):\n    'doc'\n    ";

    #[track_caller]
    fn check(body: &str, kind: FaultKind, expected: &[&str]) {
        let truth = format!("{START}{body}\n");
        let mut found: Vec<String> = faults(&truth)
            .filter(|(other, _)| *other == kind)
            .filter_map(|(_, pair)| {
                pair.faulty.strip_prefix(START).map(|it| it.trim_end().to_string())
            })
            .collect();
        found.sort();
        assert_eq!(found, expected, "{body}");
    }

    #[test]
    fn conditions_are_changed_in_natural_form() {
        use FaultKind::{Comparison, Connective, Negation};
        check("return a < b", Comparison, &["return a <= b", "return a > b"]);
        check("return(a)is not(b)", Comparison, &["return(a)is(b)"]);
        check(
            "return a not  in b == c",
            Comparison,
            &["return a in b == c", "return a not  in b != c"],
        );
        check(
            "return a and (b or c) and d",
            Connective,
            &["return a and (b and c) and d", "return a or (b or c) or d"],
        );
        check("if not a: return", Negation, &["if a: return"]);
        check("while a.c(): pass", Negation, &["while not a.c(): pass"]);
        check(
            "if not (a and b == 1): return",
            Negation,
            &["if a and b == 1: return", "if not (not a and b == 1): return"],
        );
        check("if a == b: return", Negation, &[]);
        check("return [c for c in a if not c]", Negation, &["return [c for c in a if c]"]);
        check("return a if b[0] else 0", Negation, &["return a if not b[0] else 0"]);
        check("return not a", Negation, &["return a"]);
    }

    #[test]
    fn numbers_and_truth_values_are_a_little_different() {
        use FaultKind::{Boolean, Index, Number};
        check(
            "return 0, 1, -1, 2.5, 404, 0x1",
            Number,
            &[
                "return 0, 0, -1, 2.5, 404, 0x1",
                "return 0, 1, -2, 2.5, 404, 0x1",
                "return 0, 1, 1, 2.5, 404, 0x1",
                "return 0, 2, -1, 2.5, 404, 0x1",
                "return 1, 1, -1, 2.5, 404, 0x1",
            ],
        );
        check("return a[0]", Index, &["return a[-1]", "return a[1]"]);
        check("return a[-1]", Index, &["return a[-2]", "return a[0]"]);
        check("return a[1:-1]", Index, &["return a[1:-2]", "return a[1:1]", "return a[2:-1]"]);
        check("return a[0]", Number, &[]);
        check("return g(c=True)", Boolean, &["return g(c=False)"]);
    }

    #[test]
    fn another_name_of_the_method_is_used() {
        use FaultKind::{Argument, Attribute, Return, String, Variable};
        check("c = a + 1", Variable, &["c = b + 1"]);
        check("c = a", Variable, &["c = b"]);
        // Not bound yet, only bound elsewhere, and not a variable.
        check(
            "c = len(a)\n    return [d for d in c]",
            Variable,
            &[
                "c = len(a)\n    return [d for d in a]",
                "c = len(a)\n    return [d for d in b]",
                "c = len(b)\n    return [d for d in c]",
            ],
        );
        check("return a == b", Variable, &[]);
        check("return a", Return, &["return b", "return self"]);
        check("return self", Return, &["return a", "return b"]);
        check("return a + b", Return, &[]);
        check(
            "self.c = a.d(self.e.d())",
            Attribute,
            &["self.c = a.d(self.c.d())", "self.e = a.d(self.e.d())"],
        );
        check("return g(a, b, *c, d=e)", Argument, &["return g(b, a, *c, d=e)"]);
        check(
            "return a['x'], b[\"y\"], f'{a[\"z\"]}', 'a b'",
            String,
            &[
                "return a[\"y\"], b[\"y\"], f'{a[\"z\"]}', 'a b'",
                "return a['x'], b['x'], f'{a[\"z\"]}', 'a b'",
            ],
        );
    }

    #[test]
    fn sums_and_jumps_are_turned_round() {
        use FaultKind::{Jump, Operator};
        check(
            "a += 1; b = a - 2 + 'c'",
            Operator,
            &["a += 1; b = a + 2 + 'c'", "a -= 1; b = a - 2 + 'c'"],
        );
        check("for c in a: break", Jump, &["for c in a: continue"]);
        check("for c in a: continue", Jump, &["for c in a: break"]);
    }

    #[test]
    fn what_is_odd_as_it_is_may_stay_but_no_fault_adds_to_it() {
        #[track_caller]
        fn check(body: &str, expected: usize) {
            let truth = format!("{START}{body}\n");
            assert_eq!(Parsed::of(&truth).map(|parsed| odd(&parsed)), Ok(expected), "{body}");
            for Pair { faulty, .. } in faults(&truth).map(|(_, pair)| pair) {
                let after = Parsed::of(&faulty).map(|parsed| odd(&parsed));
                assert!(after.is_ok_and(|after| after <= expected), "{faulty}");
            }
        }
        check("return a == b or g(a, b) or (a if self else b)", 0);
        check("a.c = b.c; self.d += a; a = b", 0);
        check("return a == a or not not b or -0", 3);
        check("a = a; b.c = b.c; a += a; return g(b, b), a if b else a", 5);
    }

    #[test]
    fn the_first_faults_of_many_methods_are_of_all_kinds() {
        let mut first: BTreeMap<FaultKind, usize> = BTreeMap::new();
        for number in 0..200 {
            let truth = format!(
                "def f{number}(self, a, b):\n    for c in a:\n        if c.x + 1 < b.y and not a[0]:\n            break\n    g(a, b, 'x', True, 'y')\n    return a\n"
            );
            let made = || faults(&truth).map(|(kind, pair)| (kind, pair.faulty));
            let all: Vec<_> = made().collect();
            assert_eq!(all, made().collect::<Vec<_>>());
            let texts: HashSet<_> = all.iter().map(|(_, faulty)| faulty).collect();
            assert_eq!(texts.len(), all.len());
            assert!(
                all.iter().all(|(_, faulty)| !faulty.contains("XX") && !faulty.contains("not ("))
            );
            let kinds: HashSet<_> = all.iter().take(13).map(|(kind, _)| kind).collect();
            assert_eq!(kinds.len(), 13);
            *first.entry(all[0].0).or_default() += 1;
        }
        assert!(first.len() == 13 && first.values().all(|count| *count < 40), "{first:?}");
    }
}
