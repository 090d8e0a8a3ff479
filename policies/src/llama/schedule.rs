//! Schedules many generations in one context.
//!
//! Each step decodes one batch: one token of every generation in progress, plus as
//! much of new prompts as fits. If no prompt is left to read, drafts of the tokens that
//! may follow are added; what was drafted wrongly is cut before the next step.
//!
//! If cells run out, idle sequences are dropped, then prompts wait, and finally the
//! youngest generation starts over from the tokens it has. The oldest one therefore always
//! continues, and all of them end. Where each sequence has its own stream of cells, a
//! stream holds a whole context, so that only sequences run out.
//!
//! Students take turns, because a context has the adapters of one. A call waits for
//! every earlier call of another student, so none waits for ever.

use std::collections::VecDeque;

use super::sequences::{Cache, Sequences, common};
use super::speculation::{Guess, draft_length};

/// One token to decode.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) job: u64,
    pub(super) sequence: usize,
    pub(super) token: i32,
    pub(super) position: usize,
    /// Whether the next token is needed: after the last known token and after each
    /// drafted one.
    pub(super) last: bool,
}

/// The counts of a generation that has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Prompt tokens that were in the cache.
    pub(super) cached: usize,
    /// Tokens that were drafted.
    pub(super) drafted: usize,
    /// Drafted tokens that were sampled, too.
    pub(super) accepted: usize,
}

/// A generation: a prompt and the tokens generated so far.
struct Job {
    id: u64,
    student: usize,
    episode: String,
    /// The prompt and every token that followed.
    tokens: Vec<i32>,
    /// How many of them are decoded, including the current batch. Its sequence may hold
    /// drafted tokens, too.
    decoded: usize,
    sequence: usize,
    /// How much of the prompt was in the cache when the job was first admitted.
    cached: Option<usize>,
    guess: Guess,
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
    /// Maximum tokens of a draft; 0 for none.
    draft: usize,
    /// Calls that wait because no cells are left.
    waiting_for_cells: usize,
    /// Whether the running generations have run out of cells. Then no other is
    /// admitted before one of them ends; otherwise they would make each other start over.
    squeezed: bool,
}

impl Schedule {
    /// An empty schedule. What is drafted must be cut again, so `draft` has no effect on
    /// sequences that cannot be cut.
    pub(super) fn new(sequences: Sequences, batch: usize, draft: usize) -> Self {
        let (waiting, running) = Default::default();
        let draft = if sequences.can_cut() { draft } else { 0 };
        Schedule {
            waiting,
            running,
            sequences,
            student: 0,
            batch,
            draft,
            waiting_for_cells: 0,
            squeezed: false,
        }
    }

    /// How many calls waited for cells when the last batch was made.
    pub(super) fn waiting_for_cells(&self) -> usize {
        self.waiting_for_cells
    }

    /// Whether there is nothing to do.
    pub(super) fn idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Adds a generation of a student. The prompt has at least one token.
    pub(super) fn add(&mut self, id: u64, student: usize, episode: String, prompt: Vec<i32>) {
        let (decoded, sequence, cached, guess) = (0, 0, None, Guess::default());
        let job = Job { id, student, episode, tokens: prompt, decoded, sequence, cached, guess };
        self.waiting.push_back(job);
    }

    /// Appends a generated token. Returns whether it is the next one of the draft. Then the
    /// next row of this generation has the token that follows it; otherwise its other rows
    /// in the batch are of no use.
    pub(super) fn push_token(&mut self, id: u64, token: i32) -> bool {
        let Some(job) = self.running.iter_mut().find(|job| job.id == id) else { return false };
        job.tokens.push(token);
        let is_accepted = job.guess.check(token);
        job.decoded += usize::from(is_accepted);
        is_accepted
    }

    /// Ends a generation. Its sequence is kept for the episode's next turn.
    pub(super) fn end(&mut self, id: u64) -> Counts {
        self.waiting.retain(|job| job.id != id);
        let Some(at) = self.running.iter().position(|job| job.id == id) else {
            return Counts::default();
        };
        let job = self.running.remove(at);
        self.sequences.release(job.sequence);
        self.squeezed = false;
        let (drafted, accepted) = job.guess.counts();
        Counts { cached: job.cached.unwrap_or_default(), drafted, accepted }
    }

