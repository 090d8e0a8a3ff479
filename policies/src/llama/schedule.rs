//! Schedules many generations in one context.
//!
//! Each step decodes one batch: one token of every generation in progress, plus as
//! much of new prompts as fits. If cells run out, idle sequences are dropped, then
//! prompts wait, and finally the youngest generation starts over from the tokens it
//! has. The oldest one therefore always continues, and all of them end. Where each
//! sequence has its own stream of cells, a stream holds a whole context, so that only
//! sequences run out.
//!
//! Students take turns, because a context has the adapters of one. A call waits for
//! every earlier call of another student, so none waits for ever.

use std::collections::VecDeque;

use super::sequences::{Cache, Sequences, common};

/// One token to decode.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) job: u64,
    pub(super) sequence: usize,
    pub(super) token: i32,
    pub(super) position: usize,
    /// Whether the next token is needed.
    pub(super) last: bool,
}

/// A generation: a prompt and the tokens generated so far.
struct Job {
    id: u64,
    student: usize,
    episode: String,
    /// The prompt and every token that followed.
    tokens: Vec<i32>,
    /// How many of them are decoded, including the current batch.
    decoded: usize,
    sequence: usize,
    /// How much of the prompt was in the cache when the job was first admitted.
    cached: Option<usize>,
}

impl Job {
    fn pending(&self) -> usize {
        self.tokens.len() - self.decoded
    }
}

/// All generations, oldest first.
pub(super) struct Schedule {
    waiting: VecDeque<Job>,
    running: Vec<Job>,
    sequences: Sequences,
    /// Index of the active student.
    student: usize,
    /// Maximum tokens of a batch.
    batch: usize,
    /// Whether the running generations have run out of cells. Then no other is
    /// admitted before one of them ends; otherwise they would make each other start over.
    squeezed: bool,
}

impl Schedule {
    pub(super) fn new(sequences: Sequences, batch: usize) -> Self {
        let (waiting, running) = Default::default();
        Schedule { waiting, running, sequences, student: 0, batch, squeezed: false }
    }

    /// Whether there is nothing to do.
    pub(super) fn idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Adds a generation of a student. The prompt has at least one token.
    pub(super) fn add(&mut self, id: u64, student: usize, episode: String, prompt: Vec<i32>) {
        let (decoded, sequence, cached) = (0, 0, None);
        let job = Job { id, student, episode, tokens: prompt, decoded, sequence, cached };
        self.waiting.push_back(job);
    }

    /// Appends a generated token.
    pub(super) fn push_token(&mut self, id: u64, token: i32) {
        if let Some(job) = self.running.iter_mut().find(|job| job.id == id) {
            job.tokens.push(token);
        }
    }

    /// Ends a generation. Returns how many of its prompt tokens were cached. Its
    /// sequence is kept for the episode's next turn.
    pub(super) fn end(&mut self, id: u64) -> usize {
        self.waiting.retain(|job| job.id != id);
        let Some(at) = self.running.iter().position(|job| job.id == id) else { return 0 };
        let job = self.running.remove(at);
        self.sequences.release(job.sequence);
        self.squeezed = false;
        job.cached.unwrap_or_default()
    }

    /// The next batch; empty only if there is nothing to do.
    pub(super) fn next(&mut self, cache: &mut dyn Cache) -> Vec<Row> {
        loop {
            self.switch_student(cache);
            self.admit(cache);
            let rows = self.rows(cache);
            if !rows.is_empty() || self.idle() {
                return rows;
            }
            self.start_over(cache);
        }
    }

    /// Switches to the student of the oldest waiting call once no other is running.
    fn switch_student(&mut self, cache: &mut dyn Cache) {
        let first = self.waiting.front().map_or(self.student, |job| job.student);
        if self.running.is_empty() && first != self.student {
            self.sequences.forget(cache);
            cache.switch_to(first);
            self.student = first;
        }
    }

