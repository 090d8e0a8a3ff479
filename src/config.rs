//! Flags from a file: `--config FILE.toml` sets one flag per key.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command};
use toml::{Table, Value};

use crate::failure::Usage;
use crate::terminal::one_line;

/// Replaces `--config FILE` among a command's words with the flags in the file.
/// Flags on the command line take precedence.
///
/// # Errors
/// [`Usage`] if the file cannot be read or a key is not a flag.
pub(crate) fn expanded(command: Command, words: Vec<OsString>) -> Result<Vec<OsString>, Usage> {
    // The full command line is validated later.
    let lenient = all_optional(command).ignore_errors(true);
    let Ok(given) = lenient.clone().try_get_matches_from(&words) else { return Ok(words) };
    let (verb, given) = innermost(&lenient, &given);
    let Some(file) = given.try_get_one::<PathBuf>("config").ok().flatten() else {
        return Ok(words);
    };
    let mut words = without_file(words);
    let mut positionals = Vec::new();
    for (key, value, place) in entries(file)? {
        let Some(arg) = argument(&verb, &key) else {
            let verb = verb.get_bin_name().unwrap_or_default();
            return Err(Usage(format!("{place}: `{key}` is not a flag of `{verb}`; see --help")));
        };
        if given.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine) {
            continue;
        }
        let flag =
            flag_words(arg, &value).map_err(|why| Usage(format!("{place}: `{key}` {why}")))?;
        match arg.get_index() {
            Some(index) => positionals.push((index, flag)),
            None => words.extend(flag),
        }
    }
    positionals.sort();
    words.extend(positionals.into_iter().flat_map(|(_, flag)| flag));
    Ok(words)
}

/// The flags of a command, from a table of their long names: `max-tokens = 500` is
/// `--max-tokens 500`, and so is `max_tokens`.
///
/// # Errors
/// [`Usage`] if a key is no flag, has a wrong value or is missing.
pub(crate) fn flags<T: Args>(verb: &str, table: &Table) -> Result<T, Usage> {
    flags_at(verb, table, |_| String::new())
}

/// The same, for a file: `text` is what it holds, and `table` these flags and more.
#[cfg(feature = "train")]
pub(crate) fn flags_in_file<T: Args>(
    verb: &str,
    table: &Table,
    (file, text): (&Path, &str),
) -> Result<T, Usage> {
    flags_at(verb, table, |key| format!("{}: ", place(file, text, key)))
}

fn flags_at<T: Args>(
    verb: &str,
    table: &Table,
    place: impl Fn(&str) -> String,
) -> Result<T, Usage> {
    let command = T::augment_args(Command::new("fixfly"));
    let mut words = vec![OsString::from("fixfly")];
    let mut positionals = Vec::new();
    for (key, value) in table {
        let Some(arg) = argument(&command, &key.replace('-', "_")) else {
            let place = place(key);
            return Err(Usage(format!(
                "{place}`{key}` is not a flag of `fixfly {verb}`; see --help"
            )));
        };
        let flag =
            flag_words(arg, value).map_err(|why| Usage(format!("{}`{key}` {why}", place(key))))?;
        match arg.get_index() {
            Some(_) => positionals.extend(flag),
            None => words.extend(flag),
        }
    }
    words.extend(positionals);
    let given = command.try_get_matches_from(words).and_then(|given| T::from_arg_matches(&given));
    given
        .map_err(|error| Usage(format!("fixfly {verb}: {}", sentence(&error.render().to_string()))))
}

/// clap's message in one line, without the usage.
pub(crate) fn sentence(message: &str) -> String {
    let end = ["\n\nUsage:", "\n\nFor more information"]
        .iter()
        .filter_map(|mark| message.find(mark))
        .min()
        .unwrap_or(message.len());
    let message = message[..end].replace("\n\n  tip:", ";");
    format!("{}; see --help", one_line(&message))
}

fn all_optional(command: Command) -> Command {
    let names: Vec<String> =
        command.get_subcommands().map(|verb| verb.get_name().to_string()).collect();
    names
        .into_iter()
        .fold(command.mut_args(|arg| arg.required(false)), |command, name| {
            command.mut_subcommand(name, all_optional)
        })
        .subcommand_required(false)
        .arg_required_else_help(false)
}

/// The innermost subcommand on the command line, and its matches.
fn innermost(command: &Command, given: &ArgMatches) -> (Command, ArgMatches) {
    let mut built = command.clone();
    built.build();
    let (mut verb, mut given) = (&built, given);
    while let Some((name, inner)) = given.subcommand()
        && let Some(found) = verb.find_subcommand(name)
    {
        (verb, given) = (found, inner);
    }
    (verb.clone(), given.clone())
}

fn without_file(words: Vec<OsString>) -> Vec<OsString> {
    let mut words = words.into_iter();
    let mut left = Vec::new();
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--config") => drop(words.next()),
            Some(word) if word.starts_with("--config=") => {}
            _ => left.push(word),
        }
    }
    left
}

