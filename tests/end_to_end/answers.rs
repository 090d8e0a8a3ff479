//! Answers of servers as they are: every form, label and reason, limits of length, waits,
//! and rules about answers that are of no use. The real binary asks the scripted server.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fixfly_runtime::{End, Episode, Finish, Limit};
use serde_json::{Value, json};

use crate::runs::ended_well;
use crate::server::{Reply, chunk, event, words};
use crate::teachers::{Asked, TOTAL, WRONG};

/// The part of an answer that is left of [`TOTAL`] where a server fails.
const CUT: &str = "Well:\n```python\ndef total(self";

fn stream(parts: &[Value]) -> Reply {
    Reply::Parts(parts.iter().map(|part| (0, event(part))).collect(), false)
}

fn text(text: &str, reason: Option<&str>) -> Value {
    chunk(words(text), reason)
}

fn whole(message: Value, usage: Value) -> Value {
    json!({ "id": "c1", "object": "chat.completion", "created": 1, "model": "taught",
        "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
        "usage": usage })
}

fn raw(kind: &'static str, body: String) -> Reply {
    Reply::Raw(kind, body.leak())
}

/// What is whole is read in the first request, whatever its form and label are.
#[test]
fn an_answer_is_read_in_every_form() {
    let counts = json!({ "prompt_tokens": 100, "completion_tokens": 50 });
    let answer = |message: Value| whole(message, counts.clone()).to_string();
    let plain = answer(json!({ "role": "assistant", "content": TOTAL }));
    let thinking = json!({ "type": "thinking", "thinking": [{ "type": "text", "text": "hm" }] });
    let list = answer(json!({ "content": [thinking, { "type": "text", "text": TOTAL }] }));
    let ended = [text(TOTAL, None), chunk(json!({}), Some("stop"))];
    let ended: String = ended.iter().map(event).collect();
    let comments = (0..6).map(|_| (500, ": OPENROUTER PROCESSING\n\n".to_string()));
    let alive: Vec<_> = comments.chain([(0, ended.clone())]).collect();
    for (name, stream, reply) in [
        ("JSON for a stream", "yes", raw("application/json", plain.clone())),
        (
            "JSON as a stream",
            "yes",
            raw("text/event-stream", format!("{plain}\n\ndata: [DONE]\n\n")),
        ),
        (
            "one event",
            "yes",
            raw("text/event-stream", format!("data: {plain}\n\ndata: [DONE]\n\n")),
        ),
        ("a stream for JSON", "no", raw("text/event-stream", ended.clone())),
        ("no label", "yes", raw("text/plain", ended.clone())),
        ("a list of parts", "yes", raw("application/json", list.clone())),
        ("a list of parts", "no", raw("application/json", list)),
        ("closed after the reason", "yes", Reply::Parts(vec![(0, ended.clone())], false)),
        ("broken after the reason", "yes", Reply::Parts(vec![(0, ended.clone())], true)),
        (
            "idle after the reason",
            "yes",
            Reply::Parts(vec![(0, ended), (3_000, String::new())], true),
        ),
        ("comments", "yes", Reply::Parts(alive, false)),
        ("gzip", "yes", Reply::Encoded("gzip", "text/event-stream", GZIP)),
    ] {
        let asked = Asked::new([reply]);
        let episode = asked.episode(&["--stream", stream]);
        assert_eq!(episode.solved_at(), Some(1), "{name}");
        let action = &episode.turns[0].action;
        assert_eq!(action.text, TOTAL, "{name}");
        let reasoning = (name == "a list of parts").then_some("hm");
        assert_eq!(action.reasoning.as_deref(), reasoning, "{name}");
        assert_eq!(asked.server.requests().len(), 1, "{name} is asked once");
    }
}

/// A server's own failure is not the model's answer: the call is repeated.
#[test]
fn a_reason_that_is_a_failure_is_asked_again() {
    let failure = json!({ "code": 502, "message": "Provider returned error" });
    let mut failed = chunk(json!({}), Some("error"));
    failed["choices"][0]["error"] = failure;
    let ends = |reason: &str| stream(&[text(CUT, None), chunk(json!({}), Some(reason))]);
    for trouble in [
        ends("error"),
        ends("insufficient_system_resource"),
        ends("network_error"),
        ends("abort"),
        ends("a_new_word"),
        stream(&[text(CUT, None), failed]),
        stream(&[text(CUT, Some(""))]),
        stream(&[text(CUT, Some("null"))]),
        stream(&[text(CUT, None), json!({ "error": { "message": "no memory" } })]),
    ] {
        let asked = Asked::new([trouble.clone(), Reply::Message(words(TOTAL))]);
        let episode = asked.episode(&[]);
        assert_eq!((episode.solved_at(), episode.turns.len()), (Some(1), 1), "{trouble:?}");
        assert_eq!(episode.turns[0].action.usage.calls, 2, "{trouble:?}");
    }
}

