//! A conversation as one text, by the model's own chat template: the same text
//! as Python's `transformers` makes of it.

use fixfly_runtime::{Message, Role, Thinking, ThinkingMode, ThinkingSwitch, ToolSpec};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize;
use serde_json::Value as Json;

use super::python_json::tojson;

/// A chat template.
pub(super) struct Chat {
    environment: Environment<'static>,
    bos: String,
    eos: String,
    /// Whether it can be told to reason or not.
    pub(super) has_switch: bool,
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
    /// A template by its text, tried out.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub(super) fn new(template: &str, bos: &str, eos: &str) -> Result<Self, String> {
        let mut environment = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        let syntax = syntax.trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|e| one_line(&e))?);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_filter("tojson", tojson);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_template_owned("chat", template.to_string()).map_err(|e| one_line(&e))?;
        let (bos, eos) = (bos.to_string(), eos.to_string());
        let has_switch = template.contains("enable_thinking");
        let chat = Chat { environment, bos, eos, has_switch };
        let say = |role| Message { role, content: "x".into() };
        let roles = [Role::System, Role::User, Role::Assistant, Role::User];
        chat.render(&roles.map(say), &[], Thinking::default())?;
        Ok(chat)
    }

    /// The text of a conversation, up to where the model is to speak.
    ///
    /// # Errors
    /// What the template objects to, in one sentence.
    pub(super) fn render(
        &self,
        messages: &[Message],
        tools: &[ToolSpec],
        thinking: Thinking,
    ) -> Result<String, String> {
        let tools: Vec<_> = tools.iter().map(Tool::from).collect();
        let said = context! {
            messages => Value::from(Serde(messages)),
            add_generation_prompt => true,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
        };
        let tools = match tools.is_empty() {
            true => context! {},
            false => context! { tools => Value::from(Serde(&tools)) },
        };
        let thinking = match (thinking.told_by, thinking.mode) {
            (ThinkingSwitch::Template, ThinkingMode::Think) => context! { enable_thinking => true },
            (ThinkingSwitch::Template, ThinkingMode::NoThink) => {
                context! { enable_thinking => false }
            }
            _ => context! {},
        };
        let chat = self.environment.get_template("chat").map_err(|e| one_line(&e))?;
        chat.render(context! { ..said, ..tools, ..thinking }).map_err(|e| one_line(&e))
    }
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

/// The day is always the one that Llama's templates name where nothing tells
/// them the date: a prompt is the same bytes whenever it is made.
fn strftime_now(format: &str) -> Result<String, Error> {
    let mut said = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            said.push(letter);
            continue;
        }
        said.push_str(match letters.next() {
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
                let why = format!("strftime_now does not know %{}", other.unwrap_or(' '));
                return Err(Error::new(ErrorKind::InvalidOperation, why));
            }
        });
    }
    Ok(said)
}

fn one_line(error: &Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Scene {
        messages: Vec<Message>,
        #[serde(default)]
        tools: Vec<Told>,
        enable_thinking: Option<bool>,
    }

    #[derive(Deserialize)]
    struct Told {
        function: ToolSpec,
    }

    impl Scene {
        fn thinking(&self) -> Thinking {
            let mode = match self.enable_thinking {
                None => ThinkingMode::Unsaid,
                Some(true) => ThinkingMode::Think,
                Some(false) => ThinkingMode::NoThink,
            };
            Thinking { mode, told_by: ThinkingSwitch::Template }
        }
    }

    fn chat(template: &str) -> Result<Chat, String> {
        Chat::new(template, "<s>", "</s>")
    }

    #[test]
    fn templates_say_what_they_say_in_python() {
        let scenes = include_str!("../../tests/llama/templates/scenes.json");
        let scenes: BTreeMap<String, Scene> = serde_json::from_str(scenes).unwrap();
        let golden = include_str!("../../tests/llama/templates/golden.json");
        let golden: BTreeMap<String, BTreeMap<String, String>> =
            serde_json::from_str(golden).unwrap();
        for (name, template) in [
            ("qwen3", include_str!("../../tests/llama/templates/qwen3.jinja")),
            ("llama31", include_str!("../../tests/llama/templates/llama31.jinja")),
            ("ministral", include_str!("../../tests/llama/templates/ministral.jinja")),
        ] {
            let chat = chat(template).unwrap();
            for (scene_name, scene) in &scenes {
                let tools: Vec<_> = scene.tools.iter().map(|tool| tool.function.clone()).collect();
                let text = chat.render(&scene.messages, &tools, scene.thinking()).unwrap();
                assert_eq!(text, golden[name][scene_name], "{name}, {scene_name}");
            }
        }
    }

    #[test]
    fn a_template_that_cannot_be_used_says_so_when_it_is_opened() {
        for (template, why) in [
            ("{% if %}", "syntax error"),
            ("{{ raise_exception('no system role') }}", "no system role"),
            ("{{ messages | nothing }}", "nothing"),
            ("{{ strftime_now('%U') }}", "does not know %U"),
        ] {
            let fault = chat(template).err().unwrap_or_default();
            assert!(fault.contains(why) && !fault.contains('\n'), "{fault}");
        }
    }
}
