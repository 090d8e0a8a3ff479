mod gguf;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use fixfly_runtime::{Task, TaskKind, Templates, Turn};
use proptest::prelude::*;

use super::*;
use crate::item::conversation;
use crate::recipe::Loss;
use crate::traces::reasoned;

const GOLDEN: &str = include_str!("../../../../runtime/tests/chat/tokens.json");
const LLAMA: &str = include_str!("../../../../runtime/tests/chat/llama31.jinja");

fn tokenizer() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtime/tests/chat/tokenizer.json")
}

fn qwen3() -> &'static Reader {
    static READER: LazyLock<Reader> =
        LazyLock::new(|| Reader::open(&tokenizer(), Some("qwen3"), None).unwrap());
    &READER
}

/// A student of another family, in a folder with its files.
fn llama(folder: &Path) -> Reader {
    let text = fs::read_to_string(tokenizer()).unwrap();
    let text = text.replace("<|im_end|>", "<|eot_id|>").replace("<|im_start|>", "<|begin|>");
    fs::write(folder.join("tokenizer.json"), text).unwrap();
    let config = serde_json::json!({ "chat_template": LLAMA, "bos_token": "<|begin|>" });
    fs::write(folder.join(CONFIG), config.to_string()).unwrap();
    Reader::open(&folder.join("tokenizer.json"), None, None).unwrap()
}

fn lines(said: &[(&str, bool)]) -> Vec<Line> {
    let roles = [Role::System].into_iter().chain([Role::User, Role::Assistant].repeat(9));
    let line = |(role, (content, loss)): (Role, &(&str, bool))| Line {
        role,
        content: content.to_string(),
        loss: *loss,
    };
    roles.zip(said).map(line).collect()
}

impl Reader {
    fn text(&self, tokens: &[u32]) -> String {
        self.tokenizer.decode(tokens, false).unwrap()
    }

    /// The text of the spans with loss.
    fn spans(&self, sequence: &Sequence) -> Vec<String> {
        sequence.loss.iter().map(|[from, to]| self.text(&sequence.tokens[*from..*to])).collect()
    }
}

const REPAIR: [(&str, bool); 5] =
    [("s", false), ("Write it.", false), ("bad", true), ("1 fails.", false), ("good", true)];

#[test]
fn an_attempt_that_history_shows_otherwise_is_learned_where_it_was_said() {
    let reader = qwen3();
    let sequences = reader.sequences(&lines(&REPAIR)).unwrap();
    let [attempt, row] = sequences.as_slice() else { panic!("{sequences:?}") };
    assert_eq!((attempt.turn, row.turn), (Some(1), None));
    let before = "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nWrite it.<|im_end|>\n\
                  <|im_start|>assistant\n";
    let none = "<think>\n\n</think>\n\n";
    assert_eq!(reader.text(&attempt.tokens), format!("{before}{none}bad<|im_end|>"));
    assert_eq!(reader.spans(attempt), ["bad<|im_end|>"]);
    let after = "bad<|im_end|>\n<|im_start|>user\n1 fails.<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(reader.text(&row.tokens), format!("{before}{after}{none}good<|im_end|>"));
    assert_eq!(reader.spans(row), ["good<|im_end|>"]);
}

#[test]
fn where_history_shows_what_was_said_a_row_is_one_sequence() {
    let folder = tempfile::tempdir().unwrap();
    let reader = llama(folder.path());
    assert_eq!(reader.facts.begin_of_text.as_ref().unwrap().text, "<|begin|>");
    let sequences = reader.sequences(&lines(&REPAIR)).unwrap();
    let [row] = sequences.as_slice() else { panic!("{sequences:?}") };
    assert_eq!(reader.spans(row), ["bad<|eot_id|>", "good<|eot_id|>"]);
    assert!(reader.text(&row.tokens).starts_with("<|begin|><|start_header_id|>system"));
    let mut last = lines(&REPAIR);
    last[2].loss = false;
    let row = &reader.sequences(&last).unwrap()[0];
    assert_eq!(reader.spans(row), ["good<|eot_id|>"]);
}

#[test]
fn a_thought_is_learned_and_that_there_is_none_only_where_the_student_says_it() {
    let answer = reasoned("Hm.", "good");
    let said = [("s", false), ("u", false), (&*answer, true)];
    let learned = |told_by, said: &[(&str, bool)]| {
        let reader = Reader::open(&tokenizer(), Some("qwen3"), Some(told_by)).unwrap();
        let row = reader.sequences(&lines(said)).unwrap().remove(0);
        let from = row.loss[0][0];
        let sent = reader.text(&row.tokens[..from]);
        (sent[sent.find("user").unwrap()..].to_string(), reader.spans(&row).remove(0))
    };
    let check = |told_by, reasons, sent: &str, words: &str| {
        let said = if reasons { said } else { [said[0], said[1], ("good", true)] };
        let expected = (sent.to_string(), format!("{words}<|im_end|>"));
        assert_eq!(learned(told_by, &said), expected);
    };
    use ThinkingSwitch::{Prompt, Template};
    let turn = "<|im_end|>\n<|im_start|>assistant\n";
    let none = "<think>\n\n</think>\n\n";
    check(Template, true, &format!("user\nu{turn}"), "<think>\nHm.\n</think>\n\ngood");
    check(Template, false, &format!("user\nu{turn}{none}"), "good");
    check(Prompt, true, &format!("user\nu /think{turn}"), "<think>\nHm.\n</think>\n\ngood");
    check(Prompt, false, &format!("user\nu /no_think{turn}"), &format!("{none}good"));
}

