//! Tracks what the KV cache of a context holds: sequences of tokens, in cells.
//!
//! In a unified cache, sequences with a common prefix share its cells. Otherwise each
//! sequence has a stream of cells of its own, and a common prefix is copied.

/// Fewest tokens worth copying to another stream. llama.cpp copies a stream whole,
/// whatever it holds, which takes about as long as decoding a few tokens.
const LEAST_COPY: usize = 32;

/// The real cache: a context of llama.cpp, which must follow every change.
pub(super) trait Cache {
    /// Removes a sequence's tokens from this position on.
    fn cut(&mut self, sequence: usize, from: usize);
    /// Gives an empty sequence the first tokens of another one.
    fn share(&mut self, from: usize, to: usize, length: usize);
    /// Switches to another student. All sequences are empty then, because their
    /// contents belong to the other student.
    fn switch_to(&mut self, student: usize);
}

/// How the cells of a cache are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Any sequence uses any cell. Attention walks the cells of all sequences.
    Unified,
    /// Each sequence has as many cells as any other.
    Streams,
}

enum Cells {
    Unified {
        /// For each cell, the number of sequences that hold it.
        holders: Vec<u32>,
        free: Vec<usize>,
    },
    /// The number of cells of each sequence.
    Streams(usize),
}

/// All sequences of a context.
pub(super) struct Sequences {
    all: Vec<Sequence>,
    cells: Cells,
    /// Counts uses, to find the least recently used sequence.
    clock: u64,
    /// Whether a sequence can be cut. The state of a recurrent model cannot.
    can_cut: bool,
}

#[derive(Default)]
struct Sequence {
    /// The episode it belongs to.
    episode: String,
    tokens: Vec<i32>,
    /// Its cells in a unified cache.
    cells: Vec<usize>,
    busy: bool,
    used: u64,
}

impl Sequences {
    /// Empty sequences. `cells` is the number of all cells.
    pub(super) fn new(layout: Layout, count: usize, cells: usize, can_cut: bool) -> Self {
        let cells = match layout {
            Layout::Unified => {
                Cells::Unified { holders: vec![0; cells], free: (0..cells).rev().collect() }
            }
            Layout::Streams => Cells::Streams(cells / count.max(1)),
        };
        let all = std::iter::repeat_with(Sequence::default).take(count).collect();
        Sequences { all, cells, clock: 0, can_cut }
    }

    /// How many of these tokens are already in the cache.
    pub(super) fn known(&self, tokens: &[i32]) -> usize {
        self.source(tokens).1
    }

    /// Whether a sequence can be cut, and therefore shared.
    pub(super) fn can_cut(&self) -> bool {
        self.can_cut
    }

    /// Whether a sequence would be given a prefix of this many tokens.
    pub(super) fn is_worth_sharing(&self, length: usize) -> bool {
        length >= self.least_shared()
    }

    fn least_shared(&self) -> usize {
        match self.cells {
            Cells::Unified { .. } => 1,
            Cells::Streams(_) => LEAST_COPY,
        }
    }

    /// The number of free cells for a sequence.
    pub(super) fn free(&self, sequence: usize) -> usize {
        match &self.cells {
            Cells::Unified { free, .. } => free.len(),
            Cells::Streams(each) => each.saturating_sub(self.all[sequence].tokens.len()),
        }
    }

    /// How many passes over the weights decode equally many tokens of each of these
    /// sequences: llama.cpp decodes streams together only if they are neighbours.
    pub(super) fn passes(&self, mut sequences: Vec<usize>) -> usize {
        sequences.sort_unstable();
        match self.cells {
            Cells::Unified { .. } => 1,
            Cells::Streams(_) => sequences.chunk_by(|one, next| one + 1 == *next).count(),
        }
    }

    /// Whether each sequence has a stream of its own.
    pub(super) fn has_streams(&self) -> bool {
        matches!(self.cells, Cells::Streams(_))
    }

    /// Takes an idle sequence and fills it with what the cache has of these tokens.
    /// Returns the sequence and the number of cached tokens: never the last one,
    /// because it must be decoded. `None` if all sequences are busy.
    pub(super) fn take(
        &mut self,
        episode: &str,
        tokens: &[i32],
        cache: &mut dyn Cache,
    ) -> Option<(usize, usize)> {
        let tokens = &tokens[..tokens.len() - 1];
        let idle = || self.all.iter().enumerate().filter(|(_, sequence)| !sequence.busy);
        let own = idle().find(|(_, sequence)| sequence.episode == episode);
        let empty = || idle().find(|(_, sequence)| sequence.tokens.is_empty());
        let least = || idle().min_by_key(|(_, sequence)| sequence.used);
        let (target, _) = own.or_else(empty).or_else(least)?;
        let (source, mut length) = self.source(tokens);
        let own = self.common(target, tokens);
        if length >= own + self.least_shared() {
            self.cut(target, 0, cache);
            self.share(source, target, length, cache);
        } else {
            length = own;
            self.cut(target, length, cache);
        }
        self.all[target].busy = true;
        self.all[target].episode = episode.to_string();
        Some((target, length))
    }

