//! Proposals for a method whose asynchronous or synchronous form is visible.

use std::ops::Range;

use ruff_python_ast::token::TokenKind;

use super::proposal::{Idea, Proposal, Sign};
use super::python::{Function, ParamKind, Token, tokens};
use super::target::Target;

pub(super) fn propose(target: &Target<'_>) -> Vec<Proposal> {
    let own = target.beside().iter();
    let twin = match target.function.is_async {
        true => own.clone().find(|method| awaited(&method.name) == target.name()),
        false => own.clone().find(|method| awaited(target.name()) == method.name),
    };
    match twin {
        Some(twin) if target.function.is_async => asynchronous(target, twin),
        Some(twin) if twin.is_async => synchronous(target, twin),
        _ => Vec::new(),
    }
}

/// The name of the asynchronous form: `aget`, `_aload`.
fn awaited(name: &str) -> String {
    match name.strip_prefix('_') {
        Some(rest) => format!("_a{rest}"),
        None => format!("a{name}"),
    }
}

fn asynchronous(target: &Target<'_>, twin: &Function) -> Vec<Proposal> {
    let propose = |code: String, prior| proposal(twin, code, prior);
    let positional = target.function.forward();
    let named = by_keyword(&target.function);
    let wrap = |arguments: &str| {
        let of = of_object(target);
        target.with_lines(&format!("return await sync_to_async({of}{})({arguments})", twin.name))
    };
    let near = |name: &str, on_self: bool| {
        let form = awaited(name);
        (on_self && target.has_method(&form)).then_some(form)
    };
    let far = |name: &str, on_self: bool| {
        let form = awaited(name);
        let used = target.method.content.contains(&format!(".{form}("));
        (target.has_method(&form) || (used && !on_self)).then_some(form)
    };
    let wraps = target.module.names.contains("sync_to_async");
    let wrapped = if wraps { 0.0 } else { -4.0 };
    let translated = if wraps { -1.5 } else { 0.5 };
    vec![
        propose(wrap(&named), wrapped),
        propose(wrap(&positional), wrapped - 0.5),
        propose(target.with_body(&wait(&twin.body, &near)), translated),
        propose(target.with_body(&wait(&twin.body, &far)), translated + 0.2),
        propose(target.with_body(&twin.body), translated - 1.0),
    ]
}

fn proposal(twin: &Function, code: String, prior: f32) -> Proposal {
    let evidence = vec![(Sign::Prior, prior)];
    Proposal { code, idea: Idea::Twin, from: twin.name.clone(), evidence }
}

fn synchronous(target: &Target<'_>, twin: &Function) -> Vec<Proposal> {
    let propose = |code: String, prior| proposal(twin, code, prior);
    let arguments = target.function.forward();
    let of = of_object(target);
    let wrapped = format!("return async_to_sync({of}{})({arguments})", twin.name);
    let prior = if target.module.names.contains("async_to_sync") { -1.0 } else { -5.0 };
    vec![
        propose(target.with_body(&unwait(&twin.body)), 0.5),
        propose(target.with_lines(&wrapped), prior),
    ]
}

