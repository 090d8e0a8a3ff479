//! The manifest of a benchmark: facts about its items, never source text.
//!
//! It has one JSON line for the header and one for each item, in the order of tasks. Source
//! text always comes from the user's own copy, and every method is checked against the hash
//! recorded here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use fixfly_runtime::{BenchmarkError, DescribedBy, Split, sha256};
use serde::{Deserialize, Serialize};

/// Version of the manifest's format.
const SCHEMA: u32 = 1;
/// What is between the paths of a joint item's id.
pub(crate) const AND: char = '+';
/// Version of a manifest of joint items.
const JOINT_SCHEMA: u32 = 2;

/// A benchmark's items, and where they come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The first line.
    pub header: Header,
    /// The other lines.
    pub items: Vec<Item>,
}

/// What the items are based on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of the format.
    pub schema: u32,
    /// The benchmark's name.
    pub benchmark: String,
    /// Where the source comes from.
    pub source: Source,
    /// `django`, `unittest` or `pytest`.
    pub framework: String,
    /// The Python version with which the facts were found.
    pub python: String,
    /// Number of functions and methods that were left out, by reason.
    pub left_out: BTreeMap<String, usize>,
    /// Number of functions and methods that have not been examined; 0 in a finished manifest.
    pub unexamined: usize,
    /// Number of tests that were left out, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tests_left_out: BTreeMap<String, usize>,
    /// Whether prompts hide copies of a method's body in its own file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mask_copies: bool,
    /// The number of functions and methods of each item, if it is not one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<usize>,
}

/// Where source text comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Name of the package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the archive, or of all Python files if there is no archive.
    pub sha256: String,
}

/// One function or method, or several of one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// `django/utils/html.py::MLStripper.get_data`; of a function `file.py::name`, of a
    /// property's setter `file.py::Class.name.setter`; of several `file.py::Class.name+other`.
    pub id: String,
    /// Its split.
    pub split: Split,
    /// Byte span of each method in the file, without decorators: start and end.
    #[serde(rename = "span", with = "one_or_more")]
    pub spans: Vec<[usize; 2]>,
    /// The first 16 hexadecimal digits of the SHA-256 of those bytes.
    pub hash: String,
    /// The path that its candidates take.
    pub path: RunPath,
    /// The item tests, by test class.
    pub tests: Tests,
    /// The hidden tests: other tests that fail if the method is missing.
    #[serde(default, skip_serializing_if = "Tests::is_empty")]
    pub wider: Tests,
    /// CPU seconds of the item tests on the cold path, with the original.
    pub seconds: f64,
    /// Where its description comes from.
    pub described_by: DescribedBy,
    /// Lines of the body that are neither blank nor comment.
    pub lines: usize,
    /// Number of value mutants that the tests killed, and of those made.
    pub mutants: [usize; 2],
    /// Where else in the project the code of its body stands, as `path:line`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<String>,
}

/// How a candidate runs. A verdict records it, too: only `Cold` confirms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunPath {
    /// Swapped into a process that has already imported the project.
    Hot,
    /// Imported with the project, in a process that had not imported it.
    #[serde(rename = "cold0")]
    Cold,
}

/// Test ids, grouped by class to save space.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tests(BTreeMap<String, Vec<String>>);

impl Tests {
    /// All ids, in a fixed order.
    pub fn ids(&self) -> Vec<String> {
        let joined = |class: &String, name: &String| match class.as_str() {
            "" => name.clone(),
            class if class.ends_with(".py") || class.contains("::") => format!("{class}::{name}"),
            class => format!("{class}.{name}"),
        };
        self.0
            .iter()
            .flat_map(|(class, names)| names.iter().map(move |n| joined(class, n)))
            .collect()
    }

