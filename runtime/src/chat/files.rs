//! The files of a Hugging Face tokenizer, read as transformers reads them: its chat
//! templates, its named special tokens, and the tokens that `tokenizer_config.json` adds.
//! A GGUF file stands for all of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::gguf::{GgufHeader, tokenizer_json};

const CONFIG: &str = "tokenizer_config.json";
const TEMPLATE: &str = "chat_template.jinja";
const TEMPLATES: &str = "additional_chat_templates";
/// Files of earlier versions of transformers.
const OLD_TEMPLATE: &str = "chat_template.json";
const OLD_TOKENS: &str = "special_tokens_map.json";
/// The tokens that transformers names, and passes to templates.
const NAMED: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
const MORE: [&str; 2] = ["additional_special_tokens", "extra_special_tokens"];

/// A model's chat templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatTemplates {
    /// The file, or the name of a built-in template.
    pub place: String,
    /// The text of the template for conversations.
    pub default: String,
    /// The text of the template for conversations with tools, if that is another one.
    pub tool_use: Option<String>,
}

impl ChatTemplates {
    /// One template for all conversations.
    pub fn one(place: impl Into<String>, text: impl Into<String>) -> Self {
        ChatTemplates { place: place.into(), default: text.into(), tool_use: None }
    }

    /// Reads a file: Jinja, a `tokenizer_config.json`, or a GGUF file.
    ///
    /// # Errors
    /// One sentence, if the file cannot be read or has no template.
    pub fn open(file: &Path) -> Result<Self, String> {
        let shown = file.display().to_string();
        let lacking = || format!("{shown} has no chat template; name another file");
        if GgufHeader::is_gguf(file) {
            let header = GgufHeader::open(file).map_err(|why| why.to_string())?;
            return ChatTemplates::of_gguf(&header)?.ok_or_else(lacking);
        }
        if file.extension().is_none_or(|extension| extension != "json") {
            let text = fs::read_to_string(file);
            let text = text.map_err(|why| format!("{shown}: it cannot be read: {why}"))?;
            return Ok(ChatTemplates::one(shown.clone(), text));
        }
        let found = named(&read(file)?["chat_template"]);
        ChatTemplates::of(shown.clone(), found)?.ok_or_else(lacking)
    }

    /// The templates of a GGUF file; `None` if there are none.
    ///
    /// # Errors
    /// One sentence, if no template is the default.
    pub fn of_gguf(header: &GgufHeader) -> Result<Option<Self>, String> {
        const KEY: &str = "tokenizer.chat_template";
        let name = |key: &str| match key.strip_prefix(KEY)? {
            "" => Some("default".to_string()),
            name => name.strip_prefix('.').map(String::from),
        };
        let one = |key: &String| Some((name(key)?, header.text(key)?.to_string()));
        let all = header.values().keys().filter_map(one).collect();
        ChatTemplates::of(header.file().display().to_string(), all)
    }

    /// Chooses by name. `None` if there are no templates at all.
    fn of(place: String, mut all: BTreeMap<String, String>) -> Result<Option<Self>, String> {
        if all.is_empty() {
            return Ok(None);
        }
        let tool_use = all.remove("tool_use");
        match all.remove("default") {
            Some(default) => Ok(Some(ChatTemplates { place, default, tool_use })),
            None => {
                let names = tool_use.map(|_| "tool_use".to_string()).into_iter();
                let names: Vec<_> = names.chain(all.into_keys()).collect();
                Err(format!(
                    "{place} has the chat templates {}, and none is named `default`; write the one to use to a file and name it with --chat-template",
                    names.join(", ")
                ))
            }
        }
    }
}

/// The templates of `chat_template`: a text, a list of named ones, or a map.
fn named(template: &Json) -> BTreeMap<String, String> {
    let text = |value: &Json| value.as_str().map(String::from);
    match template {
        Json::String(one) => BTreeMap::from([("default".to_string(), one.clone())]),
        Json::Array(list) => {
            let pair = |one: &Json| Some((text(&one["name"])?, text(&one["template"])?));
            list.iter().filter_map(pair).collect()
        }
        Json::Object(map) => {
            map.iter().filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
        }
        _ => BTreeMap::new(),
    }
}

fn read(file: &Path) -> Result<Json, String> {
    let shown = file.display();
    let text = fs::read_to_string(file).map_err(|why| format!("cannot read {shown}: {why}"))?;
    serde_json::from_str(&text).map_err(|why| format!("{shown} is not JSON: {why}"))
}

