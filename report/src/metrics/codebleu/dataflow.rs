//! The part of CodeBLEU that compares data flow: where each value comes from. Follows
//! `DFG_python` (GraphCodeBERT, Guo et al., 2021), including its oddities. Merged names
//! keep the order of their first appearance.

use std::collections::HashMap;

use tree_sitter::{Node, Point, Tree};

use super::Matches;

/// The number of the reference's edges that the candidate has too. Edges are compared with
/// names replaced by the order of their appearance; each edge of the candidate matches
/// once.
pub(super) fn matches(
    (reference, reference_code): (&Option<Tree>, &str),
    (candidate, candidate_code): (&Option<Tree>, &str),
) -> Matches {
    let reference = normalized(&edges(reference, reference_code));
    let mut candidate = normalized(&edges(candidate, candidate_code));
    let found = reference.iter().filter(|edge| {
        let place = candidate.iter().position(|there| there == *edge);
        place.map(|place| candidate.swap_remove(place)).is_some()
    });
    Matches { found: found.count(), of: reference.len() }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Relation {
    ComesFrom,
    ComputedFrom,
}

/// A token, and the tokens that its value comes from.
#[derive(Clone, Debug)]
struct Edge {
    name: String,
    token: usize,
    relation: Relation,
    from: Vec<String>,
    from_tokens: Vec<usize>,
}

/// The tokens at which each name was last assigned.
type States = HashMap<String, Vec<usize>>;

type Span = (Point, Point);

/// Tokens by position: their number and text.
struct Tokens(HashMap<Span, (usize, String)>);

fn span(node: &Node<'_>) -> Span {
    (node.start_position(), node.end_position())
}

fn is_token(node: &Node<'_>) -> bool {
    (node.child_count() == 0 || node.kind() == "string") && node.kind() != "comment"
}

fn children<'t>(node: &Node<'t>) -> Vec<Node<'t>> {
    node.children(&mut node.walk()).collect()
}

fn token_nodes<'t>(node: Node<'t>, found: &mut Vec<Node<'t>>) {
    if is_token(&node) {
        found.push(node);
    } else {
        children(&node).into_iter().for_each(|child| token_nodes(child, found));
    }
}

impl Tokens {
    fn of(tree: &Tree, code: &str) -> Self {
        let lines: Vec<Vec<char>> = code.split('\n').map(|line| line.chars().collect()).collect();
        let mut nodes = Vec::new();
        token_nodes(tree.root_node(), &mut nodes);
        let tokens = nodes.iter().map(span).enumerate();
        Tokens(tokens.map(|(number, span)| (span, (number, text(&lines, span)))).collect())
    }

    /// Names and literals below a node, without keywords and operators.
    fn variables(&self, node: &Node<'_>) -> Option<Vec<(usize, String)>> {
        let mut nodes = Vec::new();
        token_nodes(*node, &mut nodes);
        let mut found = Vec::new();
        for node in nodes {
            let (number, text) = self.0.get(&span(&node))?;
            if node.kind() != text {
                found.push((*number, text.clone()));
            }
        }
        Some(found)
    }
}

/// The text of a span. Its columns are bytes but are used as characters, as the reference
/// does.
fn text(lines: &[Vec<char>], (start, end): Span) -> String {
    let cut = |row: usize, from: usize, to: usize| -> String {
        let line = lines.get(row).map_or(&[][..], Vec::as_slice);
        let to = to.min(line.len());
        line[from.min(to)..to].iter().collect()
    };
    if start.row == end.row {
        return cut(start.row, start.column, end.column);
    }
    let inside = (start.row + 1..end.row).map(|row| cut(row, 0, usize::MAX));
    let first = cut(start.row, start.column, usize::MAX);
    first + &inside.collect::<String>() + &cut(end.row, 0, end.column)
}

