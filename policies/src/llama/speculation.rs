//! Prompt lookup: the next tokens of an answer are guessed from what followed the same
//! tokens earlier in the conversation, and one step verifies several guesses.
//!
//! A repair copies most of what its prompt shows. Each token is sampled as it would be
//! without a guess; a guess only decides whether a row that is already decoded can be
//! used. So guesses change how long an answer takes, and never its distribution.

/// Fewest tokens that must match before a guess.
const SHORTEST: usize = 2;
/// Matches longer than this are equally good.
const LONGEST: usize = 32;
/// What a pass over the weights costs beside the tokens in it, in tokens. An assumption:
/// it decides how long a draft may be, and no output depends on it.
const PASS: f64 = 4.0;
/// Share of guesses that are expected to be right before any was checked.
const FIRST_ACCURACY: f64 = 0.7;
/// Weight of the latest guess in this share.
const LATEST: f64 = 0.2;

/// What is expected to follow the last token of an answer in progress.
pub(super) struct Guess {
    tokens: Vec<i32>,
    /// How many of them this step verifies.
    drafted: usize,
    /// How many of them were right.
    right: usize,
    /// Share of recent guesses that were right.
    accuracy: f64,
    /// Sums over all steps.
    drafted_tokens: usize,
    accepted_tokens: usize,
}

impl Default for Guess {
    fn default() -> Self {
        Guess {
            tokens: Vec::new(),
            drafted: 0,
            right: 0,
            accuracy: FIRST_ACCURACY,
            drafted_tokens: 0,
            accepted_tokens: 0,
        }
    }
}

impl Guess {
    /// Guesses at most `limit` tokens that follow these.
    pub(super) fn renew(&mut self, tokens: &[i32], limit: usize) {
        self.tokens.clear();
        self.tokens.extend_from_slice(lookup(tokens, limit));
        (self.drafted, self.right) = (0, 0);
    }

    /// Drafts at most `length` tokens, which this step verifies.
    pub(super) fn draft(&mut self, length: usize) -> &[i32] {
        let draft = &self.tokens[..length.min(self.tokens.len())];
        self.drafted = draft.len();
        self.drafted_tokens += draft.len();
        draft
    }

    /// Compares a sampled token with the guess. Returns whether it is the next one of the
    /// draft. What was guessed and not drafted counts for the accuracy, too, so that
    /// drafts start again once guesses are right.
    pub(super) fn check(&mut self, token: i32) -> bool {
        let Some(expected) = self.tokens.get(self.right) else { return false };
        let is_right = *expected == token;
        self.accuracy += LATEST * (f64::from(u8::from(is_right)) - self.accuracy);
        let is_accepted = is_right && self.right < self.drafted;
        if is_accepted {
            self.right += 1;
            self.accepted_tokens += 1;
        }
        is_accepted
    }

    /// Tokens drafted in all steps, and how many of them were accepted.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.drafted_tokens, self.accepted_tokens)
    }

    /// Tokens that a step with a draft of at most `length` is expected to yield.
    fn expected(&self, length: usize) -> f64 {
        let mut chance = 1.0;
        let mut tokens = 1.0;
        for _ in 0..length.min(self.tokens.len()) {
            chance *= self.accuracy;
            tokens += chance;
        }
        tokens
    }
}

/// The draft length with the most expected tokens for the cost of the step. It is 0 where
/// guesses are often wrong or so many answers are decoded that drafts would cost more than
/// they save. If `is_level`, all answers get equally many rows; `passes` is the number of
/// passes that such a step takes.
pub(super) fn draft_length(
    guesses: &[&Guess],
    limit: usize,
    passes: usize,
    is_level: bool,
) -> usize {
    let value = |length: usize| {
        let drafted =
            |guess: &Guess| if is_level { length } else { guess.tokens.len().min(length) };
        let rows: usize = guesses.iter().map(|guess| 1 + drafted(guess)).sum();
        let tokens: f64 = guesses.iter().map(|guess| guess.expected(length)).sum();
        tokens / (PASS * passes as f64 + rows as f64)
    };
    let longest = guesses.iter().map(|guess| guess.tokens.len()).max().unwrap_or_default();
    let mut best = 0;
    for length in 1..=longest.min(limit) {
        if value(length) > value(best) {
            best = length;
        }
    }
    best
}

