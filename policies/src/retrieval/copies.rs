//! Proposals that copy another method and rename what belongs to its class.

use std::collections::BTreeMap;

use ruff_python_ast::token::TokenKind;

use super::corpus::{Corpus, Neighbour};
use super::proposal::{Evidence, Idea, Proposal, Sign, mentions};
use super::python::{Function, tokens};
use super::target::Target;
use super::words::{Renaming, likeness};

/// Maximum number of neighbours of a kind to adapt.
const MOST: usize = 60;

pub(super) fn propose(target: &Target<'_>, corpus: &Corpus) -> Vec<Proposal> {
    let classes = target.module.classes.iter();
    let methods = classes
        .flat_map(|class| class.methods.iter().map(|method| here(target, &class.name, method)));
    // Functions are similar to functions; they know no object.
    let functions = target.module.functions.iter().filter(|_| target.method.is_function());
    let visible = methods.chain(functions.map(|function| here(target, "", function)));
    let (same_name, others): (Vec<_>, Vec<_>) =
        visible.partition(|neighbour| neighbour.function.name == target.name());
    let siblings = same_name.into_iter().chain(corpus.named(target.name(), target.method).cloned());
    let kinds = [
        (Idea::Sibling, nearest(target, siblings)),
        (Idea::Family, nearest(target, others.into_iter())),
        (Idea::Similar, corpus.similar(target.method, MOST / 3)),
    ];
    let mut proposals = Vec::new();
    let mut counterparts = BTreeMap::new();
    for (idea, neighbours) in kinds {
        for neighbour in neighbours.iter().filter(|n| !n.function.abstains()) {
            let class = (neighbour.file.clone(), neighbour.class_name.clone());
            let theirs = counterparts
                .entry(class)
                .or_insert_with(|| self::counterparts(target, corpus, neighbour));
            proposals.extend(adapt(target, neighbour, idea, theirs));
        }
    }
    proposals
}

/// The neighbours to adapt.
fn nearest(target: &Target<'_>, all: impl Iterator<Item = Neighbour>) -> Vec<Neighbour> {
    let mut all: Vec<_> = all.map(|neighbour| (nearness(target, &neighbour), neighbour)).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all.into_iter().take(MOST).map(|(_, neighbour)| neighbour).collect()
}

fn here(target: &Target<'_>, class: &str, function: &Function) -> Neighbour {
    Neighbour {
        file: target.method.file.clone(),
        class_name: class.to_string(),
        description: String::new(),
        function: function.clone(),
        relevance: 0.0,
    }
}

/// A neighbour's priority, before its code is considered.
fn nearness(target: &Target<'_>, neighbour: &Neighbour) -> f32 {
    let same_class = neighbour.class_name == target.method.class_name;
    let same_file = neighbour.file == target.method.file;
    let file = if same_file { 1.0 } else { likeness(&neighbour.file, &target.method.file) };
    let class = if same_class { 1.0 } else { likeness(&neighbour.class_name, target.class_word()) };
    likeness(&neighbour.function.name, target.name())
        + class
        + file
        + f32::from(u8::from(same_file) + u8::from(same_class))
        + 0.5 * same_arguments(target, &neighbour.function)
}

/// The neighbour's body with everything renamed, and, if that differs, with only its
/// parameters renamed.
fn adapt(
    target: &Target<'_>,
    neighbour: &Neighbour,
    idea: Idea,
    counterparts: &BTreeMap<String, String>,
) -> Vec<Proposal> {
    let plain = parameters(target, &neighbour.function);
    let mut full = plain.clone();
    let class = neighbour.class_name.rsplit('.').next().unwrap_or_default();
    full.attributes.clone_from(counterparts);
    full.spell(class, target.class_word());
    if neighbour.function.name != target.name() {
        full.spell(&neighbour.function.name, target.name());
    }
    let evidence = relation(target, neighbour);
    let proposal = |renaming: &Renaming, prior| {
        let mut evidence = evidence.clone();
        evidence.push((Sign::Prior, prior));
        Proposal {
            code: target.with_body(&renaming.apply(&neighbour.function.body)),
            idea,
            from: neighbour.place(),
            evidence,
        }
    };
    let (adapted, plain) = (proposal(&full, 0.5), proposal(&plain, -0.5));
    match adapted.code == plain.code {
        true => vec![proposal(&full, 0.0)],
        false => vec![adapted, plain],
    }
}

