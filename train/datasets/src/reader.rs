//! Tokenises rows with the student's own chat template and tokenizer, and marks the tokens
//! that carry loss.
//!
//! The tokens before an answer equal the student's prompt at inference. The answer and the
//! token that ends its turn carry loss. An earlier message with loss is part of the same
//! sequence if the template renders it as it was written. If it does not (Qwen3's template
//! removes an empty reasoning block from the history), the message becomes its own
//! sequence; otherwise the student would train on prompts that it never gets.

use std::path::Path;

use fixfly_runtime::{
    CHATS, Chat, ChatTemplates, Message, Role, SystemRole, TemplateError, Thinking, ThinkingMode,
    ThinkingSwitch, TokenizerFiles, sha256, with_thinking_switch,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokenizers::Tokenizer;

use crate::error::DatasetError;
use crate::row::{Line, Row, Sequence};

const CONFIG: &str = "tokenizer_config.json";
/// Placeholder for an answer, to find the text that the template adds around it.
const PROBE: &str = "PROBE";
/// The beginning of reasoning, and an empty reasoning block.
const THOUGHT: &str = "<think>\n";
const NO_THOUGHT: &str = "<think>\n\n</think>";

/// A student's tokenizer and chat template.
pub struct Reader {
    tokenizer: Tokenizer,
    chat: Chat,
    told_by: ThinkingSwitch,
    /// Special tokens, as text.
    special: Vec<String>,
    /// Facts for the record.
    pub(crate) facts: ReaderFacts,
}

/// Facts that determine a student's tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReaderFacts {
    /// SHA-256 of its `tokenizer.json`, which is made from a GGUF file if it is one.
    pub tokenizer_sha256: String,
    /// The chat template: a built-in name, or the file that contains it.
    pub chat_template: String,
    /// SHA-256 of its text.
    pub chat_template_sha256: String,
    /// How the template renders the system prompt.
    #[serde(default, skip_serializing_if = "SystemRole::is_rendered")]
    pub system_role: SystemRole,
    /// How the student is asked to reason or not.
    pub told_by: ThinkingSwitch,
    /// The token that ends a turn. It carries loss.
    pub end_of_turn: Special,
    /// The token at the beginning of a text, if the template writes one. It carries no
    /// loss.
    pub begin_of_text: Option<Special>,
}

/// A special token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Special {
    /// Its text in a template.
    pub text: String,
    /// Its index in the vocabulary.
    pub id: u32,
}

impl Reader {
    /// Opens a student's `tokenizer.json` or GGUF file. The chat template is a built-in one
    /// or a file; if `None`, the one beside the tokenizer or in the GGUF file.
    ///
    /// # Errors
    /// [`DatasetError::Input`] if one of them is missing or cannot be used.
    pub fn open(
        tokenizer: &Path,
        template: Option<&str>,
        told_by: Option<ThinkingSwitch>,
    ) -> Result<Self, DatasetError> {
        let wrong = |why: String| DatasetError::Input(why);
        let files = TokenizerFiles::beside(tokenizer).map_err(wrong)?;
        let bytes = files.text().map_err(wrong)?;
        let opened = opened(tokenizer, &bytes, &files)?;
        let templates = templates(template, tokenizer, &files)?;
        let ChatTemplates { place, default: text, .. } = &templates;
        let chat = Chat::open(&templates, files.named().clone());
        let chat = chat.map_err(|e| wrong(format!("{place}: {e}")))?;
        let told_by = match told_by {
            Some(ThinkingSwitch::Template) if !chat.has_switch() => {
                return Err(wrong(format!(
                    "{place} has no `enable_thinking`: use --thinking-switch prompt, or none"
                )));
            }
            Some(told_by) => told_by,
            None if chat.has_switch() => ThinkingSwitch::Template,
            None => ThinkingSwitch::None,
        };
        let named = |why: String| wrong(format!("{place}: {why}"));
        begins_answers(&chat).map_err(named)?;
        let end = end_of_turn(&chat, &opened).map_err(named)?;
        let added = opened.get_added_tokens_decoder();
        let special = added.values().filter(|token| token.special);
        let special = special.map(|token| token.content.clone()).collect();
        let begin_of_text = begin_of_text(&chat, &opened, files.named().get("bos_token"));
        let facts = ReaderFacts {
            tokenizer_sha256: sha256(&bytes),
            chat_template: place.clone(),
            chat_template_sha256: sha256(text),
            system_role: chat.system_role(),
            told_by,
            end_of_turn: end,
            begin_of_text,
        };
        Ok(Reader { tokenizer: opened, chat, told_by, special, facts })
    }

