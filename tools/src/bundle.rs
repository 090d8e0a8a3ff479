//! Bundles: sets of tools by name, and their description for a model that calls them in
//! text.

use fixfly_runtime::{Entry, SUBMIT_COMMAND, ToolSpec};

/// Sets of tools for issues; the first is the default.
pub const BUNDLES: &[Entry<&[&str]>] = &[
    Entry {
        name: "full",
        about: "all tools for issues, tests included",
        open: &["bash", "view", "search", "find_file", "edit", "run_tests", "submit"],
    },
    Entry {
        name: "swe-agent",
        about: "inspect, search, replace and a shell, as SWE-agent's",
        open: &["bash", "view", "search", "find_file", "edit", "submit"],
    },
    Entry { name: "bash-only", about: "one shell, as mini-swe-agent's", open: &["bash"] },
];

/// Describes how to call these tools in text.
pub fn manual(specs: &[ToolSpec]) -> String {
    let mut text = String::from(
        "To call a tool, end your turn with one call in this form, its arguments in JSON:\n\
         <tool_call>{\"name\": \"NAME\", \"arguments\": {ARGUMENTS}}</tool_call>\n",
    );
    if is_lone_shell(specs) {
        text += &format!(
            "Or with one block of code:\n```bash\nCOMMAND\n```\n\
             When your work is done, hand it in by the command `{SUBMIT_COMMAND}`, alone.\n"
        );
    }
    text += "\nThe tools:\n";
    for ToolSpec { name, description, parameters } in specs {
        text += &format!("\n{name}: {description}\n");
        let required: Vec<&str> = parameters["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str())
            .collect();
        for (argument, schema) in parameters["properties"].as_object().into_iter().flatten() {
            let about = schema["description"].as_str().unwrap_or_default();
            let optional =
                if required.contains(&argument.as_str()) { "" } else { ", may be left out" };
            text += &format!("  {argument} ({}{optional}): {about}\n", kind(&schema["type"]));
        }
    }
    text.trim_end().to_string()
}

/// Describes what native tool calls leave open: how to submit if a shell is the only tool.
pub fn native_manual(specs: &[ToolSpec]) -> String {
    match is_lone_shell(specs) {
        true => format!(
            "When your work is done, hand it in: call `bash` with the command `{SUBMIT_COMMAND}`, alone. Nothing else ends your work."
        ),
        false => String::new(),
    }
}

fn is_lone_shell(specs: &[ToolSpec]) -> bool {
    matches!(specs, [one] if one.name == "bash")
}

/// The type of an argument: of several, the one that is not `null`.
fn kind(types: &serde_json::Value) -> &str {
    match types {
        serde_json::Value::Array(several) => several
            .iter()
            .filter_map(|kind| kind.as_str())
            .find(|kind| *kind != "null")
            .unwrap_or("value"),
        kind => kind.as_str().unwrap_or("string"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ALL;

    #[test]
    fn every_tool_of_a_bundle_is_there() {
        for bundle in BUNDLES {
            for tool in bundle.open {
                assert!(ALL.iter().any(|entry| entry.name == *tool), "{}: {tool}", bundle.name);
            }
        }
    }

    #[test]
    fn the_manuals_of_all_bundles() {
        let specs = |bundle: &Entry<&[&str]>| -> Vec<ToolSpec> {
            bundle
                .open
                .iter()
                .filter_map(|name| ALL.iter().find(|entry| entry.name == *name))
                .map(|entry| (entry.open)().spec())
                .collect()
        };
        let manuals: Vec<String> = BUNDLES
            .iter()
            .map(|bundle| format!("# {}\n{}", bundle.name, manual(&specs(bundle))))
            .collect();
        insta::assert_snapshot!("manuals", manuals.join("\n\n"));
    }

    #[test]
    fn with_native_calls_a_lone_shell_is_described_by_how_to_submit() {
        for bundle in BUNDLES {
            let specs = bundle.open.iter().filter_map(|name| {
                ALL.iter().find(|entry| entry.name == *name).map(|entry| (entry.open)().spec())
            });
            let manual = native_manual(&specs.collect::<Vec<_>>());
            let has_submit = bundle.open.contains(&"submit");
            assert_eq!(manual.contains(SUBMIT_COMMAND), !has_submit, "{}", bundle.name);
            assert_eq!(manual.is_empty(), has_submit, "{}", bundle.name);
        }
    }
}
