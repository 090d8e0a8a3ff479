//! Several servers of one model: balanced, drained when they die, and used again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fixfly_runtime::Episode;
use serde_json::{Value, json};

use crate::runs::{lines, wait_for_lines};
use crate::server::{Reply, Server, words};
use crate::teachers::{Asked, TOTAL, WRONG};

/// Wrong at first, right when it is asked again: the answer depends on the request alone.
fn taught(wait: u64) -> Reply {
    let right = Reply::Late(wait, words(TOTAL));
    Reply::If("return 0", Box::new(right), Box::new(Reply::Late(wait, words(WRONG))))
}

/// The episodes that the requests of a server belong to, and how many each has.
fn episodes_of(requests: &[Value]) -> BTreeMap<u64, usize> {
    let mut episodes = BTreeMap::new();
    for request in requests {
        *episodes.entry(request["seed"].as_u64().unwrap()).or_default() += 1;
    }
    episodes
}

/// What a run found out, without times and numbers of calls.
fn results(episodes: Vec<Episode>) -> Vec<String> {
    let mut results: Vec<String> = episodes
        .into_iter()
        .map(|episode| {
            let turns: Vec<_> = episode
                .turns
                .iter()
                .map(|turn| (&turn.action.text, &turn.action.call, &turn.observation))
                .collect();
            let provenance = &episode.provenance;
            format!(
                "{} {} {} {:?} {:?} {turns:?}",
                episode.task.id,
                provenance.sample,
                provenance.seed,
                episode.solved_at(),
                episode.end,
            )
        })
        .collect();
    results.sort();
    results
}

/// Waits until it holds.
#[track_caller]
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(120), "never: {what}");
        sleep(Duration::from_millis(5));
    }
}

fn finished(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{stderr}");
    stderr
}

#[test]
fn an_episode_stays_at_one_server_and_new_ones_alternate() {
    let asked = Asked::new([taught(0)]);
    let other = Server::new([taught(0)]);
    let more = ["--base-url", &other.url, "--samples", "8", "--jobs", "1"];
    let stderr = finished(&mut asked.command("run", &more));
    assert!(!stderr.contains("is down"), "{stderr}");
    let each = [&asked.server, &other].map(|server| episodes_of(&server.requests()));
    for episodes in &each {
        assert_eq!(episodes.values().collect::<Vec<_>>(), [&2; 4], "two turns of four episodes");
    }
    let both: BTreeSet<_> = each.iter().flat_map(BTreeMap::keys).collect();
    assert_eq!(both.len(), 8, "none is at both");

    let run = asked.bench.runs.path().join("run");
    let record: Value = serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap();
    let teacher = &record["config"]["model"]["teacher"];
    assert_eq!(
        (&teacher["base_url"], &teacher["other_base_urls"]),
        (&json!(asked.server.url), &json!([other.url]))
    );
    let journal = fs::read_to_string(run.join("journal/calls.jsonl")).unwrap();
    let by_other = format!("\"server\":\"{}\"", other.url);
    assert_eq!(journal.lines().filter(|line| line.contains(&by_other)).count(), 8);
}

#[test]
fn a_server_that_dies_costs_nothing_but_the_work_in_flight_and_comes_back() {
    let more = ["--samples", "30", "--jobs", "3", "--seed", "7"];
    let undisturbed = Asked::new([taught(0)]);
    finished(&mut undisturbed.command("run", &more));
    let expected = results(undisturbed.bench.episodes("run"));

    let mut asked = Asked::new([taught(50)]);
    let profile =
        "[price]\ninput = 10.0\noutput = 1000.0\n[seconds]\nbackoff = 0.01\nretries = 9\n";
    fs::write(asked.profile(), profile).unwrap();
    // Its answers break off in their middle when it is killed.
    let slow = Reply::Parts(slow_answer(), false);
    let mut other = Server::new([slow.clone()]);
    let more = [&["--base-url", &*other.url, "-v"][..], &more].concat();
    let mut command = asked.command("run", &more);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let recorded = asked.bench.runs.path().join("run/episodes.jsonl");

    wait_until("both are asked", || {
        !other.requests().is_empty() && !asked.server.requests().is_empty()
    });
    other.stop();
    wait_for_lines(&recorded, 5);
    // Now nothing but the server that was down can finish the run.
    asked.server.script([slow]);
    other.script([taught(0)]);
    let before = other.requests().len();
    other.start();
    asked.server.stop();
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{stderr}");
    assert!(other.requests().len() > before, "{stderr}");
    for server in [&asked.server, &other] {
        assert!(stderr.contains(&format!("{} is down", server.url)), "{stderr}");
    }
    assert!(stderr.contains(&format!("{} is up again", other.url)), "{stderr}");
    assert_eq!(results(asked.bench.episodes("run")), expected);
    assert_eq!(lines(&recorded), 30);
    assert!(!stderr.contains("retrying the episode"), "{stderr}");

    let journal = asked.bench.runs.path().join("run/journal/calls.jsonl");
    let text = fs::read_to_string(journal).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let keys: Vec<String> = rows.filter_map(|row| Some(row["key"].as_str()?.to_owned())).collect();
    let unique: BTreeSet<_> = keys.iter().collect();
    assert_eq!((keys.len(), unique.len()), (60, 60), "no answer was bought twice");
}

