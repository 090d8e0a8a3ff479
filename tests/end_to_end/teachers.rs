//! The policy `openai` in the real binary, against a server that checks what
//! it is sent.

mod calls;

use std::fs;
use std::process::Stdio;

use fixfly_runtime::{Call, End, Episode, Finish, Limit, Repair};
use serde_json::{Value, json};

use crate::runs::{Bench, ended_well, lines, wait_for_lines};
use crate::server::{Reply, Server, words};

pub(crate) const TOTAL: &str =
    "Well:\n```python\ndef total(self):\n    return sum(self.items.values())\n```\n";
pub(crate) const WRONG: &str = "```python\ndef total(self):\n    return 0\n```\n";

/// A profile's prices and timeouts, for tests that must not wait.
const PROFILE: &str = "\
[price]
input = 10.0
cached = 1.0
output = 1000.0
[seconds]
backoff = 0.01
first_byte = 2.0
idle = 0.3
retries = 3
";

/// A run on one method, asking that server.
pub(crate) struct Asked {
    pub(crate) bench: Bench,
    pub(crate) server: Server,
}

impl Asked {
    pub(crate) fn new(script: impl IntoIterator<Item = Reply>) -> Asked {
        let asked = Asked { bench: Bench::new(0.0), server: Server::new(script) };
        fs::write(asked.profile(), PROFILE).unwrap();
        asked
    }

    pub(crate) fn profile(&self) -> std::path::PathBuf {
        self.bench.runs.path().join("teacher.toml")
    }

    pub(crate) fn command(&self, run: &str, more: &[&str]) -> std::process::Command {
        let profile = self.profile();
        let task = if more.contains(&"--task-id") { vec![] } else { vec!["--task-id", "*total"] };
        let mut words = vec!["--policy", "openai", "--model", "m", "--base-url", &self.server.url];
        words.extend(["--profile", profile.to_str().unwrap()]);
        words.extend(task);
        words.extend(more);
        let mut command = self.bench.run(run, &words);
        command.env("OPENAI_API_KEY", "sk-secret-of-the-test");
        command
    }

    /// The only episode of a run that ends well.
    #[track_caller]
    pub(crate) fn episode(&self, more: &[&str]) -> Episode {
        ended_well(self.command("run", more));
        let episodes = self.bench.episodes("run");
        assert_eq!(episodes.len(), 1);
        episodes.into_iter().next().unwrap()
    }

    /// The sentence of a run that does not.
    #[track_caller]
    pub(crate) fn refused(&self, more: &[&str]) -> String {
        let output = self.command("run", more).output().unwrap();
        assert_eq!(output.status.code().filter(|code| *code != 0).map(|_| ()), Some(()));
        let stderr = String::from_utf8(output.stderr).unwrap();
        let last = stderr.lines().last().unwrap();
        last.strip_prefix("error: ").unwrap_or_else(|| panic!("{stderr}")).to_string()
    }
}

