use std::path::Path;

use fixfly_runtime::{Task, printable};
use proptest::prelude::*;

use super::super::markup::tags;
use super::super::sources::{DatasetRows, Prompt};
use super::*;
use crate::fixture::episodes;

/// Sources whose texts are the given one.
struct Texts(String);

impl Sources for Texts {
    fn original(&self, _: &Path, _: &RunRecord, _: &Task) -> Result<String, String> {
        Ok(self.0.clone())
    }

    fn prompt(&self, _: &Path, _: &RunRecord, _: &Episode, turn: usize) -> Result<Prompt, String> {
        match turn {
            0 => Ok(Prompt { text: self.0.clone(), tokens: Some(1200), missing: None }),
            1 => Ok(Prompt { text: self.0.clone(), tokens: None, missing: Some(self.0.clone()) }),
            _ => Err(self.0.clone()),
        }
    }

    fn dataset(&self, _: &Path) -> Result<Box<dyn DatasetRows>, String> {
        Err(self.0.clone())
    }
}

fn html(episode: &Episode, texts: &str, original: bool) -> String {
    let mut engine = Environment::new();
    add_templates(&mut engine).unwrap();
    let (record, sources) = (episodes::record(), Texts(texts.into()));
    let run = Path::new("runs/one");
    let page = EpisodePage { run, record: &record, episode, sources: &sources, original };
    page.html(&engine).unwrap()
}

#[track_caller]
fn check(name: &str, episode: &Episode) {
    insta::assert_snapshot!(name, html(episode, "You are a programmer.\n", false));
}

#[test]
fn pages_of_episodes() {
    check("solved", &episodes::solved());
    check("issue", &episodes::issue());
    check("infrastructure", &episodes::infrastructure());
    check("imported", &episodes::imported());
}

#[test]
fn a_hostile_episode_is_text() {
    let html = html(&episodes::hostile(), "</pre><script>", true);
    assert!(html.len() < 500_000, "{}", html.len());
    assert!(!html.contains("<script") && !html.contains("<img"), "it is escaped");
    assert_eq!(printable(&html), html);
    assert!(html.contains("characters are not shown"));
    assert!(html.contains(r#"<span class="control">\u202e</span>"#));
    insta::assert_snapshot!("hostile", html.replace("0123456789\n", ""));
}

#[test]
fn the_original_is_shown_only_where_it_is_asked_for() {
    let original = "def get_data(self):\n    return ''.join(self.secret)\n";
    let shown =
        |asked| html(&episodes::solved(), original, asked).matches("Against the original").count();
    assert_eq!([shown(false), shown(true)], [0, 2]);
    let issue = html(&episodes::issue(), original, true);
    assert!(!issue.contains("Against the original"));
}

#[test]
fn an_old_record_is_shown_by_the_code_of_its_calls() {
    let html = html(&episodes::old(), "", false);
    assert!(html.contains("Change since turn 1") && html.contains("The change so far"));
}

#[test]
fn each_turn_and_the_verdict_have_an_anchor() {
    let html = html(&episodes::issue(), "", false);
    for id in ["task", "turn-1", "turn-4", "verdict"] {
        assert_eq!(html.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a text is, the page has the same tags as with a harmless one of its form.
    #[test]
    fn no_text_forms_a_tag(words in r#"([<>&"'/= \n\x00\x1b\u{202e}]|<script>|<img src=x onerror=|</pre>|</details>|<!--|\]\]>|class |def |é|a){1,12}"#) {
        let html = html(&episodes::everywhere(&words), &words, true);
        let foreign: Vec<String> = tags(&html).into_iter().filter(|tag| !is_ours(tag)).collect();
        prop_assert!(foreign.is_empty(), "{:?}", foreign);
        prop_assert_eq!(printable(&html), html.as_str());
    }
}

/// Whether a tag can come from the templates: its name and attributes are theirs, and no
/// value has a character that a text could have put there.
fn is_ours(tag: &str) -> bool {
    let names = [
        "div", "span", "p", "dl", "dt", "dd", "nav", "a", "section", "h2", "h3", "code", "pre",
        "details", "summary", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "i",
        "strong",
    ];
    let attributes =
        ["class", "id", "href", "open", "scope", "tabindex", "aria-label", "aria-labelledby"];
    let inside = tag.trim_start_matches('/');
    let mut words = inside.split_whitespace();
    let name = words.next().unwrap_or_default();
    let known = |word: &str| match word.split_once('=') {
        Some((key, _)) => attributes.contains(&key),
        // A value may consist of several words.
        None => word == "open" || word.chars().all(|c| c.is_alphanumeric() || "\"-#".contains(c)),
    };
    names.contains(&name) && words.all(known)
}
