//! Finds files by name.

use async_trait::async_trait;
use fixfly_runtime::{Entry, Observation, Outcome, Tool, ToolContext, ToolError, ToolSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::files::names;
use crate::place::{absolute, root, shown};
use crate::search::matching;
use crate::{Open, arguments, parameters};

const NAME: &str = "find_file";

pub(crate) const ENTRY: Entry<Open> =
    Entry { name: NAME, about: "find files by name", open: || Box::new(FindFile) };

struct FindFile;

/// Maximum number of names shown.
const NAMES: usize = 100;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// A name or a glob, for example `views.py`, `*admin*.py` or `tests/**/models.py`.
    name: String,
    /// The folder to look below; the repository's root if not given.
    path: Option<String>,
}

#[async_trait]
impl Tool for FindFile {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: NAME.into(),
            description: "Finds files by name or glob, among those that no ignore file names. Shows 100 at most.".into(),
            parameters: parameters::<Arguments>(),
        }
    }

    async fn call(&self, args: Value, context: ToolContext<'_>) -> Result<Observation, ToolError> {
        let Arguments { name, path } = arguments(NAME, args)?;
        let root = root(NAME, &context)?;
        let glob = matching(&name)?;
        let folder = absolute(root, path.as_deref().unwrap_or("."));
        let all = names(&context, root, &folder).await?;
        let all = all.into_iter().map(|name| format!("{folder}/{name}"));
        let found: Vec<String> = all
            .map(|full| shown(root, &full).to_string())
            .filter(|path| glob.is_match(path))
            .collect();
        let text = match found.len() {
            0 => format!("no file is named `{name}`"),
            count @ ..=NAMES => format!("{count} files:\n{}", found.join("\n")),
            count => format!(
                "{count} files, the first {NAMES}:\n{}\nnarrow it by `path` or a longer name",
                found[..NAMES].join("\n")
            ),
        };
        Ok(Observation::new(Outcome::Done, text))
    }
}
