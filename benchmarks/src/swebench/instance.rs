//! Reads rows of SWE-bench tables from the file formats in use.

use std::collections::BTreeMap;
use std::path::Path;

use fixfly_runtime::{BenchmarkError, Host, InstanceSpec, LONE_SURROGATE, replace_lone_surrogates};
use regex::Regex;
use serde_json::{Map, Value};

use super::table::{self, Table};
use crate::OpenError;

/// One issue of a repository, with the tests that decide whether it is resolved. It
/// contains ground truth: a policy sees only the statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// `django__django-16527`.
    pub id: String,
    /// `django/django`.
    pub repo: String,
    /// The project's version, which determines its environment.
    pub version: String,
    /// The commit at which the issue was open.
    pub base_commit: String,
    /// The commit whose requirements the environment has; the base commit if the table does
    /// not name one.
    pub environment_commit: String,
    /// The issue's text.
    pub statement: String,
    /// The authors' fix.
    pub patch: String,
    /// The authors' tests.
    pub test_patch: String,
    /// Tests that the fix makes pass.
    pub fail_to_pass: Vec<String>,
    /// Tests that pass before and after.
    pub pass_to_pass: Vec<String>,
    /// All other columns, unchanged.
    pub more: Map<String, Value>,
}

impl Instance {
    /// Names of images that contain its environment, the most specific first: those in its
    /// row, then the official one.
    pub fn images(&self) -> Vec<String> {
        let field_text = |field: &str| self.more.get(field).and_then(Value::as_str);
        let named = ["docker_image", "image_name"].into_iter().filter_map(field_text);
        let pro = field_text("dockerhub_tag").map(|tag| format!("jefzda/sweap-images:{tag}"));
        // An image's name cannot contain two underscores in a row.
        let id = self.id.to_lowercase().replace("__", "_1776_");
        let official = format!("swebench/sweb.eval.x86_64.{id}:latest");
        let images = named.map(str::to_string).chain(pro).filter(|name| !name.is_empty());
        images.chain([official]).collect()
    }
}

/// The instances that a specification selects, in the table's order.
///
/// # Errors
/// [`OpenError::Usage`] if it names no table or selects nothing in it.
pub fn selected(spec: &InstanceSpec) -> Result<Vec<Instance>, OpenError> {
    let usage = |why: String| Err(OpenError::Usage(why));
    let Some(file) = &spec.table else {
        return usage("name the table of instances with --instances FILE".into());
    };
    let pattern = spec.filter.as_deref().map(Regex::new).transpose();
    let pattern = pattern.map_err(|why| OpenError::Usage(format!("--filter: {why}")))?;
    let table = read(file)?;
    let shown = file.display();
    let is_missing = |id: &&String| !table.rows.iter().any(|one| one.id == **id);
    if let Some(missing) = spec.ids.iter().find(is_missing) {
        let row = table.unreadable.iter().find(|row| row.id.as_ref() == Some(missing));
        return usage(match row {
            Some(row) => row.why.clone(),
            None => format!("{shown}: there is no instance {missing}"),
        });
    }
    table.warn();
    let mut all = table.rows;
    all.retain(|instance| {
        spec.repo.as_ref().is_none_or(|repo| instance.repo == *repo)
            && spec.project_version.as_ref().is_none_or(|version| instance.version == *version)
            && (spec.ids.is_empty() || spec.ids.contains(&instance.id))
            && pattern.as_ref().is_none_or(|regex| regex.is_match(&instance.id))
    });
    let (from, to) = spec.slice.unwrap_or((0, usize::MAX));
    let all: Vec<_> = all.into_iter().take(to).skip(from).collect();
    match all.is_empty() {
        true => usage(format!("these flags select no instance of {shown}")),
        false => Ok(all),
    }
}

/// For each instance, the first of its images that the host has or can pull.
pub async fn offered_images(instances: &[Instance], host: &dyn Host) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for instance in instances {
        for image in instance.images() {
            if host.offers(&image).await {
                found.insert(instance.id.clone(), image);
                break;
            }
        }
    }
    found
}

