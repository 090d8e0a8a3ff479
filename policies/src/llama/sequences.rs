//! Tracks what the KV cache of a context holds: sequences of tokens, in cells that
//! sequences with a common prefix share.

/// The real cache: a context of llama.cpp, which must follow every change.
pub(super) trait Cache {
    /// Removes a sequence's tokens from this position on.
    fn cut(&mut self, sequence: usize, from: usize);
    /// Makes an empty sequence share the first tokens of another one.
    fn share(&mut self, from: usize, to: usize, length: usize);
    /// Switches to another student. All sequences are empty then, because their
    /// contents belong to the other student.
    fn switch_to(&mut self, student: usize);
}

/// All sequences of a context.
pub(super) struct Sequences {
    all: Vec<Sequence>,
    /// For each cell, the number of sequences that hold it.
    holders: Vec<u32>,
    free: Vec<usize>,
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
    cells: Vec<usize>,
    busy: bool,
    used: u64,
}

impl Sequences {
    pub(super) fn new(count: usize, cells: usize, can_cut: bool) -> Self {
        Sequences {
            all: std::iter::repeat_with(Sequence::default).take(count).collect(),
            holders: vec![0; cells],
            free: (0..cells).rev().collect(),
            clock: 0,
            can_cut,
        }
    }

    /// How many of these tokens are already in the cache.
    pub(super) fn known(&self, tokens: &[i32]) -> usize {
        self.source(tokens).1
    }

    /// Whether a sequence can be cut, and therefore shared.
    pub(super) fn can_cut(&self) -> bool {
        self.can_cut
    }

    /// The number of free cells.
    pub(super) fn free(&self) -> usize {
        self.free.len()
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
        let (source, length) = self.source(tokens);
        if length > self.common(target, tokens) {
            self.cut(target, 0, cache);
            self.share(source, target, length, cache);
        } else {
            self.cut(target, length, cache);
        }
        self.all[target].busy = true;
        self.all[target].episode = episode.to_string();
        Some((target, length))
    }

    /// Frees cells, least recently used sequences first, until `cells` are free or
    /// no more can be freed.
    pub(super) fn make_room(&mut self, cells: usize, cache: &mut dyn Cache) {
        while self.free() < cells {
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
        let Some(cell) = self.free.pop() else { panic!("a token is added where no cell is free") };
        self.holders[cell] = 1;
        self.all[sequence].tokens.push(token);
        self.all[sequence].cells.push(cell);
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
        for cell in cells.drain(from..) {
            self.holders[cell] -= 1;
            if self.holders[cell] == 0 {
                self.free.push(cell);
            }
        }
        cache.cut(sequence, from);
    }

    fn share(&mut self, from: usize, to: usize, length: usize, cache: &mut dyn Cache) {
        let tokens = self.all[from].tokens[..length].to_vec();
        let cells = self.all[from].cells[..length].to_vec();
        for &cell in &cells {
            self.holders[cell] += 1;
        }
        self.all[to].tokens = tokens;
        self.all[to].cells = cells;
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
        fn new(count: usize, cells: usize, can_cut: bool) -> Self {
            let mirror = Mirror(vec![Vec::new(); count]);
            World { sequences: Sequences::new(count, cells, can_cut), mirror }
        }

        /// Reads a prompt for an episode. Returns its sequence and how much was cached.
        fn read(&mut self, episode: &str, prompt: &[i32]) -> Option<(usize, usize)> {
            let taken = self.sequences.take(episode, prompt, &mut self.mirror)?;
            let new = &prompt[taken.1..];
            self.sequences.make_room(new.len(), &mut self.mirror);
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
        let mut world = World::new(2, 20, true);
        assert_eq!(world.read("a", &[1, 2, 3]), Some((0, 0)));
        world.sequences.release(0);
        assert_eq!(world.read("a", &[1, 2, 3, 4, 5]), Some((0, 3)));
        assert_eq!(world.sequences.free(), 15);
        world.sequences.release(0);
        assert_eq!(world.read("a", &[1, 2, 9]), Some((0, 2)), "what differs is forgotten");
        assert_eq!(world.sequences.free(), 17);
        world.sequences.release(0);
        assert_eq!(world.read("a", &[1, 2, 9]), Some((0, 2)), "the last token is read again");
    }

    #[test]
    fn episodes_share_the_cells_of_a_common_beginning() {
        let mut world = World::new(2, 20, true);
        world.read("a", &[1, 2, 3]);
        assert_eq!(world.sequences.known(&[1, 2, 4]), 2);
        assert_eq!(world.read("b", &[1, 2, 4]), Some((1, 2)));
        assert_eq!(world.sequences.free(), 16);
        world.sequences.clear(0, &mut world.mirror);
        assert_eq!(world.sequences.free(), 17, "what `b` holds as well is not free");
        assert_eq!(world.mirror.0[1], [1, 2, 4]);
    }

    #[test]
    fn what_was_left_alone_the_longest_is_forgotten_first() {
        let mut world = World::new(3, 9, true);
        for (episode, token) in [("a", 10), ("b", 20), ("c", 30)] {
            world.read(episode, &[token, 1, 2]);
        }
        assert_eq!(world.read("d", &[4]), None, "all are busy");
        world.sequences.release(1);
        world.sequences.release(0);
        assert_eq!(world.read("d", &[40, 1]), Some((1, 0)));
        assert_eq!(world.mirror.0, [vec![10, 1, 2], vec![40, 1], vec![30, 1, 2]]);
        world.sequences.make_room(4, &mut world.mirror);
        assert_eq!(world.mirror.0, [vec![], vec![40, 1], vec![30, 1, 2]]);
        world.sequences.make_room(5, &mut world.mirror);
        assert_eq!(world.sequences.free(), 4, "what is busy stays");
    }

    #[test]
    fn a_state_that_cannot_be_cut_is_begun_anew() {
        let mut world = World::new(2, 9, false);
        world.read("a", &[1, 2, 3]);
        world.sequences.release(0);
        assert_eq!(world.read("a", &[1, 2, 3, 4]), Some((0, 0)));
        assert_eq!(world.read("b", &[1, 2, 3, 4]), Some((1, 0)));
    }
}