    /// The number of ids.
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Whether there are no ids.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<S: AsRef<str>> FromIterator<S> for Tests {
    fn from_iter<I: IntoIterator<Item = S>>(ids: I) -> Self {
        let mut tests = BTreeMap::<String, Vec<String>>::new();
        for id in ids {
            let id = id.as_ref();
            let name_end = id.find('[').unwrap_or(id.len());
            let cut = match id[..name_end].rfind("::") {
                Some(at) => Some((at, at + 2)),
                None => id[..name_end].rfind('.').map(|at| (at, at + 1)),
            };
            let (class, name) = cut.map_or(("", id), |(end, start)| (&id[..end], &id[start..]));
            tests.entry(class.to_string()).or_default().push(name.to_string());
        }
        Tests(tests)
    }
}

impl Item {
    /// The file and the path in it: the two parts of its id.
    pub fn place(&self) -> (&str, &str) {
        self.id.split_once("::").unwrap_or((&self.id, ""))
    }

    /// The path of each of its functions and methods.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.place().1.split(AND)
    }
}

/// The first 16 hexadecimal digits of a text's SHA-256.
pub(crate) fn short_hash(bytes: impl AsRef<[u8]>) -> String {
    sha256(bytes)[..16].to_string()
}

impl Manifest {
    /// Parses a manifest; messages call it `name`.
    ///
    /// # Errors
    /// One sentence that names the line and the fault.
    pub fn parse(text: &str, name: &str) -> Result<Self, BenchmarkError> {
        let broken = |line: usize, why: String| {
            BenchmarkError::Broken(format!("{name}, line {line}: {why}; build the benchmark again"))
        };
        let mut lines = text.lines().enumerate();
        let first = lines.next().map_or("", |(_, line)| line);
        let known: Version = serde_json::from_str(first).map_err(|e| broken(1, e.to_string()))?;
        if ![SCHEMA, JOINT_SCHEMA].contains(&known.schema) {
            let versions = format!("{SCHEMA} or {JOINT_SCHEMA}");
            let why = format!("this is a manifest of version {}, not {versions}", known.schema);
            return Err(broken(1, why));
        }
        let header: Header = serde_json::from_str(first).map_err(|e| broken(1, e.to_string()))?;
        if header.schema != schema(header.span) {
            let why = format!("version {} does not fit its `span`", header.schema);
            return Err(broken(1, why));
        }
        let count = header.span.unwrap_or(1);
        let item = |(at, line): (usize, &str)| {
            let item: Item =
                serde_json::from_str(line).map_err(|e| broken(at + 1, e.to_string()))?;
            match item.spans.len() == count && (count == 1 || item.paths().count() == count) {
                true => Ok(item),
                false => Err(broken(at + 1, format!("{} is not {count} methods", item.id))),
            }
        };
        let items =
            lines.filter(|(_, line)| !line.is_empty()).map(item).collect::<Result<_, _>>()?;
        Ok(Manifest { header, items })
    }

    /// Reads a manifest from a file.
    ///
    /// # Errors
    /// One sentence that names the file, the line and the fault.
    pub fn read(path: &Path) -> Result<Self, BenchmarkError> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| {
            BenchmarkError::Broken(match error.kind() {
                ErrorKind::NotFound => format!(
                    "{name} does not exist; name a folder that `fixfly bench build` made with --benchmark-dir"
                ),
                _ => format!("{name} cannot be read: {error}"),
            })
        })?;
        Self::parse(&text, &name)
    }

    /// Puts these items on the cold path.
    pub(crate) fn put_on_cold_path(&mut self, ids: &BTreeSet<&str>) {
        let items = self.items.iter_mut().filter(|item| ids.contains(item.id.as_str()));
        items.for_each(|item| item.path = RunPath::Cold);
    }

    /// The manifest as text; the same facts give the same bytes.
    pub fn text(&self) -> String {
        let mut text = line(&self.header);
        text.extend(self.items.iter().map(line));
        text
    }
}

/// The version of a manifest whose items have `span` functions and methods each.
pub(crate) fn schema(span: Option<usize>) -> u32 {
    if span.is_some() { JOINT_SCHEMA } else { SCHEMA }
}

