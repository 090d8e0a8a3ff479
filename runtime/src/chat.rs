//! Renders a conversation with the model's own chat template, byte for byte as Python's
//! `transformers` does. Inference and training use the same code.

mod files;
mod python;
mod python_json;
mod system;
mod tags;

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::generation::{Thinking, ThinkingMode, ThinkingSwitch};
use crate::message::{Message, Role};
use crate::registry::Entry;
use crate::templates::TemplateError;
use crate::tool::ToolSpec;
pub use files::{ChatTemplates, TokenizerFiles};
use python_json::tojson;
pub use system::SystemRole;
use system::folded;
use tags::prepared;

/// Chat templates that are built into fixfly. For conversations without tools they render
/// the same text as the models' own.
pub const CHATS: &[Entry<&str>] = &[Entry {
    name: "qwen3",
    about: "Qwen3's, thinking and not",
    open: include_str!("../prompts/qwen3.jinja"),
}];

/// The texts that a template is tried out with.
const SYSTEM: &str = "PROBE-SYSTEM";
const USER: &str = "PROBE-USER";

/// A model's chat templates, ready to render.
pub struct Chat {
    environment: Environment<'static>,
    /// The named special tokens, such as `bos_token`.
    tokens: BTreeMap<String, String>,
    has_switch: bool,
    template: Template,
    /// The template for conversations with tools, if it is another one, or why it cannot be
    /// used.
    tool_use: Option<Result<Template, String>>,
}

/// A template of the environment.
struct Template {
    name: &'static str,
    system: SystemRole,
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
    /// beginning and the end of a text; an empty one is undefined in the template.
    ///
    /// # Errors
    /// [`TemplateError`] with the fault.
    pub fn new(template: &str, bos: &str, eos: &str) -> Result<Self, TemplateError> {
        let tokens = [("bos_token", bos), ("eos_token", eos)].into_iter();
        let tokens = tokens.filter(|(_, token)| !token.is_empty());
        let tokens = tokens.map(|(name, token)| (name.to_string(), token.to_string())).collect();
        Chat::open(&ChatTemplates::one("the chat template", template), tokens)
    }

    /// Parses a model's templates and tries them out. `tokens` are its named special tokens,
    /// such as `bos_token`.
    ///
    /// # Errors
    /// [`TemplateError`] with the fault of the default template. A fault of the template for
    /// tools is an error where it is used.
    pub fn open(
        templates: &ChatTemplates,
        tokens: BTreeMap<String, String>,
    ) -> Result<Self, TemplateError> {
        let ChatTemplates { place, default, tool_use } = templates;
        let texts = [Some(default), tool_use.as_ref()].into_iter().flatten();
        let has_switch = texts.into_iter().any(|text| text.contains("enable_thinking"));
        let template = Template { name: "chat", system: SystemRole::Rendered };
        let environment = environment()?;
        let mut chat = Chat { environment, tokens, has_switch, template, tool_use: None };
        chat.template = chat.tried("chat", default, &[])?;
        if !chat.template.system.is_rendered() {
            tracing::warn!(
                "{place} has no system role: the system prompt begins the first user message"
            );
        }
        if let Some(text) = tool_use {
            let tools = [ToolSpec {
                name: "probe".into(),
                description: "A tool.".into(),
                parameters: json!({"type": "object", "properties": {}, "required": []}),
            }];
            let tried = chat.tried("tool_use", text, &tools);
            chat.tool_use = Some(tried.map_err(|why| format!("{place}, tool_use: {why}")));
        }
        Ok(chat)
    }

    /// Parses a template and finds out how it renders a system message.
    fn tried(
        &mut self,
        name: &'static str,
        text: &str,
        tools: &[ToolSpec],
    ) -> Result<Template, TemplateError> {
        self.environment.add_template_owned(name, prepared(text)).map_err(wrong)?;
        let message = |role, content: &str| Message { role, content: content.into() };
        let probe = [
            message(Role::System, SYSTEM),
            message(Role::User, USER),
            message(Role::Assistant, "x"),
            message(Role::User, "x"),
        ];
        let render = |system| {
            let template = Template { name, system };
            let text = self.render(&template, &probe, tools, Thinking::default(), true)?;
            Ok::<_, TemplateError>((text.contains(SYSTEM), text.contains(USER), template))
        };
        match render(SystemRole::Rendered) {
            Ok((true, _, template)) => Ok(template),
            rendered => match (rendered, render(SystemRole::Folded)) {
                (_, Ok((true, true, template))) => Ok(template),
                (Err(why), _) => Err(why),
                (Ok(_), Err(why)) => Err(why),
                (Ok(_), Ok(_)) => {
                    Err(TemplateError("it leaves out the first messages of a conversation".into()))
                }
            },
        }
    }

