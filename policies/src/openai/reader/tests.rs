use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(label: &str, parts: &[&[u8]]) -> Result<Reply, AnswerError> {
    let mut reader = AnswerReader::new(label);
    for part in parts {
        reader.push(part)?;
    }
    reader.end()
}

/// Reads the bytes whole, cut in two at every place, and byte by byte.
#[track_caller]
fn cut_anywhere(label: &str, bytes: &[u8]) -> Result<Reply, AnswerError> {
    let whole = read(label, &[bytes]);
    for cut in 0..bytes.len() {
        assert_eq!(read(label, &[&bytes[..cut], &bytes[cut..]]), whole, "cut at {cut}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(label, &single), whole);
    whole
}

#[track_caller]
fn check(label: &str, bytes: &[u8], expected: &str) {
    let reply = cut_anywhere(label, bytes).unwrap();
    assert_eq!((&*reply.text, reply.finish), (expected, Some(Finish::Stop)));
}

#[track_caller]
fn fails(label: &str, bytes: &[u8], expected: &str) {
    let why = cut_anywhere(label, bytes).unwrap_err().to_string();
    assert!(why.contains(expected), "{why}");
}

fn delta(text: &str, reason: Option<&str>) -> String {
    json!({ "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": reason }] })
        .to_string()
}

