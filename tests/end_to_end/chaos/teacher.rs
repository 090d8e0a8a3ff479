//! A teacher whose answers depend on the request alone, and that notes each call that is
//! paid for although the journal has its answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fixfly_runtime::{is_altered, sha256};
use serde_json::{Value, json};

use crate::server::{Reply, Teacher, chunk, event, usage, words};

/// Each method of the benchmark: as its authors wrote it, and wrong.
const METHODS: [(&str, &str, &str); 3] = [
    ("def add(self, name, price):", "self.items[name] = price", "self.items[price] = name"),
    ("def total(self):", "return sum(self.items.values())", "return 0"),
    ("def names(self):", "return sorted(self.items)", "return list(self.items)"),
];

/// What the teacher notes.
#[derive(Default)]
pub(super) struct Till {
    /// The journal of the present run.
    journal: Mutex<PathBuf>,
    repaid: AtomicUsize,
    answered: AtomicUsize,
}

impl Till {
    /// The run that is asking is this one.
    pub(super) fn open(&self, journal: &Path) {
        *self.journal.lock().unwrap() = journal.join("calls.jsonl");
    }

    /// Calls that were paid for again.
    pub(super) fn repaid(&self) -> usize {
        self.repaid.load(Ordering::SeqCst)
    }

    /// All calls.
    pub(super) fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    fn count(&self, request: &Value) {
        self.answered.fetch_add(1, Ordering::SeqCst);
        let journal = fs::read(&*self.journal.lock().unwrap()).unwrap_or_default();
        // A line that changed on the disk holds no answer.
        let lines = journal.split(|byte| *byte == b'\n').filter(|line| !is_altered(line));
        let lines = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        if lines.into_iter().any(|line| line["line"] == "call" && line["request"] == *request) {
            self.repaid.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Answers in a stream of some milliseconds, sometimes right.
pub(super) fn teacher(till: &Arc<Till>) -> Reply {
    let till = till.clone();
    Reply::By(Teacher(Arc::new(move |request| {
        till.count(request);
        answer(request)
    })))
}

fn answer(request: &Value) -> Reply {
    let hash = sha256(request["messages"].to_string() + &request["seed"].to_string());
    let digit = |at: usize| u64::from_str_radix(&hash[at..=at], 16).unwrap();
    let first = request["messages"][1]["content"].as_str().unwrap();
    let named = |(start, ..): &&(&str, &str, &str)| first.contains(&format!("`{start}`"));
    let (start, right, wrong) = METHODS.iter().find(named).unwrap();
    let body = if digit(0) < 5 { right } else { wrong };
    let text = format!("So:\n```python\n{start}\n    {body}\n```\n");
    let (one, two) = text.split_at(20);
    let mut parts = vec![
        (digit(1), event(&chunk(words(one), None))),
        (digit(2), event(&chunk(words(two), None))),
        (digit(3), event(&chunk(json!({}), Some("stop")))),
    ];
    let cost = json!({ "id": "1", "object": "chat.completion.chunk", "created": 1,
        "model": "taught", "choices": [], "usage": usage(&words(&text)) });
    parts.push((0, event(&cost)));
    parts.push((0, "data: [DONE]\n\n".to_string()));
    Reply::Parts(parts, false)
}