/// A `tokenizer.json` and the files beside it, or a GGUF file.
#[derive(Debug)]
pub struct TokenizerFiles {
    tokenizer: PathBuf,
    config: Json,
    named: BTreeMap<String, String>,
    gguf: Option<GgufHeader>,
}

impl TokenizerFiles {
    /// Reads the files beside a `tokenizer.json`, each of which may be missing, or the
    /// header of a GGUF file.
    ///
    /// # Errors
    /// One sentence, if a file cannot be read, or has a setting that fixfly does not apply.
    pub fn beside(tokenizer: &Path) -> Result<Self, String> {
        if GgufHeader::is_gguf(tokenizer) {
            let header = GgufHeader::open(tokenizer).map_err(|why| why.to_string())?;
            let named = header.named_tokens();
            let gguf = Some(header);
            return Ok(TokenizerFiles {
                tokenizer: tokenizer.into(),
                config: Json::Null,
                named,
                gguf,
            });
        }
        let file = tokenizer.with_file_name(CONFIG);
        let config = if file.exists() { read(&file)? } else { Json::Null };
        let old = tokenizer.with_file_name(OLD_TOKENS);
        let old = if old.exists() { read(&old)? } else { Json::Null };
        if config["split_special_tokens"] == Json::Bool(true) {
            return Err(format!(
                "{} has split_special_tokens true, which cuts the special tokens of a chat template into pieces; set it to false",
                file.display()
            ));
        }
        let token = |name: &&str| {
            let token = [&config, &old].into_iter().find_map(|from| word(&from[*name]))?;
            Some((name.to_string(), token))
        };
        let named = NAMED.iter().filter_map(token).collect();
        Ok(TokenizerFiles { tokenizer: tokenizer.into(), config, named, gguf: None })
    }

    /// Whether all comes from a GGUF file.
    pub fn is_gguf(&self) -> bool {
        self.gguf.is_some()
    }

    /// The bytes of `tokenizer.json`. Of a GGUF file, those of one that gives the same
    /// tokens: they depend on the file's tokenizer alone.
    ///
    /// # Errors
    /// One sentence, if there is no tokenizer, or if it cannot be read.
    pub fn text(&self) -> Result<Vec<u8>, String> {
        match &self.gguf {
            Some(header) => {
                let made = tokenizer_json(header).map_err(|why| why.to_string())?;
                Ok(made.to_string().into_bytes())
            }
            None => fs::read(&self.tokenizer)
                .map_err(|why| format!("cannot read {}: {why}", self.tokenizer.display())),
        }
    }

    /// `tokenizer_config.json`; null if there is none.
    pub fn config(&self) -> &Json {
        &self.config
    }

    /// The named special tokens, such as `bos_token`.
    pub fn named(&self) -> &BTreeMap<String, String> {
        &self.named
    }

    /// The chat templates; `None` if there are none. Files of their own come before those
    /// in `tokenizer_config.json`.
    ///
    /// # Errors
    /// One sentence, if a file cannot be read or no template is the default.
    pub fn templates(&self) -> Result<Option<ChatTemplates>, String> {
        if let Some(header) = &self.gguf {
            return ChatTemplates::of_gguf(header);
        }
        let beside = |name| self.tokenizer.with_file_name(name);
        let (config, own, old) = (beside(CONFIG), beside(TEMPLATE), beside(OLD_TEMPLATE));
        let mut all = named(&self.config["chat_template"]);
        let mut place = config;
        if all.is_empty() && old.exists() {
            all = named(&read(&old)?["chat_template"]);
            place = old;
        }
        if own.exists() {
            all = named(&Json::String(ChatTemplates::open(&own)?.default));
            place = own;
        }
        for entry in fs::read_dir(beside(TEMPLATES)).into_iter().flatten().flatten() {
            let file = entry.path();
            let name = file.file_stem().map(|name| name.to_string_lossy().into_owned());
            if let (Some(name), true) = (name, file.extension().is_some_and(|e| e == "jinja")) {
                all.insert(name, ChatTemplates::open(&file)?.default);
            }
        }
        ChatTemplates::of(place.display().to_string(), all)
    }

