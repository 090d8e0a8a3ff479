//! ShareGPT as LLaMA-Factory reads it. All keys of `dataset_info.json` are written: if some
//! are present, LLaMA-Factory does not use its default for a missing one.

use fixfly_runtime::Role;
use serde_json::{Value, json};

use crate::error::DatasetError;
use crate::recipe::{Loss, Recipe, Traced};
use crate::row::{Part, Row};
use crate::summary::Summary;

/// LLaMA-Factory supports loss on all assistant messages, or on the last.
pub(super) fn check(recipe: &Recipe) -> Result<(), DatasetError> {
    match recipe.loss {
        Loss::All | Loss::Last => Ok(()),
        Loss::PerMessage => Err(DatasetError::Recipe(
            "ShareGPT cannot mark single messages with loss: remove sharegpt from --format, or use --loss all or last".into(),
        )),
    }
}

pub(super) fn row(row: &Row, _: &Recipe) -> Value {
    let mut system = "";
    let mut said = Vec::new();
    for line in &row.messages {
        match line.role {
            Role::System => system = &line.content,
            Role::User => said.push(json!({ "from": "user", "value": line.content })),
            Role::Assistant => said.push(json!({ "from": "AI", "value": line.content })),
        }
    }
    json!({ "conversations": said, "system": system, "id": row.id })
}

pub(super) fn beside(summary: &Summary, parts: &[Part]) -> Vec<(&'static str, String)> {
    let mut info = serde_json::Map::new();
    for part in parts {
        info.insert(format!("fixfly_{}", part.name()), entry(part.name()));
    }
    let info = serde_json::to_string_pretty(&info).unwrap_or_default();
    vec![
        ("dataset_info.json", format!("{info}\n")),
        ("llamafactory.yaml", settings(summary, parts.contains(&Part::Validation))),
    ]
}

fn entry(part: &str) -> Value {
    json!({
        "file_name": format!("{part}.jsonl"),
        "formatting": "sharegpt",
        "columns": {
            "messages": "conversations", "system": "system", "tools": null,
            "images": null, "videos": null, "audios": null,
            "chosen": null, "rejected": null, "kto_tag": null,
        },
        "tags": {
            "role_tag": "from", "content_tag": "value",
            "user_tag": "user", "assistant_tag": "AI", "observation_tag": "observation",
            "function_tag": "function_call", "system_tag": "system",
        },
    })
}

/// The settings that LLaMA-Factory needs to train on the dataset as intended.
fn settings(summary: &Summary, validation: bool) -> String {
    let recipe = &summary.recipe;
    let (thinking, why) = match recipe.reasoning.rows {
        Traced::Without => {
            ("false", "no row has reasoning; `true` would teach the model to stop thinking")
        }
        Traced::With => ("true", "every row has reasoning"),
        Traced::Both => {
            ("null", "rows with a trace keep it; the others get an empty one without loss")
        }
    };
    let (mask, learned) = match recipe.loss {
        Loss::Last => ("true", "only the answer carries loss"),
        Loss::All | Loss::PerMessage => ("false", "every assistant message carries loss"),
    };
    let eval = if validation { "eval_dataset: fixfly_validation\n" } else { "" };
    let cutoff = recipe.limits.tokens.unwrap_or(summary.lengths.most);
    format!(
        "# The settings that this dataset needs; add model, method and output.\n\
         # The paper uses finetuning_type lora, lora_rank 32, lora_target q_proj,k_proj,v_proj,o_proj.\n\
         stage: sft\n\
         do_train: true\n\
         dataset_dir: .  # this folder\n\
         dataset: fixfly_train\n\
         {eval}\
         template: qwen3\n\
         enable_thinking: {thinking}  # {why}\n\
         mask_history: {mask}  # {learned}\n\
         cutoff_len: {cutoff}  # fixfly dropped longer rows; LLaMA-Factory would truncate the answer\n"
    )
}
