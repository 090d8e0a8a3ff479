//! Who is decoded next: many generations, one context.
//!
//! Each step is one batch: a token of every generation under way, then as much
//! of new prompts as fits. Cells run out before anything fails: idle sequences
//! are forgotten, prompts wait, and at last the youngest generation starts over
//! from the tokens it has. So the oldest always goes on, and all end.
//!
//! Students take turns: a context has the adapters of one. Who comes later than
//! a call of another student waits for it, so that none waits for ever.

use std::collections::VecDeque;

use super::sequences::{Cache, Sequences, common};

/// One token to decode.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) job: u64,
    pub(super) sequence: usize,
    pub(super) token: i32,
    pub(super) position: usize,
    /// Whether its successor is asked for.
    pub(super) last: bool,
}

/// A generation: a prompt, and what was said so far.
struct Job {
    id: u64,
    student: usize,
    episode: String,
    /// The prompt and every token that followed.
    tokens: Vec<i32>,
    /// How many of them are decoded, or in the batch that is.
    decoded: usize,
    sequence: usize,
    /// How much of the prompt was known when it was first looked at.
    cached: Option<usize>,
}

impl Job {
    fn left(&self) -> usize {
        self.tokens.len() - self.decoded
    }
}

/// All generations, oldest first.
pub(super) struct Schedule {
    waiting: VecDeque<Job>,
    running: Vec<Job>,
    sequences: Sequences,
    /// Who speaks.
    student: usize,
    /// Tokens of a batch at most.
    batch: usize,
    /// Whether cells ran out among those under way: then nobody is let in
    /// before one of them ends, or they would take turns at starting over.
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

    /// Asks a student for what follows a prompt of one token at least.
    pub(super) fn ask(&mut self, id: u64, student: usize, episode: String, prompt: Vec<i32>) {
        let (decoded, sequence, cached) = (0, 0, None);
        let job = Job { id, student, episode, tokens: prompt, decoded, sequence, cached };
        self.waiting.push_back(job);
    }

    /// Adds a token to what was said.
    pub(super) fn said(&mut self, id: u64, token: i32) {
        if let Some(job) = self.running.iter_mut().find(|job| job.id == id) {
            job.tokens.push(token);
        }
    }

    /// Ends a generation, and says how much of its prompt was known. What its
    /// sequence holds is kept for the episode's next turn.
    pub(super) fn end(&mut self, id: u64) -> usize {
        self.waiting.retain(|job| job.id != id);
        let Some(at) = self.running.iter().position(|job| job.id == id) else { return 0 };
        let job = self.running.remove(at);
        self.sequences.release(job.sequence);
        self.squeezed = false;
        job.cached.unwrap_or_default()
    }

    /// The next batch; empty only where there is nothing to do.
    pub(super) fn next(&mut self, cache: &mut dyn Cache) -> Vec<Row> {
        loop {
            self.turn(cache);
            self.admit(cache);
            let rows = self.rows(cache);
            if !rows.is_empty() || self.idle() {
                return rows;
            }
            self.start_over(cache);
        }
    }

