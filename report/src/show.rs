//! Episodes as text, for a terminal.

mod find;

use std::fmt::Write as _;

use fixfly_runtime::{
    Call, Episode, EpisodeSummary, Method, Outcome, Statement, TestReport, TestResult, Turn,
    printable, thousands,
};
use serde_json::Value;

use crate::diff::{Line, Part, Side, diff};
use crate::recorded::{candidate, cut, ending, given, previous, why};

pub use find::find_episode;
#[cfg(test)]
use find::nearest;

/// Equal lines around a difference.
const AROUND: usize = 3;
/// The most failing tests that are listed.
const MAX_TESTS: usize = 20;

const BOLD: &str = "1";
const FAINT: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const HEADING: &str = "1;36";

/// An episode to show.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The episode.
    pub episode: &'a Episode,
    /// Only this turn, counted from 1, with its whole texts.
    pub turn: Option<usize>,
    /// Whether to use colours.
    pub color: bool,
}

/// Escapes text, and then colours it.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    /// The text is escaped before it gets a colour: it may contain colours of its own.
    fn with(self, style: &str, text: &str) -> String {
        match (printable(text), self.0 && !text.is_empty()) {
            (text, true) => format!("\u{1b}[{style}m{text}\u{1b}[0m"),
            (text, false) => text.into_owned(),
        }
    }
}

/// Appends a line; nobody can fail to write to a string.
macro_rules! put {
    ($text:expr, $($arguments:tt)*) => {{ let _ = writeln!($text, $($arguments)*); }};
}

/// A table of episodes: task, outcome of each turn, number of turns, end.
pub fn run_text(summaries: &[EpisodeSummary], color: bool) -> String {
    let paint = Paint(color);
    let name = |summary: &EpisodeSummary| match summary.sample {
        0 => printable(&summary.task).into_owned(),
        sample => format!("{} (sample {sample})", printable(&summary.task)),
    };
    let strip = |summary: &EpisodeSummary| -> String {
        summary.turns.iter().map(|turn| letter(turn.outcome)).collect()
    };
    let columns = |of: &dyn Fn(&EpisodeSummary) -> String, title: &str| {
        let widths = summaries.iter().map(|summary| of(summary).chars().count());
        widths.max().unwrap_or(0).max(title.len())
    };
    let (names, strips) = (columns(&name, "task"), columns(&strip, "turns"));
    let mut text = String::new();
    let title = format!("{:names$}  {:strips$}  {:>5}  end", "task", "turns", "count");
    put!(text, "{}", paint.with(BOLD, &title));
    for summary in summaries {
        let outcomes: String = summary
            .turns
            .iter()
            .map(|turn| paint.with(style(turn.outcome), &letter(turn.outcome).to_string()))
            .collect();
        let space = " ".repeat(strips - summary.turns.len());
        let end_style = match summary.solved() {
            true => GREEN,
            false if summary.infrastructure_failure() || summary.unjudged() => YELLOW,
            false => RED,
        };
        let end = paint.with(end_style, &ending(summary));
        put!(
            text,
            "{:names$}  {outcomes}{space}  {:>5}  {end}",
            name(summary),
            summary.turns.len()
        );
    }
    let solved = summaries.iter().filter(|summary| summary.solved()).count();
    let failures = summaries.iter().filter(|summary| summary.infrastructure_failure()).count();
    put!(text, "\n{solved} of {} episodes solved", summaries.len() - failures);
    if failures > 0 {
        put!(text, "{failures} infrastructure failures, which are run again");
    }
    put!(text, "{}", paint.with(FAINT, &legend(summaries)));
    text
}

/// The letter of an outcome in a strip.
fn letter(outcome: Outcome) -> char {
    match outcome {
        Outcome::Passed => 'P',
        Outcome::Failed => 'F',
        Outcome::Invalid => 'I',
        Outcome::TimedOut => 'T',
        Outcome::Crashed => 'C',
        Outcome::OutOfMemory => 'M',
        Outcome::Exited => 'E',
        Outcome::Tampered => '!',
        Outcome::Done => '.',
        Outcome::Refused => 'R',
        Outcome::Submitted => 'S',
    }
}

