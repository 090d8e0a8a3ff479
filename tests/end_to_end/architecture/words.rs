//! Words that must not come back: what the terms of docs/glossary.md replaced.

use std::fmt;

use Place::{File, Flag, Heading, Help, Key, Name};

/// Where a word stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    /// A name in Rust that other files can use.
    Name,
    /// The name of a file.
    File,
    Flag,
    Help,
    /// A heading of a report or a document.
    Heading,
    /// A key of a recorded file.
    Key,
}

const EVERYWHERE: &[Place] = &[Name, File, Flag, Help, Heading, Key];
/// Where a word cannot be part of ordinary prose.
const NAMES: &[Place] = &[Name, File, Flag, Heading, Key];
const RUST: &[Place] = &[Name, File];
const FLAGS: &[Place] = &[Flag, Key];
/// Not in Rust, where a line may be blank and a text clipped.
const OUTSIDE: &[Place] = &[Flag, Help, Heading, Key];

/// Words, each alone or in a row as they stand here; what to use instead; and where.
const DENIED: &[(&[&str], &str, &[Place])] = &[
    (&["mend", "mends", "mended", "mending"], "remedy, repair", EVERYWHERE),
    (&["purse", "purses"], "spend limit", EVERYWHERE),
    (&["pace", "paces"], "rate limiter", EVERYWHERE),
    (&["wire", "wires"], "client", EVERYWHERE),
    (&["crew"], "run context", EVERYWHERE),
    (&["course"], "attempt state", NAMES),
    (&["bed", "beds"], "sandboxes per attempt", EVERYWHERE),
    (&["school", "schooled"], "pretraining", EVERYWHERE),
    (&["furnish", "furnishes", "furnished"], "ensure", EVERYWHERE),
    (&["obey", "obeys", "obeyed"], "dispatch", EVERYWHERE),
    (&["trouble", "troubles"], "error", EVERYWHERE),
    (&["leave"], "permit", NAMES),
    (&["kept up"], "on success", NAMES),
    (&["say", "says", "said", "tell", "tells", "told"], "print, return, output, message", NAMES),
    (&["hear", "hears", "heard"], "read", NAMES),
    (&["thought", "thoughts"], "reasoning", NAMES),
    (&["held up"], "hidden tests pass", EVERYWHERE),
    (&["wider"], "hidden tests", NAMES),
    (&["at it"], "new", NAMES),
    (&["by it"], "cumulative", NAMES),
    (&["gone"], "elapsed", &[Heading]),
    (&["to go"], "ETA", &[Heading]),
    (&["known from before"], "cached", EVERYWHERE),
    (&["sheet", "sheets"], "table", EVERYWHERE),
    (&["thesis"], "paper", OUTSIDE),
    (&["cold0"], "cold", EVERYWHERE),
    (&["trial", "trials"], "evaluate, evaluation", EVERYWHERE),
    (&["unfit"], "unsupported", EVERYWHERE),
    (&["fits"], "supported items", RUST),
    (&["scene", "scenes"], "tool context, forward context", EVERYWHERE),
    (&["secrets"], "ground truth", RUST),
    (&["strong"], "require isolation", RUST),
    (&["workshop"], "artifact store", EVERYWHERE),
    (&["blank"], "init, randomly initialised", OUTSIDE),
    (&["inner"], "intermediate size", EVERYWHERE),
    (&["kept heads"], "num key value heads", EVERYWHERE),
    (&["width"], "hidden size", FLAGS),
    (&["stretch"], "rope scaling, row span", NAMES),
    (&["clip"], "max grad norm", OUTSIDE),
    (&["longest gradient"], "maximum gradient norm", EVERYWHERE),
    (&["kept layers"], "no recompute layers", NAMES),
    (&["pass tokens"], "micro batch tokens", NAMES),
    (&["repairs"], "eval, checkpoint evaluation", NAMES),
    (&["scale tiny"], "smoke test", EVERYWHERE),
    (&["numbers", "precision"], "dtype", FLAGS),
    (&["form", "write"], "format", &[Flag]),
    (&["again"], "force", &[Flag]),
    (&["grow"], "extend", &[Flag]),
    (&["think by"], "thinking switch", NAMES),
    (&["by"], "prompt", &[Flag]),
    (&["most", "longest"], "max", FLAGS),
    (&["each"], "per method", FLAGS),
    (&["tried"], "train methods", FLAGS),
    (&["only"], "task id", FLAGS),
    (&["teacher"], "remote", &[Key]),
    (&["student"], "local", &[Key]),
];

/// Names that stay as they are, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("cold0", "manifests record an item's path so"),
    ("only", "run.json records --task-id so; it decides whether a command resumes the run"),
    ("teacher", "run.json records the settings of a model behind a server so"),
    ("student", "run.json records the settings of a model in a file so"),
    ("read_only", "a mount that cannot be written to"),
    ("told_by", "episodes record the thinking switch so"),
    ("wider", "manifests and episodes record the hidden tests so"),
    ("wider_failed", "episodes record the failed hidden tests so"),
    ("--float32-matmul-precision", "PyTorch's name"),
    ("repairs", "log.jsonl of a training records a checkpoint evaluation so"),
];