/// Reads the rows of a table: JSON lines, JSON, CSV or Parquet. A row that cannot be read is
/// left out and reported.
///
/// # Errors
/// One sentence that names the file, the row, the column and the remedy.
pub fn read(file: &Path) -> Result<Table<Instance>, BenchmarkError> {
    let Table { rows, unreadable } = table::read(file, instance)?;
    let broken = |why: String| BenchmarkError::Broken(format!("{}{why}", file.display()));
    let mut instances: Vec<Instance> = Vec::with_capacity(rows.len());
    for (place, instance) in rows {
        match instances.iter().find(|there| there.id == instance.id) {
            None => instances.push(instance),
            Some(there) if *there == instance => {}
            Some(_) => {
                let id = instance.id;
                return Err(broken(format!(
                    "{place}: another row before it is also named {id}; leave one out"
                )));
            }
        }
    }
    match instances.is_empty() {
        true => Err(broken(": it holds no instance".into())),
        false => Ok(Table { rows: instances, unreadable }),
    }
}

fn instance(mut row: Map<String, Value>) -> Result<Instance, String> {
    let id = text(&mut row, &["instance_id"])?;
    let named = |why: String| format!("{id}: {why}");
    let repo = text(&mut row, &["repo"]).map_err(named)?;
    if repo.split('/').count() != 2
        || repo.split('/').any(|part| part.is_empty() || part.starts_with('.'))
    {
        return Err(format!("{id}: `repo` is {repo:?}; it must be OWNER/NAME"));
    }
    let base_commit = text(&mut row, &["base_commit"]).map_err(named)?;
    let environment_commit = text(&mut row, &["environment_setup_commit"]);
    for (field, commit) in [
        ("base_commit", Some(&base_commit)),
        ("environment_setup_commit", environment_commit.as_ref().ok()),
    ] {
        if let Some(commit) = commit.filter(|commit| !is_commit(commit)) {
            return Err(format!(
                "{id}: `{field}` is {commit:?}; it must be a commit's hexadecimal hash"
            ));
        }
    }
    if id.is_empty()
        || id.starts_with('.')
        || !id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    {
        return Err(format!(
            "{id:?}: `instance_id` may hold letters, digits, `-`, `_` and `.` alone"
        ));
    }
    let statement = text(&mut row, &["problem_statement"]).map_err(named)?;
    let [patch, test_patch] = [&["patch", "fix_patch", "golden_patch"][..], &["test_patch"]]
        .map(|columns| text(&mut row, columns).and_then(|patch| whole(patch, columns[0])));
    Ok(Instance {
        environment_commit: environment_commit.unwrap_or_else(|_| base_commit.clone()),
        version: text(&mut row, &["version"]).unwrap_or_default(),
        statement: statement.replace(LONE_SURROGATE, "\u{fffd}"),
        patch: patch.map_err(named)?,
        test_patch: test_patch.map_err(named)?,
        fail_to_pass: names(&mut row, &["FAIL_TO_PASS", "fail_to_pass"]).map_err(named)?,
        pass_to_pass: names(&mut row, &["PASS_TO_PASS", "pass_to_pass"]).map_err(named)?,
        id,
        repo,
        base_commit,
        more: rest(row),
    })
}

/// The other columns.
fn rest(row: Map<String, Value>) -> Map<String, Value> {
    let mut rest = Value::Object(row);
    replace_lone_surrogates(&mut rest);
    match rest {
        Value::Object(rest) => rest,
        _ => Map::new(),
    }
}

/// A text whose bytes matter, without half characters.
pub(super) fn whole(text: String, column: &str) -> Result<String, String> {
    match text.contains(LONE_SURROGATE) {
        true => Err(format!(
            "`{column}` has a lone surrogate (`\\ud800` to `\\udfff`): bytes that are not UTF-8 \
             were lost when the table was written"
        )),
        false => Ok(text),
    }
}

fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn take(row: &mut Map<String, Value>, fields: &[&str]) -> Option<Value> {
    fields.iter().find_map(|field| row.remove(*field))
}

fn text(row: &mut Map<String, Value>, fields: &[&str]) -> Result<String, String> {
    match take(row, fields) {
        Some(Value::String(text)) => Ok(text),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(Value::Null) | None => Err(format!("there is no `{}`", fields[0])),
        Some(_) => Err(format!("`{}` is no text", fields[0])),
    }
}

