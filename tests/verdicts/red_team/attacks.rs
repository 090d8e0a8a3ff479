//! What hostile and broken candidates do, a file each: the body of a method
//! below lines that say what must come of it.

use std::fs;
use std::path::Path;

use fixfly_runtime::Outcome;

/// One file of `attacks/`.
pub(crate) struct Attack {
    /// The file's name and its first line.
    pub(crate) name: String,
    /// The method's body.
    pub(crate) body: String,
    /// The outcomes it may have.
    pub(crate) outcomes: Vec<Outcome>,
    /// Text that the observation must contain.
    pub(crate) observation: String,
    /// The flag that a pass must have; without a flag nothing may pass.
    pub(crate) flagged: Option<String>,
}

/// Every attack, by name.
pub(crate) fn attacks() -> Vec<Attack> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verdicts/red_team/attacks");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|at| at.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| attack(file)).collect()
}

/// Reads an attack from its file.
pub(crate) fn attack(file: &Path) -> Attack {
    let text = fs::read_to_string(file).unwrap();
    let (head, body) = text.split_once("\n\n").expect("a head, an empty line and a body");
    let name = file.file_stem().unwrap().to_string_lossy();
    let mut lines = head.lines().map(|line| line.strip_prefix("# ").expect("a comment"));
    let title = lines.next().unwrap_or_default();
    let mut attack = Attack {
        name: format!("{name}: {title}"),
        body: body.to_owned(),
        outcomes: Vec::new(),
        observation: String::new(),
        flagged: None,
    };
    for line in lines {
        match line.split_once(": ").unwrap_or((line, "")) {
            ("outcome", names) => attack.outcomes = names.split(", ").map(outcome).collect(),
            ("observation", text) => attack.observation = text.to_owned(),
            ("flagged", text) => attack.flagged = Some(text.to_owned()),
            (other, _) => panic!("{name}: `{other}` is not a key of an attack"),
        }
    }
    assert!(!attack.outcomes.is_empty(), "{name}: no outcome");
    attack
}

fn outcome(name: &str) -> Outcome {
    serde_json::from_value(name.into()).unwrap_or_else(|_| panic!("no such outcome: {name}"))
}