/// Renames parameters by position, including `self`.
fn parameters(target: &Target<'_>, function: &Function) -> Renaming {
    let mut renaming = Renaming::default();
    let kinds = |function: &Function| {
        let mut kinds: BTreeMap<u8, Vec<String>> = BTreeMap::new();
        for param in &function.params {
            kinds.entry(param.kind as u8).or_default().push(param.name.clone());
        }
        kinds
    };
    let (theirs, ours) = (kinds(function), kinds(&target.function));
    for (kind, names) in theirs {
        let ours = ours.get(&kind).into_iter().flatten();
        for (from, to) in names.into_iter().zip(ours) {
            let taken = target.function.params.iter().any(|param| param.name == from);
            if from != *to && !taken {
                renaming.names.insert(from, to.clone());
            }
        }
    }
    renaming
}

/// What the target's class has in place of the neighbour's names and strings, learned
/// from the methods that both classes have.
fn counterparts(
    target: &Target<'_>,
    corpus: &Corpus,
    neighbour: &Neighbour,
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if neighbour.class_name == target.method.class_name {
        return found;
    }
    let same_file = neighbour.file == target.method.file;
    let visible = target.module.classes.iter().filter(|_| same_file);
    let visible = visible.filter(|class| class.name == neighbour.class_name);
    let theirs = visible.flat_map(|class| &class.methods);
    let recorded = corpus.of_class(&neighbour.file, &neighbour.class_name);
    for their in theirs.chain(recorded.map(|neighbour| &neighbour.function)) {
        let shared = target.class.methods.iter().filter(|ours| ours.name == their.name);
        for ours in shared.filter(|_| their.name != target.name()) {
            align(&their.body, &ours.body, &mut found);
        }
    }
    found
}

/// Adds the names and strings that differ between two bodies of the same shape.
fn align(theirs: &str, ours: &str, found: &mut BTreeMap<String, String>) {
    let (their_tokens, our_tokens) = (tokens(theirs), tokens(ours));
    let same_shape = their_tokens.len() == our_tokens.len()
        && their_tokens.iter().zip(&our_tokens).all(|(a, b)| a.kind == b.kind);
    if !same_shape {
        return;
    }
    for (their, our) in their_tokens.iter().zip(&our_tokens) {
        let (from, to) = (&theirs[their.range], &ours[our.range]);
        if from != to && matches!(their.kind, TokenKind::Name | TokenKind::String) {
            found.entry(from.to_string()).or_insert_with(|| to.to_string());
        }
    }
}

fn same_arguments(target: &Target<'_>, function: &Function) -> f32 {
    let names = |function: &Function| {
        function.arguments().iter().map(|param| param.name.clone()).collect::<Vec<_>>()
    };
    f32::from(u8::from(names(function) == names(&target.function)))
}

/// The evidence in how the neighbour is related to the target.
fn relation(target: &Target<'_>, neighbour: &Neighbour) -> Evidence {
    let Neighbour { file, class_name, description, function, relevance } = neighbour;
    let method = target.method;
    let yes = |is: bool| f32::from(u8::from(is));
    let folder = |file: &str| file.rsplit_once('/').map(|(folder, _)| folder.to_string());
    let their_class = target.module.classes.iter().find(|class| class.name == *class_name);
    let shared = their_class.filter(|_| *file == method.file).is_some_and(|class| {
        class.bases.iter().any(|base| base != "object" && target.class.bases.contains(base))
    });
    let arity = function.params.len() == target.function.params.len();
    vec![
        (Sign::SameFile, yes(*file == method.file)),
        (Sign::SameFolder, yes(folder(file) == folder(&method.file))),
        (Sign::ClassLikeness, likeness(class_name, &method.class_name)),
        (Sign::NameLikeness, likeness(&function.name, &method.name)),
        (Sign::SameArguments, same_arguments(target, function)),
        (Sign::SameArity, yes(arity)),
        (Sign::SameDecorators, yes(function.decorators == method.decorators)),
        (Sign::Description, likeness(description, &method.description)),
        (Sign::Relevance, *relevance),
        (Sign::SharedBase, yes(shared)),
        (Sign::FromAncestor, yes(target.ancestors.contains(class_name))),
        (Sign::SameClass, yes(*class_name == method.class_name && *file == method.file)),
        (Sign::NamesItself, yes(mentions(&function.body, &function.name))),
    ]
}