#[test]
fn the_word_of_the_server_is_recorded_and_an_unknown_one_is_no_stop() {
    let check = |word: &'static str, finish: Finish| {
        let asked = Asked::new([Reply::Finish(word, words(TOTAL))]);
        let generation = asked.episode(&[]).turns.remove(0).action.generation.unwrap();
        assert_eq!((generation.finish, generation.finish_reason.as_deref()), (finish, Some(word)));
    };
    check("stop", Finish::Stop);
    check("eos_token", Finish::Stop);
    check("MAX_TOKENS", Finish::Length);
    let asked = Asked::new([Reply::Finish("a_new_word", words(TOTAL))]);
    let why = asked.refused(&[]);
    assert!(why.contains("finish_reason `a_new_word`, which is not in our list"), "{why}");
    assert!(why.contains("[finish_reasons]"), "{why}");
    assert!(asked.bench.episodes("run").iter().all(Episode::infrastructure_failure));
    let profile = fs::read_to_string(asked.profile()).unwrap();
    fs::write(asked.profile(), format!("{profile}[finish_reasons]\na_new_word = \"stop\"\n"))
        .unwrap();
    assert_eq!(asked.episode(&[]).solved_at(), Some(1));
}

/// Unknown is unknown: estimated for budgets and marked, never nothing.
#[test]
fn tokens_that_cannot_be_read_are_estimated() {
    let check = |usage: Value, stream: &str, estimated: bool| {
        let message = json!({ "role": "assistant", "content": TOTAL });
        let asked =
            Asked::new([raw("application/json", whole(message, usage.clone()).to_string())]);
        let episode = asked.episode(&["--stream", stream]);
        let found = &episode.turns[0].action.usage;
        assert_eq!(found.estimated, estimated, "{usage}");
        assert!(found.prompt_tokens >= 100 && found.completion_tokens > 10, "{usage} {found:?}");
        assert!(found.usd.unwrap() > 0.01, "{usage} {found:?}");
        if !estimated {
            assert_eq!((found.prompt_tokens, found.completion_tokens), (100, 50), "{usage}");
        }
    };
    for stream in ["yes", "no"] {
        check(json!({}), stream, true);
        check(Value::Null, stream, true);
        check(json!({ "prompt_tokens": -1, "completion_tokens": -1 }), stream, true);
        check(json!({ "prompt_tokens": 0, "completion_tokens": 0 }), stream, true);
        check(json!({ "prompt_tokens": "100", "completion_tokens": "50" }), stream, false);
        check(json!({ "prompt_tokens": 100.0, "completion_tokens": 50.0 }), stream, false);
        check(json!({ "input_tokens": 100, "output_tokens": 50 }), stream, false);
    }
    let asked = Asked::new([stream(&[text(TOTAL, Some("stop"))])]);
    assert!(asked.episode(&[]).turns[0].action.usage.estimated, "a stream without counts");
    let usage = json!({ "prompt_tokens": 100, "completion_tokens": 50 });
    let groq = json!({ "choices": [], "x_groq": { "usage": usage } });
    let asked = Asked::new([stream(&[text(TOTAL, Some("stop")), groq])]);
    assert_eq!(asked.episode(&[]).turns[0].action.usage.prompt_tokens, 100);

    let wrong = whole(json!({ "role": "assistant", "content": WRONG }), json!({}));
    let asked = Asked::new([raw("application/json", wrong.to_string())]);
    let why = asked.refused(&["--budget", "10.2", "--task-id", "*", "--jobs", "1"]);
    assert!(why.contains("the run's budget of $10.2 does not cover the next call"), "{why}");
}