    /// The sequences of a row, or the reason why it is dropped, for a table.
    pub(crate) fn sequences(&self, messages: &[Line]) -> Result<Vec<Sequence>, &'static str> {
        let spoken = |line: &Line| self.special.iter().any(|word| line.content.contains(word));
        if messages.iter().any(spoken) {
            return Err("a message contains a special token of the chat template");
        }
        let objects = |_| "the chat template rejects it";
        let last = messages.len() - 1;
        let (prompt, words) = self.turn(messages).map_err(objects)?;
        let mut row = Sequence { tokens: self.tokens(&prompt), ..Sequence::default() };
        let mut own = Vec::new();
        let models = (0..last).filter(|at| messages[*at].role == Role::Assistant);
        for (at, turn) in models.zip(1..).filter(|(at, _)| messages[*at].loss) {
            let (before, words) = self.turn(&messages[..=at]).map_err(objects)?;
            let learned = self.learned(&before, &words);
            let [from, to] = learned.loss[0];
            // Compare the text first, because that is cheap.
            let end = &self.facts.end_of_turn.text;
            let shown = prompt.strip_prefix(&*before).and_then(|rest| rest.strip_prefix(&*words));
            if shown.is_some_and(|rest| rest.starts_with(end))
                && row.tokens.starts_with(&learned.tokens)
            {
                row.loss.push([from, to]);
            } else {
                own.push(Sequence { turn: Some(turn), ..learned });
            }
        }
        let from = row.tokens.len();
        row.tokens.extend(self.tokens(&words));
        row.tokens.push(self.facts.end_of_turn.id);
        row.loss.push([from, row.tokens.len()]);
        own.push(row);
        Ok(own)
    }

    /// A row as the student reads it: each of its sequences as pieces of text, and whether
    /// each piece carries loss.
    ///
    /// # Errors
    /// [`DatasetError::Input`] if this student cannot read the row.
    pub fn pieces(&self, row: &Row) -> Result<Vec<Vec<(String, bool)>>, DatasetError> {
        let wrong = |why: String| DatasetError::Input(format!("{}: {why}", row.id));
        let sequences = self.sequences(&row.messages).map_err(|why| wrong(why.into()))?;
        let text = |tokens: &[u32]| {
            self.tokenizer.decode(tokens, false).map_err(|why| wrong(why.to_string()))
        };
        let pieces = |sequence: &Sequence| {
            let (mut pieces, mut at) = (Vec::new(), 0);
            for [from, to] in &sequence.loss {
                pieces.push((text(&sequence.tokens[at..*from])?, false));
                pieces.push((text(&sequence.tokens[*from..*to])?, true));
                at = *to;
            }
            Ok(pieces)
        };
        sequences.iter().map(pieces).collect()
    }

    /// The prompt of a conversation as the student reads it, and its number of tokens.
    ///
    /// # Errors
    /// [`DatasetError::Input`] if the chat template rejects it.
    pub fn prompt(
        &self,
        messages: Vec<Message>,
        thinking: Thinking,
    ) -> Result<(String, usize), DatasetError> {
        let messages = with_thinking_switch(messages, thinking);
        let prompt = self.chat.prompt(&messages, &[], thinking);
        let prompt = prompt.map_err(|why| DatasetError::Input(why.to_string()))?;
        let tokens = self.tokens(&prompt).len();
        Ok((prompt, tokens))
    }

    fn learned(&self, prompt: &str, words: &str) -> Sequence {
        let mut tokens = self.tokens(prompt);
        let from = tokens.len();
        tokens.extend(self.tokens(words));
        tokens.push(self.facts.end_of_turn.id);
        Sequence { turn: None, loss: vec![[from, tokens.len()]], tokens }
    }

    /// The prompt before the last message, and that message as the template renders it. The
    /// prompt asks for reasoning if the message has some.
    fn turn(&self, messages: &[Line]) -> Result<(String, String), TemplateError> {
        let message = |line: &Line| Message { role: line.role, content: line.content.clone() };
        let said: Vec<_> = messages.iter().map(message).collect();
        let content = &messages[messages.len() - 1].content;
        let mode = match content.starts_with(THOUGHT) {
            true => ThinkingMode::Think,
            false => ThinkingMode::NoThink,
        };
        let thinking = Thinking { mode, switch: self.told_by };
        let said = with_thinking_switch(said, thinking);
        let prompt = self.chat.prompt(&said[..said.len() - 1], &[], thinking)?;
        let transcript = self.chat.transcript(&said, thinking)?;
        let words = transcript.strip_prefix(&*prompt);
        let words = words.and_then(|rest| rest.rsplit_once(&*self.facts.end_of_turn.text));
        // With the soft switch, a student that does not reason writes the empty block
        // itself.
        let soft = self.told_by == ThinkingSwitch::Prompt;
        let same = |words: &str| match words.trim().strip_suffix(content.trim()).map(str::trim) {
            Some("") => true,
            Some(before) => soft && before == NO_THOUGHT,
            None => false,
        };
        let words = words.map(|(words, _)| words).filter(|words| same(words));
        let words = words.unwrap_or(content).to_string();
        Ok((prompt, words))
    }

    fn tokens(&self, text: &str) -> Vec<u32> {
        let encoding = self.tokenizer.encode_fast(text, false);
        encoding.map(|encoding| encoding.get_ids().to_vec()).unwrap_or_default()
    }
}

