//! The part of CodeBLEU that compares syntax trees.

use std::collections::HashSet;

use tree_sitter::{Node, Tree};

use super::Matches;

/// The number of the reference's sub-trees that occur anywhere in the candidate, once or
/// more often. A sub-tree consists of the kinds of its nodes, without names and literals.
pub(super) fn matches(reference: &Option<Tree>, candidate: &Option<Tree>) -> Matches {
    let reference = sub_trees(reference);
    let candidate: HashSet<String> = sub_trees(candidate).into_iter().collect();
    let found = reference.iter().filter(|tree| candidate.contains(*tree)).count();
    Matches { found, of: reference.len() }
}

/// The root, and every node below it that has children.
fn sub_trees(tree: &Option<Tree>) -> Vec<String> {
    let Some(tree) = tree else { return Vec::new() };
    let mut waiting: Vec<Node<'_>> = vec![tree.root_node()];
    let mut found = Vec::new();
    while let Some(node) = waiting.pop() {
        found.push(node.to_sexp());
        let mut cursor = node.walk();
        waiting.extend(node.children(&mut cursor).filter(|child| child.child_count() > 0));
    }
    found
}
