//! The bytes of a streamed answer.

use std::hint::black_box;
use std::path::Path;

use fixfly_policies::AnswerReader;

/// Bytes that arrive at once.
const PIECE: usize = 1024;

pub(crate) fn work(_: &Path, rounds: u64) {
    let bytes = answer();
    for _ in 0..rounds {
        let mut reader = AnswerReader::new("text/event-stream; charset=utf-8");
        for piece in bytes.chunks(PIECE) {
            reader.push(piece).expect("an answer");
        }
        black_box(reader.end().expect("a whole answer"));
    }
}

/// An answer of 400 words, one event each.
fn answer() -> Vec<u8> {
    let event = |rest: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\
             \"model\":\"m\",{rest}}}\n\n"
        )
    };
    let mut text = String::new();
    for word in 0..400 {
        text += &event(&format!(
            "\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"word{word} \"}},\
             \"finish_reason\":null}}]"
        ));
    }
    text += &event("\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]");
    text += &event("\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":400}");
    text += "data: [DONE]\n\n";
    text.into_bytes()
}
