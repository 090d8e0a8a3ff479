//! What hardly any author writes: a fault with it could be found without reading the rest.

use ruff_python_ast::comparable::ComparableExpr;
use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, Number, Stmt, UnaryOp};

use crate::source::Parsed;

/// The number of odd expressions and statements: `x == x`, `x or x`, `f(x, x)`, `x = x`,
/// `not not x`, `not x == y`, `-0`, `x if y else x`.
pub(super) fn odd(parsed: &Parsed<'_>) -> usize {
    let mut odd = Odd(0);
    odd.visit_body(parsed.statements());
    odd.0
}

struct Odd(usize);

impl Odd {
    fn count(&mut self, is_odd: bool) {
        self.0 += usize::from(is_odd);
    }

    fn same(&mut self, one: &Expr, other: &Expr) {
        self.count(ComparableExpr::from(one) == ComparableExpr::from(other));
    }

    /// Counts the pairs of neighbours that are the same.
    fn neighbours<'e>(&mut self, all: impl Iterator<Item = &'e Expr> + Clone) {
        all.clone().zip(all.skip(1)).for_each(|(one, other)| self.same(one, other));
    }
}

fn is_zero(number: &Number) -> bool {
    matches!(number, Number::Int(value) if value.as_u64() == Some(0))
}

impl<'p> Visitor<'p> for Odd {
    fn visit_stmt(&mut self, statement: &'p Stmt) {
        match statement {
            Stmt::Assign(s) => {
                // The target's context is not that of the value, so their names are compared.
                let is_same = |target: &Expr| match (target, &*s.value) {
                    (Expr::Name(target), Expr::Name(value)) => target.id == value.id,
                    (Expr::Attribute(target), Expr::Attribute(value)) => {
                        target.attr.as_str() == value.attr.as_str()
                            && ComparableExpr::from(&*target.value)
                                == ComparableExpr::from(&*value.value)
                    }
                    _ => false,
                };
                self.count(s.targets.iter().any(is_same));
            }
            Stmt::AugAssign(s) => {
                if let (Expr::Name(target), Expr::Name(value)) = (&*s.target, &*s.value) {
                    self.count(target.id == value.id);
                }
            }
            _ => {}
        }
        visitor::walk_stmt(self, statement);
    }

    fn visit_expr(&mut self, expression: &'p Expr) {
        match expression {
            Expr::Compare(e) => self.neighbours(std::iter::once(&*e.left).chain(&e.comparators)),
            Expr::BoolOp(e) => self.neighbours(e.values.iter()),
            Expr::BinOp(e) => self.same(&e.left, &e.right),
            Expr::Call(e) => self.neighbours(e.arguments.args.iter()),
            Expr::If(e) => self.same(&e.body, &e.orelse),
            Expr::UnaryOp(e) => match (e.op, &*e.operand) {
                (UnaryOp::Not, operand) => {
                    self.count(operand.is_unary_op_expr() || operand.is_compare_expr());
                }
                (UnaryOp::USub, Expr::NumberLiteral(number)) => self.count(is_zero(&number.value)),
                _ => {}
            },
            _ => {}
        }
        visitor::walk_expr(self, expression);
    }
}
