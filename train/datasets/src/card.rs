//! A dataset's card: what you should know before you train on it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fixfly_runtime::{Role, SystemRole, printable};

use crate::recipe::{Kind, Leaked, Loss, Traced};
use crate::row::{Line, Row};
use crate::summary::{Summary, Tokenised};

/// Characters to show at the start and at the end of a long message.
const SHOWN: usize = 400;

/// The first row of each kind.
#[derive(Default)]
pub(crate) struct Samples(BTreeMap<Kind, Row>);

impl Samples {
    pub(crate) fn offer(&mut self, row: &Row) {
        self.0.entry(row.kind).or_insert_with(|| row.clone());
    }
}

/// The card, in Markdown. `files` are the files beside it.
pub(crate) fn card(summary: &Summary, samples: &Samples, files: &str) -> String {
    let parts = [
        head(summary, files),
        composition(summary),
        sources(summary),
        filters(summary),
        audit(summary),
        lengths(summary),
        shown(samples),
    ];
    // The card shows rows and names from elsewhere; `rows.jsonl` has them unchanged.
    printable(&parts.join("\n")).into_owned()
}

/// The files of a dataset folder.
pub(crate) fn own_files(summary: &Summary) -> String {
    let own = "`rows.jsonl` (each row with its origin), `dataset.json`".to_string();
    summary.files.iter().fold(own, |list, file| format!("{list}, `{file}`"))
}

fn head(summary: &Summary, files: &str) -> String {
    let recipe = &summary.recipe;
    let learned = match recipe.loss {
        Loss::All => "every message of the model, failing attempts too",
        Loss::Last => "the answer alone",
        Loss::PerMessage => "the answer, and attempts that fixed a test and broke none",
    };
    let reasoning = match recipe.reasoning.rows {
        Traced::Without => "none: train with `enable_thinking` false",
        Traced::With => "every answer begins with it: train with `enable_thinking` true",
        Traced::Both => {
            "each row is there with and without it: train with `enable_thinking` unset (null)"
        }
    };
    format!(
        "# Dataset {}\n\n{}\n\n\
         - Rows: {}\n- Tasks: {}\n- Made by: fixfly {}, recipe SHA-256 `{}`\n\
         - Learned: {learned}; {} of {} messages of the model carry loss\n\
         - Reasoning: {reasoning}\n- Wording of the conversations: SHA-256 `{}`\n\
         {}- Files: {files}\n",
        summary.recipe_name,
        recipe.about,
        counts(&summary.parts.iter().map(|(part, n)| (part.name(), *n)).collect::<Vec<_>>()),
        summary.tasks,
        summary.fixfly,
        summary.recipe_sha256,
        summary.messages[1],
        summary.messages[0],
        summary.wording.hash,
        tokens(summary),
    )
}

fn tokens(summary: &Summary) -> String {
    let Some(Tokenised { facts, sequences, tokens, learned }) = &summary.student else {
        return String::new();
    };
    let system = match facts.system_role {
        SystemRole::Rendered => "",
        SystemRole::Folded => "; the system prompt begins the first user message",
    };
    format!(
        "- Tokens: {sequences} sequences of {tokens} tokens, {learned} of them with loss; chat \
         template {}, SHA-256 `{}`; a turn ends with `{}`{}\n",
        facts.chat_template, facts.chat_template_sha256, facts.end_of_turn.text, system,
    )
}

fn counts(counts: &[(&str, usize)]) -> String {
    let said: Vec<_> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    if said.is_empty() { "0".into() } else { said.join(", ") }
}

fn table(title: &str, of: &BTreeMap<String, usize>) -> String {
    let mut text = format!("\n| {title} | rows |\n|---|---|\n");
    for (name, count) in of {
        let _ = writeln!(text, "| {name} | {count} |");
    }
    text
}

fn composition(summary: &Summary) -> String {
    format!(
        "## Composition\n{}{}{}",
        table("kind of episode", &summary.kinds),
        table("teacher", &summary.teachers),
        table("source of the answer", &summary.answers),
    )
}

fn sources(summary: &Summary) -> String {
    let mut text = "## Teachers, student, licences\n\n\
                    | run | teacher | policy | seed | split | episodes | licence of its output |\n\
                    |---|---|---|---|---|---|---|\n"
        .to_string();
    for source in &summary.sources {
        let teachers = &summary.recipe.teachers;
        let teacher = teachers.iter().find(|teacher| teacher.name == source.teacher);
        let licence = teacher.map_or("", |teacher| &teacher.licence);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            source.run,
            source.teacher,
            source.policy,
            source.seed,
            source.split,
            source.episodes,
            said(licence),
        );
    }
    for shards in summary.divided() {
        let _ = writeln!(text, "\nA divided run of {shards}.");
    }
    if !summary.missing.is_empty() {
        let missing = summary.missing.join(", ");
        let _ = writeln!(text, "\nNo run was given for these teachers of the recipe: {missing}.");
    }
    let student = &summary.recipe.student;
    let _ = writeln!(
        text,
        "\nStudent: {} (licence: {}). Prompts and original methods are source text of {}, under that \
         project's own licence. Licences are those of the recipe; check them.",
        said(&student.model),
        said(&student.licence),
        summary.benchmark,
    );
    text
}