/// The tokenizer as transformers loads it. Truncation and padding of its file apply only
/// where they are asked for, which is not the case here.
pub(crate) fn opened(
    file: &Path,
    bytes: &[u8],
    files: &TokenizerFiles,
) -> Result<Tokenizer, DatasetError> {
    let shown = file.display();
    let invalid = |why: &dyn std::fmt::Display| {
        DatasetError::Input(format!(
            "{shown} is not a tokenizer ({why}); name the tokenizer.json that comes with the student, or its GGUF file"
        ))
    };
    let text: Value = serde_json::from_slice(bytes).map_err(|why| invalid(&why))?;
    let changed = files.changed(&text).map_err(DatasetError::Input)?;
    let opened = match &changed {
        None => Tokenizer::from_bytes(bytes),
        Some(changed) => Tokenizer::from_bytes(changed.to_string()),
    };
    let mut opened = opened.map_err(|why| invalid(&why))?;
    for token in changed.iter().flat_map(|changed| changed["added_tokens"].as_array()).flatten() {
        let (content, id) = (token["content"].as_str().unwrap_or_default(), &token["id"]);
        let got = opened.token_to_id(content);
        if got.map(u64::from) != id.as_u64() {
            return Err(DatasetError::Input(format!(
                "{} gives the token {content:?} the id {id}, which the tokenizer.json beside it does not allow; load and save the tokenizer with transformers",
                file.with_file_name(CONFIG).display()
            )));
        }
    }
    opened.with_padding(None).with_truncation(None).map_err(|why| invalid(&why))?;
    Ok(opened)
}