/// All edges, sorted by token. Edges of the same token are merged.
fn edges(tree: &Option<Tree>, code: &str) -> Vec<Edge> {
    let Some(tree) = tree else { return Vec::new() };
    let tokens = Tokens::of(tree, code);
    let (mut edges, _) = flow(tree.root_node(), &tokens, States::new()).unwrap_or_default();
    edges.sort_by_key(|edge| edge.token);
    let mut used: Vec<usize> = Vec::new();
    for edge in edges.iter().filter(|edge| !edge.from_tokens.is_empty()) {
        used.push(edge.token);
        used.extend(&edge.from_tokens);
    }
    let mut merged: Vec<Edge> = Vec::new();
    for edge in edges.into_iter().filter(|edge| used.contains(&edge.token)) {
        match merged.last_mut().filter(|last| last.token == edge.token) {
            None => merged.push(edge),
            Some(last) => {
                let from = union(&last.from, &edge.from);
                *last = Edge { from, ..edge };
            }
        }
    }
    merged
}

fn union(one: &[String], other: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in one.iter().chain(other) {
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
    all
}

/// Edges with numbers instead of names.
fn normalized(edges: &[Edge]) -> Vec<(usize, Relation, Vec<usize>)> {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut all = Vec::new();
    for edge in edges {
        let mut number = |name| {
            let next = numbers.len();
            *numbers.entry(name).or_insert(next)
        };
        let from = edge.from.iter().map(|name| number(name)).collect();
        all.push((number(&edge.name), edge.relation, from));
    }
    all
}

/// Edges, and the states after them; `None` if the reference implementation fails.
type Flow = Option<(Vec<Edge>, States)>;

fn flow(node: Node<'_>, tokens: &Tokens, states: States) -> Flow {
    let (mut edges, states) = match node.kind() {
        _ if is_token(&node) => return token(&node, tokens, states),
        "default_parameter" => default_parameter(&node, tokens, states),
        "assignment" | "augmented_assignment" | "for_in_clause" => {
            assignment(&node, tokens, states)
        }
        "if_statement" => branches(&node, tokens, &states),
        "for_statement" => for_loop(&node, tokens, states),
        "while_statement" => while_loop(&node, tokens, states),
        _ => sequence(&node, tokens, states),
    }?;
    edges.sort_by_key(|edge| edge.token);
    Some((edges, states))
}

fn token(node: &Node<'_>, tokens: &Tokens, mut states: States) -> Flow {
    let (number, text) = tokens.0.get(&span(node))?;
    if node.kind() == text {
        return Some((Vec::new(), states));
    }
    let mut edge = Edge {
        name: text.clone(),
        token: *number,
        relation: Relation::ComesFrom,
        from: Vec::new(),
        from_tokens: Vec::new(),
    };
    match states.get(text) {
        Some(known) => {
            edge.from.push(text.clone());
            edge.from_tokens.clone_from(known);
        }
        None if node.kind() == "identifier" => {
            states.insert(text.clone(), vec![*number]);
        }
        None => {}
    }
    Some((vec![edge], states))
}

fn default_parameter(node: &Node<'_>, tokens: &Tokens, states: States) -> Flow {
    let names = tokens.variables(&node.child_by_field_name("name")?)?;
    let value = node.child_by_field_name("value")?;
    let values = tokens.variables(&value)?;
    let (mut edges, mut states) = flow(value, tokens, states)?;
    for (number, name) in names {
        edges.extend(values.iter().map(|(from_number, from)| Edge {
            name: name.clone(),
            token: number,
            relation: Relation::ComesFrom,
            from: vec![from.clone()],
            from_tokens: vec![*from_number],
        }));
        states.insert(name, vec![number]);
    }
    Some((edges, states))
}

fn assignment(node: &Node<'_>, tokens: &Tokens, states: States) -> Flow {
    if node.kind() == "for_in_clause" {
        let right = *children(node).last()?;
        return assign(&[node.child_by_field_name("left")?], &[right], tokens, states);
    }
    match node.child_by_field_name("right") {
        None => Some((Vec::new(), states)),
        Some(right) => {
            let (left, right) = pairs(node.child_by_field_name("left")?, right);
            assign(&left, &right, tokens, states)
        }
    }
}

/// The pairs of `a, b = c, d`; a single pair if the numbers of parts differ.
fn pairs<'t>(left: Node<'t>, right: Node<'t>) -> (Vec<Node<'t>>, Vec<Node<'t>>) {
    let parts = |node: &Node<'t>| {
        children(node).into_iter().filter(|part| part.kind() != ",").collect::<Vec<_>>()
    };
    let (lefts, rights) = (parts(&left), parts(&right));
    match lefts.len() == rights.len() && !lefts.is_empty() {
        true => (lefts, rights),
        false => (vec![left], vec![right]),
    }
}