fn said(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

fn filters(summary: &Summary) -> String {
    let mut text = "## Filters\n\n| reason | count |\n|---|---|\n".to_string();
    for (why, count) in &summary.left_out {
        let _ = writeln!(text, "| episode not used: {why} | {count} |");
    }
    let _ = writeln!(text, "| duplicate of an earlier row | {} |", summary.duplicates);
    for (why, count) in &summary.dropped {
        let _ = writeln!(text, "| row dropped: {why} | {count} |");
    }
    let limit = match summary.recipe.limits.tokens {
        Some(limit) => format!("Rows longer than {limit} tokens are dropped, never cut"),
        None => "Rows have no token limit".into(),
    };
    let share = 100.0 * summary.recipe.limits.dropped;
    let _ = writeln!(text, "\n{limit}. The build fails if more than {share} % are dropped.");
    text
}

fn audit(summary: &Summary) -> String {
    let audit = &summary.audit;
    let done = match summary.recipe.leaks.answers {
        Leaked::Keep => "they were kept",
        Leaked::DropMethods => "whole methods were dropped, changes of one line kept",
        Leaked::Drop => "they were dropped",
    };
    let masked = match (audit.masked, audit.showing) {
        (_, 0) => "",
        (true, _) => "; those methods were removed from the prompts",
        (false, _) => "; they were kept (`--mask-benchmark-methods` removes them)",
    };
    let mut text = format!(
        "## Leak audit\n\n\
         Against the {} methods of the benchmark's own split, by task, syntax tree and nearness \
         (at least {} of the runs of five tokens shared):\n\n\
         - {} of {} answers are, or nearly are, such a method; {done}.\n\
         - {} of {} tasks show such methods word for word in the file of their prompt, {} methods \
         in all{masked}.\n",
        audit.held_out,
        summary.recipe.leaks.alike,
        audit.leaks.len(),
        audit.answers,
        audit.showing,
        audit.contexts,
        audit.shown.len(),
    );
    for leak in audit.leaks.iter().take(20) {
        let _ = writeln!(text, "  - `{}`: {}, `{}`", leak.row, leak.how, leak.held_out);
    }
    if audit.leaks.len() > 20 {
        let _ = writeln!(text, "  - and {} more, in `dataset.json`", audit.leaks.len() - 20);
    }
    text
}

fn lengths(summary: &Summary) -> String {
    let lengths = &summary.lengths;
    let mut text = format!(
        "## Length\n\nTokens of a row: {} to {}, median {}, nine of ten at most {}; {} in all ({}).\n\n```\n",
        lengths.least, lengths.most, lengths.median, lengths.ninety, lengths.total, lengths.how,
    );
    text += &histogram(&lengths.histogram);
    text + "```\n"
}

/// A histogram with bars of at most 40 characters.
pub(crate) fn histogram(bins: &[(usize, usize)]) -> String {
    let most = bins.iter().map(|(_, count)| *count).max().unwrap_or_default().max(1);
    let bar = |count: usize| "#".repeat((count * 40).div_ceil(most));
    let line = |(limit, count): &(usize, usize)| {
        format!("up to {limit:>6}  {count:>6}  {}", bar(*count)).trim_end().to_string() + "\n"
    };
    bins.iter().map(line).collect()
}

fn shown(samples: &Samples) -> String {
    let mut text = "## Samples\n\nLines with `+` carry loss.\n".to_string();
    for row in samples.0.values() {
        let _ = writeln!(text, "\n{}: `{}`\n\n~~~~diff", row.kind.name(), row.id);
        for line in &row.messages {
            text += &sample(line);
        }
        text += "~~~~\n";
    }
    text
}

fn sample(line: &Line) -> String {
    let role = match line.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let mark = if line.loss { '+' } else { ' ' };
    let lines = abridged(&line.content);
    let lines = lines.lines().map(|text| format!("{mark} {text}").trim_end().to_string() + "\n");
    format!("@@ {role} @@\n{}", lines.collect::<String>())
}

/// The start and the end of a long text.
fn abridged(text: &str) -> String {
    let letters = text.chars().count();
    if letters <= 3 * SHOWN {
        return text.to_string();
    }
    let start: String = text.chars().take(SHOWN).collect();
    let end: String = text.chars().skip(letters - SHOWN).collect();
    format!("{start}\n[... {} characters ...]\n{end}", letters - 2 * SHOWN)
}