fn whole(text: &str) -> String {
    let message = json!({ "role": "assistant", "content": text });
    json!({ "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }] }).to_string()
}

const SSE: &str = "text/event-stream";
const JSON: &str = "application/json";

#[test]
fn a_stream_is_read_in_every_form() {
    let (first, last) = (delta("é😀", None), delta("b", Some("stop")));
    for end in ["\n", "\r", "\r\n"] {
        let stream = format!("data: {first}{end}{end}data: {last}{end}{end}data: [DONE]{end}{end}");
        check(SSE, stream.as_bytes(), "é😀b");
    }
    for stream in [
        format!("\u{feff}data:{first}\n\n: keep-alive\n\ndata:{last}\n\n"),
        format!("event: message\nid: 1\ndata: {first}\n\nid: 2\nretry: 5\ndata: {last}\n\n"),
        format!("event: ping\ndata: now\n\ndata: {first}\n\ndata: null\n\ndata: {last}\n\n"),
        format!("\n\ndata: {first}\ndata: {last}\ndata: [DONE]\n\n"),
        format!("data: {first}\n\ndata: {last}"),
        format!("data: {first}\n\ndata: {last}\n\ndata: {{\"choices\": [{{\"del"),
        format!("data: {first}\n\ndata: {last}\n\ndata: [DONE]\n\ndata: {first}\n\n<html>"),
        format!("data: {first}\n\ndata: {last}\n\ndata: {{\"choices\": [], \"x\": NaN}}\n\n"),
        format!("data: {}\n\ndata: {last}\n\n", first.replace(',', "\ndata: ,")),
    ] {
        for label in [SSE, JSON, "", "text/plain; charset=latin-1"] {
            check(label, stream.as_bytes(), "é😀b");
        }
    }
    let halves = delta("XY", Some("stop"));
    let (one, two) = (halves.replace("XY", "\\ud83d"), halves.replace("XY", "\\ude00b"));
    check(SSE, format!("data: {one}\n\ndata: {two}\n\n").as_bytes(), "😀b");
}

#[test]
fn json_is_read_where_a_stream_was_asked_for() {
    let answer = whole("é");
    for label in [SSE, JSON, "application/json; charset=utf-8", ""] {
        check(label, answer.as_bytes(), "é");
        check(label, format!("\u{feff}\n  {answer}\n").as_bytes(), "é");
        check(label, format!("{answer}\n\ndata: [DONE]\n\n").as_bytes(), "é");
        check(label, format!("data: {answer}\n\ndata: [DONE]\n\n").as_bytes(), "é");
        let (first, last) = (delta("é", None), delta("", Some("stop")));
        check(label, format!("{first}\n{last}\n").as_bytes(), "é");
        check(label, format!("[{first},\n{last}]").as_bytes(), "é");
    }
    let pretty = serde_json::from_str::<Value>(&answer).unwrap();
    check(SSE, serde_json::to_string_pretty(&pretty).unwrap().as_bytes(), "é");
    let utf16: Vec<u8> = answer.encode_utf16().flat_map(u16::to_le_bytes).collect();
    check(JSON, &utf16, "é");
    let marked: Vec<u8> =
        format!("\u{feff}{answer}").encode_utf16().flat_map(u16::to_be_bytes).collect();
    check(JSON, &marked, "é");
    let latin: Vec<u8> = answer.chars().map(|c| c as u32 as u8).collect();
    check("application/json; charset=\"ISO-8859-1\"", &latin, "é");
}

#[test]
fn what_is_no_answer_is_named() {
    fails(SSE, b"", "an empty answer");
    fails(SSE, b"\n\n", "an empty answer");
    fails("text/html", b"<html>a portal</html>", "answered with `text/html`");
    fails("text/plain", b"upstream connect error", "answered with `text/plain`");
    fails("text/plain", b"upstream connect error or reset", "upstream connect error or reset");
    fails("text/plain", b"\n error: no model is loaded", "no model is loaded");
    fails(JSON, b"{\"choices\": [{", "not JSON, or is cut off");
    fails(SSE, b": nothing\n\n", "not with an answer");
    fails(SSE, b"data: {\"choices\": [{\n\n", "not JSON");
    fails(SSE, b"data: [DONE]\n\n", "not with an answer");
    let cut = format!("data: {}\n\n", delta("a", None));
    fails(SSE, cut.as_bytes(), "gives no reason to stop");
    fails(SSE, format!("{cut}data: [DONE]\n\n").as_bytes(), "gives no reason to stop");
    let empty = format!("data: {}\n\n", delta("a", Some("")));
    fails(SSE, empty.as_bytes(), "gives no reason to stop");
    let failed = format!("data: {}\n\n", delta("", Some("insufficient_system_resource")));
    fails(SSE, format!("{cut}{failed}").as_bytes(), "insufficient_system_resource");
}

#[test]
fn an_error_of_status_200_keeps_its_words() {
    let error = json!({ "error": { "code": 401, "message": "User not found." } }).to_string();
    for body in [
        error.clone(),
        format!("data: {error}\n\n"),
        format!("data: {}\n\ndata: {error}\n\n", delta("a", None)),
        "event: error\ndata: {\"message\": \"User not found.\", \"code\": 401}\n\n".into(),
    ] {
        let found = cut_anywhere(SSE, body.as_bytes()).unwrap_err();
        let AnswerError::Reported(error) = found else { panic!("{found:?}") };
        assert_eq!((error.status(), error.message()), (401, "User not found."));
    }
    fails(SSE, b"event: error\ndata: out of memory\n\n", "out of memory");
    let begun = format!("data: {}\n\n", delta("a", None));
    let slow = json!({ "error": { "code": 429, "message": "slow down" } });
    fails(SSE, format!("{begun}error: {slow}\n\n").as_bytes(), "slow down");
    fails(SSE, format!("{begun}{slow}\n").as_bytes(), "slow down");
    for body in [
        json!({ "code": 500, "msg": "404 NOT_FOUND", "success": false }),
        json!({ "choices": null, "base_resp": { "status_code": 1004, "status_msg": "404 NOT_FOUND" } }),
        json!({ "error_code": 336_003, "error_msg": "404 NOT_FOUND" }),
        json!({ "errors": [{ "message": "404 NOT_FOUND" }] }),
        json!({ "choices": [], "why": "404 NOT_FOUND" }),
        json!({ "choices": [], "message": "404 NOT_FOUND" }),
    ] {
        fails(JSON, body.to_string().as_bytes(), "404 NOT_FOUND");
        fails(SSE, format!("data: {body}\n\n").as_bytes(), "404 NOT_FOUND");
    }
    let choice = json!({ "finish_reason": "error", "error": { "code": 502, "message": "gone" } });
    fails(JSON, json!({ "choices": [choice] }).to_string().as_bytes(), "gone");
}

#[test]
fn an_error_after_the_last_word_costs_no_answer() {
    let end = format!("data: {}\n\n", delta("a", Some("stop")));
    let error = json!({ "error": { "code": 500, "message": "gone" } });
    check(SSE, format!("{end}data: {error}\n\n").as_bytes(), "a");
    check(SSE, format!("{end}error: {error}\n\n").as_bytes(), "a");
    check(SSE, format!("{end}event: error\ndata: gone\n\n").as_bytes(), "a");
    check(SSE, format!("{end}{error}\n").as_bytes(), "a");
    let failed = format!("data: {}\n\n", delta("a", Some("error")));
    fails(SSE, format!("{failed}data: {error}\n\n").as_bytes(), "gone");
}

#[test]
fn a_success_that_looks_like_a_failure_is_none() {
    let mut answer: Value = serde_json::from_str(&whole("a")).unwrap();
    answer["base_resp"] = json!({ "status_code": 0, "status_msg": "" });
    answer["error_code"] = json!(0);
    answer["errors"] = json!([]);
    answer["msg"] = json!("ok");
    check(JSON, answer.to_string().as_bytes(), "a");
}

#[test]
fn an_answer_is_whole_when_its_reason_came() {
    let check = |bytes: &str, whole: bool, done: bool| {
        let mut reader = AnswerReader::new(SSE);
        reader.push(bytes.as_bytes()).unwrap();
        assert_eq!((reader.is_whole(), reader.is_done()), (whole, done), "{bytes}");
    };
    check("", false, false);
    check(&format!("data: {}\n\n", delta("a", None)), false, false);
    check(&format!("data: {}\n\n", delta("a", Some("stop"))), true, false);
    check(&format!("data: {}\n\ndata: [DONE]\n\n", delta("a", Some("stop"))), true, true);
    check(&whole("a"), true, false);
    check("{\"choices\": [", false, false);
}

/// Pieces that streams are made of, in any order.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let texts = [
        "data: ",
        "data:",
        "data",
        "event: error",
        "event: ping",
        ": x",
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "[DONE]",
        "{",
        "}",
        "[",
        "<",
        "\u{feff}",
        "\"",
        "\\ud83d",
        "NaN",
        " ",
        "é😀",
        "null",
        "{\"error\":{\"code\":429}}",
    ];
    let piece = prop_oneof![
        prop::sample::select(texts.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        (
            prop::sample::select(vec!["", "a", "é\"\\", "<think>"]),
            prop::sample::select(vec![None, Some("stop"), Some("")])
        )
            .prop_map(|(text, reason)| delta(text, reason).into_bytes()),
        prop::sample::select(vec!["", "a", "ab"]).prop_map(|text| whole(text).into_bytes()),
        prop::collection::vec(any::<u8>(), 0..3),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_give_one_result_however_they_are_cut(
        bytes in pieces(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let parts: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(read(SSE, &parts), read(SSE, &[&bytes]));
    }
}