fn assign(left: &[Node<'_>], right: &[Node<'_>], tokens: &Tokens, mut states: States) -> Flow {
    let mut edges = Vec::new();
    for node in right {
        let (more, after) = flow(*node, tokens, states)?;
        edges.extend(more);
        states = after;
    }
    for (left, right) in left.iter().zip(right) {
        let (from_tokens, from): (Vec<usize>, Vec<String>) =
            tokens.variables(right)?.into_iter().unzip();
        for (number, name) in tokens.variables(left)? {
            states.insert(name.clone(), vec![number]);
            edges.push(Edge {
                name,
                token: number,
                relation: Relation::ComputedFrom,
                from: from.clone(),
                from_tokens: from_tokens.clone(),
            });
        }
    }
    Some((edges, states))
}

fn branches(node: &Node<'_>, tokens: &Tokens, states: &States) -> Flow {
    let mut edges = Vec::new();
    let mut current = states.clone();
    let mut ends = Vec::new();
    let mut has_else = false;
    for child in children(node) {
        has_else |= child.kind().contains("else");
        let other = matches!(child.kind(), "elif_clause" | "else_clause");
        let before = if other { states.clone() } else { std::mem::take(&mut current) };
        let (more, after) = flow(child, tokens, before)?;
        edges.extend(more);
        match other {
            true => ends.push(after),
            false => current = after,
        }
    }
    ends.push(current);
    if !has_else {
        ends.push(states.clone());
    }
    let mut all = States::new();
    for (name, numbers) in ends.into_iter().flatten() {
        all.entry(name).or_default().extend(numbers);
    }
    for numbers in all.values_mut() {
        numbers.sort_unstable();
        numbers.dedup();
    }
    Some((edges, all))
}

/// Visits the loop twice, so that the second round uses the assignments of the first.
fn for_loop(node: &Node<'_>, tokens: &Tokens, mut states: States) -> Flow {
    let (left, right) =
        pairs(node.child_by_field_name("left")?, node.child_by_field_name("right")?);
    let last = *children(node).last()?;
    let mut edges = Vec::new();
    for _ in 0..2 {
        let (more, after) = assign(&left, &right, tokens, states)?;
        edges.extend(more);
        states = after;
        // A loop with `else` ends with another node, and its body is skipped.
        if last.kind() == "block" {
            let (more, after) = flow(last, tokens, states)?;
            edges.extend(more);
            states = after;
        }
    }
    Some((merged_rounds(edges), states))
}

fn while_loop(node: &Node<'_>, tokens: &Tokens, mut states: States) -> Flow {
    let mut edges = Vec::new();
    for _ in 0..2 {
        for child in children(node) {
            let (more, after) = flow(child, tokens, states)?;
            edges.extend(more);
            states = after;
        }
    }
    Some((merged_rounds(edges), states))
}

/// The edges of both rounds, once per token.
fn merged_rounds(edges: Vec<Edge>) -> Vec<Edge> {
    let mut places: HashMap<(String, usize, Relation), usize> = HashMap::new();
    let mut merged: Vec<Edge> = Vec::new();
    for edge in edges {
        match places.get(&(edge.name.clone(), edge.token, edge.relation)) {
            None => {
                places.insert((edge.name.clone(), edge.token, edge.relation), merged.len());
                merged.push(edge);
            }
            Some(&place) => {
                let known = &mut merged[place];
                known.from = union(&known.from, &edge.from);
                known.from_tokens.extend(edge.from_tokens);
                known.from_tokens.sort_unstable();
                known.from_tokens.dedup();
            }
        }
    }
    merged
}

/// Visits the children in order; in comprehensions, `for … in …` comes first.
fn sequence(node: &Node<'_>, tokens: &Tokens, mut states: States) -> Flow {
    let (first, then): (Vec<_>, Vec<_>) =
        children(node).into_iter().partition(|child| child.kind() == "for_in_clause");
    let mut edges = Vec::new();
    for child in first.into_iter().chain(then) {
        let (more, after) = flow(child, tokens, states)?;
        edges.extend(more);
        states = after;
    }
    Some((edges, states))
}