#[test]
fn max_tokens_is_fitted_to_the_context_and_recorded() {
    let asked = Asked::new([Reply::Window(8192, words(TOTAL))]);
    let episode = asked.episode(&[]);
    assert_eq!(episode.solved_at(), Some(1));
    let requests = asked.server.requests();
    let limits: Vec<_> =
        requests.iter().map(|request| request["max_tokens"].as_u64().unwrap()).collect();
    assert!(limits.len() == 2 && limits[0] == 10_000 && limits[1] < 8192, "{limits:?}");
    let sampling = episode.turns[0].action.generation.as_ref().unwrap().sampling.clone();
    assert_eq!(sampling.max_tokens.map(u64::from), Some(limits[1]));
    // Later calls are fitted before they are sent.
    let asked = Asked::new([Reply::Window(8192, words(WRONG))]);
    asked.episode(&["--turns", "3"]);
    assert_eq!(asked.server.requests().len(), 4);

    let least = "Invalid max_tokens value, the valid range of max_tokens is [1, 512]";
    let asked = Asked::new([Reply::Status(400, None, least), Reply::Message(words(TOTAL))]);
    asked.episode(&[]);
    assert_eq!(asked.server.requests()[1]["max_tokens"], 512);

    // Without a number in its words, the window is in the list of models.
    let vague = r#"{"error":{"message":"the request is beyond what I can do"}}"#;
    let asked = Asked::new([Reply::Status(400, None, vague), Reply::Message(words(TOTAL))]);
    asked.server.list(json!({ "data": [{ "id": "m", "max_model_len": 4096 }] }));
    asked.episode(&[]);
    assert!(asked.server.requests()[1]["max_tokens"].as_u64().unwrap() < 4096);
}

#[test]
fn a_prompt_that_is_too_long_is_told_from_a_limit_that_is() {
    let long = "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens.";
    let asked = Asked::new([Reply::Status(400, None, long)]);
    assert_eq!(asked.episode(&[]).end, End::BudgetSpent { limit: Limit::Context });
    assert_eq!(asked.server.requests().len(), 1);
    let asked = Asked::new([Reply::Window(64, words(TOTAL))]);
    assert_eq!(asked.episode(&[]).end, End::BudgetSpent { limit: Limit::Context });

    let vague = r#"{"error":{"message":"max_tokens is too large"}}"#;
    let asked = Asked::new([Reply::Status(400, None, vague)]);
    let why = asked.refused(&[]);
    assert!(
        why.contains("refuses --max-tokens 10000") && why.contains("lower --max-tokens"),
        "{why}"
    );
    // A server that names no limit.
    let silent = r#"{"code":"context_length_exceeded","message":"Too long."}"#;
    let refused = || Reply::Status(400, None, silent);
    let asked = Asked::new([refused(), refused(), Reply::Message(words(TOTAL))]);
    assert_eq!(asked.episode(&[]).solved_at(), Some(1));
    let requests = asked.server.requests();
    let limits: Vec<_> = requests.iter().filter_map(|sent| sent["max_tokens"].as_u64()).collect();
    assert_eq!(limits, [10_000, 5_000, 2_500]);
    let why = Asked::new([refused()]).refused(&[]);
    assert!(why.contains("pass a lower --max-tokens"), "{why}");
    let other = r#"{"error": {"message": "Invalid 'user': string too long. Expected a string with maximum length 64."}}"#;
    let asked = Asked::new([Reply::Status(400, None, other)]);
    let why = asked.refused(&[]);
    assert!(why.contains("answered 400: Invalid 'user'"), "{why}");
}

/// `fixfly run` on all methods, three of them, several times each.
fn all<'a>(samples: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--task-id", "*", "--samples", samples, "--jobs", "1"][..], more].concat()
}