    /// Lets the student speak who was asked first, once nobody else does.
    fn turn(&mut self, cache: &mut dyn Cache) {
        let first = self.waiting.front().map_or(self.student, |job| job.student);
        if self.running.is_empty() && first != self.student {
            self.sequences.forget(cache);
            cache.turn_to(first);
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

    /// Whether one under way is about to decode more of this prompt's beginning
    /// than is known: then waiting for it is cheaper than decoding it twice.
    fn soon_known(&self, job: &Job) -> bool {
        let wanted = &job.tokens[..job.tokens.len() - 1];
        let shared = self.running.iter().map(|other| common(&other.tokens, wanted)).max();
        self.sequences.cuts() && shared.is_some_and(|shared| shared > self.sequences.known(wanted))
    }

    /// Tokens of generations first: each is one, and somebody waits for it.
    fn rows(&mut self, cache: &mut dyn Cache) -> Vec<Row> {
        let mut rows = Vec::new();
        let (speaking, reading): (Vec<_>, Vec<_>) =
            (0..self.running.len()).partition(|&at| self.running[at].left() == 1);
        for at in speaking.into_iter().chain(reading) {
            let job = &mut self.running[at];
            let wanted = job.left().min(self.batch - rows.len());
            self.sequences.make_room(wanted, cache);
            for _ in 0..wanted.min(self.sequences.free()) {
                let (position, token) = (job.decoded, job.tokens[job.decoded]);
                self.sequences.push(job.sequence, token);
                job.decoded += 1;
                let last = job.left() == 0;
                rows.push(Row { job: job.id, sequence: job.sequence, token, position, last });
            }
        }
        rows
    }

    /// Takes its cells from the youngest, which starts over later.
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

    use super::*;

    /// A cache that only hears what it is told.
    struct Deaf;

    impl Cache for Deaf {
        fn cut(&mut self, _: usize, _: usize) {}
        fn share(&mut self, _: usize, _: usize, _: usize) {}
        fn turn_to(&mut self, _: usize) {}
    }

    /// Says so many tokens after each prompt, and counts what was decoded.
    struct Told {
        decoded: BTreeMap<u64, usize>,
        cached: BTreeMap<u64, usize>,
        steps: usize,
    }

    fn schedule(sequences: usize, cells: usize, batch: usize) -> Schedule {
        Schedule::new(Sequences::new(sequences, cells, true), batch)
    }

    fn work_off(schedule: &mut Schedule, words: usize) -> Told {
        let mut said = BTreeMap::<u64, usize>::new();
        let mut told = Told { decoded: BTreeMap::new(), cached: BTreeMap::new(), steps: 0 };
        while !schedule.idle() {
            told.steps += 1;
            assert!(told.steps < 10_000, "it goes on for ever");
            let rows = schedule.next(&mut Deaf);
            assert!(!rows.is_empty() && rows.len() <= schedule.batch);
            for row in &rows {
                *told.decoded.entry(row.job).or_default() += 1;
            }
            for row in rows.iter().filter(|row| row.last) {
                let said = said.entry(row.job).or_default();
                *said += 1;
                if *said == words {
                    told.cached.insert(row.job, schedule.end(row.job));
                } else {
                    schedule.said(row.job, 1000 + i32::try_from(*said).unwrap());
                }
            }
        }
        told
    }

    fn prompt(shared: i32, own: i32, length: i32) -> Vec<i32> {
        (0..shared).chain((shared..length).map(|at| own * 10_000 + at)).collect()
    }

    #[test]
    fn a_common_beginning_is_decoded_once() {
        let mut schedule = schedule(8, 1000, 32);
        for id in 0..8 {
            schedule.ask(id, 0, id.to_string(), prompt(60, 1 + id as i32, 70));
        }
        let told = work_off(&mut schedule, 5);
        let decoded: Vec<_> = told.decoded.values().copied().collect();
        assert_eq!(decoded, [74, 14, 14, 14, 14, 14, 14, 14]);
        let cached: Vec<_> = told.cached.values().copied().collect();
        assert_eq!(cached, [0, 60, 60, 60, 60, 60, 60, 60]);
    }

    #[test]
    fn the_next_turn_decodes_only_what_is_new() {
        let mut schedule = schedule(2, 1000, 32);
        schedule.ask(0, 0, "a".into(), prompt(0, 1, 50));
        work_off(&mut schedule, 3);
        let mut longer = prompt(0, 1, 50);
        longer.extend([1001, 1002, 7, 8]);
        schedule.ask(1, 0, "a".into(), longer);
        let told = work_off(&mut schedule, 1);
        assert_eq!((told.decoded[&1], told.cached[&1]), (2, 52));
    }

    #[test]
    fn all_end_though_cells_run_out() {
        for cells in [40, 41, 50, 64, 100] {
            let mut schedule = schedule(4, cells, 16);
            for id in 0..6 {
                schedule.ask(id, 0, id.to_string(), prompt(5, 1 + id as i32, 20));
            }
            let told = work_off(&mut schedule, 20);
            assert_eq!(told.cached.len(), 6, "with {cells} cells");
            assert!(told.steps < 400, "{} steps with {cells} cells", told.steps);
        }
    }

    #[test]
    fn students_speak_one_after_the_other_and_share_nothing() {
        let mut schedule = schedule(8, 1000, 32);
        for (id, student) in [(0, 0), (1, 1), (2, 0), (3, 1), (4, 1)] {
            schedule.ask(id, student, format!("{id}"), prompt(60, 1, 70));
        }
        let told = work_off(&mut schedule, 5);
        let cached: Vec<_> = told.cached.values().copied().collect();
        // 3 and 4 come after 2, which waited for its student.
        assert_eq!(cached, [0, 0, 0, 0, 69]);
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_ended() {
        let mut schedule = schedule(1, 100, 16);
        schedule.ask(0, 0, "a".into(), prompt(0, 1, 20));
        schedule.ask(1, 0, "b".into(), prompt(0, 2, 20));
        assert_eq!(schedule.next(&mut Deaf).len(), 16);
        schedule.end(0);
        schedule.end(1);
        assert!(schedule.idle() && schedule.next(&mut Deaf).is_empty());
    }
}
