//! Renders a conversation with the model's own chat template, byte for byte as Python's
//! `transformers` does. Inference and training use the same code.

mod python_json;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize;
use serde_json::Value as Json;

use crate::generation::{Thinking, ThinkingMode, ThinkingSwitch};
use crate::message::{Message, Role};
use crate::registry::Entry;
use crate::templates::TemplateError;
use crate::tool::ToolSpec;
use python_json::tojson;

/// Chat templates that are built into fixfly. For conversations without tools they render
/// the same text as the models' own.
pub const CHATS: &[Entry<&str>] = &[Entry {
    name: "qwen3",
    about: "Qwen3's, thinking and not",
    open: include_str!("../prompts/qwen3.jinja"),
}];

/// A chat template.
pub struct Chat {
    environment: Environment<'static>,
    bos: String,
    eos: String,
    has_switch: bool,
}

/// A tool, as templates expect it.
#[derive(Serialize)]
struct Tool<'a> {
    r#type: &'a str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a Json,
}

impl Chat {
    /// Parses a template and tries it out. `bos` and `eos` are the model's tokens for the
    /// beginning and the end of a text.
    ///
    /// # Errors
    /// [`TemplateError`] with the fault.
    pub fn new(template: &str, bos: &str, eos: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        let syntax = syntax.trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(wrong)?);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_filter("tojson", tojson);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_template_owned("chat", template.to_string()).map_err(wrong)?;
        let (bos, eos) = (bos.to_string(), eos.to_string());
        let has_switch = template.contains("enable_thinking");
        let chat = Chat { environment, bos, eos, has_switch };
        let message = |role| Message { role, content: "x".into() };
        let roles = [Role::System, Role::User, Role::Assistant, Role::User];
        chat.prompt(&roles.map(message), &[], Thinking::default())?;
        Ok(chat)
    }

    /// Whether the template has a variable that switches reasoning on and off.
    pub fn has_switch(&self) -> bool {
        self.has_switch
    }

    /// The prompt: the conversation up to the point where the model's answer starts.
    ///
    /// # Errors
    /// [`TemplateError`] with the template's error.
    pub fn prompt(
        &self,
        messages: &[Message],
        tools: &[ToolSpec],
        thinking: Thinking,
    ) -> Result<String, TemplateError> {
        self.render(messages, tools, thinking, true)
    }

    /// The text of a conversation that ends with an answer of the model.
    ///
    /// # Errors
    /// [`TemplateError`] with the template's error.
    pub fn transcript(
        &self,
        messages: &[Message],
        thinking: Thinking,
    ) -> Result<String, TemplateError> {
        self.render(messages, &[], thinking, false)
    }

    fn render(
        &self,
        messages: &[Message],
        tools: &[ToolSpec],
        thinking: Thinking,
        add_generation_prompt: bool,
    ) -> Result<String, TemplateError> {
        let tools: Vec<_> = tools.iter().map(Tool::from).collect();
        let messages_context = context! {
            messages => Value::from(Serde(messages)),
            add_generation_prompt => add_generation_prompt,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
        };
        let tools = match tools.is_empty() {
            true => context! {},
            false => context! { tools => Value::from(Serde(&tools)) },
        };
        let thinking = match (thinking.switch, thinking.mode) {
            (ThinkingSwitch::Template, ThinkingMode::Think) => context! { enable_thinking => true },
            (ThinkingSwitch::Template, ThinkingMode::NoThink) => {
                context! { enable_thinking => false }
            }
            _ => context! {},
        };
        let chat = self.environment.get_template("chat").map_err(wrong)?;
        chat.render(context! { ..messages_context, ..tools, ..thinking }).map_err(wrong)
    }
}

/// Appends Qwen3's soft switch to the first user message, if `thinking` asks for it.
/// It stays there in later turns, so that a prompt only grows.
pub fn with_thinking_switch(mut messages: Vec<Message>, thinking: Thinking) -> Vec<Message> {
    let word = match (thinking.switch, thinking.mode) {
        (ThinkingSwitch::Prompt, ThinkingMode::Think) => " /think",
        (ThinkingSwitch::Prompt, ThinkingMode::NoThink) => " /no_think",
        _ => return messages,
    };
    if let Some(first) = messages.iter_mut().find(|message| message.role == Role::User) {
        first.content.push_str(word);
    }
    messages
}