/// A list of names. Tables store it as a list, or as text that contains a list in JSON's or
/// Python's format.
fn names(row: &mut Map<String, Value>, fields: &[&str]) -> Result<Vec<String>, String> {
    let wrong = || format!("`{}` is no list of test names", fields[0]);
    let list = match take(row, fields) {
        None => return Err(format!("there is no `{}`", fields[0])),
        Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(Vec::new()),
        Some(Value::String(text)) => match serde_json::from_str(&text) {
            Ok(list) => list,
            Err(_) => return python_list(&text).ok_or_else(wrong),
        },
        Some(list) => list,
    };
    let names: Vec<String> = serde_json::from_value(list).map_err(|_| wrong())?;
    names.into_iter().map(|name| whole(name, fields[0])).collect()
}

/// `['a', "b"]`, as Python prints a list of strings.
fn python_list(text: &str) -> Option<Vec<String>> {
    let inside = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    let mut names = Vec::new();
    let mut letters = inside.chars().peekable();
    loop {
        while letters.next_if(|c| c.is_whitespace() || *c == ',').is_some() {}
        let Some(quote) = letters.next() else { return Some(names) };
        if quote != '\'' && quote != '"' {
            return None;
        }
        let mut name = String::new();
        loop {
            match letters.next()? {
                '\\' => name.push(escape(&mut letters)?),
                letter if letter == quote => break,
                letter => name.push(letter),
            }
        }
        names.push(name);
    }
}