/// What a twin is an attribute of: a function's twin is none.
fn of_object(target: &Target<'_>) -> &'static str {
    if target.method.is_function() { "" } else { "self." }
}

/// A call's arguments; parameters with a default are passed by name.
fn by_keyword(function: &Function) -> String {
    let mut function = function.clone();
    for param in &mut function.params {
        if param.default.is_some() {
            param.kind = ParamKind::Keyword;
        }
    }
    function.forward()
}

/// Awaits every call in `body` that has an asynchronous form. `form` returns the name
/// of that form; its second argument states whether the call is on the object itself.
fn wait(body: &str, form: &dyn Fn(&str, bool) -> Option<String>) -> String {
    let tokens = tokens(body);
    let text = |at: usize| &body[tokens[at].range];
    let mut splices: Vec<(Range<usize>, String)> = Vec::new();
    for at in 1..tokens.len() {
        let called = tokens.get(at + 1).is_some_and(|next| next.kind == TokenKind::Lpar);
        if tokens[at].kind != TokenKind::Name || !called || text(at - 1) != "." {
            continue;
        }
        let start = chain_start(&tokens, at);
        let on_self = at - start <= 4 && matches!(text(start), "self" | "super" | "cls");
        let Some(name) = form(text(at), on_self) else { continue };
        splices.push((tokens[at].range.into(), name));
        if start > 0 && text(start - 1) == "await" {
            continue;
        }
        let from = usize::from(tokens[start].range.start());
        let end = match_end(&tokens, at + 1).filter(|&end| {
            let next = tokens.get(end + 1).map(|next| next.kind);
            matches!(next, Some(TokenKind::Dot | TokenKind::Lsqb))
        });
        match end.map(|end| usize::from(tokens[end].range.end())) {
            Some(end) => {
                splices.push((from..from, "(await ".into()));
                splices.push((end..end, ")".into()));
            }
            None => splices.push((from..from, "await ".into())),
        }
    }
    splice(body, splices)
}

fn splice(text: &str, mut splices: Vec<(Range<usize>, String)>) -> String {
    splices.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut spliced = text.to_string();
    for (range, with) in splices {
        spliced.replace_range(range, &with);
    }
    spliced
}

/// The start of the expression that ends in the attribute at `at`.
fn chain_start(tokens: &[Token], at: usize) -> usize {
    let mut start = at;
    while start >= 2 && tokens[start - 1].kind == TokenKind::Dot {
        let mut before = start - 2;
        if matches!(tokens[before].kind, TokenKind::Rpar | TokenKind::Rsqb) {
            let mut depth = 0i32;
            loop {
                match tokens[before].kind {
                    TokenKind::Rpar | TokenKind::Rsqb => depth += 1,
                    TokenKind::Lpar | TokenKind::Lsqb => depth -= 1,
                    _ => {}
                }
                if depth == 0 || before == 0 {
                    break;
                }
                before -= 1;
            }
            before = before.saturating_sub(1);
        }
        start = before;
    }
    start
}

/// The parenthesis that closes the one at `open`.
fn match_end(tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0i32;
    (open..tokens.len()).find(|&at| {
        match tokens[at].kind {
            TokenKind::Lpar => depth += 1,
            TokenKind::Rpar => depth -= 1,
            _ => {}
        }
        depth == 0
    })
}

/// Removes every `await` from `body` and calls the synchronous form instead.
fn unwait(body: &str) -> String {
    let tokens = tokens(body);
    let mut splices: Vec<(Range<usize>, String)> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let start = usize::from(token.range.start());
        match token.kind {
            TokenKind::Async => splices.push((start..start + "async ".len(), String::new())),
            TokenKind::Await => {
                splices.push((start..start + "await ".len(), String::new()));
                let chain = tokens[at + 1..].iter();
                let chain =
                    chain.take_while(|t| matches!(t.kind, TokenKind::Name | TokenKind::Dot));
                if let Some(called) = chain.last() {
                    splices.push((called.range.into(), synchronous_name(&body[called.range])));
                }
            }
            _ => {}
        }
    }
    splice(body, splices)
}

fn synchronous_name(name: &str) -> String {
    match (name.strip_prefix("_a"), name.strip_prefix('a')) {
        (Some(rest), _) => format!("_{rest}"),
        (_, Some(rest)) => rest.to_string(),
        _ => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_with_an_asynchronous_form_are_waited_for() {
        let form = |name: &str, _: bool| matches!(name, "load" | "key").then(|| awaited(name));
        let check = |body: &str, expected: &str| assert_eq!(wait(body, &form), expected);
        check("    x = self.load(1)", "    x = await self.aload(1)");
        check("    return super().load().get(2)", "    return (await super().aload()).get(2)");
        check("    self.c.load(self.key())", "    await self.c.aload(await self.akey())");
        check("    self.other()", "    self.other()");
    }

    #[test]
    fn nothing_is_waited_for() {
        let body = "    async for x in y:\n        x.append(await self._aload(1))";
        assert_eq!(unwait(body), "    for x in y:\n        x.append(self._load(1))");
    }
}
