//! A model server that ends in the middle of an answer, or answers garbage.

use super::chance::Chance;
use super::stage::{Kind, Stage, Switch};
use super::table::{row, times};
use crate::server::Reply;

#[test]
fn a_server_that_dies_in_mid_stream_costs_calls_in_flight() {
    let count = times(2);
    let mut stage = Stage::new(Kind::Paid, []).whatever_it_costs();
    stage.outages(count, (30_000, 300), |stage, switch| match switch {
        Switch::Off => stage.stop_teacher(),
        Switch::On => stage.start_teacher(),
    });
    row(3, "the model server dies in mid-stream, and comes back", count, stage.sweep());
}

/// What servers and what stands before them send instead of an answer.
fn garbage() -> Vec<Reply> {
    vec![
        Reply::Cut("```python\ndef total"),
        Reply::Broken("```python\ndef total"),
        Reply::Raw("text/html", "<html>a portal</html>"),
        Reply::Raw("text/event-stream", "data: {\"choices\": [{\n\n"),
        Reply::Raw("text/event-stream", ""),
        Reply::Raw("application/json", "\u{0}\u{0}\u{0}\u{0}"),
        Reply::Status(500, None, "down"),
        Reply::Status(502, None, "<html>"),
        Reply::Status(429, None, "too many"),
        Reply::Encoded("gzip", "text/event-stream", b"no gzip at all"),
    ]
}

#[test]
fn garbage_is_no_answer() {
    let mut stage = Stage::new(Kind::Paid, []).whatever_it_costs();
    let undisturbed = stage.undisturbed();
    let mut chance = Chance::new();
    let (all, rounds) = (garbage(), times(1));
    let first = (0..all.len() * rounds).map(|nth| match nth < all.len() {
        true => all[nth].clone(),
        false => all[chance.below(all.len() as u64) as usize].clone(),
    });
    stage.answer_first(first.collect());
    stage.finish("run", |_, _| {});
    stage.compare("run", &undisturbed);
    row(4, "the model server answers garbage", all.len() * rounds, stage.sweep());
}