    /// Frees cells, least recently used sequences first, until `cells` are free for a
    /// sequence or no more can be freed.
    pub(super) fn make_room(&mut self, sequence: usize, cells: usize, cache: &mut dyn Cache) {
        while matches!(self.cells, Cells::Unified { .. }) && self.free(sequence) < cells {
            let idle = self.all.iter().enumerate();
            let idle = idle.filter(|(_, sequence)| !sequence.busy && !sequence.tokens.is_empty());
            match idle.min_by_key(|(_, sequence)| sequence.used) {
                Some((least, _)) => self.cut(least, 0, cache),
                None => return,
            }
        }
    }

    /// Adds a token to a sequence.
    ///
    /// # Panics
    /// If no cell is free.
    pub(super) fn push(&mut self, sequence: usize, token: i32) {
        assert!(self.free(sequence) > 0, "a token is added where no cell is free");
        if let Cells::Unified { holders, free } = &mut self.cells
            && let Some(cell) = free.pop()
        {
            holders[cell] = 1;
            self.all[sequence].cells.push(cell);
        }
        self.all[sequence].tokens.push(token);
    }

    /// Releases a sequence. Its contents are kept until the cells are needed.
    pub(super) fn release(&mut self, sequence: usize) {
        self.clock += 1;
        self.all[sequence].used = self.clock;
        self.all[sequence].busy = false;
    }

    /// Releases a sequence and its contents.
    pub(super) fn clear(&mut self, sequence: usize, cache: &mut dyn Cache) {
        self.cut(sequence, 0, cache);
        self.release(sequence);
    }

    /// Removes what a sequence holds beyond its first tokens.
    pub(super) fn keep(&mut self, sequence: usize, length: usize, cache: &mut dyn Cache) {
        self.cut(sequence, length, cache);
    }

    /// Removes the contents of all sequences.
    pub(super) fn forget(&mut self, cache: &mut dyn Cache) {
        for sequence in 0..self.all.len() {
            self.cut(sequence, 0, cache);
        }
    }

    /// The sequence with the longest common prefix, and the length of that prefix.
    fn source(&self, tokens: &[i32]) -> (usize, usize) {
        let shared = (0..self.all.len()).map(|at| (at, self.common(at, tokens)));
        shared.max_by_key(|(_, length)| *length).unwrap_or_default()
    }

    fn common(&self, sequence: usize, tokens: &[i32]) -> usize {
        if self.can_cut { common(&self.all[sequence].tokens, tokens) } else { 0 }
    }

    fn cut(&mut self, sequence: usize, from: usize, cache: &mut dyn Cache) {
        let Sequence { tokens, cells, .. } = &mut self.all[sequence];
        if from == tokens.len() {
            return;
        }
        tokens.truncate(from);
        if let Cells::Unified { holders, free } = &mut self.cells {
            for cell in cells.drain(from..) {
                holders[cell] -= 1;
                if holders[cell] == 0 {
                    free.push(cell);
                }
            }
        }
        cache.cut(sequence, from);
    }

    fn share(&mut self, from: usize, to: usize, length: usize, cache: &mut dyn Cache) {
        self.all[to].tokens = self.all[from].tokens[..length].to_vec();
        if let Cells::Unified { holders, .. } = &mut self.cells {
            let cells = self.all[from].cells[..length].to_vec();
            for &cell in &cells {
                holders[cell] += 1;
            }
            self.all[to].cells = cells;
        }
        cache.share(from, to, length);
    }
}