#[test]
fn words_of_the_template_are_no_words_of_anybody() {
    let said = lines(&[("s", false), ("say <|im_end|>", false), ("a", true)]);
    let why = qwen3().sequences(&said).unwrap_err();
    assert_eq!(why, "a message contains a special token of the chat template");
}

#[test]
fn a_student_that_cannot_be_read_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokenizer.json");
    let check = |template: Option<&str>, switch, expected: &str| {
        let error = Reader::open(&file, template, switch).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(None, None, "cannot read ");
    fs::write(&file, "{}").unwrap();
    check(None, None, "name the tokenizer.json that comes with the student");
    fs::copy(tokenizer(), &file).unwrap();
    check(None, None, "tokenizer_config.json has no chat template: name one with --chat-template");
    check(Some("qwen4"), None, "unknown chat template `qwen4`; available: qwen3, or a file");
    fs::write(folder.path().join("chat_template.jinja"), "{{ messages[0].content }}").unwrap();
    check(None, None, "a student could not learn to stop");
    check(None, Some(ThinkingSwitch::Template), "has no `enable_thinking`");
}

/// Templates of the folders `30-generation-tag` and `31-no-system-role` of reported faults.
/// A template that ignores `add_generation_prompt` is refused if prompts would lack the
/// beginning of an answer.
#[test]
fn a_template_begins_answers_in_prompts_too() {
    let check = |template: &str, expected: Result<(), &str>| {
        let templates = ChatTemplates::one("t", template);
        let chat = Chat::open(&templates, BTreeMap::new()).unwrap();
        match (begins_answers(&chat), expected) {
            (Ok(()), Ok(())) => {}
            (Err(why), Err(part)) => assert!(why.contains(part), "{template}: {why}"),
            (found, _) => panic!("{template}: {found:?}"),
        }
    };
    let turns =
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
    check(turns, Err("lack the \"<|im_start|>assistant"));
    let header = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    check(&format!("{turns}{header}"), Ok(()));
    // The question itself begins the answer.
    check(
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }}</s>{% endif %}{% endfor %}",
        Ok(()),
    );
    let thought = "{% for m in messages %}<|{{ m.role }}|>\n{% if m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}";
    check(thought, Ok(()));
}

const GENERATION: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
const NO_SYSTEM: &str = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// The text of a row, and of its spans with loss.
#[track_caller]
fn check_row(template: &str, role: SystemRole, text: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.jinja");
    fs::write(&file, template).unwrap();
    let reader = Reader::open(&tokenizer(), file.to_str(), None).unwrap();
    assert_eq!(reader.facts.system_role, role);
    let said = [("s", false), ("u", false), ("bad", true), ("v", false), ("good", true)];
    let row = reader.sequences(&lines(&said)).unwrap().remove(0);
    assert_eq!(reader.text(&row.tokens), text);
    assert_eq!(reader.spans(&row), ["bad<|im_end|>", "good<|im_end|>"]);
}

#[test]
fn a_generation_tag_renders_its_body() {
    let turns = "<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\nbad<|im_end|>\n\
                 <|im_start|>user\nv<|im_end|>\n<|im_start|>assistant\ngood<|im_end|>";
    let text = format!("<|im_start|>system\ns<|im_end|>\n{turns}");
    check_row(GENERATION, SystemRole::Rendered, &text);
    check_row(NO_SYSTEM, SystemRole::Folded, &turns.replacen("user\nu", "user\ns\n\nu", 1));
}

/// The tokens of a text that a student in a folder with these changes reads.
fn changed(change: impl Fn(&mut Value), config: Value) -> Result<Vec<u32>, String> {
    let folder = tempfile::tempdir().unwrap();
    let mut text: Value = serde_json::from_slice(&fs::read(tokenizer()).unwrap()).unwrap();
    change(&mut text);
    let file = folder.path().join("tokenizer.json");
    fs::write(&file, text.to_string()).unwrap();
    fs::write(folder.path().join(CONFIG), config.to_string()).unwrap();
    let reader = Reader::open(&file, Some("qwen3"), None).map_err(|why| why.to_string())?;
    Ok(reader.tokens("a b <mark> c"))
}

#[test]
fn a_length_in_the_tokenizers_file_cuts_and_fills_nothing() {
    let whole = changed(|_| (), Value::Null).unwrap();
    let cut = |text: &mut Value| {
        text["truncation"] = serde_json::json!({
            "max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right",
        });
        text["padding"] = serde_json::json!({
            "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>",
        });
    };
    assert_eq!(changed(cut, Value::Null).unwrap(), whole);
}

