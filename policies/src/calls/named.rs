//! Names of tools, as models write them.

use fixfly_runtime::{Repair, ToolSpec};

/// What servers and models put before a tool's name.
const PREFIXES: [&str; 4] = ["functions.", "tools.", "default_api.", "tool."];

/// The tool of this name. A name with a known prefix, a suffix or in other letter case is
/// a tool's name if exactly one tool is left; other names stay as they are.
pub(super) fn tool<'t>(
    name: &str,
    tools: &'t [ToolSpec],
) -> (String, Option<&'t ToolSpec>, Option<Repair>) {
    let exact = tools.iter().find(|tool| tool.name == name);
    if let Some(spec) = exact {
        return (spec.name.clone(), Some(spec), None);
    }
    let bare = bare(name);
    let mut close = tools.iter().filter(|tool| tool.name.eq_ignore_ascii_case(bare));
    match (close.next(), close.next()) {
        (Some(spec), None) => (spec.name.clone(), Some(spec), Some(Repair::ToolName)),
        _ => (name.trim().to_string(), None, None),
    }
}

/// Whether one of the tools has this name.
pub(super) fn is_known(name: &str, tools: &[ToolSpec]) -> bool {
    tool(name, tools).1.is_some()
}

/// The name without what stands around it: `functions.bash:0`, `bash<|channel|>`,
/// `bash<tool_sep>`.
pub(super) fn bare(name: &str) -> &str {
    let around = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`');
    let name = name.split('<').next().unwrap_or(name).trim_matches(around);
    let name = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    let name = match name.rsplit_once(':') {
        Some((before, count)) if count.chars().all(|c| c.is_ascii_digit()) => before,
        _ => name,
    };
    name.strip_suffix("()").unwrap_or(name)
}