    /// How the template renders a system message.
    pub fn system_role(&self) -> SystemRole {
        self.template.system
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
        let template = match &self.tool_use {
            Some(tool_use) if !tools.is_empty() => {
                tool_use.as_ref().map_err(|why| TemplateError(why.clone()))?
            }
            _ => &self.template,
        };
        self.render(template, messages, tools, thinking, true)
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
        self.render(&self.template, messages, &[], thinking, false)
    }

    fn render(
        &self,
        template: &Template,
        messages: &[Message],
        tools: &[ToolSpec],
        thinking: Thinking,
        add_generation_prompt: bool,
    ) -> Result<String, TemplateError> {
        let messages = match template.system {
            SystemRole::Rendered => Value::from(Serde(messages)),
            SystemRole::Folded => Value::from(Serde(folded(messages))),
        };
        let tools: Vec<_> = tools.iter().map(Tool::from).collect();
        // transformers passes None, which is defined, where there is nothing.
        let tools = match tools.is_empty() {
            true => Value::from(()),
            false => Value::from(Serde(&tools)),
        };
        let conversation = context! {
            messages => messages,
            tools => tools,
            documents => Value::from(()),
            add_generation_prompt => add_generation_prompt,
        };
        let tokens = Value::from(Serde(&self.tokens));
        let thinking = match (thinking.switch, thinking.mode) {
            (ThinkingSwitch::Template, ThinkingMode::Think) => context! { enable_thinking => true },
            (ThinkingSwitch::Template, ThinkingMode::NoThink) => {
                context! { enable_thinking => false }
            }
            _ => context! {},
        };
        let chat = self.environment.get_template(template.name).map_err(wrong)?;
        chat.render(context! { ..conversation, ..tokens, ..thinking }).map_err(wrong)
    }
}

/// Jinja as transformers sets it up.
fn environment() -> Result<Environment<'static>, TemplateError> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    let syntax = syntax.trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(wrong)?);
    environment.add_filter("tojson", tojson);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    python::add(&mut environment);
    Ok(environment)
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
            Some('d' | 'e') => "26",
            Some('b' | 'h') => "Jul",
            Some('B') => "July",
            Some('m') => "07",
            Some('Y') => "2024",
            Some('y') => "24",
            Some('A') => "Friday",
            Some('a') => "Fri",
            Some('F') => "2024-07-26",
            Some('-') => match letters.next() {
                Some('d') => "26",
                Some('m') => "7",
                other => return Err(unknown_letter(other)),
            },
            Some('H' | 'M' | 'S') => "00",
            Some('I') => "12",
            Some('p') => "AM",
            Some('j') => "208",
            Some('T') => "00:00:00",
            Some('%') => "%",
            other => return Err(unknown_letter(other)),
        });
    }
    Ok(formatted)
}