/// One value as itself, several as a list.
mod one_or_more {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One([usize; 2]),
        More(Vec<[usize; 2]>),
    }

    pub(super) fn serialize<S: Serializer>(spans: &[[usize; 2]], to: S) -> Result<S::Ok, S::Error> {
        let spans = match spans {
            [one] => OneOrMore::One(*one),
            more => OneOrMore::More(more.to_vec()),
        };
        spans.serialize(to)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(
        from: D,
    ) -> Result<Vec<[usize; 2]>, D::Error> {
        Ok(match OneOrMore::deserialize(from)? {
            OneOrMore::One(one) => vec![one],
            OneOrMore::More(more) => more,
        })
    }
}

/// Serialises plain data as one line of JSON.
pub(crate) fn line(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value);
    text.unwrap_or_else(|e| unreachable!("plain data is always JSON: {e}")) + "\n"
}

/// Writes a file atomically.
///
/// # Errors
/// One sentence that names the file.
pub(crate) fn write_whole(file: &Path, text: &str) -> Result<(), BenchmarkError> {
    fixfly_runtime::write_whole(file, text).map_err(|why| {
        BenchmarkError::Broken(format!("{} cannot be written: {why}", file.display()))
    })
}

#[derive(Deserialize)]
struct Version {
    schema: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ids: &[&str]) {
        assert_eq!(ids.iter().collect::<Tests>().ids(), ids);
    }

    #[test]
    fn ids_survive_being_kept_by_class() {
        check(&["a.tests.B.test_c", "a.tests.B.test_d", "a.tests.E.test_f"]);
        check(&["tests/test_a.py::test_d[1.5-a]", "tests/test_a.py::TestB::test_c[x::y]"]);
        check(&["test_alone"]);
    }

    #[test]
    fn a_manifest_of_another_version_is_refused_with_its_place() {
        let refused = |text: &str| Manifest::parse(text, "m.jsonl").unwrap_err().to_string();
        assert_eq!(
            refused(r#"{"schema": 3}"#),
            "m.jsonl, line 1: this is a manifest of version 3, not 1 or 2; build the benchmark again"
        );
        assert!(refused("").starts_with("m.jsonl, line 1: EOF"));
    }

    const JOINT: &str = r#"{"schema":2,"benchmark":"python","source":{"package":"p","version":"1","sha256":"0"},"framework":"pytest","python":"3.11.7","left_out":{},"unexamined":0,"span":2}
{"id":"a.py::A.f+g","split":"benchmark","span":[[0,9],[20,29]],"hash":"0","path":"cold0","tests":{"test_a.py":["test_f"]},"seconds":0.1,"described_by":"docstring","lines":3,"mutants":[1,2]}
"#;

    #[test]
    fn joint_items_have_a_version_of_their_own() {
        let manifest = Manifest::parse(JOINT, "m").unwrap();
        assert_eq!(manifest.text(), JOINT);
        assert_eq!(manifest.items[0].spans, [[0, 9], [20, 29]]);
        assert_eq!(manifest.items[0].paths().collect::<Vec<_>>(), ["A.f", "g"]);
        let mut hot = Manifest::parse(&JOINT.replace("\"cold0\"", "\"hot\""), "m").unwrap();
        hot.put_on_cold_path(&BTreeSet::from(["a.py::A.f"]));
        assert_eq!(hot.items[0].path, RunPath::Hot);
        hot.put_on_cold_path(&BTreeSet::from(["a.py::A.f+g"]));
        assert_eq!(hot.items[0].path, RunPath::Cold);
        let check = |from: &str, to: &str, expected: &str| {
            let error = Manifest::parse(&JOINT.replace(from, to), "m").unwrap_err().to_string();
            assert_eq!(error, format!("{expected}; build the benchmark again"));
        };
        check("\"schema\":2", "\"schema\":1", "m, line 1: version 1 does not fit its `span`");
        check(",\"span\":2", "", "m, line 1: version 2 does not fit its `span`");
        check("[[0,9],[20,29]]", "[0,9]", "m, line 2: a.py::A.f+g is not 2 methods");
        check("A.f+g", "A.f", "m, line 2: a.py::A.f is not 2 methods");
    }
}
