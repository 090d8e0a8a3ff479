//! Reads rows of SWE-bench tables from the file formats in use.

use std::collections::BTreeMap;
use std::path::Path;

use fixfly_runtime::{BenchmarkError, Host, InstanceSpec};
use regex::Regex;
use serde_json::{Map, Value};

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
    /// The text.
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
    let mut all = read(file)?;
    let shown = file.display();
    if let Some(missing) = spec.ids.iter().find(|id| !all.iter().any(|one| one.id == **id)) {
        return usage(format!("{shown}: there is no instance {missing}"));
    }
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

/// Reads the rows of a file: JSON lines, a JSON list or object of rows, or Parquet.
///
/// # Errors
/// One sentence that names the file, the row, the field and the remedy.
pub fn read(file: &Path) -> Result<Vec<Instance>, BenchmarkError> {
    let shown = file.display().to_string();
    let broken = |why: String| BenchmarkError::Broken(format!("{shown}: {why}"));
    let bytes = std::fs::read(file).map_err(|e| broken(e.to_string()))?;
    let rows = if bytes.starts_with(b"PAR1") {
        super::parquet::rows(bytes).map_err(broken)?
    } else {
        let text = String::from_utf8(bytes).map_err(|_| broken("it is not UTF-8 text".into()))?;
        rows(&text)
            .map_err(|(place, why)| BenchmarkError::Broken(format!("{shown}{place}: {why}")))?
    };
    if rows.is_empty() {
        return Err(broken("it holds no instance".into()));
    }
    let mut instances: Vec<Instance> = Vec::with_capacity(rows.len());
    for (place, row) in rows {
        let instance = instance(row)
            .map_err(|why| BenchmarkError::Broken(format!("{shown}{place}: {why}")))?;
        if instances.iter().any(|there| there.id == instance.id) {
            return Err(BenchmarkError::Broken(format!(
                "{shown}{place}: a second row is named {}; leave one out",
                instance.id
            )));
        }
        instances.push(instance);
    }
    Ok(instances)
}

/// Each row with its position.
pub(super) fn rows(text: &str) -> Result<Vec<(String, Value)>, (String, String)> {
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        let place = |at: usize| format!(", row {}", at + 1);
        return match value {
            Value::Array(rows) => {
                Ok(rows.into_iter().enumerate().map(|(at, row)| (place(at), row)).collect())
            }
            Value::Object(row) if row.contains_key("instance_id") => {
                Ok(vec![(String::new(), Value::Object(row))])
            }
            Value::Object(rows) => {
                Ok(rows.into_iter().map(|(key, row)| (format!(", `{key}`"), row)).collect())
            }
            _ => Err((String::new(), "it holds no rows".into())),
        };
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            let place = format!(":{}", at + 1);
            match serde_json::from_str(line) {
                Ok(row) => Ok((place, row)),
                Err(why) => Err((place, format!("the line is not JSON: {why}"))),
            }
        })
        .collect()
}

fn instance(row: Value) -> Result<Instance, String> {
    let Value::Object(mut row) = row else { return Err("the row is no object".into()) };
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
    Ok(Instance {
        environment_commit: environment_commit.unwrap_or_else(|_| base_commit.clone()),
        version: text(&mut row, &["version"]).unwrap_or_default(),
        statement: text(&mut row, &["problem_statement"]).map_err(named)?,
        patch: text(&mut row, &["patch", "fix_patch", "golden_patch"]).map_err(named)?,
        test_patch: text(&mut row, &["test_patch"]).map_err(named)?,
        fail_to_pass: names(&mut row, &["FAIL_TO_PASS", "fail_to_pass"]).map_err(named)?,
        pass_to_pass: names(&mut row, &["PASS_TO_PASS", "pass_to_pass"]).map_err(named)?,
        id,
        repo,
        base_commit,
        more: row,
    })
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
        Some(Value::String(text)) => match serde_json::from_str(&text) {
            Ok(list) => list,
            Err(_) => return python_list(&text).ok_or_else(wrong),
        },
        Some(list) => list,
    };
    serde_json::from_value(list).map_err(|_| wrong())
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
                '\\' => match letters.next()? {
                    'n' => name.push('\n'),
                    't' => name.push('\t'),
                    other => name.push(other),
                },
                letter if letter == quote => break,
                letter => name.push(letter),
            }
        }
        names.push(name);
    }
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

    fn read_text(text: &str) -> Result<Vec<Instance>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows");
        std::fs::write(&file, text).unwrap();
        read(&file).map_err(|e| e.to_string().replace(&file.display().to_string(), "FILE"))
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
            &|row| row["instance_id"] = json!("z"),
            "FILE:2: a second row is named z; leave one out",
        );
        assert_eq!(
            read_text("{\n").unwrap_err(),
            "FILE:1: the line is not JSON: EOF while parsing an object at line 1 column 1"
        );
        assert_eq!(read_text("").unwrap_err(), "FILE: it holds no instance");
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
        assert_eq!(python_list("['a'"), None);
        assert_eq!(python_list("[a]"), None);
    }
}