/// The named chat templates, or else those beside the tokenizer.
fn templates(
    named: Option<&str>,
    tokenizer: &Path,
    files: &TokenizerFiles,
) -> Result<ChatTemplates, DatasetError> {
    let wrong = DatasetError::Input;
    if let Some(entry) = CHATS.iter().find(|entry| Some(entry.name) == named) {
        return Ok(ChatTemplates::one(entry.name, entry.open));
    }
    match named {
        Some(file) if !file.ends_with(".json") && !Path::new(file).exists() => {
            let names: Vec<_> = CHATS.iter().map(|entry| entry.name).collect();
            Err(wrong(format!(
                "unknown chat template `{file}`; available: {}, or a file",
                names.join(", ")
            )))
        }
        Some(file) => ChatTemplates::open(Path::new(file)).map_err(wrong),
        None => files.templates().map_err(wrong)?.ok_or_else(|| {
            let place = match files.is_gguf() {
                true => tokenizer.to_path_buf(),
                false => tokenizer.with_file_name(CONFIG),
            };
            wrong(format!(
                "{} has no chat template: name one with --chat-template, {} or a file",
                place.display(),
                CHATS[0].name
            ))
        }),
    }
}

/// Refuses a template that begins answers only in a whole conversation: prompts would lack
/// that beginning, and so would the rows.
fn begins_answers(chat: &Chat) -> Result<(), String> {
    let say = |role, content: &str| Message { role, content: content.into() };
    let said = [say(Role::User, "x"), say(Role::Assistant, PROBE)];
    let written = |said: &[Message]| chat.transcript(said, Thinking::default());
    let prompt = chat.prompt(&said[..1], &[], Thinking::default()).map_err(|e| e.to_string())?;
    let (asked, whole) = match (written(&said[..1]), written(&said)) {
        (Ok(asked), Ok(whole)) => (asked, whole),
        // Some templates reject a conversation that ends with a question.
        (Err(_), _) => return Ok(()),
        (_, Err(why)) => return Err(why.to_string()),
    };
    let before = whole.rsplit_once(PROBE).map_or("", |(before, _)| before);
    let lacking = before.strip_prefix(&*prompt).unwrap_or_default().trim_start();
    match asked == prompt && !lacking.is_empty() {
        true => Err(format!(
            "the chat template ignores `add_generation_prompt`, so prompts lack the {lacking:?} that it writes before an answer; add `{{% if add_generation_prompt %}}...{{% endif %}}` with that text to its end"
        )),
        false => Ok(()),
    }
}

/// The token that the template writes after an answer.
fn end_of_turn(chat: &Chat, tokenizer: &Tokenizer) -> Result<Special, String> {
    let say = |role, content: &str| Message { role, content: content.into() };
    let said = [say(Role::User, "x"), say(Role::Assistant, PROBE)];
    let text = chat.transcript(&said, Thinking::default()).map_err(|e| e.to_string())?;
    let after = text.rsplit_once(PROBE).map_or("", |(_, after)| after);
    let added = tokenizer.get_added_tokens_decoder();
    let first = added.iter().find(|(_, token)| {
        token.special && !token.content.is_empty() && after.starts_with(&token.content)
    });
    let Some((id, token)) = first else {
        return Err(format!(
            "the chat template ends an answer with {after:?}, which is not a special token of the tokenizer: a student could not learn to stop"
        ));
    };
    Ok(Special { text: token.content.clone(), id: *id })
}

/// The token that the template writes at the beginning of every text, if any.
fn begin_of_text(chat: &Chat, tokenizer: &Tokenizer, word: Option<&String>) -> Option<Special> {
    let said = [Message { role: Role::User, content: "x".into() }];
    let text = chat.prompt(&said, &[], Thinking::default()).ok()?;
    let word = word?;
    let id = tokenizer.token_to_id(word)?;
    text.starts_with(word).then(|| Special { text: word.clone(), id })
}

#[cfg(test)]
mod tests;