    fn admit(&mut self, cache: &mut dyn Cache) {
        self.squeezed &= !self.running.is_empty();
        let mut later = VecDeque::new();
        while let Some(mut job) = self.waiting.pop_front() {
            if job.student != self.student {
                later.push_back(job);
                break;
            }
            if self.squeezed || self.soon_known(&job) {
                later.push_back(job);
                continue;
            }
            let Some((sequence, known)) = self.sequences.take(&job.episode, &job.tokens, cache)
            else {
                later.push_back(job);
                break;
            };
            job.cached = job.cached.or(Some(known));
            (job.sequence, job.decoded) = (sequence, known);
            let at = self.running.partition_point(|other| other.id < job.id);
            self.running.insert(at, job);
        }
        later.append(&mut self.waiting);
        self.waiting = later;
    }

    /// Whether a running generation is about to decode more of this prompt's prefix
    /// than is cached. Then waiting is cheaper than decoding it twice.
    fn soon_known(&self, job: &Job) -> bool {
        let wanted = &job.tokens[..job.tokens.len() - 1];
        let shared = self.running.iter().map(|other| common(&other.tokens, wanted)).max();
        let is_better = |shared| {
            self.sequences.is_worth_sharing(shared) && shared > self.sequences.known(wanted)
        };
        self.sequences.can_cut() && shared.is_some_and(is_better)
    }

    /// Generations come first: each needs one token, and somebody waits for it.
    fn rows(&mut self, cache: &mut dyn Cache) -> Vec<Row> {
        let mut rows = Vec::new();
        let (generating, reading): (Vec<_>, Vec<_>) =
            (0..self.running.len()).partition(|&at| self.running[at].pending() == 1);
        for at in generating.into_iter().chain(reading) {
            let job = &mut self.running[at];
            let wanted = job.pending().min(self.batch - rows.len());
            self.sequences.make_room(job.sequence, wanted, cache);
            for _ in 0..wanted.min(self.sequences.free(job.sequence)) {
                let (position, token) = (job.decoded, job.tokens[job.decoded]);
                self.sequences.push(job.sequence, token);
                job.decoded += 1;
                let last = job.pending() == 0;
                rows.push(Row { job: job.id, sequence: job.sequence, token, position, last });
            }
        }
        // llama.cpp decodes neighbouring streams in one pass.
        rows.sort_by_key(|row| row.sequence);
        rows
    }

