//! `-h` on one screen: long commands show their main flags there, most of them in one line.
//! `--help` shows everything.

use clap::{Arg, Command};

/// Lines of a screen.
const SCREEN: usize = 40;
/// Characters of a flag's help in one line of 100 columns.
const WIDTH: usize = 66;
/// Lines around the flags: what the command does, its usage, headings and common flags.
const AROUND: usize = 16;
/// Lines of the first examples, with their heading.
const EXAMPLES: usize = 3;
/// Flags that `-h` shows although they stand under a heading of their own.
const SHOWN: [&str; 2] = ["model", "profile"];

/// The command with a short `-h`, and so are all below it.
pub(crate) fn on_one_screen(command: Command) -> Command {
    let command = command.mut_subcommands(on_one_screen);
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let flags: usize = command.get_arguments().map(lines).sum();
    if AROUND + flags + after.lines().count() <= SCREEN {
        return command;
    }
    let mut headings: Vec<&str> = Vec::new();
    for heading in command.get_arguments().filter_map(Arg::get_help_heading) {
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    let more = match headings.is_empty() {
        true => String::new(),
        false => format!(" ({})", headings.join(", ")),
    };
    let examples: Vec<&str> = after.lines().take(EXAMPLES).collect();
    let brief = format!("{}\n\nAll flags{more} and examples: --help", examples.join("\n"));
    command.mut_args(shortened).after_help(brief).after_long_help(after)
}

/// Lines of a flag in `-h`.
fn lines(arg: &Arg) -> usize {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let own: usize = help.lines().map(|line| 1 + line.chars().count() / WIDTH).sum();
    own.max(1) + usize::from(help.chars().count() % WIDTH + appended(arg) > WIDTH)
}

/// Characters that clap appends to a flag's help.
fn appended(arg: &Arg) -> usize {
    let of = |what: &str, values: &[String]| match values.is_empty() {
        true => 0,
        false => format!(" [{what}: {}]", values.join(", ")).chars().count(),
    };
    let defaults = arg.get_default_values().iter().map(|value| value.display().to_string());
    let env = arg.get_env().map(|name| name.display().to_string());
    let values = arg.get_possible_values();
    let values = values.iter().filter(|_| arg.get_action().takes_values());
    let values: Vec<String> = values.map(|value| value.get_name().to_string()).collect();
    of("default", &defaults.collect::<Vec<_>>())
        + of("env", &env.into_iter().collect::<Vec<_>>())
        + of("possible values", &values)
}

fn shortened(arg: Arg) -> Arg {
    let hidden = arg.get_help_heading().is_some() && !SHOWN.contains(&arg.get_id().as_str());
    let Some(full) = arg.get_long_help().or(arg.get_help()).cloned() else { return arg };
    let hidden = hidden || arg.is_hide_short_help_set();
    let brief = brief(&full.to_string(), WIDTH.saturating_sub(appended(&arg)));
    arg.hide_short_help(hidden).help(brief).long_help(full)
}

/// A help text in one line, where it can be cut to `width` characters: its list as names
/// alone, its first clause.
fn brief(full: &str, width: usize) -> String {
    let mut lines = full.lines();
    let first = lines.next().unwrap_or_default();
    let names: Vec<&str> = lines
        .filter_map(|line| line.strip_prefix("- ")?.split_once(':').map(|(name, _)| name))
        .collect();
    let text = match (first.strip_suffix(':'), names.is_empty()) {
        (Some(what), false) => format!("{what}: {}", names.join(", ")),
        _ => first.to_string(),
    };
    if text.chars().count() <= width {
        return text;
    }
    let ends = [" [default: ", "; ", ". ", ", such as", ", e.g.", " ("];
    let ends = ends.iter().filter_map(|end| text.find(end));
    ends.min().map_or(&*text, |end| &text[..end]).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_help_text_is_cut_at_a_clause() {
        for (full, expected) in [
            ("Sandbox to use:\n- local: a\n- docker: b", "Sandbox to use: local, docker"),
            ("Maximum length; longer are dropped", "Maximum length; longer are dropped"),
            ("Maximum length, in tokens; longer rows are dropped", "Maximum length, in tokens"),
            ("Turns of an episode [default: 5, for issues 100]; 0 is none", "Turns of an episode"),
            ("Number of jobs [default: CPUs]", "Number of jobs [default: CPUs]"),
        ] {
            assert_eq!(brief(full, 40), expected);
        }
    }
}
