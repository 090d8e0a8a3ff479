use super::*;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    folder
}

fn files(all: &[(&str, &str)]) -> Result<TokenizerFiles, String> {
    TokenizerFiles::beside(&folder(all).path().join("tokenizer.json"))
}

#[track_caller]
fn check_templates(all: &[(&str, &str)], expected: Option<(&str, &str, Option<&str>)>) {
    let folder = folder(all);
    let files = TokenizerFiles::beside(&folder.path().join("tokenizer.json")).unwrap();
    let found = files.templates().unwrap();
    let found = found.map(|found| {
        let place = found.place.rsplit('/').next().unwrap().to_string();
        (place, found.default, found.tool_use)
    });
    let expected = expected.map(|(place, default, tool_use)| {
        (place.to_string(), default.to_string(), tool_use.map(String::from))
    });
    assert_eq!(found, expected);
}

#[test]
fn templates_are_found_where_transformers_finds_them() {
    let list = r#"{"chat_template": [{"name": "default", "template": "D"},
        {"name": "rag", "template": "R"}, {"name": "tool_use", "template": "T"}]}"#;
    check_templates(&[], None);
    check_templates(&[(CONFIG, r#"{"chat_template": null}"#)], None);
    check_templates(&[(CONFIG, r#"{"chat_template": "A"}"#)], Some((CONFIG, "A", None)));
    check_templates(&[(CONFIG, list)], Some((CONFIG, "D", Some("T"))));
    check_templates(
        &[(CONFIG, r#"{"chat_template": {"default": "D", "tool_use": "T"}}"#)],
        Some((CONFIG, "D", Some("T"))),
    );
    check_templates(&[(CONFIG, list), (TEMPLATE, "B")], Some((TEMPLATE, "B", None)));
    check_templates(
        &[(TEMPLATE, "B"), ("additional_chat_templates/tool_use.jinja", "T")],
        Some((TEMPLATE, "B", Some("T"))),
    );
    check_templates(
        &[(OLD_TEMPLATE, r#"{"chat_template": "O"}"#)],
        Some((OLD_TEMPLATE, "O", None)),
    );
}

#[test]
fn a_list_without_a_default_is_refused() {
    let list = r#"{"chat_template": [{"name": "rag", "template": "R"},
        {"name": "tool_use", "template": "T"}]}"#;
    let why = files(&[(CONFIG, list)]).unwrap().templates().unwrap_err();
    assert!(why.contains("the chat templates tool_use, rag, and none is named `default`"), "{why}");
}

#[test]
fn tokens_are_strings_or_added_tokens() {
    let config = r#"{"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>",
        "unk_token": null, "pad_token": ""}"#;
    let old = r#"{"eos_token": "old", "mask_token": {"content": "<mask>"}}"#;
    let files = files(&[(CONFIG, config), (OLD_TOKENS, old)]).unwrap();
    let named: Vec<_> = files.named().iter().map(|(name, word)| (&**name, &**word)).collect();
    assert_eq!(named, [("bos_token", "<s>"), ("eos_token", "</s>"), ("mask_token", "<mask>")]);
}

/// The added tokens: id, text, special.
#[track_caller]
fn check_added(config: &str, expected: &[(u64, &str, bool)]) {
    let tokenizer = json!({
        "added_tokens": [{"id": 3, "content": "<a>", "special": false}],
        "model": {"vocab": {"x": 0, "y": 1, "<s>": 2}},
    });
    let files = files(&[(CONFIG, config)]).unwrap();
    let changed = files.changed(&tokenizer).unwrap();
    let all = changed.as_ref().map_or(&tokenizer, |changed| changed);
    let all = all["added_tokens"].as_array().unwrap().iter().map(|token| {
        let text = token["content"].as_str().unwrap();
        (token["id"].as_u64().unwrap(), text, token["special"].as_bool().unwrap())
    });
    assert_eq!(all.collect::<Vec<_>>(), expected);
    assert_eq!(changed.is_none(), expected == [(3, "<a>", false)]);
}

#[test]
fn the_configuration_adds_tokens() {
    check_added("{}", &[(3, "<a>", false)]);
    check_added(r#"{"bos_token": "<s>"}"#, &[(2, "<s>", true), (3, "<a>", false)]);
    check_added(r#"{"eos_token": "<a>"}"#, &[(3, "<a>", true)]);
    check_added(r#"{"pad_token": "<new>"}"#, &[(3, "<a>", false), (4, "<new>", true)]);
    check_added(
        r#"{"added_tokens_decoder": {"7": {"content": "<b>", "special": true}}}"#,
        &[(3, "<a>", false), (7, "<b>", true)],
    );
    check_added(
        r#"{"extra_special_tokens": {"image": "<i>"}, "additional_special_tokens": ["<a>"]}"#,
        &[(3, "<a>", true), (4, "<i>", true)],
    );
}

#[track_caller]
fn check_refused(config: &str, tokenizer: Json, expected: &str) {
    let refused = files(&[(CONFIG, config)]).and_then(|files| files.changed(&tokenizer));
    let why = refused.unwrap_err();
    assert!(why.contains(expected), "{why}");
}

#[test]
fn settings_that_are_not_applied_are_refused_by_name() {
    let sequence = json!({"pre_tokenizer": {"pretokenizers": [{"type": "ByteLevel", "add_prefix_space": false}]}});
    check_refused(r#"{"split_special_tokens": true}"#, json!({}), "split_special_tokens true");
    check_refused(r#"{"add_prefix_space": true}"#, sequence, "add_prefix_space true, but");
    check_refused("{}", json!({"model": {"dropout": 0.1}}), "dropout 0.1, so the same text");
    check_refused("[", json!({}), "tokenizer_config.json is not JSON");
}

#[test]
fn a_space_before_the_text_is_added_as_configured() {
    let tokenizer = json!({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}});
    let files = files(&[(CONFIG, r#"{"add_prefix_space": true}"#)]).unwrap();
    let changed = files.changed(&tokenizer).unwrap().unwrap();
    assert_eq!(changed["pre_tokenizer"]["add_prefix_space"], true);
}