/// A wrong answer whose parts take a minute.
fn slow_answer() -> Vec<(u64, String)> {
    let part = |text: &str| crate::server::event(&crate::server::chunk(words(text), None));
    let pauses = (0..240).map(|_| (250, ": a comment\n\n".to_string()));
    std::iter::once((0, part("```python\n"))).chain(pauses).collect()
}

#[test]
fn a_refusal_is_no_reason_to_leave_a_server_out() {
    let filtered =
        r#"{"error":{"message":"triggered the content_filter","code":"content_filter"}}"#;
    let slow_down = Reply::Status(429, Some(("retry-after", "0")), "{}");
    let refusals = [Reply::Status(400, None, filtered), slow_down.clone(), slow_down];
    let asked = Asked::new(refusals.into_iter().chain([taught(0)]));
    let other = Server::new([taught(0)]);
    let more = ["--base-url", &other.url, "--samples", "6", "--jobs", "1"];
    let stderr = finished(&mut asked.command("run", &more));
    assert!(!stderr.contains("is down"), "{stderr}");
    let each = [&asked.server, &other].map(|server| episodes_of(&server.requests()).len());
    assert_eq!(each, [3, 3]);
}

#[test]
fn with_all_servers_down_the_error_names_each() {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (one, two) = (free(), free());
    let mut asked = Asked::new([Reply::Status(500, None, "down")]);
    asked.server.stop();
    let (one, two) = (format!("http://{one}/v1"), format!("http://{two}/v1"));
    let stderr = asked.refused(&["--base-url", &one, "--base-url", &two, "--turns", "1"]);
    assert!(
        stderr.contains("none of the servers answers, tried 4 times: http://127.0.0.1"),
        "{stderr}"
    );
    for url in [&asked.server.url, &one, &two] {
        assert!(stderr.contains(&format!("{url}: http error: ")), "{stderr}");
    }
    assert!(stderr.to_lowercase().contains("connection refused"), "{stderr}");
    assert!(asked.bench.episodes("run").iter().all(Episode::infrastructure_failure));
}

#[test]
fn a_server_without_the_model_stops_the_run_before_its_first_request() {
    let asked = Asked::new([taught(0)]);
    let other = Server::new([taught(0)]);
    asked.server.list(json!({ "object": "list", "data": [{ "id": "m" }] }));
    other.list(json!({ "object": "list", "data": [{ "id": "qwen" }] }));
    let stderr = asked.refused(&["--base-url", &other.url]);
    let expected = format!(
        "{} does not serve the model `m`: it lists qwen; serve the model there under this name, or leave out this --base-url",
        other.url
    );
    assert!(stderr.contains(&expected), "{stderr}");
    assert!(asked.server.requests().is_empty() && other.requests().is_empty());

    let stderr = asked.refused(&["--base-url", &asked.server.url]);
    assert!(stderr.contains("is named twice"), "{stderr}");
}

#[test]
fn a_run_that_continues_with_other_servers_pays_for_nothing_twice() {
    let asked = Asked::new([taught(0)]);
    finished(&mut asked.command("run", &["--samples", "3"]));
    let expected = results(asked.bench.episodes("run"));
    let run = asked.bench.runs.path().join("run");
    // As if it was killed after its calls and before its episodes.
    for file in ["episodes.jsonl", "episodes.index.jsonl"] {
        fs::remove_file(run.join(file)).unwrap();
    }
    let others = [Server::new([taught(0)]), Server::new([taught(0)])];
    let profile = asked.profile();
    let mut words = vec!["--policy", "openai", "--model", "m", "--samples", "3"];
    words.extend(["--profile", profile.to_str().unwrap(), "--task-id", "*total"]);
    words.extend(others.iter().flat_map(|other| ["--base-url", other.url.as_str()]));
    finished(&mut asked.bench.run("run", &words));
    assert_eq!(results(asked.bench.episodes("run")), expected);
    assert!(others.iter().all(|other| other.requests().is_empty()), "all answers were there");
    let record: Value = serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap();
    let teacher = &record["config"]["model"]["teacher"];
    assert_eq!(teacher["base_url"], json!(asked.server.url));
    assert_eq!(teacher["other_base_urls"], json!([others[0].url, others[1].url]));
}
