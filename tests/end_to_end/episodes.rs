//! `fixfly show`.

use std::path::Path;

use crate::{printed, refused};

const TASK: &str = "shop/cart.py::Cart.total";

fn recorded() -> String {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recorded/taught/run");
    run.display().to_string()
}

#[test]
fn a_run_is_a_table_and_an_episode_its_turns() {
    let run = recorded();
    let table = printed(&["show", &run]);
    assert!(table.contains(TASK) && table.contains("FF"), "{table}");
    assert!(table.contains("not solved: turn limit") && table.contains("0 of 1 episodes solved"));
    let episode = printed(&["show", &run, TASK]);
    for part in ["Turn 1: submit_method failed", "+     raise NotImplementedError", "Verdict"] {
        assert!(episode.contains(part), "{part}: {episode}");
    }
    let turn = printed(&["show", &run, TASK, "--turn", "2"]);
    assert!(turn.contains("Turn 2") && !turn.contains("Turn 1:"), "{turn}");
    assert!(!episode.contains('\u{1b}') && !table.contains('\u{1b}'), "no colours in a pipe");
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let run = recorded();
    let check = |words: &[&str], expected: &str| {
        let all = [&["show"], words].concat();
        let (code, sentence) = refused(&all);
        assert_eq!(code, 2, "{sentence}");
        assert!(sentence.contains(expected), "{sentence}");
    };
    check(&[&run, "Cart.totl"], "has no episode of `Cart.totl`");
    check(&[&run, "cart.total"], &format!("similar tasks: {TASK}"));
    check(&[&run, TASK, "--sample", "3"], "name another with --sample");
    check(&[&run, TASK, "--turn", "3"], "there is no turn 3; the episode has 2");
    check(&[&run, "--turn", "3"], "<TASK>");
}
