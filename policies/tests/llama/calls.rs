//! A student that is held to a grammar cannot make a call that is malformed.

use fixfly_runtime::CallForm;
use fixfly_runtime::{Call, Finish, Thinking, ThinkingMode};

use crate::stage::{Folder, QWEN3, act, open, settings, task};
use crate::tiny::{Kind, model};

#[tokio::test]
async fn calls_by_grammar_can_be_read() {
    let folder = Folder::new();
    let mut settings = settings(&model(&folder, Kind::Qwen3, Some(QWEN3)), 2000);
    settings.calls = CallForm::Native;
    settings.sampling.temperature = Some(1.0);
    settings.thinking = Thinking { mode: ThinkingMode::NoThink, ..Thinking::default() };
    let policy = open(&settings);
    for seed in 0..5 {
        let action = act(&*policy, &task("a", 3), &[], seed).await.unwrap();
        assert_eq!(action.generation.as_ref().unwrap().finish, Finish::ToolCall);
        match &action.call {
            Call::Tool { name, args } => {
                assert_eq!(name, "submit_method");
                assert!(args["code"].is_string(), "{args}");
            }
            other => panic!("{other:?} of {:?}", action.text),
        }
    }
}

#[tokio::test]
async fn a_thought_that_the_template_opened_comes_before_a_call() {
    let folder = Folder::new();
    let template = format!("{QWEN3}{{{{- '<think>\\n' }}}}");
    let mut settings = settings(&model(&folder, Kind::Qwen3, Some(&template)), 60);
    settings.calls = CallForm::Native;
    settings.sampling.temperature = Some(1.0);
    let policy = open(&settings);
    for seed in 0..5 {
        let action = act(&*policy, &task("a", 3), &[], seed).await.unwrap();
        assert!(action.reasoning.is_some(), "{:?}", action.text);
        assert!(action.usage.reasoning_tokens > 0);
        assert!(action.text.is_empty() || action.text.starts_with("<tool_call>\n{"));
    }
}

/// What a template teaches in place of JSON.
const ELEMENTS: &str = "{%- if tools %}{{ 'Call one so:\\n<tool_call>\\n<function=example>\\n<parameter=a>\\nvalue\\n</parameter>\\n</function>\\n</tool_call>\\nNever write JSON.' }}{%- endif %}";

#[tokio::test]
async fn a_template_that_teaches_xml_is_followed() {
    let folder = Folder::new();
    let template = format!("{ELEMENTS}{QWEN3}");
    let mut settings = settings(&model(&folder, Kind::Qwen3, Some(&template)), 60);
    settings.calls = CallForm::Native;
    settings.sampling.temperature = Some(1.0);
    settings.thinking = Thinking { mode: ThinkingMode::NoThink, ..Thinking::default() };
    let policy = open(&settings);
    for seed in 0..3 {
        let action = act(&*policy, &task("a", 3), &[], seed).await.unwrap();
        let start = "<tool_call>\n<function=submit_method>\n<parameter=code>\n";
        assert!(action.text.starts_with(start), "{:?}", action.text);
        match &action.call {
            Call::Tool { name, .. } => assert_eq!(name, "submit_method"),
            // The limit of tokens cut the value off.
            Call::Malformed(why) => assert!(why.contains("</parameter>"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}
