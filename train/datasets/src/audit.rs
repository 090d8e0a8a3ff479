//! Checks whether a dataset contains the methods that its benchmark measures.

use std::collections::{BTreeSet, HashMap};

use fixfly_runtime::{Task, code_block};
use serde::{Deserialize, Serialize};

use crate::language::Language;

/// A method of the benchmark's own split, which no student may see.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOut {
    /// Id of its task: `django/utils/html.py::MLStripper.get_data`.
    pub id: String,
    /// The original method, dedented.
    pub source: String,
}

/// Results of the audit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// Held-out methods that were searched for.
    pub held_out: usize,
    /// Answers that were checked.
    pub answers: usize,
    /// Answers that equal or nearly equal a held-out method.
    pub leaks: Vec<Finding>,
    /// Whether the rows of these answers were dropped.
    pub dropped: bool,
    /// Files in prompts that were checked, one per task.
    pub contexts: usize,
    /// Tasks whose prompt contains a held-out method word for word.
    pub showing: usize,
    /// The held-out methods in these prompts.
    pub shown: BTreeSet<String>,
    /// Whether these methods were removed from the prompts.
    pub masked: bool,
}

/// An answer that leaks a held-out method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The row.
    pub row: String,
    /// The reason: its task is of the benchmark's split, it has the same syntax tree, or it
    /// shares most of its tokens.
    pub how: String,
    /// The held-out method.
    pub held_out: String,
}

/// Searches for held-out methods.
pub(crate) struct Audit<'a> {
    language: &'a dyn Language,
    held_out: &'a [HeldOut],
    trees: HashMap<String, usize>,
    sizes: Vec<usize>,
    holders: HashMap<u64, Vec<usize>>,
    alike: f64,
    /// The held-out methods in the file of each task, as ids and paths in the file.
    contexts: HashMap<String, Vec<(String, String)>>,
    pub(crate) findings: Findings,
}

impl<'a> Audit<'a> {
    pub(crate) fn new(language: &'a dyn Language, held_out: &'a [HeldOut], alike: f64) -> Self {
        let (mut trees, mut sizes) = (HashMap::new(), Vec::new());
        let mut holders: HashMap<u64, Vec<usize>> = HashMap::new();
        for (at, method) in held_out.iter().enumerate() {
            if let Some(tree) = language.tree_hash(&method.source) {
                trees.entry(tree).or_insert(at);
            }
            let shingles = language.shingles(&method.source);
            sizes.push(shingles.len());
            for shingle in shingles {
                holders.entry(shingle).or_default().push(at);
            }
        }
        let findings = Findings { held_out: held_out.len(), ..Findings::default() };
        let contexts = HashMap::new();
        Audit { language, held_out, trees, sizes, holders, alike, contexts, findings }
    }

    /// How an answer leaks; `None` if it does not.
    pub(crate) fn answer(&mut self, row: &str, task: &str, answer: &str) -> Option<String> {
        self.findings.answers += 1;
        let (how, at) = self.leak(task, code_block(answer))?;
        let held_out = self.held_out[at].id.clone();
        self.findings.leaks.push(Finding { row: row.into(), how: how.clone(), held_out });
        Some(how)
    }

    /// Whether a task is of the benchmark's own split.
    pub(crate) fn is_held_out(&self, task: &str) -> bool {
        self.position(task).is_some()
    }

    fn position(&self, task: &str) -> Option<usize> {
        self.held_out.iter().position(|method| method.id == task)
    }

    fn leak(&self, task: &str, code: &str) -> Option<(String, usize)> {
        if let Some(at) = self.position(task) {
            return Some(("its task is of the benchmark's split".into(), at));
        }
        // One of several functions may be such a method.
        let methods = self.language.methods(code).into_iter().map(|(_, source)| source);
        let methods: Vec<String> = methods.collect();
        let several = methods.iter().filter(|_| methods.len() > 1).map(String::as_str);
        [code].into_iter().chain(several).find_map(|code| self.leak_of(code))
    }

    fn leak_of(&self, code: &str) -> Option<(String, usize)> {
        if let Some(at) = self.language.tree_hash(code).and_then(|tree| self.trees.get(&tree)) {
            return Some(("a benchmark method, by syntax tree".into(), *at));
        }
        let (alike, at) = self.nearest(code)?;
        (alike >= self.alike).then(|| ("nearly a benchmark method".into(), at))
    }

    /// The held-out method that shares the largest part of all runs of tokens. Exact: there
    /// are few enough methods that MinHash is not needed.
    fn nearest(&self, code: &str) -> Option<(f64, usize)> {
        let shingles = self.language.shingles(code);
        let mut shared: HashMap<usize, usize> = HashMap::new();
        for at in shingles.iter().filter_map(|shingle| self.holders.get(shingle)).flatten() {
            *shared.entry(*at).or_default() += 1;
        }
        let similarity = |(at, shared): (usize, usize)| {
            (shared as f64 / (shingles.len() + self.sizes[at] - shared) as f64, at)
        };
        // On a tie the first one, so that the same input gives the same method.
        let by = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1));
        shared.into_iter().map(similarity).max_by(by)
    }

    /// The paths of the held-out methods that the file in a task's prompt contains word for
    /// word.
    pub(crate) fn context(&mut self, task: &Task) -> Vec<String> {
        if !self.contexts.contains_key(&task.id) {
            let there = self.language.methods(task.statement.content());
            let shown: Vec<(String, String)> = (self.held_out.iter())
                .filter_map(|held_out| {
                    let same = |(_, source): &&(String, String)| *source == held_out.source;
                    let (name, _) = there.iter().find(same)?;
                    Some((held_out.id.clone(), name.clone()))
                })
                .collect();
            self.findings.contexts += 1;
            self.findings.showing += usize::from(!shown.is_empty());
            self.findings.shown.extend(shown.iter().map(|(id, _)| id.clone()));
            self.contexts.insert(task.id.clone(), shown);
        }
        self.contexts[&task.id].iter().map(|(_, name)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens are words, and trees are letters.
    struct Words;

    impl Language for Words {
        fn tree_hash(&self, source: &str) -> Option<String> {
            Some(source.split_whitespace().collect())
        }

        fn shingles(&self, source: &str) -> Vec<u64> {
            let mut words: Vec<u64> = source.split_whitespace().map(|w| w.len() as u64).collect();
            words.sort_unstable();
            words.dedup();
            words
        }

        fn methods(&self, text: &str) -> Vec<(String, String)> {
            text.split("\n\n").map(|part| (String::new(), part.to_string())).collect()
        }

        fn without(&self, text: &str, _: &[String]) -> String {
            text.to_string()
        }
    }

    #[test]
    fn an_answer_leaks_by_task_by_tree_and_by_nearness() {
        let held_out = [HeldOut { id: "a".into(), source: "1 22 333 4444".into() }];
        let mut audit = Audit::new(&Words, &held_out, 0.75);
        let mut check = |task: &str, answer: &str, expected: Option<&str>| {
            assert_eq!(audit.answer("row", task, answer).as_deref(), expected);
        };
        check("a", "x", Some("its task is of the benchmark's split"));
        check("b", "```\n1 22\n333 4444\n```", Some("a benchmark method, by syntax tree"));
        check("b", "1 22 333", Some("nearly a benchmark method"));
        check("b", "1 22", None);
        check(
            "b",
            "55555 666666 7777777 88888888\n\n1 22 333 4444",
            Some("a benchmark method, by syntax tree"),
        );
        assert_eq!((audit.findings.answers, audit.findings.leaks.len()), (5, 4));
    }
}
