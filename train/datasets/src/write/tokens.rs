//! fixfly's own format, which `fixfly train` reads: tokens and the spans that carry loss.

use serde::Serialize;
use serde_json::json;

use crate::row::Row;
use crate::summary::Summary;

/// Version of the format.
const SCHEMA: u32 = 1;

/// One sequence of tokens.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    /// The row; with `@` and the number of the message if only that message carries loss.
    row: String,
    tokens: &'a [u32],
    loss: &'a [[usize; 2]],
}

pub(super) fn lines(row: &Row) -> impl Iterator<Item = Line<'_>> {
    row.sequences.iter().map(|sequence| Line {
        row: match sequence.turn {
            Some(turn) => format!("{}@{turn}", row.id),
            None => row.id.clone(),
        },
        tokens: &sequence.tokens,
        loss: &sequence.loss,
    })
}

pub(super) fn beside(summary: &Summary) -> Vec<(&'static str, String)> {
    let Some(student) = &summary.student else { return Vec::new() };
    let facts = &student.facts;
    let mut about = json!({
        "schema": SCHEMA,
        "count": student.sequences,
        "rows": summary.rows(),
        "tokens": student.tokens,
        "supervised_tokens": student.learned,
        "tokenizer_sha256": facts.tokenizer_sha256,
        "chat_template": facts.chat_template,
        "chat_template_sha256": facts.chat_template_sha256,
        "thinking": { "rows": summary.recipe.reasoning.rows, "told_by": facts.told_by },
        "loss": summary.recipe.loss,
        "end_of_turn": facts.end_of_turn,
        "begin_of_text": facts.begin_of_text,
    });
    if !facts.system_role.is_rendered() {
        about["system_role"] = json!(facts.system_role);
    }
    let text = serde_json::to_string_pretty(&about).unwrap_or_default();
    vec![("tokens.json", format!("{text}\n"))]
}