/// Each key of a file, with its value and its line.
fn entries(file: &Path) -> Result<Vec<(String, Value, String)>, Usage> {
    let name = file.display();
    let text = fixfly_runtime::read_text(file)
        .map_err(|error| Usage(format!("cannot read {name}: {error}")))?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        Usage(format!("{name}: {}", one_line(&error.to_string())))
    })?;
    let all = table.into_iter().map(|(key, value)| {
        let place = place(file, &text, &key);
        (key, value, place)
    });
    Ok(all.collect())
}

/// The line of a file that sets a key.
fn place(file: &Path, text: &str, key: &str) -> String {
    let defines = |line: &str| {
        let rest = line.trim_start().trim_start_matches('[').strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start().starts_with(['=', ']', '.']))
    };
    match text.lines().position(defines) {
        Some(line) => format!("{}: line {}", file.display(), line + 1),
        None => file.display().to_string(),
    }
}

/// Finds an argument by its long name or a positional's name: `max_tokens` is `--max-tokens`.
fn argument<'a>(verb: &'a Command, key: &str) -> Option<&'a Arg> {
    let long = key.replace('_', "-");
    let flags = ["config", "help", "version"];
    verb.get_arguments()
        .filter(|arg| !flags.contains(&arg.get_id().as_str()))
        .find(|arg| arg.get_long() == Some(&long) || (arg.is_positional() && arg.get_id() == key))
}

/// Converts an entry to command-line words.
fn flag_words(arg: &Arg, value: &Value) -> Result<Vec<OsString>, String> {
    let switch = !arg.get_action().takes_values();
    let long = arg.get_long().unwrap_or_default();
    match (value, switch) {
        (Value::Array(all), false) => {
            let each: Result<Vec<_>, _> = all.iter().map(|one| flag_words(arg, one)).collect();
            Ok(each?.concat())
        }
        (Value::Boolean(true), true) => Ok(vec![format!("--{long}").into()]),
        (Value::Boolean(false), true) => Ok(Vec::new()),
        (Value::Integer(times @ 0..=9), true) if matches!(arg.get_action(), ArgAction::Count) => {
            Ok((0..*times).map(|_| format!("--{long}").into()).collect())
        }
        (_, true) => Err("is a switch: set it to true or false".to_string()),
        (value, false) => {
            let text = scalar(value).ok_or("takes a value or a list of values")?;
            Ok(vec![match arg.is_positional() {
                true => text.into(),
                false => format!("--{long}={text}").into(),
            }])
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        Value::Datetime(time) => Some(time.to_string()),
        Value::Array(_) | Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[track_caller]
    fn check(words: &str, file: &str, expected: Result<&str, &str>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, file).unwrap();
        let path = path.display().to_string();
        let words = words.replace("FILE", &path);
        let words = words.split_whitespace().map(OsString::from).collect();
        let words = expanded(Cli::command(), words).map(|words| {
            let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
            words.join(" ")
        });
        let words = words.map_err(|Usage(why)| why.replace(&path, "FILE"));
        assert_eq!(words.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn a_file_sets_flags() {
        check("fixfly run django -o runs/x", "", Ok("fixfly run django -o runs/x"));
        check(
            "fixfly run --config FILE -o runs/x",
            "benchmark = \"django\"\nturns = 3\ntemperature = 0.5\nlora = [\"a.gguf\", \"b.gguf=2\"]\n",
            Ok(
                "fixfly run -o runs/x --lora=a.gguf --lora=b.gguf=2 --temperature=0.5 --turns=3 django",
            ),
        );
        check(
            "fixfly run django -o runs/x --turns 1 --config=FILE",
            "turns = 3\nmax_tokens = 7\nrecord_tokens = true\n",
            Ok("fixfly run django -o runs/x --turns 1 --max-tokens=7 --record-tokens"),
        );
    }

    #[test]
    fn an_unknown_key_is_reported_with_its_line() {
        check(
            "fixfly run django -o runs/x --config FILE",
            "turns = 3\nturnz = 3\n",
            Err("FILE: line 2: `turnz` is not a flag of `fixfly run`; see --help"),
        );
        check(
            "fixfly run django -o runs/x --config FILE",
            "record_tokens = 3\n",
            Err("FILE: line 1: `record_tokens` is a switch: set it to true or false"),
        );
        check(
            "fixfly bench verify django --config FILE",
            "[limit]\nx = 1\n",
            Err("FILE: line 1: `limit` takes a value or a list of values"),
        );
    }

    #[test]
    fn an_unreadable_file_is_an_error() {
        let words = ["fixfly", "run", "--config", "/no/such.toml"].map(OsString::from);
        let why = expanded(Cli::command(), words.to_vec()).unwrap_err().to_string();
        assert!(why.starts_with("cannot read /no/such.toml"), "{why}");
        let invalid = "turns = \n";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        std::fs::write(&path, invalid).unwrap();
        let words = ["fixfly".into(), "run".into(), "--config".into(), path.into_os_string()];
        let why = expanded(Cli::command(), words.to_vec()).unwrap_err().to_string();
        assert!(why.contains("line 1"), "{why}");
    }
}