#[test]
fn a_teacher_fixes_a_method_in_its_second_turn() {
    for stream in ["yes", "no"] {
        let thoughtful = json!({ "content": TOTAL, "reasoning_content": "The sum, then." });
        let asked = Asked::new([Reply::Message(words(WRONG)), Reply::Message(thoughtful)]);
        let episode = asked.episode(&["--stream", stream, "--seed", "3"]);
        assert_eq!(episode.solved_at(), Some(2));
        let action = &episode.turns[1].action;
        assert_eq!(
            (action.text.as_str(), action.reasoning.as_deref()),
            (TOTAL, Some("The sum, then."))
        );
        assert_eq!((action.usage.prompt_tokens, action.usage.cached_tokens), (100, 40));
        let generation = action.generation.as_ref().unwrap();
        assert_eq!((generation.model.as_str(), generation.finish), ("taught", Finish::Stop));
        assert_eq!(generation.first_token_ms.is_some(), stream == "yes");
        let requests = asked.server.requests();
        assert_eq!(requests.len(), 2);
        assert_eq!(
            (&requests[0]["temperature"], &requests[0]["max_tokens"]),
            (&json!(0.6), &json!(10_000))
        );
        assert_eq!(requests[0]["seed"].as_u64(), generation.sampling.seed);
        let roles: Vec<&str> = requests[1]["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["role"].as_str().unwrap())
            .collect();
        assert_eq!(roles, ["system", "user", "assistant", "user"]);
        assert_eq!(requests[1]["messages"][2]["content"], WRONG);
        let journal =
            fs::read_to_string(asked.bench.runs.path().join("run/journal/calls.jsonl")).unwrap();
        let record = fs::read_to_string(asked.bench.runs.path().join("run/run.json")).unwrap();
        assert!(!journal.contains("sk-secret") && !record.contains("sk-secret"));
    }
}

#[test]
fn thinking_is_switched_by_the_prompt_or_by_the_template() {
    let check = |more: &[&str], kwargs: Value, last: &str| {
        let asked = Asked::new([Reply::Message(words(TOTAL))]);
        asked.episode(more);
        let request = asked.server.requests().remove(0);
        assert_eq!(request["chat_template_kwargs"], kwargs);
        assert!(request["messages"][1]["content"].as_str().unwrap().ends_with(last));
    };
    check(&[], Value::Null, "```");
    check(&["--think", "no"], json!({ "enable_thinking": false }), "```");
    check(&["--think", "yes"], json!({ "enable_thinking": true }), "```");
    check(&["--think", "no", "--thinking-switch", "prompt"], Value::Null, " /no_think");
}

#[test]
fn tools_are_called_natively_where_asked() {
    let call = |id: &str, arguments: &str| {
        json!({ "content": null, "tool_calls": [{ "id": id, "type": "function",
            "function": { "name": "submit_method", "arguments": arguments } }] })
    };
    let right = json!({ "code": "def total(self):\n    return sum(self.items.values())\n" });
    let wrong = json!({ "code": "def total(self):\n    return 1\n" });
    let asked = Asked::new([
        Reply::Finish("tool_calls", call("a", "{\"code\": ")),
        Reply::Finish("tool_calls", call("a", &wrong.to_string())),
        Reply::Finish("tool_calls", call("a", &right.to_string())),
    ]);
    let episode = asked.episode(&["--tool-calls", "native"]);
    assert!(
        matches!(&episode.turns[0].action.call, Call::Malformed(why) if why.contains("not JSON"))
    );
    assert_eq!(episode.solved_at(), Some(3));
    let requests = asked.server.requests();
    assert_eq!(requests[0]["tools"][0]["function"]["name"], "submit_method");
    let messages = requests[2]["messages"].as_array().unwrap();
    let id = &messages[4]["tool_calls"][0]["id"];
    assert_eq!((&messages[5]["role"], &messages[5]["tool_call_id"]), (&json!("tool"), id));
}

/// What passes is asked again, as often as it takes.
#[test]
fn what_passes_is_asked_again() {
    let late = Reply::Late(2_500, words(TOTAL));
    for trouble in [
        Reply::Status(500, None, "down"),
        Reply::Status(503, None, "<html>"),
        Reply::Status(408, None, "{}"),
        Reply::Status(429, None, "too many"),
        Reply::Status(429, Some(("retry-after", "1")), r#"{"error":{"message":"slow down"}}"#),
        Reply::Raw("text/html", "<html>a portal</html>"),
        Reply::Raw("application/json", "{\"choices\": [{"),
        Reply::Cut("```python\ndef total"),
        Reply::Broken("```python\ndef total"),
        Reply::Idle(2_000, "```python\ndef total"),
        late,
    ] {
        let stream =
            if matches!(&trouble, Reply::Raw("application/json", _)) { "no" } else { "yes" };
        let asked = Asked::new([trouble.clone(), Reply::Message(words(TOTAL))]);
        let episode = asked.episode(&["--stream", stream]);
        assert_eq!(episode.solved_at(), Some(1), "{trouble:?}");
        let usage = &episode.turns[0].action.usage;
        assert_eq!(usage.calls, 2, "{trouble:?}");
        let plain = 60.0 * 10e-6 + 40.0 * 1e-6 + usage.completion_tokens as f64 * 1000e-6;
        let wasted = usage.usd.unwrap() - plain;
        let words_came = matches!(trouble, Reply::Cut(_) | Reply::Broken(_) | Reply::Idle(..));
        assert_eq!(wasted > 1e-9, words_came, "{trouble:?} wasted {wasted}");
        assert_eq!(asked.server.requests().len(), 2);
    }
}

#[test]
fn a_server_asks_for_patience_and_gets_it() {
    let busy = Reply::Status(429, Some(("retry-after", "1")), "{}");
    let asked = Asked::new([busy, Reply::Message(words(TOTAL))]);
    let clock = std::time::Instant::now();
    asked.episode(&[]);
    assert!(clock.elapsed().as_secs_f64() > 1.0);
}

#[test]
fn what_ends_otherwise_is_recorded_as_what_it_is() {
    let check = |reply: Reply, finish: Finish, why: &str| {
        let asked = Asked::new([reply]);
        let episode = asked.episode(&["--turns", "1"]);
        let action = &episode.turns[0].action;
        assert_eq!(action.generation.as_ref().unwrap().finish, finish);
        assert!(
            matches!(&action.call, Call::Malformed(message) if message.contains(why)),
            "{:?}",
            action.call
        );
        assert!(!episode.infrastructure_failure(), "it counts as unsolved");
    };
    check(
        Reply::Finish("length", words("```python\ndef total(se")),
        Finish::Length,
        "limit of tokens",
    );
    check(Reply::Finish("content_filter", words("")), Finish::Filtered, "content filter");
    check(Reply::Message(json!({ "refusal": "I can't." })), Finish::Refused, "a refusal");
    let filtered =
        r#"{"error":{"message":"triggered the content_filter","code":"content_filter"}}"#;
    check(Reply::Status(400, None, filtered), Finish::Filtered, "content filter");

    let long = r#"{"error":{"message":"This model's maximum context length is 4096 tokens."}}"#;
    let asked = Asked::new([Reply::Status(400, None, long)]);
    assert_eq!(asked.episode(&[]).end, End::BudgetSpent { limit: Limit::Context });
    let asked = Asked::new([Reply::Message(words(TOTAL))]);
    fs::write(asked.profile(), "context = 20").unwrap();
    assert_eq!(asked.episode(&[]).end, End::BudgetSpent { limit: Limit::Context });
    assert!(asked.server.requests().is_empty(), "it cannot fit");
}

#[test]
fn a_huge_answer_is_an_answer() {
    let huge = format!("{}{TOTAL}", "so it is, and so on. ".repeat(100_000));
    let asked = Asked::new([Reply::Message(words(&huge))]);
    let episode = asked.episode(&[]);
    assert_eq!(episode.turns[0].action.text, huge);
    assert_eq!(episode.solved_at(), Some(1));
}

#[test]
fn a_no_that_stands_stops_the_run_at_once() {
    let check = |status: u16, body: &'static str, expected: &[&str]| {
        let asked = Asked::new([Reply::Status(status, None, body)]);
        let stderr = asked.refused(&[]);
        for part in expected {
            assert!(stderr.contains(part), "{stderr}");
        }
        assert_eq!(asked.server.requests().len(), 1, "asked once");
        assert!(asked.bench.episodes("run").is_empty(), "nothing to count");
    };
    let vllm = r#"{"object":"error","message":"top_p must be in (0, 1]","code":400}"#;
    check(400, vllm, &["answered 400: top_p must be in (0, 1]", "1 episodes left"]);
    check(
        401,
        r#"{"error":{"message":"bad key"}}"#,
        &["401: bad key", "taken from $OPENAI_API_KEY"],
    );
    check(404, r#"{"detail":"Not Found"}"#, &["404: Not Found", "`m` the model's name"]);
    let poor = r#"{"error":{"message":"You exceeded your quota","code":"insufficient_quota"}}"#;
    check(429, poor, &["402: You exceeded your quota", "no money left"]);
}

#[test]
fn a_server_that_is_down_is_an_infrastructure_failure() {
    let asked = Asked::new([Reply::Status(500, None, "down")]);
    let stderr = asked.refused(&[]);
    assert!(stderr.contains("1 episodes failed for reasons outside the policy"), "{stderr}");
    assert!(stderr.contains("the server answered 500: down, 4 times"), "{stderr}");
    assert!(asked.bench.episodes("run").iter().all(Episode::infrastructure_failure));
}

#[test]
fn a_budget_is_kept_and_the_spending_is_reported() {
    // An answer of 10,000 tokens would cost $10; these cost some cents.
    let asked = Asked::new([Reply::Message(words(WRONG))]);
    let stderr = asked.refused(&["--budget", "10.2", "--task-id", "*", "--jobs", "1"]);
    assert!(stderr.contains("the run's budget of $10.2 does not cover the next call"), "{stderr}");
    assert!(stderr.contains("are spent, in "), "{stderr}");
    let bought = asked.server.requests().len();
    assert!(bought > 3, "{bought}");
    let episode = asked.refused(&["--budget", "10.2", "--task-id", "*", "--jobs", "1"]);
    assert!(episode.contains("does not cover"), "{episode}");
    assert_eq!(asked.server.requests().len(), bought, "nothing is bought twice, nothing more");
    ended_well(asked.command("run", &["--budget", "90", "--task-id", "*", "--jobs", "2"]));
    let spent: f64 = asked
        .bench
        .episodes("run")
        .iter()
        .flat_map(|e| &e.turns)
        .filter_map(|t| t.action.usage.usd)
        .sum();
    assert!(spent < 1.0, "{spent}");

    let asked = Asked::new([Reply::Message(words(WRONG))]);
    let episode = asked.episode(&["--cost-limit", "10.05"]);
    assert_eq!(episode.end, End::BudgetSpent { limit: Limit::Usd });
    assert!(!episode.turns.is_empty());
}

#[test]
fn a_budget_needs_a_price() {
    let asked = Asked::new([Reply::Message(words(TOTAL))]);
    fs::write(asked.profile(), "").unwrap();
    let stderr = asked.refused(&["--budget", "1"]);
    assert!(
        stderr.contains("the price of `m` is not known, so --budget cannot be kept"),
        "{stderr}"
    );
    let episode = asked.episode(&[]);
    assert_eq!(episode.turns[0].action.usage.usd, None);
}

#[test]
fn a_run_that_is_killed_pays_for_nothing_twice() {
    let asked = Asked::new([Reply::Late(300, words(WRONG))]);
    let flags = ["--task-id", "*", "--jobs", "2", "--turns", "2"];
    let journal = asked.bench.runs.path().join("run/journal/calls.jsonl");
    let mut before = 0;
    for lines_more in [3, 4, 3] {
        let mut child = asked
            .command("run", &flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for_lines(&journal, before + lines_more);
        child.kill().unwrap();
        child.wait().unwrap();
        before = lines(&journal);
    }
    ended_well(asked.command("run", &flags));
    let text = fs::read_to_string(&journal).unwrap();
    let rows: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let keys: Vec<&str> = rows.iter().filter_map(|row| row["key"].as_str()).collect();
    let mut unique = keys.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), keys.len(), "no answer was bought twice");
    assert_eq!(keys.len(), 6, "three methods, two turns each");
    let in_flight = asked.server.requests().len() - keys.len();
    assert!(in_flight <= 6, "three kills, two calls in flight at most: {in_flight}");

    let shared = asked.bench.runs.path().join("run/journal");
    let before = asked.server.requests().len();
    let mut flags = flags.to_vec();
    flags.extend(["--cache", shared.to_str().unwrap()]);
    ended_well(asked.command("again", &flags));
    assert_eq!(asked.server.requests().len(), before, "all of it was there");
    let usage = |run: &str| -> f64 {
        let episodes = asked.bench.episodes(run);
        episodes.iter().flat_map(|e| &e.turns).filter_map(|t| t.action.usage.usd).sum()
    };
    assert!(usage("run") > 0.0);
    assert_eq!(usage("again"), 0.0, "another run paid");
}
