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
    /// What its report must say.
    pub(crate) says: String,
    /// What a pass of its must be flagged with; without this nothing passes.
    pub(crate) flagged: Option<String>,
}

/// Every attack, by name.
pub(crate) fn attacks() -> Vec<Attack> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verdicts/red_team/attacks");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|at| at.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| attack(file)).collect()
}

/// What a file says of its attack.
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
        says: String::new(),
        flagged: None,
    };
    for line in lines {
        match line.split_once(": ").unwrap_or((line, "")) {
            ("outcome", names) => attack.outcomes = names.split(", ").map(outcome).collect(),
            ("says", text) => attack.says = text.to_owned(),
            ("flagged", text) => attack.flagged = Some(text.to_owned()),
            (other, _) => panic!("{name}: `{other}` says nothing about an attack"),
        }
    }
    assert!(!attack.outcomes.is_empty(), "{name}: no outcome");
    attack
}

fn outcome(name: &str) -> Outcome {
    serde_json::from_value(name.into()).unwrap_or_else(|_| panic!("no such outcome: {name}"))
}
