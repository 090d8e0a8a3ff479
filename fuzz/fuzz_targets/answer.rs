//! Answers in words: reading never panics, what is taken is part of the answer, and what
//! is found is found again in itself.

#![no_main]

use fixfly_runtime::answer::{Asked, code_spans, command, method, outside_code};
use fixfly_runtime::code_block;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for asked in [
        Asked::default(),
        Asked::named("f"),
        Asked { change: true, ..Asked::named("f") },
        Asked { names: vec!["f", "g"], change: false },
    ] {
        let Ok(code) = method(text, &asked) else { continue };
        let written = &text[code.span.clone()];
        // Escapes of JSON and white space that Python does not accept are not as written.
        if !written.contains(['{', '[']) && text.chars().all(|c| c.is_ascii() || !c.is_whitespace()) {
            assert!(is_part(&code.text, written), "{:?} of {written:?}", code.text);
        }
        if code.found {
            let again = method(&code.text, &asked).expect("code that was found is code");
            assert!(again.found, "{:?}", code.text);
        }
    }
    if let Ok(command) = command(text) {
        assert!(is_part(&command.text, &text[command.span]));
    }
    for span in code_spans(text) {
        let _ = &text[span];
    }
    if let Some(at) = outside_code(text, "</think>") {
        assert!(text[at..].starts_with("</think>"));
    }
    let _ = code_block(text);
});

/// Whether every line of `taken` is part of a line of `written`, in order.
fn is_part(taken: &str, written: &str) -> bool {
    let mut lines = written.lines();
    let mut part = |line: &str| lines.any(|other| other.contains(line.trim()));
    taken.lines().filter(|line| !line.trim().is_empty()).all(|line| part(line))
}