fn style(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => GREEN,
        Outcome::Done | Outcome::Submitted => FAINT,
        Outcome::Refused | Outcome::Tampered => YELLOW,
        _ => RED,
    }
}

/// The letters that occur.
fn legend(summaries: &[EpisodeSummary]) -> String {
    let turns = summaries.iter().flat_map(|summary| &summary.turns);
    let mut outcomes: Vec<Outcome> = turns.map(|turn| turn.outcome).collect();
    outcomes.sort();
    outcomes.dedup();
    let names: Vec<String> =
        outcomes.iter().map(|outcome| format!("{} {}", letter(*outcome), outcome.name())).collect();
    names.join(", ")
}

impl Shown<'_> {
    /// The episode as text: the task, each turn, the verdict.
    pub fn text(&self) -> String {
        let mut text = self.head();
        if self.turn.is_none() {
            text += &self.task();
        }
        for at in 0..self.episode.turns.len() {
            if self.turn.is_none_or(|turn| turn == at + 1) {
                text += &self.turn_text(at);
            }
        }
        if self.turn.is_none() {
            text += &self.verdict();
        }
        text
    }

    fn paint(&self) -> Paint {
        Paint(self.color)
    }

    fn head(&self) -> String {
        let (episode, paint) = (self.episode, self.paint());
        let summary = EpisodeSummary::of(episode);
        let mut text = format!("{}\n", paint.with(BOLD, &episode.task.id));
        let style = if summary.solved() { GREEN } else { RED };
        let mut facts = vec![
            format!("policy {}", episode.policy),
            format!("{} of {} turns", summary.turns.len(), summary.turn_limit),
        ];
        if summary.turns.iter().any(|turn| turn.model.is_some() || turn.usage.calls > 0) {
            facts.push(format!("{} tokens", thousands(summary.tokens())));
            facts.extend(summary.usd().map(|usd| format!("${usd:.4}")));
        }
        facts.push(format!("{:.1} s", summary.seconds));
        facts.push(format!("sample {}", summary.sample));
        put!(text, "{}; {}", paint.with(style, &ending(&summary)), printable(&facts.join(", ")));
        if let Some(why) = why(episode) {
            put!(text, "{}", paint.with(YELLOW, &why));
        }
        text
    }

    fn task(&self) -> String {
        let paint = self.paint();
        let mut text = String::from("\n");
        match &self.episode.task.statement {
            Statement::Method(method) => {
                text += &self.method(method);
                if let Some(faulty) = &method.faulty {
                    let title = format!("The faulty {}", method.noun());
                    put!(text, "\n{}", paint.with(HEADING, &title));
                    text += &indented(faulty);
                }
            }
            Statement::Methods(joint) => {
                let methods: Vec<String> =
                    joint.methods.iter().map(|method| self.method(method)).collect();
                text += &methods.join("\n");
            }
            Statement::Issue(issue) => {
                let title = format!("Resolve an issue of {} {}", issue.repo, issue.version);
                put!(text, "{}", paint.with(HEADING, &title));
                text += &indented(&issue.text);
            }
        }
        text
    }

    /// What a method is to do.
    fn method(&self, method: &Method) -> String {
        let mut text = String::new();
        let verb = if method.faulty.is_some() { "Repair" } else { "Write" };
        let class = match method.is_function() {
            true => String::new(),
            false => format!(" of the class `{}`", method.class_name),
        };
        let (noun, name, file) = (method.noun(), &method.name, &method.file);
        let title = format!("{verb} the {noun} `{name}`{class} in {file}");
        put!(text, "{}", self.paint().with(HEADING, &title));
        let declaration = method.decorators.iter().chain([&method.declaration]);
        declaration.for_each(|line| text += &indented(line));
        text.push('\n');
        text + &indented(&method.description)
    }

    fn turn_text(&self, at: usize) -> String {
        let (turn, paint) = (&self.episode.turns[at], self.paint());
        let outcome = turn.observation.outcome;
        let call = match &turn.action.call {
            Call::Tool { name, .. } => name.clone(),
            Call::Submit => "submit".into(),
            Call::Malformed(_) => "malformed call".into(),
        };
        let heading = paint.with(HEADING, &format!("Turn {}: {call}", at + 1));
        let mut text = format!("\n{heading} {}\n", paint.with(style(outcome), outcome.name()));
        text += &self.action(at);
        match &turn.observation.tests {
            Some(tests) => text += &self.tests(tests, turn),
            None => text += &indented(&turn.observation.text),
        }
        if self.turn.is_some() && turn.observation.tests.is_some() {
            put!(text, "{}", paint.with(BOLD, "The text that the policy read"));
            text += &indented(&turn.observation.text);
        }
        if !turn.feedback.message.is_empty() {
            put!(text, "{}", printable(&turn.feedback.message));
        }
        text
    }

    /// What the policy did: the change that it submitted, or the arguments of its call.
    fn action(&self, at: usize) -> String {
        let (turn, paint) = (&self.episode.turns[at], self.paint());
        let mut text = String::new();
        if let Some(reasoning) = turn.action.reasoning.as_deref().filter(|_| self.turn.is_some()) {
            put!(text, "{}", paint.with(BOLD, "Reasoning"));
            text += &indented(reasoning);
        }
        if let Call::Malformed(why) = &turn.action.call {
            put!(text, "{}", paint.with(YELLOW, why));
        }
        match self.change(at) {
            Some(change) => text += &change,
            None => text += &self.call(turn),
        }
        text
    }

    fn change(&self, at: usize) -> Option<String> {
        let (title, given) = given(&self.episode.task.statement)?;
        let code = candidate(&self.episode.turns[at])?;
        let (title, old) = match previous(self.episode, at) {
            Some((earlier, code)) => (format!("Change since turn {}", earlier + 1), code),
            None => (title.into(), given.as_str()),
        };
        let title = self.paint().with(BOLD, &title);
        Some(format!("{title}\n{}", self.difference(old.trim_end(), code.trim_end())))
    }

    fn call(&self, turn: &Turn) -> String {
        let Call::Tool { args: Value::Object(fields), .. } = &turn.action.call else {
            return indented(&turn.action.text);
        };
        let string = |key: &str| fields.get(key).and_then(Value::as_str);
        let replaced = string("old_str").map(|old| (old, string("new_str").unwrap_or_default()));
        let mut text = String::new();
        for (key, value) in fields {
            if replaced.is_some() && matches!(key.as_str(), "old_str" | "new_str") {
                continue;
            }
            let value = value.as_str().map_or_else(|| value.to_string(), String::from);
            let key = self.paint().with(FAINT, &format!("{key}:"));
            match value.contains('\n') {
                true => put!(text, "  {key}\n{}", indented(&value).trim_end()),
                false => put!(text, "  {key} {}", printable(&value)),
            }
        }
        text + &replaced.map(|(old, new)| self.difference(old, new)).unwrap_or_default()
    }

    fn difference(&self, old: &str, new: &str) -> String {
        let paint = self.paint();
        let Some(parts) = diff(old, new, AROUND).filter(|_| cut(old).is_none()) else {
            return format!(
                "{}\n{}",
                paint.with(FAINT, "The texts are too long to compare."),
                indented(new)
            );
        };
        if parts.iter().all(|part| matches!(part, Part::Gap(_))) {
            return format!("  {}\n", paint.with(FAINT, "There is no difference."));
        }
        let mut text = String::new();
        for part in &parts {
            match part {
                Part::Gap(lines) => {
                    put!(text, "{}", paint.with(FAINT, &format!("  … {lines} equal lines")))
                }
                Part::Line(line) => put!(text, "{}", self.changed(line)),
            }
        }
        text
    }

    /// A line of a difference. Words that differ are bold.
    fn changed(&self, line: &Line) -> String {
        let (sign, style) = match line.side {
            Side::Same => return format!("  {}", printable(&line.text)),
            Side::Removed => ('-', RED),
            Side::Added => ('+', GREEN),
        };
        if !self.color {
            return format!("{sign} {}", printable(&line.text));
        }
        let mut text = format!("\u{1b}[{style}m{sign} ");
        let mut from = 0;
        for mark in &line.marks {
            text += &printable(&line.text[from..mark.start]);
            let _ = write!(text, "\u{1b}[1m{}\u{1b}[22m", printable(&line.text[mark.clone()]));
            from = mark.end;
        }
        text + &printable(&line.text[from..]) + "\u{1b}[0m"
    }

    fn tests(&self, tests: &TestReport, turn: &Turn) -> String {
        let (paint, delta) = (self.paint(), &turn.feedback.delta);
        let mut text = format!("{} of {} tests passed", tests.count_passed(), tests.results.len());
        let kinds = [("fixed", &delta.fixed, GREEN), ("broken", &delta.broken, RED)];
        for (kind, names, style) in kinds {
            if !names.is_empty() {
                let _ = write!(text, ", {}", paint.with(style, &format!("{} {kind}", names.len())));
            }
        }
        text.push('\n');
        let failing: Vec<&TestResult> =
            tests.results.iter().filter(|result| !result.outcome.is_fine()).collect();
        for result in failing.iter().take(MAX_TESTS) {
            let broken = if delta.broken.contains(&result.id) { " (broken)" } else { "" };
            let error = result.failure.as_ref().map(|failure| match failure.message.as_str() {
                "" => failure.exception.clone(),
                message => {
                    format!("{}: {}", failure.exception, message.lines().next().unwrap_or_default())
                }
            });
            let error = error.unwrap_or_default();
            put!(text, "  {}{broken} {}", paint.with(RED, &result.id), printable(&error));
        }
        if failing.len() > MAX_TESTS {
            put!(text, "  and {} more", failing.len() - MAX_TESTS);
        }
        let first = failing.iter().find_map(|result| result.failure.as_ref());
        if let Some(failure) = first.filter(|failure| !failure.traceback.is_empty()) {
            text += &indented(&failure.traceback);
        }
        text
    }

    fn verdict(&self) -> String {
        let (episode, paint) = (self.episode, self.paint());
        let mut text = format!("\n{}\n", paint.with(HEADING, "Verdict"));
        let Some(verdict) = &episode.verdict else {
            put!(
                text,
                "{}",
                match episode.unjudged() {
                    true => "none: no benchmark has judged the change",
                    false => "none: there was nothing to judge",
                }
            );
            return text;
        };
        let (word, style) = if verdict.solved { ("solved", GREEN) } else { ("not solved", RED) };
        let (passed, total) = (verdict.tests.count_passed(), verdict.tests.results.len());
        put!(text, "{}: {passed} of {total} tests passed", paint.with(style, word));
        if let Some(tally) = verdict.wider {
            put!(text, "hidden tests: {} of {} passed", tally.passed, tally.total);
        }
        if verdict.exact_match {
            put!(text, "the change equals the reference, word for word");
        }
        if let Some(how) = &verdict.tampering {
            put!(text, "{}", paint.with(RED, &format!("tampering: {how}")));
        }
        for flag in &verdict.review {
            put!(text, "{}", paint.with(YELLOW, &format!("to review: {flag}")));
        }
        text
    }
}

/// Escaped text, indented. The middle of a very long one is left out.
fn indented(text: &str) -> String {
    let lines = |text: &str| -> String {
        let text = printable(text);
        let indented = text.lines().map(|line| match line {
            "" => "\n".to_string(),
            line => format!("  {line}\n"),
        });
        indented.collect()
    };
    match cut(text) {
        None => lines(text),
        Some((head, hidden, tail)) => {
            let count = thousands(hidden as u64);
            format!("{}  … {count} characters are not shown …\n{}", lines(head), lines(tail))
        }
    }
}

#[cfg(test)]
mod tests;