    /// Takes the cells of the youngest generation, which starts over later.
    fn start_over(&mut self, cache: &mut dyn Cache) {
        if let Some(youngest) = self.running.pop() {
            self.sequences.clear(youngest.sequence, cache);
            self.waiting.push_front(Job { decoded: 0, ..youngest });
            self.squeezed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::sequences::Layout;
    use super::*;

    const LAYOUTS: [Layout; 2] = [Layout::Unified, Layout::Streams];

    /// A cache that ignores every change.
    struct NoCache;

    impl Cache for NoCache {
        fn cut(&mut self, _: usize, _: usize) {}
        fn share(&mut self, _: usize, _: usize, _: usize) {}
        fn switch_to(&mut self, _: usize) {}
    }

    /// Counts of a schedule that generates a fixed number of tokens per prompt.
    struct Counts {
        decoded: BTreeMap<u64, usize>,
        cached: BTreeMap<u64, usize>,
        steps: usize,
    }

    /// A schedule of so many sequences; each stream has as many cells as a unified cache.
    fn schedule(layout: Layout, sequences: usize, cells: usize, batch: usize) -> Schedule {
        let cells = match layout {
            Layout::Unified => cells,
            Layout::Streams => cells * sequences,
        };
        Schedule::new(Sequences::new(layout, sequences, cells, true), batch)
    }

    fn work_off(schedule: &mut Schedule, words: usize) -> Counts {
        let mut generated = BTreeMap::<u64, usize>::new();
        let mut counts = Counts { decoded: BTreeMap::new(), cached: BTreeMap::new(), steps: 0 };
        while !schedule.idle() {
            counts.steps += 1;
            assert!(counts.steps < 10_000, "it goes on for ever");
            let rows = schedule.next(&mut NoCache);
            assert!(!rows.is_empty() && rows.len() <= schedule.batch);
            for row in &rows {
                *counts.decoded.entry(row.job).or_default() += 1;
            }
            for row in rows.iter().filter(|row| row.last) {
                let count = generated.entry(row.job).or_default();
                *count += 1;
                if *count == words {
                    counts.cached.insert(row.job, schedule.end(row.job));
                } else {
                    schedule.push_token(row.job, 1000 + i32::try_from(*count).unwrap());
                }
            }
        }
        counts
    }

    fn prompt(shared: i32, own: i32, length: i32) -> Vec<i32> {
        (0..shared).chain((shared..length).map(|at| own * 10_000 + at)).collect()
    }

    #[test]
    fn a_common_beginning_is_decoded_once() {
        for layout in LAYOUTS {
            let mut schedule = schedule(layout, 8, 1000, 32);
            for id in 0..8 {
                schedule.add(id, 0, id.to_string(), prompt(60, 1 + id as i32, 70));
            }
            let counts = work_off(&mut schedule, 5);
            let decoded: Vec<_> = counts.decoded.values().copied().collect();
            assert_eq!(decoded, [74, 14, 14, 14, 14, 14, 14, 14]);
            let cached: Vec<_> = counts.cached.values().copied().collect();
            assert_eq!(cached, [0, 60, 60, 60, 60, 60, 60, 60]);
        }
    }

    #[test]
    fn the_next_turn_decodes_only_what_is_new() {
        for layout in LAYOUTS {
            let mut schedule = schedule(layout, 2, 1000, 32);
            schedule.add(0, 0, "a".into(), prompt(0, 1, 50));
            work_off(&mut schedule, 3);
            let mut longer = prompt(0, 1, 50);
            longer.extend([1001, 1002, 7, 8]);
            schedule.add(1, 0, "a".into(), longer);
            let counts = work_off(&mut schedule, 1);
            assert_eq!((counts.decoded[&1], counts.cached[&1]), (2, 52));
        }
    }

    #[test]
    fn all_end_though_cells_run_out() {
        let sizes = [40, 41, 50, 64, 100];
        for (layout, cells) in LAYOUTS.iter().flat_map(|layout| sizes.map(|size| (*layout, size))) {
            let mut schedule = schedule(layout, 4, cells, 16);
            for id in 0..6 {
                schedule.add(id, 0, id.to_string(), prompt(5, 1 + id as i32, 20));
            }
            let counts = work_off(&mut schedule, 20);
            assert_eq!(counts.cached.len(), 6, "with {cells} cells");
            assert!(counts.steps < 400, "{} steps with {cells} cells", counts.steps);
        }
    }

    #[test]
    fn students_speak_one_after_the_other_and_share_nothing() {
        for layout in LAYOUTS {
            let mut schedule = schedule(layout, 8, 1000, 32);
            for (id, student) in [(0, 0), (1, 1), (2, 0), (3, 1), (4, 1)] {
                schedule.add(id, student, format!("{id}"), prompt(60, 1, 70));
            }
            let counts = work_off(&mut schedule, 5);
            let cached: Vec<_> = counts.cached.values().copied().collect();
            // 3 and 4 come after 2, which waited for its student.
            assert_eq!(cached, [0, 0, 0, 0, 69]);
        }
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_ended() {
        for layout in LAYOUTS {
            let mut schedule = schedule(layout, 1, 100, 16);
            schedule.add(0, 0, "a".into(), prompt(0, 1, 20));
            schedule.add(1, 0, "b".into(), prompt(0, 2, 20));
            assert_eq!(schedule.next(&mut NoCache).len(), 16);
            schedule.end(0);
            schedule.end(1);
            assert!(schedule.idle() && schedule.next(&mut NoCache).is_empty());
        }
    }
}