#[test]
fn a_run_whose_first_answers_are_of_no_use_stops_and_says_why() {
    let check = |reply: Reply, more: &[&str], expected: &[&str]| {
        let asked = Asked::new([reply]);
        let why = asked.refused(&all("4", more));
        for part in expected {
            assert!(why.contains(part), "{part}: {why}");
        }
        assert_eq!(asked.bench.episodes("run").len(), 8);
        ended_well(asked.command("run", &all("4", &[more, &["--keep-going"]].concat())));
        assert_eq!(asked.bench.episodes("run").len(), 12, "resumed");
    };
    let thought = json!({ "content": null, "reasoning_content": "Here.\n```python\u{1b}]52;c" });
    let stopped = "stopped with 4 episodes left: none of 8 episodes holds a usable answer";
    check(
        Reply::Message(thought),
        &["--think", "no", "--turns", "1"],
        &[stopped, "all text is reasoning", r#""Here.\n```python\u{1b}]52;c""#, "--keep-going"],
    );
    check(Reply::Message(words("")), &["--turns", "1"], &[stopped, "answers are empty"]);
    check(
        Reply::Finish("length", words("def total")),
        &["--turns", "1"],
        &[stopped, "raise --max-tokens", r#""def total""#],
    );
    let long = "This model's maximum context length is 99 tokens. However, your messages resulted in 5000 tokens.";
    check(Reply::Status(400, None, long), &[], &[stopped, "does not fit"]);
}

#[test]
fn a_short_run_without_usable_answers_does_not_end_well() {
    let thought = json!({ "content": null, "reasoning_content": "Here." });
    let asked = Asked::new([Reply::Message(thought)]);
    let why = asked.refused(&all("1", &[]));
    assert!(why.starts_with("none of 3 episodes holds a usable answer"), "{why}");
    assert_eq!(asked.bench.episodes("run").len(), 3);
}

#[test]
fn weak_models_run_on() {
    for text in [WRONG, "I do not know.", "def total(self) -> int:"] {
        let asked = Asked::new([Reply::Message(words(text))]);
        ended_well(asked.command("run", &all("4", &["--turns", "1"])));
        assert_eq!(asked.bench.episodes("run").len(), 12);
    }
}

#[test]
fn a_wait_beyond_patience_ends_the_run_in_a_sentence() {
    let daily = r#"{"error": {"message": "Daily limit reached"}}"#;
    let words_only =
        r#"{"error": {"message": "Rate limit reached. Please try again in 23h59m30s."}}"#;
    for (reply, wait) in [
        (Reply::Status(429, Some(("retry-after", "86400")), daily), "1d 0h"),
        (Reply::Status(503, Some(("retry-after", "1200")), daily), "20m"),
        (Reply::Status(429, Some(("x-ratelimit-reset-requests", "11m0s")), daily), "11m"),
        (Reply::Status(429, None, words_only), "23h 59m"),
    ] {
        let asked = Asked::new([reply, Reply::Message(words(TOTAL))]);
        let clock = Instant::now();
        let why = asked.refused(&[]);
        assert!(clock.elapsed() < Duration::from_secs(20));
        let expected = format!("asks to wait {wait}, longer than --max-retry-wait 10m");
        assert!(why.contains(&expected) && why.contains("again to resume"), "{why}");
        assert!(asked.bench.episodes("run").is_empty());
        assert_eq!(asked.episode(&[]).solved_at(), Some(1), "resumed");
    }
    let asked = Asked::new([Reply::Status(429, Some(("retry-after", "3")), daily)]);
    let why = asked.refused(&["--max-retry-wait", "2s"]);
    assert!(why.contains("longer than --max-retry-wait 2s"), "{why}");
}

#[test]
fn an_interrupt_ends_a_wait_at_once() {
    let busy = Reply::Status(429, Some(("retry-after", "500")), "{}");
    let asked = Asked::new([busy, Reply::Message(words(TOTAL))]);
    let mut child = asked.command("run", &[]).stderr(Stdio::piped()).spawn().unwrap();
    let clock = Instant::now();
    while asked.server.requests().is_empty() {
        std::thread::sleep(Duration::from_millis(50));
        assert!(clock.elapsed() < Duration::from_secs(60));
    }
    std::thread::sleep(Duration::from_millis(500));
    let id = child.id().to_string();
    Command::new("kill").args(["-INT", &id]).status().unwrap();
    let clock = Instant::now();
    assert!(!child.wait().unwrap().success());
    assert!(clock.elapsed() < Duration::from_secs(15), "{:?}", clock.elapsed());
    assert!(asked.bench.episodes("run").is_empty(), "nothing was judged");
    assert_eq!(asked.episode(&[]).solved_at(), Some(1), "resumed");
}

/// One input that is moderated is that item's result; the others are answered.
#[test]
fn one_moderated_input_is_its_own_result() {
    let openrouter = r#"{"error": {"code": 403, "message": "Input was flagged by moderation", "metadata": {"reasons": ["violence"]}}}"#;
    let azure = r#"{"error": {"code": "content_filter", "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", "status": 400}}"#;
    for (status, body) in [(403, openrouter), (400, azure), (200, azure)] {
        let refused = match status {
            200 => Reply::Raw("application/json", body),
            status => Reply::Status(status, None, body),
        };
        let answered = Reply::Message(words(WRONG));
        // All prompts but one show the body of this method.
        let reply = Reply::If("return sum(", Box::new(answered), Box::new(refused));
        let asked = Asked::new([reply]);
        ended_well(asked.command("run", &all("1", &["--turns", "1"])));
        let episodes = asked.bench.episodes("run");
        assert_eq!(episodes.len(), 3);
        let filtered = |episode: &&Episode| {
            let generation = episode.turns[0].action.generation.as_ref().unwrap();
            generation.finish == Finish::Filtered
        };
        assert_eq!(episodes.iter().filter(filtered).count(), 1, "{status}");
        assert_eq!(asked.server.requests().len(), 3, "{status}: each is asked once");
    }
}

/// A refusal in words that we do not know, of one input, after others were answered.
#[test]
fn a_key_that_was_taken_is_not_blamed_for_one_input() {
    let refused = Reply::Status(403, None, r#"{"error": {"message": "Blocked."}}"#);
    let answered = Reply::Message(words(WRONG));
    let reply = Reply::If("return sum(", Box::new(answered.clone()), Box::new(refused));
    let asked = Asked::new([answered, reply]);
    let flags = all("1", &["--turns", "1"]);
    let why = asked.refused(&flags);
    assert!(why.contains("Blocked.") && !why.contains("the key"), "{why}");
    assert!(asked.bench.episodes("run").len() >= 2, "the others go on");
}

/// An earlier version recorded no tokens; its journal is read and its answers are counted.
#[test]
fn a_journal_of_an_earlier_version_is_read() {
    let asked = Asked::new([Reply::Message(words(TOTAL))]);
    asked.episode(&[]);
    let journal = asked.bench.runs.path().join("run/journal/calls.jsonl");
    let lines = fs::read_to_string(&journal).unwrap();
    let old: Vec<String> = lines
        .lines()
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            if let Some(reply) = line["reply"].as_object_mut() {
                reply.remove("finish_reason");
                reply.insert("tokens".into(), Value::Null);
            }
            line.to_string()
        })
        .collect();
    let shared = asked.bench.runs.path().join("old");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("calls.jsonl"), old.join("\n") + "\n").unwrap();
    ended_well(asked.command("again", &["--cache", shared.to_str().unwrap()]));
    let episode = asked.bench.episodes("again").remove(0);
    assert_eq!(episode.solved_at(), Some(1));
    assert!(episode.turns[0].action.usage.estimated);
    assert_eq!(asked.server.requests().len(), 1);
}