/// The character of an escape in a Python string, after its backslash.
fn escape(letters: &mut impl Iterator<Item = char>) -> Option<char> {
    let digits = match letters.next()? {
        'n' => return Some('\n'),
        't' => return Some('\t'),
        'r' => return Some('\r'),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        other => return Some(other),
    };
    let digits: String = letters.take(digits).collect();
    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row() -> Value {
        json!({ "instance_id": "a__b-1", "repo": "a/b", "base_commit": "0123456789abcdef",
            "problem_statement": "It breaks.", "patch": "p", "test_patch": "t", "version": "1.0",
            "FAIL_TO_PASS": "[\"x (m.C)\"]", "PASS_TO_PASS": [], "difficulty": "15 min" })
    }

    /// The instances, or the sentence about the first row that cannot be read.
    fn read_text(text: &str) -> Result<Vec<Instance>, String> {
        let table = read_table(text)?;
        match table.unreadable.into_iter().next() {
            Some(row) => Err(row.why),
            None => Ok(table.rows),
        }
    }

    fn read_table(text: &str) -> Result<Table<Instance>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows");
        std::fs::write(&file, text).unwrap();
        let named = |text: &str| text.replace(&file.display().to_string(), "FILE");
        let mut table = read(&file).map_err(|e| named(&e.to_string()))?;
        table.unreadable.iter_mut().for_each(|row| row.why = named(&row.why));
        Ok(table)
    }

    #[test]
    fn tables_are_read_in_every_form_people_have() {
        let line = row().to_string();
        let expected = read_text(&line).unwrap();
        assert_eq!(expected[0].fail_to_pass, ["x (m.C)"]);
        assert_eq!(expected[0].more["difficulty"], "15 min");
        assert_eq!(expected[0].environment_commit, "0123456789abcdef");
        for text in [
            format!("{line}\n\n"),
            json!([row()]).to_string(),
            json!({ "a__b-1": row() }).to_string(),
        ] {
            assert_eq!(read_text(&text).unwrap(), expected, "{text}");
        }
        let mut pro = row();
        for (old, new) in [("FAIL_TO_PASS", "fail_to_pass"), ("PASS_TO_PASS", "pass_to_pass")] {
            let list = pro.as_object_mut().unwrap().remove(old).unwrap();
            pro[new] = list;
        }
        pro["fail_to_pass"] = json!("['x (m.C)']");
        assert_eq!(read_text(&pro.to_string()).unwrap(), expected);
    }

    #[test]
    fn a_fault_is_named_with_its_place() {
        let check = |change: &dyn Fn(&mut Value), expected: &str| {
            let mut wrong = row();
            change(&mut wrong);
            let text = format!("{}\n{wrong}\n", {
                let mut one = row();
                one["instance_id"] = json!("z");
                one
            });
            assert_eq!(read_text(&text).unwrap_err(), expected);
        };
        check(
            &|row| {
                row.as_object_mut().unwrap().remove("test_patch");
            },
            "FILE:2: a__b-1: there is no `test_patch`",
        );
        check(
            &|row| row["FAIL_TO_PASS"] = json!("x"),
            "FILE:2: a__b-1: `FAIL_TO_PASS` is no list of test names",
        );
        check(
            &|row| row["repo"] = json!("../b/c"),
            "FILE:2: a__b-1: `repo` is \"../b/c\"; it must be OWNER/NAME",
        );
        check(
            &|row| row["base_commit"] = json!("--help"),
            "FILE:2: a__b-1: `base_commit` is \"--help\"; it must be a commit's hexadecimal hash",
        );
        check(
            &|row| row["instance_id"] = json!("../x"),
            "FILE:2: \"../x\": `instance_id` may hold letters, digits, `-`, `_` and `.` alone",
        );
        check(
            &|row| {
                row["instance_id"] = json!("z");
                row["patch"] = json!("q");
            },
            "FILE:2: another row before it is also named z; leave one out",
        );
        check(
            &|row| row["patch"] = json!("a\u{fdd0}"),
            "FILE:2: a__b-1: `patch` has a lone surrogate (`\\ud800` to `\\udfff`): bytes that \
             are not UTF-8 were lost when the table was written",
        );
        assert_eq!(
            read_text("{\n").unwrap_err(),
            "FILE:1:1: the line is not JSON: EOF while parsing an object"
        );
        assert_eq!(read_text("").unwrap_err(), "FILE: it holds no instance");
    }

    #[test]
    fn a_bad_row_costs_itself_and_a_bad_column_nothing() {
        let (good, mut other, mut bad) = (row(), row(), row());
        other["instance_id"] = json!("a__b-2");
        other["created_at"] = json!("CREATED");
        other["problem_statement"] = json!("2 HALF.");
        bad["instance_id"] = json!("a__b-3");
        bad["patch"] = json!("HALF");
        let text = format!("\u{feff}{good}\n{other}\n{bad}\n{good}\nx\n")
            .replace("\"CREATED\"", "NaN")
            .replace("HALF", "\\udcff");
        let Table { rows, unreadable } = read_table(&text).unwrap();
        let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids, ["a__b-1", "a__b-2"]);
        assert_eq!(
            (rows[1].statement.as_str(), &rows[1].more["created_at"]),
            ("2 \u{fffd}.", &Value::Null)
        );
        let bad: Vec<_> = unreadable.iter().map(|row| (row.id.as_deref(), &row.why[..8])).collect();
        assert_eq!(bad, [(Some("a__b-3"), "FILE:3: "), (None, "FILE:5:1")]);
    }

    #[test]
    fn images_are_those_of_the_row_and_the_official_one() {
        let check = |field: &str, name: &str, expected: &[&str]| {
            let mut instance = row();
            instance[field] = json!(name);
            assert_eq!(read_text(&instance.to_string()).unwrap()[0].images(), expected);
        };
        let official = "swebench/sweb.eval.x86_64.a_1776_b-1:latest";
        check("more", "", &[official]);
        check("image_name", "swerebench/a:1", &["swerebench/a:1", official]);
        check("docker_image", "", &[official]);
        check("dockerhub_tag", "a.b-c", &["jefzda/sweap-images:a.b-c", official]);
    }

    #[test]
    fn lists_in_pythons_form() {
        assert_eq!(python_list("['a', \"b's\", 'c\\'']").unwrap(), ["a", "b's", "c'"]);
        assert_eq!(python_list("[]").unwrap(), [""; 0]);
        assert_eq!(python_list(r"['a\x1b\u00e9\r', 'b' 'c']").unwrap(), ["a\u{1b}é\r", "b", "c"]);
        assert_eq!(python_list(r"['\ud800']"), None);
        assert_eq!(python_list("['a'"), None);
        assert_eq!(python_list("[a]"), None);
    }
}