fn unknown_letter(letter: Option<char>) -> Error {
    let why = format!("strftime_now does not support %{}", letter.unwrap_or(' '));
    Error::new(ErrorKind::InvalidOperation, why)
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

    /// What `scripts/goldens/templates.py` wrote.
    #[derive(Deserialize)]
    struct Python {
        content: String,
        tool: Value,
        conversations: BTreeMap<String, Vec<Message>>,
        expressions: Vec<Expression>,
        templates: BTreeMap<String, Texts>,
    }

    #[derive(Deserialize)]
    struct Expression {
        template: String,
        text: String,
    }

    #[derive(Deserialize)]
    struct Texts {
        template: String,
        texts: BTreeMap<String, String>,
    }

    fn python() -> Python {
        serde_json::from_str(include_str!("../tests/chat/python.json")).unwrap()
    }

    #[test]
    fn expressions_are_what_they_are_in_transformers() {
        let Python { content, tool, expressions, .. } = python();
        let mut others = Vec::new();
        for Expression { template, text } in expressions {
            let mut environment = environment().unwrap();
            let added = environment.add_template_owned("chat", prepared(&template));
            let message = Message { role: Role::User, content: content.clone() };
            let context = context! {
                messages => Value::from(Serde([message])),
                tools => [tool.clone()],
                documents => Value::from(()),
                add_generation_prompt => true,
                bos_token => "<s>",
                eos_token => "</s>",
            };
            let rendered = added.and_then(|()| environment.get_template("chat")?.render(context));
            let rendered = rendered.unwrap_or_else(|why| format!("{why:#}"));
            if rendered != text {
                others.push(format!("{template}\n  {rendered:?}\n  {text:?}"));
            }
        }
        assert!(others.is_empty(), "{}", others.join("\n"));
    }

    #[test]
    fn templates_render_what_they_render_in_transformers() {
        let Python { conversations, templates, .. } = python();
        for (name, Texts { template, texts }) in templates.iter().filter(|(n, _)| *n != "tools") {
            let chat = chat(template).unwrap();
            for (about, text) in texts {
                // Without a system role, fixfly's text differs where there is a system message.
                if !chat.system_role().is_rendered() && about == "system" {
                    continue;
                }
                let messages = &conversations[about];
                let rendered = chat.prompt(messages, &[], Thinking::default()).unwrap();
                assert_eq!(&rendered, text, "{name}, {about}");
            }
        }
    }

    /// What a template writes for a system and a user message.
    #[track_caller]
    fn check_system(template: &str, role: SystemRole, expected: &str) {
        let chat = chat(template).unwrap();
        let message = |role, content: &str| Message { role, content: content.into() };
        let messages = [message(Role::System, "s"), message(Role::User, "u")];
        let text = chat.prompt(&messages, &[], Thinking::default()).unwrap();
        assert_eq!((chat.system_role(), &*text), (role, expected));
        let answer = message(Role::Assistant, "a");
        let said = [&messages[..], &[answer]].concat();
        let transcript = chat.transcript(&said, Thinking::default()).unwrap();
        assert_eq!(text.matches('s').count(), transcript.matches('s').count(), "{transcript}");
    }

    #[test]
    fn a_system_prompt_begins_the_first_user_message_where_there_is_no_system_role() {
        let own = "{% for m in messages %}[{{ m.role[0] }}:{{ m.content }}]{% endfor %}";
        check_system(own, SystemRole::Rendered, "[s:s][u:u]");
        let raises = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}";
        check_system(&format!("{raises}{own}"), SystemRole::Folded, "[u:s\n\nu]");
        let silent = "{% for m in messages if m.role != 'system' %}[{{ m.content }}]{% endfor %}";
        check_system(silent, SystemRole::Folded, "[s\n\nu]");
        let gemma = &python().templates["gemma"].template;
        check_system(
            gemma,
            SystemRole::Folded,
            "<s><start_of_turn>user\ns\n\nu<end_of_turn>\n<start_of_turn>model\n",
        );
    }

    #[test]
    fn tools_have_a_template_of_their_own_where_the_model_has_one() {
        let mut templates =
            ChatTemplates::one("here", "{% for m in messages %}{{ m.content }}{% endfor %}");
        let tools = [ToolSpec {
            name: "edit".into(),
            description: "Edits.".into(),
            parameters: json!({"type": "object"}),
        }];
        let messages = [Message { role: Role::User, content: "u".into() }];
        let prompt = |templates: &ChatTemplates, tools: &[ToolSpec]| {
            let chat = Chat::open(templates, BTreeMap::new()).unwrap();
            chat.prompt(&messages, tools, Thinking::default()).map_err(|why| why.to_string())
        };
        assert_eq!(prompt(&templates, &tools).unwrap(), "u");
        templates.tool_use = Some(
            "{% for m in messages %}{{ m.content }}{{ tools[0].function.name }}{% endfor %}".into(),
        );
        assert_eq!(prompt(&templates, &tools).unwrap(), "uedit");
        assert_eq!(prompt(&templates, &[]).unwrap(), "u");
        templates.tool_use = Some("{% if %}".into());
        assert_eq!(prompt(&templates, &[]).unwrap(), "u");
        let why = prompt(&templates, &tools).unwrap_err();
        assert!(why.starts_with("here, tool_use: syntax error"), "{why}");
    }

    #[test]
    fn a_template_that_cannot_be_used_says_so_when_it_is_opened() {
        for (template, why) in [
            ("{{ messages[-1].content }}", "leaves out the first messages"),
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