impl<'a> From<&'a ToolSpec> for Tool<'a> {
    fn from(tool: &'a ToolSpec) -> Self {
        let ToolSpec { name, description, parameters } = tool;
        Tool { r#type: "function", function: Function { name, description, parameters } }
    }
}

fn raise_exception(why: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, why))
}

/// Always returns the date that Llama's templates use if they are given none, so that a
/// prompt does not depend on the day it is made.
fn strftime_now(format: &str) -> Result<String, Error> {
    let mut formatted = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            formatted.push(letter);
            continue;
        }
        formatted.push_str(match letters.next() {
            Some('d') => "26",
            Some('b' | 'h') => "Jul",
            Some('B') => "July",
            Some('m') => "07",
            Some('Y') => "2024",
            Some('y') => "24",
            Some('A') => "Friday",
            Some('a') => "Fri",
            Some('F') => "2024-07-26",
            Some('H' | 'M' | 'S') => "00",
            Some('%') => "%",
            other => {
                let why = format!("strftime_now does not support %{}", other.unwrap_or(' '));
                return Err(Error::new(ErrorKind::InvalidOperation, why));
            }
        });
    }
    Ok(formatted)
}

fn wrong(error: Error) -> TemplateError {
    TemplateError(format!("{error:#}").lines().next().unwrap_or_default().to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Conversation {
        messages: Vec<Message>,
        #[serde(default)]
        tools: Vec<TestTool>,
        enable_thinking: Option<bool>,
    }

    #[derive(Deserialize)]
    struct TestTool {
        function: ToolSpec,
    }

    impl Conversation {
        fn thinking(&self) -> Thinking {
            let mode = match self.enable_thinking {
                None => ThinkingMode::Default,
                Some(true) => ThinkingMode::Think,
                Some(false) => ThinkingMode::NoThink,
            };
            Thinking { mode, switch: ThinkingSwitch::Template }
        }
    }

    fn chat(template: &str) -> Result<Chat, TemplateError> {
        Chat::new(template, "<s>", "</s>")
    }

    #[test]
    fn templates_say_what_they_say_in_python() {
        let conversations = include_str!("../tests/chat/conversations.json");
        let conversations: BTreeMap<String, Conversation> =
            serde_json::from_str(conversations).unwrap();
        let golden = include_str!("../tests/chat/golden.json");
        let golden: BTreeMap<String, BTreeMap<String, String>> =
            serde_json::from_str(golden).unwrap();
        for (name, template) in [
            ("qwen3", CHATS[0].open),
            ("llama31", include_str!("../tests/chat/llama31.jinja")),
            ("ministral", include_str!("../tests/chat/ministral.jinja")),
        ] {
            let chat = chat(template).unwrap();
            for (conversation_name, conversation) in &conversations {
                let tools: Vec<_> =
                    conversation.tools.iter().map(|tool| tool.function.clone()).collect();
                let text =
                    chat.prompt(&conversation.messages, &tools, conversation.thinking()).unwrap();
                assert_eq!(text, golden[name][conversation_name], "{name}, {conversation_name}");
            }
        }
    }

    #[test]
    fn a_template_that_cannot_be_used_says_so_when_it_is_opened() {
        for (template, why) in [
            ("{% if %}", "syntax error"),
            ("{{ raise_exception('no system role') }}", "no system role"),
            ("{{ messages | nothing }}", "nothing"),
            ("{{ strftime_now('%U') }}", "does not support %U"),
        ] {
            let fault = chat(template).err().unwrap().to_string();
            assert!(fault.contains(why) && !fault.contains('\n'), "{fault}");
        }
    }

    #[track_caller]
    fn check(mode: ThinkingMode, switch: ThinkingSwitch, expected: &str) {
        let message = |role, content: &str| Message { role, content: content.into() };
        let messages =
            vec![message(Role::System, "s"), message(Role::User, "u"), message(Role::User, "v")];
        let switched = with_thinking_switch(messages, Thinking { mode, switch });
        let contents: Vec<_> = switched.iter().map(|message| message.content.as_str()).collect();
        assert_eq!(contents, ["s", expected, "v"]);
    }

    #[test]
    fn the_soft_switch_follows_the_first_user_message() {
        check(ThinkingMode::Think, ThinkingSwitch::Prompt, "u /think");
        check(ThinkingMode::NoThink, ThinkingSwitch::Prompt, "u /no_think");
        check(ThinkingMode::NoThink, ThinkingSwitch::Template, "u");
        check(ThinkingMode::Default, ThinkingSwitch::Prompt, "u");
    }
}