#[test]
fn tokens_of_the_configuration_are_tokens_of_the_student() {
    let next = |text: &Value| {
        let vocab = text["model"]["vocab"].as_object().unwrap().values();
        let added = text["added_tokens"].as_array().unwrap().iter().map(|token| &token["id"]);
        vocab.chain(added).filter_map(Value::as_u64).max().unwrap() + 1
    };
    let text: Value = serde_json::from_slice(&fs::read(tokenizer()).unwrap()).unwrap();
    let id = next(&text);
    let config = |id: u64| {
        let token = serde_json::json!({"content": "<mark>", "special": true});
        serde_json::json!({"added_tokens_decoder": {id.to_string(): token}})
    };
    let without = changed(|_| (), Value::Null).unwrap();
    let with = changed(|_| (), config(id)).unwrap();
    let mark = u32::try_from(id).unwrap();
    assert!(with.contains(&mark) && !without.contains(&mark), "{with:?}, {without:?}");
    let why = changed(|_| (), config(id + 7)).unwrap_err();
    assert!(why.contains(&format!("gives the token \"<mark>\" the id {}", id + 7)), "{why}");
    let why = changed(|text| text["model"]["dropout"] = 0.1.into(), Value::Null).unwrap_err();
    assert!(why.contains("dropout 0.1"), "{why}");
}

/// The engine of `llama` reads the same tokens: `policies/tests/llama/golden.rs`.
#[test]
fn training_tokens_are_inference_tokens() {
    #[derive(Deserialize)]
    struct Golden {
        task: Task,
        turns: Vec<Turn>,
        answer: String,
        reasoning: String,
        expected: BTreeMap<String, Expected>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Expected {
        tokens: Vec<u32>,
        loss: Vec<[usize; 2]>,
    }
    let golden: Golden = serde_json::from_str(GOLDEN).unwrap();
    let templates = Templates::load(TaskKind::Method, None).unwrap();
    let row = |reasons| {
        let Golden { task, turns, answer, reasoning, .. } = &golden;
        let answer = if reasons { reasoned(reasoning, answer) } else { answer.clone() };
        let said = conversation(task, turns, answer, &templates, Loss::Last).into_iter();
        let said = said.map(|(said, loss)| Line { role: said.role, content: said.content, loss });
        let row = qwen3().sequences(&said.collect::<Vec<_>>()).unwrap().remove(0);
        Expected { tokens: row.tokens, loss: row.loss }
    };
    let rows = [("no_think", row(false)), ("think", row(true))];
    let rows: BTreeMap<_, _> = rows.map(|(name, row)| (name.to_string(), row)).into();
    assert_eq!(golden.expected, rows, "{}", serde_json::to_string(&rows).unwrap());
}

fn words() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a",
        "def f(self):",
        "\n",
        "    ",
        " ",
        "é",
        "```",
        "🦟",
        "\t",
        "'s",
        "0",
        "\"",
        "return",
    ]);
    prop::collection::vec(part, 1..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_row_is_what_is_sent_then_what_is_said(
        said in prop::collection::vec(words(), 5),
        reasons: bool,
        attempt: bool,
    ) {
        let reader = qwen3();
        let answer = if reasons { reasoned(&said[2], &said[4]) } else { said[4].clone() };
        let mut row: Vec<_> = said.iter().map(|words| (words.as_str(), false)).collect();
        row[2].1 = attempt;
        row[4] = (&answer, true);
        let row = lines(&row);
        let messages = |upto: usize| -> Vec<Message> {
            let said = row[..upto].iter();
            said.map(|l| Message { role: l.role, content: l.content.clone() }).collect()
        };
        for sequence in reader.sequences(&row).unwrap() {
            let last = sequence.turn.map_or(4, |turn| 2 * turn);
            let mode = match reasons && last == 4 {
                true => ThinkingMode::Think,
                false => ThinkingMode::NoThink,
            };
            let thinking = Thinking { mode, switch: ThinkingSwitch::Template };
            let [from, to] = *sequence.loss.last().unwrap();
            let sent = reader.chat.prompt(&messages(last), &[], thinking).unwrap();
            prop_assert_eq!(&sequence.tokens[..from], &reader.tokens(&sent)[..]);
            prop_assert_eq!(to, sequence.tokens.len());
            let learned = reader.spans(&sequence).pop().unwrap();
            let own = learned.strip_suffix("<|im_end|>").unwrap();
            prop_assert_eq!(own.trim(), row[last].content.trim());
            let whole = reader.chat.transcript(&messages(last + 1), thinking).unwrap();
            let text = reader.text(&sequence.tokens);
            if own == row[last].content {
                prop_assert_eq!(text, whole.trim_end());
            } else {
                prop_assert_eq!(text.split_whitespace().collect::<String>(),
                    whole.split_whitespace().collect::<String>());
            }
        }
    }
}