/// At most `limit` tokens that followed the same tokens before: after the longest match,
/// the latest one of several.
fn lookup(tokens: &[i32], limit: usize) -> &[i32] {
    let mut best = (0, tokens.len());
    let ends = if limit == 0 { 0..0 } else { 1..tokens.len() };
    for end in ends.rev() {
        let matching = common_suffix(&tokens[..end], tokens);
        if matching > best.0 {
            best = (matching, end);
        }
        if matching == LONGEST {
            break;
        }
    }
    match best {
        (matching, end) if matching >= SHORTEST => &tokens[end..tokens.len().min(end + limit)],
        _ => &[],
    }
}

/// The length of the common suffix of two lists, at most `LONGEST`.
fn common_suffix(one: &[i32], other: &[i32]) -> usize {
    let pairs = one.iter().rev().zip(other.iter().rev()).take(LONGEST);
    pairs.take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_is_what_followed_the_longest_match() {
        #[track_caller]
        fn check(tokens: &[i32], limit: usize, expected: &[i32]) {
            assert_eq!(lookup(tokens, limit), expected);
        }
        check(&[], 4, &[]);
        check(&[1], 4, &[]);
        check(&[1, 2, 3, 4, 1, 2], 4, &[3, 4, 1, 2]);
        check(&[1, 2, 3, 4, 1, 2], 2, &[3, 4]);
        check(&[1, 2, 3, 4, 1, 2], 0, &[]);
        // One token is no match.
        check(&[1, 2, 3, 4, 2], 4, &[]);
        // The longest match, though a later one is shorter.
        check(&[9, 1, 2, 5, 1, 2, 6, 9, 1, 2], 1, &[5]);
        // The latest of equally long ones.
        check(&[1, 2, 5, 1, 2, 6, 1, 2], 1, &[6]);
        // A repetition continues.
        check(&[7, 7, 7], 3, &[7]);
    }

    /// A guess of these tokens with such an accuracy.
    fn guess(tokens: &[i32], accuracy: f64) -> Guess {
        Guess { tokens: tokens.to_vec(), accuracy, ..Guess::default() }
    }

    #[test]
    fn a_draft_is_accepted_up_to_the_first_other_token() {
        let mut guess = guess(&[1, 2, 3, 4], 0.5);
        assert_eq!(guess.draft(3), [1, 2, 3]);
        assert_eq!([1, 2, 9].map(|token| guess.check(token)), [true, true, false]);
        assert_eq!(guess.counts(), (3, 2));
        assert_eq!(guess.draft(4).len(), 4);
        guess.renew(&[1, 2, 3, 1, 2], 8);
        assert!(!guess.check(3), "it was not drafted");
        assert_eq!(guess.counts(), (7, 2));
    }

    #[test]
    fn drafts_get_shorter_after_rejections_and_longer_again() {
        let mut guess = guess(&[1; 8], 0.9);
        let length = |guess: &Guess| draft_length(&[guess], 8, 1, false);
        let confident = length(&guess);
        assert!(confident >= 4, "{confident}");
        for _ in 0..2 {
            guess.check(0);
        }
        let unsure = length(&guess);
        assert!(unsure < confident, "{unsure}");
        for _ in 0..20 {
            guess.check(0);
        }
        assert_eq!(length(&guess), 0);
        for _ in 0..20 {
            guess.check(1);
        }
        assert!(length(&guess) >= confident);
    }

    #[test]
    fn a_wide_batch_has_no_drafts() {
        let likely = guess(&[1; 8], 0.9);
        let lengths = [1, 4, 16, 64].map(|count| draft_length(&vec![&likely; count], 8, 1, true));
        assert!(lengths.is_sorted_by(|one, other| one >= other), "{lengths:?}");
        assert!(lengths[0] > 4 && lengths[3] == 0, "{lengths:?}");
        assert_eq!(draft_length(&[&likely], 3, 1, true), 3, "the limit holds");
        assert_eq!(draft_length(&[&guess(&[], 0.9)], 8, 1, true), 0, "nothing to draft");
        assert_eq!(draft_length(&[], 8, 0, true), 0);
    }
}