    /// `tokenizer.json` with the changes that transformers makes to it when it loads the
    /// folder; `None` if there are none, as for a GGUF file.
    ///
    /// # Errors
    /// One sentence that names the setting that fixfly does not apply.
    pub fn changed(&self, tokenizer: &Json) -> Result<Option<Json>, String> {
        if self.gguf.is_some() {
            return Ok(None);
        }
        let shown = self.tokenizer.display();
        if tokenizer["model"]["dropout"].as_f64().is_some_and(|dropout| dropout != 0.0) {
            return Err(format!(
                "{shown} has dropout {}, so the same text would get other tokens each time; set it to null",
                tokenizer["model"]["dropout"]
            ));
        }
        let mut changed = tokenizer.clone();
        if let Some(pre_tokenizer) = changed.get_mut("pre_tokenizer") {
            self.prefix_space(pre_tokenizer)?;
        }
        if let Some(Json::Array(added)) = changed.get_mut("added_tokens") {
            *added = self.added(tokenizer);
        }
        Ok(Some(changed).filter(|changed| changed != tokenizer))
    }

    /// Applies `add_prefix_space` as transformers does: only to a pre-tokenizer that is not
    /// one of a sequence.
    fn prefix_space(&self, pre_tokenizer: &mut Json) -> Result<(), String> {
        let Some(wanted) = self.config["add_prefix_space"].as_bool() else { return Ok(()) };
        if pre_tokenizer["type"] == "ByteLevel" {
            pre_tokenizer["add_prefix_space"] = json!(wanted);
        }
        let parts = pre_tokenizer["pretokenizers"].as_array().into_iter().flatten();
        let mut own = parts.filter_map(|one| one["add_prefix_space"].as_bool());
        match own.find(|own| *own != wanted) {
            None => Ok(()),
            Some(own) => Err(format!(
                "{} has add_prefix_space {wanted}, but {} has {own}; make them equal",
                self.tokenizer.with_file_name(CONFIG).display(),
                self.tokenizer.display()
            )),
        }
    }

    /// The added tokens: those of the file, then those of `added_tokens_decoder` in its
    /// place, then the named ones that are no added tokens yet.
    fn added(&self, tokenizer: &Json) -> Vec<Json> {
        let mut all = BTreeMap::new();
        for token in tokenizer["added_tokens"].as_array().into_iter().flatten() {
            all.insert(token["id"].as_u64().unwrap_or_default(), token.clone());
        }
        for (id, token) in self.config["added_tokens_decoder"].as_object().into_iter().flatten() {
            let Ok(id) = id.parse::<u64>() else { continue };
            let flag = |name: &str, default| token[name].as_bool().unwrap_or(default);
            let special = flag("special", false);
            let added = json!({
                "id": id, "content": token["content"], "special": special,
                "single_word": flag("single_word", false), "lstrip": flag("lstrip", false),
                "rstrip": flag("rstrip", false), "normalized": flag("normalized", !special),
            });
            all.insert(id, added);
        }
        let vocab = &tokenizer["model"]["vocab"];
        let mut next = size(vocab).max(all.keys().last().map_or(0, |last| last + 1));
        for content in self.special() {
            if let Some(token) = all.values_mut().find(|token| token["content"] == content) {
                token["special"] = json!(true);
                continue;
            }
            let id = place(vocab, &content).unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            let added = json!({
                "id": id, "content": content, "special": true, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false,
            });
            all.insert(id, added);
        }
        all.into_values().collect()
    }

    /// All special tokens that the configuration names.
    fn special(&self) -> Vec<String> {
        let lists = MORE.iter().map(|name| &self.config[*name]);
        let more = lists.flat_map(|list| match list {
            Json::Array(all) => all.iter().filter_map(word).collect::<Vec<_>>(),
            Json::Object(all) => all.values().filter_map(word).collect(),
            _ => Vec::new(),
        });
        self.named.values().cloned().chain(more).collect()
    }
}

/// The number of a vocabulary's ids: a map, or a list of tokens and scores.
fn size(vocab: &Json) -> u64 {
    match vocab {
        Json::Object(map) => map.values().filter_map(Json::as_u64).max().map_or(0, |last| last + 1),
        Json::Array(list) => list.len() as u64,
        _ => 0,
    }
}

fn place(vocab: &Json, token: &str) -> Option<u64> {
    match vocab {
        Json::Object(map) => map.get(token)?.as_u64(),
        Json::Array(list) => list.iter().position(|one| one[0] == token).map(|at| at as u64),
        _ => None,
    }
}

/// The text of a token: a string, or an `AddedToken`.
fn word(token: &Json) -> Option<String> {
    let text = token.as_str().or_else(|| token["content"].as_str())?;
    Some(text.to_string()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
