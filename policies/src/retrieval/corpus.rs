//! The training methods and functions, indexed by name, by class and by content.

use std::collections::HashMap;

use bm25::{Embedder, EmbedderBuilder, Scorer, Tokenizer};
use fixfly_runtime::{Example, Method};

use super::python::Function;
use super::words::words;

/// An existing method or function, with its location.
#[derive(Clone, Debug)]
pub(super) struct Neighbour {
    pub(super) file: String,
    /// Empty for a function.
    pub(super) class_name: String,
    pub(super) description: String,
    pub(super) function: Function,
    /// Its BM25 score for the target, from 0 to 1.
    pub(super) relevance: f32,
}

impl Neighbour {
    /// Whether it is this very method.
    fn is(&self, method: &Method) -> bool {
        self.function.name == method.name
            && self.class_name == method.class_name
            && self.file == method.file
    }

    /// `forms/widgets.py::Input.render`, or `forms/utils.py::flatatt` for a function.
    pub(super) fn place(&self) -> String {
        match self.class_name.as_str() {
            "" => format!("{}::{}", self.file, self.function.name),
            class => format!("{}::{class}.{}", self.file, self.function.name),
        }
    }
}

/// All training methods. Built once per run.
pub(super) struct Corpus {
    neighbours: Vec<Neighbour>,
    by_name: HashMap<String, Vec<usize>>,
    by_class: HashMap<(String, String), Vec<usize>>,
    embedder: Embedder<u32, WordIndex>,
    scorer: Scorer<usize>,
}

struct WordIndex;

impl Tokenizer for WordIndex {
    fn tokenize(&self, text: &str) -> Vec<String> {
        words(text)
    }
}

impl Corpus {
    pub(super) fn new(examples: &[Example]) -> Self {
        let readable = |example: &Example| {
            let mut function = Function::read(&example.source)?;
            function.decorators.clone_from(&example.method.decorators);
            Some((neighbour(&example.method, function), about(&example.method)))
        };
        let (neighbours, texts): (Vec<_>, Vec<_>) = examples.iter().filter_map(readable).unzip();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let embedder = EmbedderBuilder::with_tokenizer_and_fit_to_corpus(WordIndex, &texts).build();
        let mut scorer = Scorer::new();
        for (at, text) in texts.iter().enumerate() {
            scorer.upsert(&at, embedder.embed(text));
        }
        let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
        let mut by_class: HashMap<_, Vec<_>> = HashMap::new();
        for (at, neighbour) in neighbours.iter().enumerate() {
            by_name.entry(neighbour.function.name.clone()).or_default().push(at);
            let class = (neighbour.file.clone(), neighbour.class_name.clone());
            by_class.entry(class).or_default().push(at);
        }
        Corpus { neighbours, by_name, by_class, embedder, scorer }
    }

    /// Methods of that name, without the task's own: a task of the training split must
    /// not find its answer.
    pub(super) fn named(&self, name: &str, but: &Method) -> impl Iterator<Item = &Neighbour> {
        let all = self.by_name.get(name).into_iter().flatten().map(|&at| &self.neighbours[at]);
        all.filter(|neighbour| !neighbour.is(but))
    }

    /// Methods of that class.
    pub(super) fn of_class(&self, file: &str, class: &str) -> impl Iterator<Item = &Neighbour> {
        let key = (file.to_string(), class.to_string());
        self.by_class.get(&key).into_iter().flatten().map(|&at| &self.neighbours[at])
    }

    /// The `most` methods most similar to a task's, best first.
    pub(super) fn similar(&self, method: &Method, most: usize) -> Vec<Neighbour> {
        let mut found = self.scorer.matches(&self.embedder.embed(&about(method)));
        found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
        let best = found.first().map_or(1.0, |best| best.score);
        let near = |found: &bm25::ScoredDocument<usize>| Neighbour {
            relevance: found.score / best,
            ..self.neighbours[found.id].clone()
        };
        let other = |found: &&bm25::ScoredDocument<usize>| !self.neighbours[found.id].is(method);
        found.iter().filter(other).take(most).map(near).collect()
    }
}

fn neighbour(method: &Method, function: Function) -> Neighbour {
    Neighbour {
        file: method.file.clone(),
        class_name: method.class_name.clone(),
        description: method.description.clone(),
        function,
        relevance: 0.0,
    }
}

/// What BM25 compares: declaration, class, module and description.
fn about(method: &Method) -> String {
    let Method { declaration, class_name, file, description, .. } = method;
    format!("{declaration} {class_name} {file} {description}")
}
