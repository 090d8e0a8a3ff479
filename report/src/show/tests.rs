use fixfly_runtime::printable_styled;

use super::*;
use crate::fixture::episodes;

fn shown(episode: &Episode, turn: Option<usize>, color: bool) -> String {
    let text = Shown { episode, turn, color }.text();
    assert_eq!(printable_styled(&text), text, "it is escaped");
    text
}

#[test]
fn an_episode_is_its_task_its_turns_and_its_verdict() {
    insta::assert_snapshot!("solved", shown(&episodes::solved(), None, false));
    insta::assert_snapshot!("issue", shown(&episodes::issue(), None, false));
    insta::assert_snapshot!("infrastructure", shown(&episodes::infrastructure(), None, false));
    insta::assert_snapshot!("imported", shown(&episodes::imported(), None, false));
    insta::assert_snapshot!(
        "colours",
        shown(&episodes::solved(), None, true).replace('\u{1b}', "ESC")
    );
}

#[test]
fn a_turn_has_its_whole_texts() {
    insta::assert_snapshot!("turn", shown(&episodes::solved(), Some(2), false));
}

#[test]
fn an_old_record_shows_the_code_of_its_calls() {
    let [old, new] = [episodes::old(), episodes::solved()].map(|one| shown(&one, None, false));
    assert_eq!(old, new);
}

#[test]
fn a_hostile_episode_is_escaped_and_cut() {
    let text = shown(&episodes::hostile(), None, false);
    assert!(text.len() < 200_000, "{}", text.len());
    assert!(text.contains("\\u001b]52;c;eA==\\u0007"));
    // Without results of tests, the whole observation is there.
    let mut untested = episodes::hostile();
    for turn in &mut untested.turns {
        turn.observation.tests = None;
    }
    let text = shown(&untested, None, false);
    assert!(text.len() < 200_000, "{}", text.len());
    assert!(text.contains("characters are not shown"), "{text}");
}

#[test]
fn a_run_is_a_table() {
    let mut hostile = episodes::everywhere("a\u{1b}[2J");
    hostile.provenance.sample = 3;
    let all = [episodes::solved(), episodes::issue(), episodes::infrastructure(), hostile];
    let summaries: Vec<_> = all.iter().map(EpisodeSummary::of).collect();
    insta::assert_snapshot!("run", run_text(&summaries, false));
    insta::assert_snapshot!("run_colours", run_text(&summaries, true).replace('\u{1b}', "ESC"));
    assert_eq!(printable_styled(&run_text(&summaries, true)), run_text(&summaries, true));
}

#[test]
fn the_nearest_tasks_contain_the_word_or_look_like_it() {
    let tasks = ["a/html.py::Parser.get_data", "a/html.py::Parser.feed", "b/forms.py::Form.clean"];
    let check = |wanted: &str, expected: &[&str]| assert_eq!(nearest(wanted, &tasks), expected);
    check("get_data", &["a/html.py::Parser.get_data"]);
    check("PARSER", &["a/html.py::Parser.get_data", "a/html.py::Parser.feed"]);
    check("a/html.py::Parser.fed", &["a/html.py::Parser.feed", "a/html.py::Parser.get_data"]);
    check("xyz", &[]);
}