/// `gzip.compress` of Python 3, of a stream that holds [`TOTAL`].
const GZIP: &[u8] = b"\
    \x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xc5\x4f\xb1\x4e\xc4\x30\x0c\xdd\xfb\x15\x51\xa6\
    \xab\x84\x2a\x6e\xed\x7c\xac\x30\x32\x5c\x4f\x34\x97\xb8\x24\xe0\xda\x55\xe3\x20\x10\xea\
    \xbf\x9f\xd3\x89\xe1\x76\x3c\xd9\xcf\xcf\xef\x3d\x07\x27\xae\x37\xbf\x36\x05\xdb\x1b\x7b\
    \xb4\x0f\xc6\xf2\xf5\x03\xbc\xd4\xd1\x47\x27\x9d\xe7\x79\x41\x90\xc4\xd4\xf9\x58\xe8\xb3\
    \x52\xfc\x0a\x4e\xa0\x9e\x1c\x75\x9a\x39\x00\x56\xbe\xb8\xf2\x1e\x65\x27\x44\x4e\x1e\xb2\
    \x82\x67\xd5\xa6\x00\xdf\xda\x3e\xea\x42\x99\xe2\x6c\x75\xf4\x4c\x02\xb4\xfb\xbc\x02\x62\
    \x3f\xd0\x38\x8e\xcb\x8f\x44\xa6\x41\x0f\x26\x23\x2c\x0e\x0f\x19\x70\x6a\x75\x69\xb4\x56\
    \x90\xb2\x92\xc9\x65\xde\xe1\x2e\x09\xcc\xb9\xfb\x72\x58\x20\x1f\xda\x76\x57\x18\xc8\x6e\
    \xea\x33\x25\x4a\x39\xbe\x69\xce\xcc\xa4\x1e\x54\x10\xb7\xcb\xd6\x34\xe1\xbf\x1e\xbe\x97\
    \xca\x66\xe1\xc5\xfe\xc9\x75\x3e\xbd\x3c\x3f\x5d\x9a\xe6\x06\xc2\x0f\xe3\x64\x97\x01\x00\
    \x00";