    /// The next batch; empty only if there is nothing to do.
    pub(super) fn next(&mut self, cache: &mut dyn Cache) -> Vec<Row> {
        for job in &self.running {
            // Rejected drafts.
            self.sequences.keep(job.sequence, job.decoded, cache);
        }
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
        let mut is_full = self.squeezed;
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
                is_full = true;
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
        let own = self.waiting.iter().filter(|job| job.student == self.student);
        self.waiting_for_cells = if is_full { own.count() } else { 0 };
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
            if job.pending() == 0 {
                job.guess.renew(&job.tokens, self.draft);
            }
        }
        if self.running.iter().all(|job| job.pending() == 0) {
            self.add_drafts(&mut rows);
        }
        // llama.cpp decodes neighbouring streams in one pass.
        rows.sort_by_key(|row| row.sequence);
        rows
    }

    /// Adds drafts to a batch that has the last token of every generation. llama.cpp decodes
    /// streams together only if they have equally many rows, so shorter drafts are filled
    /// up with rows that nobody reads.
    fn add_drafts(&mut self, rows: &mut Vec<Row>) {
        let is_level = self.sequences.has_streams();
        let room = self.batch.saturating_sub(rows.len()) / self.running.len().max(1);
        let limit = self.draft.min(room);
        let guesses: Vec<&Guess> = self.running.iter().map(|job| &job.guess).collect();
        let passes = self.sequences.passes(self.running.iter().map(|job| job.sequence).collect());
        let length = draft_length(&guesses, limit, passes, is_level);
        for job in &mut self.running {
            let length = length.min(self.sequences.free(job.sequence));
            let mut draft = job.guess.draft(length).to_vec();
            let drafted = draft.len();
            if is_level {
                draft.resize(length, job.tokens.last().copied().unwrap_or_default());
            }
            for (at, token) in draft.into_iter().enumerate() {
                self.sequences.push(job.sequence, token);
                let (position, last) = (job.decoded + at, at < drafted);
                rows.push(Row { job: job.id, sequence: job.sequence, token, position, last });
            }
        }
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

    /// Sums of a schedule that generates a fixed number of tokens per prompt.
    struct Sums {
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
        Schedule::new(Sequences::new(layout, sequences, cells, true), batch, 0)
    }

    fn work_off(schedule: &mut Schedule, words: usize) -> Sums {
        let mut generated = BTreeMap::<u64, usize>::new();
        let mut counts = Sums { decoded: BTreeMap::new(), cached: BTreeMap::new(), steps: 0 };
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
                    counts.cached.insert(row.job, schedule.end(row.job).cached);
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
    fn calls_without_cells_are_counted_until_they_have_some() {
        let mut schedule = schedule(Layout::Streams, 2, 100, 32);
        for id in 0..5 {
            schedule.add(id, 0, id.to_string(), prompt(0, 1 + id as i32, 40));
        }
        assert_eq!(schedule.waiting_for_cells(), 0, "nothing was decided yet");
        schedule.next(&mut NoCache);
        assert_eq!(schedule.waiting_for_cells(), 3, "two sequences are taken");
        work_off(&mut schedule, 3);
        assert_eq!(schedule.waiting_for_cells(), 0);
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

    /// A cache that holds every decoded token, as llama.cpp's does.
    struct Mirror(Vec<Vec<i32>>);

    impl Cache for Mirror {
        fn cut(&mut self, sequence: usize, from: usize) {
            self.0[sequence].truncate(from);
        }

        fn share(&mut self, from: usize, to: usize, length: usize) {
            self.0[to] = self.0[from][..length].to_vec();
        }

        fn switch_to(&mut self, _: usize) {}
    }

    /// A model that goes in circles, and errs now and then.
    fn next_token(model: u64, before: &[i32]) -> i32 {
        let seed = before.iter().fold(model, |seed, token| {
            seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(*token as u64 + 1)
        });
        let (last, erring) = (before.last().copied().unwrap_or_default(), seed >> 60);
        if erring == 0 { (seed >> 40) as i32 & 0xff } else { (last * 5 + 1) % 40 }
    }

    /// What each prompt is answered with, the number of steps, and all counts.
    fn answers(
        layout: Layout,
        draft: usize,
        cells: usize,
        model: u64,
    ) -> (Vec<Vec<i32>>, usize, Vec<Counts>) {
        const LENGTH: usize = 60;
        let (sequences, jobs) = (4, 6);
        let all = if layout == Layout::Streams { cells * sequences } else { cells };
        let mut schedule = Schedule::new(Sequences::new(layout, sequences, all, true), 64, draft);
        let mut mirror = Mirror(vec![Vec::new(); sequences]);
        for id in 0..jobs {
            schedule.add(id, 0, id.to_string(), (0..50).chain([100 + id as i32]).collect());
        }
        let mut texts = vec![Vec::new(); jobs as usize];
        let mut counts = vec![Counts::default(); jobs as usize];
        let mut steps = 0;
        while !schedule.idle() {
            steps += 1;
            assert!(steps < 10_000, "it goes on for ever");
            let rows = schedule.next(&mut mirror);
            assert!(!rows.is_empty() && rows.len() <= 64);
            assert!(rows.is_sorted_by_key(|row| (row.sequence, row.position)));
            for row in &rows {
                assert_eq!(mirror.0[row.sequence].len(), row.position, "cells are as counted");
                mirror.0[row.sequence].push(row.token);
            }
            let mut done = None;
            for row in rows.iter().filter(|row| row.last) {
                if done == Some(row.job) {
                    continue;
                }
                let text = &mut texts[row.job as usize];
                let token = next_token(model, &mirror.0[row.sequence][..=row.position]);
                text.push(token);
                if text.len() == LENGTH {
                    counts[row.job as usize] = schedule.end(row.job);
                    done = Some(row.job);
                } else if !schedule.push_token(row.job, token) {
                    done = Some(row.job);
                }
            }
        }
        (texts, steps, counts)
    }

    #[test]
    fn drafts_change_the_number_of_steps_and_nothing_else() {
        for (layout, cells) in LAYOUTS.iter().flat_map(|layout| [(*layout, 120), (*layout, 500)]) {
            for model in 0..6 {
                let (expected, plain, without) = answers(layout, 0, cells, model);
                let (texts, steps, with) = answers(layout, 8, cells, model);
                assert_eq!(texts, expected, "{layout:?}, {cells} cells, model {model}");
                assert!(steps < plain, "{steps} steps, {plain} without drafts");
                assert!(without.iter().all(|counts| (counts.drafted, counts.accepted) == (0, 0)));
                assert!(with.iter().all(|counts| counts.accepted <= counts.drafted));
                let accepted: usize = with.iter().map(|counts| counts.accepted).sum();
                assert!(accepted > 0 && accepted < with.iter().map(|counts| counts.drafted).sum());
            }
        }
    }

    #[test]
    fn streams_that_draft_have_equally_many_rows() {
        let mut schedule = Schedule::new(Sequences::new(Layout::Streams, 2, 200, true), 64, 4);
        schedule.add(0, 0, "a".into(), vec![1, 2, 3, 4, 5, 1, 2]);
        schedule.add(1, 0, "b".into(), vec![6, 7, 8, 9]);
        let read = schedule.next(&mut NoCache);
        let drafted = |job: u64| {
            let prompt = [7, 4][job as usize];
            read.iter().filter(move |row| row.job == job && row.position >= prompt)
        };
        let rows = drafted(0).count();
        assert!(rows > 0, "{read:?}");
        assert_eq!(rows, drafted(1).count());
        assert!(drafted(0).all(|row| row.last) && drafted(1).all(|row| !row.last));
        assert!(!schedule.push_token(0, 9) && !schedule.push_token(1, 9));
        let next: Vec<_> =
            schedule.next(&mut NoCache).into_iter().map(|row| row.position).collect();
        assert!(next.contains(&7) && next.contains(&4), "{next:?}");
    }
}
