//! The order of results and of answers. Pure data.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::line::JudgeAnswer;

/// The candidates of each task, which are compared in the order of their lines, although
/// they run at the same time.
pub(super) struct Chains<T> {
    /// The last line of each task.
    last: HashMap<String, u64>,
    /// Lines whose result was not released.
    open: HashSet<u64>,
    /// Results that wait for the line before theirs, by that line.
    held: HashMap<u64, (u64, T)>,
}

impl<T> Chains<T> {
    pub(super) fn new() -> Self {
        Chains { last: HashMap::new(), open: HashSet::new(), held: HashMap::new() }
    }

    /// Adds a line. Returns the line of the same task that must be released before it.
    pub(super) fn add(&mut self, line: u64, task: &str) -> Option<u64> {
        let before = self.last.insert(task.to_owned(), line);
        self.open.insert(line);
        before.filter(|before| self.open.contains(before))
    }

    /// Takes the result of a line. Returns it and the results that waited for it, in order.
    pub(super) fn ended(&mut self, line: u64, before: Option<u64>, result: T) -> Vec<T> {
        if let Some(before) = before.filter(|before| self.open.contains(before)) {
            self.held.insert(before, (line, result));
            return Vec::new();
        }
        let (mut released, mut next) = (Vec::new(), Some((line, result)));
        while let Some((line, result)) = next {
            self.open.remove(&line);
            released.push(result);
            next = self.held.remove(&line);
        }
        released
    }
}

/// Answers that are ready to be sent.
pub(super) struct Outbox {
    ordered: bool,
    /// Lines without an answer in `ready`, in order.
    expected: VecDeque<u64>,
    /// Answers that wait for those of earlier lines.
    waiting: BTreeMap<u64, JudgeAnswer>,
    ready: VecDeque<JudgeAnswer>,
    /// Lines whose answer was not taken.
    open: usize,
}

impl Outbox {
    pub(super) fn new(ordered: bool) -> Self {
        let (expected, ready) = (VecDeque::new(), VecDeque::new());
        Outbox { ordered, expected, waiting: BTreeMap::new(), ready, open: 0 }
    }

    /// Adds a line that will have an answer.
    pub(super) fn expect(&mut self, line: u64) {
        self.open += 1;
        if self.ordered {
            self.expected.push_back(line);
        }
    }

    pub(super) fn put(&mut self, answer: JudgeAnswer) {
        if !self.ordered {
            self.ready.push_back(answer);
            return;
        }
        self.waiting.insert(answer.line, answer);
        while let Some(answer) = self.expected.front().and_then(|line| self.waiting.remove(line)) {
            self.expected.pop_front();
            self.ready.push_back(answer);
        }
    }

    /// The next answer to send.
    pub(super) fn take(&mut self) -> Option<JudgeAnswer> {
        let answer = self.ready.pop_front()?;
        self.open -= 1;
        Some(answer)
    }

    pub(super) fn has_answer(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The number of lines whose answer was not taken.
    pub(super) fn open(&self) -> usize {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_a_task_are_released_in_the_order_of_lines() {
        let mut chains = Chains::new();
        assert_eq!(chains.add(1, "a"), None);
        assert_eq!(chains.add(2, "b"), None);
        assert_eq!(chains.add(4, "a"), Some(1));
        assert_eq!(chains.add(5, "a"), Some(4));
        assert_eq!(chains.ended(5, Some(4), "a5"), [""; 0]);
        assert_eq!(chains.ended(2, None, "b2"), ["b2"]);
        assert_eq!(chains.ended(4, Some(1), "a4"), [""; 0]);
        assert_eq!(chains.ended(1, None, "a1"), ["a1", "a4", "a5"]);
        assert_eq!(chains.add(6, "a"), None, "line 5 was released");
        assert_eq!(chains.ended(6, None, "a6"), ["a6"]);
        assert!(chains.open.is_empty() && chains.held.is_empty());
    }

    /// Answers that come in this order are taken in that order.
    #[track_caller]
    fn check(ordered: bool, put: &[u64], expected: &[u64]) {
        let mut outbox = Outbox::new(ordered);
        for line in [1, 2, 4] {
            outbox.expect(line);
        }
        let mut taken = Vec::new();
        for line in put {
            outbox.put(JudgeAnswer { line: *line, ..JudgeAnswer::default() });
            while let Some(answer) = outbox.take() {
                taken.push(answer.line);
            }
        }
        assert_eq!(taken, expected, "{ordered} {put:?}");
        assert_eq!(outbox.open(), 3 - expected.len());
        assert!(!outbox.has_answer());
    }

    #[test]
    fn answers_are_taken_in_order_only_if_asked() {
        check(false, &[4, 1, 2], &[4, 1, 2]);
        check(true, &[4, 1, 2], &[1, 2, 4]);
        check(true, &[2, 1, 4], &[1, 2, 4]);
        check(true, &[1, 4], &[1]);
        check(true, &[4, 2], &[]);
    }
}