/// A text of one line, where it stands, and what it is.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) place: Place,
    /// `file:line`, or a command and a line of its help.
    pub(super) at: String,
    pub(super) text: String,
}

/// A denied word.
struct Denial<'a> {
    found: &'a Found,
    word: &'a str,
    instead: &'a str,
}

impl fmt::Display for Denial<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { place, at, text } = self.found;
        let text = text.trim();
        write!(to, "{at}: `{}` in {place:?} `{text}`; use: {}", self.word, self.instead)
    }
}

/// Each denied word in these texts, in one line; and each exception that none of them needs.
pub(super) fn denials(texts: &[Found]) -> Vec<String> {
    let is_exception = |found: &Found| EXCEPTIONS.iter().any(|(name, _)| *name == found.text);
    let all: Vec<Denial> = texts.iter().flat_map(denied).collect();
    let shown = all.iter().filter(|denial| !is_exception(denial.found)).map(ToString::to_string);
    let is_needed = |name: &str| all.iter().any(|denial| denial.found.text == name);
    let idle = EXCEPTIONS.iter().filter(|(name, _)| !is_needed(name));
    let idle = idle.map(|(name, _)| format!("`{name}` is found no more: remove the exception"));
    shown.chain(idle).collect()
}

fn denied(found: &Found) -> impl Iterator<Item = Denial<'_>> {
    let words = words(&found.text);
    let here = DENIED.iter().filter(move |(_, _, places)| places.contains(&found.place));
    let each =
        here.flat_map(|(denied, instead, _)| denied.iter().map(move |word| (*word, *instead)));
    each.filter(move |(word, _)| {
        let parts: Vec<&str> = word.split(' ').collect();
        words.windows(parts.len()).any(|window| window == parts)
    })
    .map(move |(word, instead)| Denial { found, word, instead })
}

/// The words of a text in small letters, split at whatever is no letter and no digit,
/// and where the case changes.
fn words(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let (mut words, mut word) = (Vec::new(), String::new());
    for (index, letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| letters[before]);
        let after = letters.get(index + 1);
        let begins = letter.is_uppercase()
            && before.is_some_and(|before| {
                !before.is_uppercase() || after.is_some_and(|after| after.is_lowercase())
            });
        if (begins || !letter.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if letter.is_alphanumeric() {
            word.extend(letter.to_lowercase());
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_marks_and_where_the_case_changes() {
        for (text, expected) in [
            ("held_up", "held up"),
            ("--kept-heads <N>", "kept heads n"),
            ("HeldUp", "held up"),
            ("MAX_GRAD_NORM", "max grad norm"),
            ("HTTPClient", "http client"),
            ("Cold0", "cold0"),
            ("the thesis' tables", "the thesis tables"),
            ("95 % CI (n)", "95 ci n"),
        ] {
            assert_eq!(words(text).join(" "), expected, "{text}");
        }
    }

    #[track_caller]
    fn check(place: Place, text: &str, expected: &[&str]) {
        let found = Found { place, at: "x.rs:1".to_owned(), text: text.to_owned() };
        let words: Vec<&str> = denied(&found).map(|denial| denial.word).collect();
        assert_eq!(words, expected, "{place:?}: {text}");
    }

    #[test]
    fn whole_words_are_denied_where_they_are_denied() {
        check(Name, "mend", &["mend"]);
        check(Name, "MendedFile", &["mended"]);
        check(Name, "recommend", &[]);
        check(Help, "Recommended for discourse; the racecourse", &[]);
        check(Help, "Repair what is left out; leave it empty", &[]);
        check(Name, "Leave", &["leave"]);
        check(Name, "held_up", &["held up"]);
        check(Name, "held_back_up", &[]);
        check(Heading, "New at it", &["at it"]);
        check(Help, "Look at it", &[]);
        check(Flag, "--kept-heads", &["kept heads"]);
        check(Flag, "--only", &["only"]);
        check(Name, "only", &[]);
        check(Key, "cold0", &["cold0"]);
    }

    #[test]
    fn a_denial_names_the_place_the_word_and_what_to_use() {
        let text = |at: &str, text: &str| Found { place: Key, at: at.into(), text: text.into() };
        let mut texts = vec![text("x.rs:7", "mend_by")];
        let exceptions = EXCEPTIONS.iter().map(|(name, _)| text("y.rs:1", name));
        texts.extend(exceptions);
        let expected = "x.rs:7: `mend` in Key `mend_by`; use: remedy, repair";
        assert_eq!(denials(&texts), [expected]);
        texts.pop();
        let idle = EXCEPTIONS.last().unwrap().0;
        let idle = format!("`{idle}` is found no more: remove the exception");
        assert_eq!(denials(&texts), [expected, &idle]);
    }

    #[test]
    fn no_word_is_denied_twice_and_none_is_its_own_replacement() {
        let mut all: Vec<&str> = DENIED.iter().flat_map(|(words, ..)| *words).copied().collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{all:?}");
        for (denied, instead, _) in DENIED {
            let instead = words(instead);
            assert!(denied.iter().all(|word| !instead.contains(&(*word).to_owned())), "{denied:?}");
        }
    }
}