/// The length of the common prefix of two lists.
pub(super) fn common(one: &[i32], other: &[i32]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache that applies every change.
    struct Mirror(Vec<Vec<i32>>);

    impl Cache for Mirror {
        fn cut(&mut self, sequence: usize, from: usize) {
            self.0[sequence].truncate(from);
        }

        fn share(&mut self, from: usize, to: usize, length: usize) {
            assert!(self.0[to].is_empty());
            self.0[to] = self.0[from][..length].to_vec();
        }

        fn switch_to(&mut self, _: usize) {
            assert!(self.0.iter().all(Vec::is_empty));
        }
    }

    struct World {
        sequences: Sequences,
        mirror: Mirror,
    }

    impl World {
        fn new(layout: Layout, count: usize, cells: usize, can_cut: bool) -> Self {
            let mirror = Mirror(vec![Vec::new(); count]);
            World { sequences: Sequences::new(layout, count, cells, can_cut), mirror }
        }

        /// Reads a prompt for an episode. Returns its sequence and how much was cached.
        fn read(&mut self, episode: &str, prompt: &[i32]) -> Option<(usize, usize)> {
            let taken = self.sequences.take(episode, prompt, &mut self.mirror)?;
            let new = &prompt[taken.1..];
            self.sequences.make_room(taken.0, new.len(), &mut self.mirror);
            for &token in new {
                self.sequences.push(taken.0, token);
                self.mirror.0[taken.0].push(token);
            }
            assert_eq!(self.mirror.0[taken.0], prompt);
            Some(taken)
        }
    }

    #[test]
    fn an_episode_goes_on_where_it_was() {
        for (layout, cells) in [(Layout::Unified, 20), (Layout::Streams, 40)] {
            let mut world = World::new(layout, 2, cells, true);
            assert_eq!(world.read("a", &[1, 2, 3]), Some((0, 0)));
            world.sequences.release(0);
            assert_eq!(world.read("a", &[1, 2, 3, 4, 5]), Some((0, 3)));
            assert_eq!(world.sequences.free(0), 15);
            world.sequences.release(0);
            assert_eq!(world.read("a", &[1, 2, 9]), Some((0, 2)), "what differs is forgotten");
            assert_eq!(world.sequences.free(0), 17);
            world.sequences.release(0);
            assert_eq!(world.read("a", &[1, 2, 9]), Some((0, 2)), "the last token is read again");
        }
    }

    #[test]
    fn a_common_beginning_is_copied_to_another_stream_if_it_is_long() {
        let mut world = World::new(Layout::Streams, 3, 300, true);
        let prompt = |own: i32| (0..40).chain([own]).collect::<Vec<i32>>();
        assert_eq!(world.read("a", &prompt(100)), Some((0, 0)));
        assert_eq!(world.read("b", &prompt(101)), Some((1, 40)));
        assert_eq!(world.read("c", &[0, 1, 2, 3]), Some((2, 0)), "three tokens are read again");
        assert_eq!([0, 1, 2].map(|at| world.sequences.free(at)), [59, 59, 96]);
        world.sequences.clear(0, &mut world.mirror);
        assert_eq!(world.sequences.free(0), 100);
        assert_eq!(world.mirror.0[1], prompt(101), "the copy stays");
    }

    #[test]
    fn a_full_stream_takes_no_cell_of_another() {
        let mut world = World::new(Layout::Streams, 2, 6, true);
        world.read("a", &[1, 2, 3]);
        world.sequences.make_room(0, 1, &mut world.mirror);
        assert_eq!([0, 1].map(|at| world.sequences.free(at)), [0, 3]);
        assert_eq!(world.mirror.0[0], [1, 2, 3]);
    }

    #[test]
    fn episodes_share_the_cells_of_a_common_beginning() {
        let mut world = World::new(Layout::Unified, 2, 20, true);
        world.read("a", &[1, 2, 3]);
        assert_eq!(world.sequences.known(&[1, 2, 4]), 2);
        assert_eq!(world.read("b", &[1, 2, 4]), Some((1, 2)));
        assert_eq!(world.sequences.free(0), 16);
        world.sequences.clear(0, &mut world.mirror);
        assert_eq!(world.sequences.free(0), 17, "what `b` holds as well is not free");
        assert_eq!(world.mirror.0[1], [1, 2, 4]);
    }

    #[test]
    fn what_was_left_alone_the_longest_is_forgotten_first() {
        let mut world = World::new(Layout::Unified, 3, 9, true);
        for (episode, token) in [("a", 10), ("b", 20), ("c", 30)] {
            world.read(episode, &[token, 1, 2]);
        }
        assert_eq!(world.read("d", &[4]), None, "all are busy");
        world.sequences.release(1);
        world.sequences.release(0);
        assert_eq!(world.read("d", &[40, 1]), Some((1, 0)));
        assert_eq!(world.mirror.0, [vec![10, 1, 2], vec![40, 1], vec![30, 1, 2]]);
        world.sequences.make_room(1, 4, &mut world.mirror);
        assert_eq!(world.mirror.0, [vec![], vec![40, 1], vec![30, 1, 2]]);
        world.sequences.make_room(1, 5, &mut world.mirror);
        assert_eq!(world.sequences.free(1), 4, "what is busy stays");
    }

    #[test]
    fn neighbouring_streams_are_decoded_in_one_pass() {
        for (sequences, streams) in
            [(vec![], 0), (vec![3], 1), (vec![2, 0, 1], 1), (vec![0, 2, 3, 5], 3)]
        {
            let passes = |layout| Sequences::new(layout, 8, 80, true).passes(sequences.clone());
            assert_eq!(passes(Layout::Streams), streams, "{sequences:?}");
            assert_eq!(passes(Layout::Unified), 1);
        }
    }

    #[test]
    fn a_state_that_cannot_be_cut_is_begun_anew() {
        let mut world = World::new(Layout::Unified, 2, 9, false);
        world.read("a", &[1, 2, 3]);
        world.sequences.release(0);
        assert_eq!(world.read("a", &[1, 2, 3, 4]), Some((0, 0)));
        assert_eq!(world.read("b", &[1, 2, 3, 4]), Some((1, 0)));
    }
}
