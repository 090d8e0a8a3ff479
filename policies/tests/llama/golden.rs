//! Training tokens are inference tokens: the row that `fixfly-datasets` makes of a
//! recorded attempt begins with what this policy is sent for the same view.

use fixfly_runtime::{
    CHATS, Chat, Task, TaskKind, Templates, Thinking, ThinkingMode, ThinkingSwitch, Turn, View,
};
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use serde::Deserialize;
use serde_json::Value;

use crate::stage::{Folder, act, backend, open, settings};
use crate::tiny::{Kind, TINY, worded};

const GOLDEN: &str = include_str!("../../../runtime/tests/chat/tokens.json");
const TOKENIZER: &str = include_str!("../../../runtime/tests/chat/tokenizer.json");

#[derive(Deserialize)]
struct Golden {
    task: Task,
    turns: Vec<Turn>,
    answer: String,
    reasoning: String,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    think: Row,
    no_think: Row,
}

#[derive(Deserialize)]
struct Row {
    tokens: Vec<i32>,
    loss: Vec<[usize; 2]>,
}

/// The vocabulary in the order of its numbers, and its merges.
fn vocabulary() -> (Vec<String>, Vec<String>) {
    let file: Value = serde_json::from_str(TOKENIZER).unwrap();
    let mut tokens: Vec<(u64, String)> = Vec::new();
    for (word, id) in file["model"]["vocab"].as_object().unwrap() {
        tokens.push((id.as_u64().unwrap(), word.clone()));
    }
    for added in file["added_tokens"].as_array().unwrap() {
        let word = added["content"].as_str().unwrap().to_string();
        tokens.push((added["id"].as_u64().unwrap(), word));
    }
    tokens.sort_unstable();
    let merges = file["model"]["merges"].as_array().unwrap().iter();
    let merges = merges.map(|pair| {
        let [left, right] = [0, 1].map(|at| pair[at].as_str().unwrap());
        format!("{left} {right}")
    });
    (tokens.into_iter().map(|(_, word)| word).collect(), merges.collect())
}

#[tokio::test]
async fn training_tokens_are_inference_tokens() {
    let folder = Folder::new();
    let file = worded(&folder, Kind::Qwen3, TINY, Some(CHATS[0].open), vocabulary());
    let params = LlamaModelParams::default().with_vocab_only(true);
    let model = LlamaModel::load_from_file(backend(), &file, &params).unwrap();
    let ids = |text: &str| -> Vec<i32> {
        let tokens = model.vocab().tokenize(text.as_bytes(), false, true);
        tokens.into_iter().map(|token| token.0).collect()
    };
    let golden: Golden = serde_json::from_str(GOLDEN).unwrap();
    let Golden { task, turns, answer, reasoning, expected } = &golden;
    let templates = Templates::load(TaskKind::Method, None).unwrap();
    let view = View { task, tools: &[], turns, templates: &templates, sample: 0, seed: 0 };
    let chat = Chat::new(CHATS[0].open, "", "<|im_end|>").unwrap();
    let thought = format!("<think>\n{reasoning}\n</think>\n\n{answer}");
    let modes = [
        (ThinkingMode::NoThink, &expected.no_think, answer),
        (ThinkingMode::Think, &expected.think, &thought),
    ];
    for (mode, row, words) in modes {
        let thinking = Thinking { mode, switch: ThinkingSwitch::Template };
        let &[[from, to]] = row.loss.as_slice() else { panic!("one answer is learned") };
        let prompt = chat.prompt(&view.messages(), &[], thinking).unwrap();
        assert_eq!(ids(&prompt), row.tokens[..from], "{mode:?}: what is sent");
        assert_eq!(
            ids(&format!("{words}<|im_end|>")),
            row.tokens[from..to],
            "{mode:?}: what is generated"
        );
        assert_eq!(to, row.tokens.len());
        let mut settings = settings(&file, 1);
        settings.thinking = thinking;
        let action = act(&*open(&settings), task, turns, 0).await.unwrap();
        assert_eq!(action.usage.prompt_tokens, from as u64, "{mode:?}: what the policy sends");
    }
}
