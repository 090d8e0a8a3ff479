use fixfly_runtime::{
    FailureKind, Finish, Limit, Sampling, TaskKind, Templates, Thinking, Token, render,
};

use super::*;

fn read_value(name: &str, value: &Value) -> Result<Imported, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, value.to_string()).unwrap();
    read(&file, &[]).map_err(|e| e.to_string().replace(&file.display().to_string(), "FILE"))
}

fn calls(imported: &Imported) -> Vec<Call> {
    imported.episode.turns.iter().map(|turn| turn.action.call.clone()).collect()
}

fn seen(imported: &Imported) -> Vec<(&str, Outcome)> {
    let of = |turn: &'_ Turn| turn.observation.outcome;
    imported.episode.turns.iter().map(|turn| (turn.observation.text.as_str(), of(turn))).collect()
}

fn mini(messages: Value, info: Value) -> Value {
    json!({ "trajectory_format": "mini-swe-agent-1.1", "messages": messages, "info": info })
}

#[test]
fn a_conversation_of_mini_swe_agent_is_turns() {
    let response = json!({ "model": "gpt-x", "choices": [{ "finish_reason": "tool_calls" }],
        "usage": { "prompt_tokens": 100, "completion_tokens": 7,
            "prompt_tokens_details": { "cached_tokens": 60 } } });
    let messages = json!([
        { "role": "system", "content": "You are." },
        { "role": "user", "content": "Solve it." },
        { "role": "user", "content": "No call was found.", "extra": { "interrupt_type": "FormatError",
            "cost": 0.25, "response": { "choices": [{ "message": { "content": "Hm." } }] } } },
        { "role": "assistant", "content": "I look.", "reasoning_content": "Where?",
          "extra": { "cost": 0.5, "timestamp": 10.0, "response": response, "actions": [
            { "command": "ls", "tool_call_id": "a" }, { "command": "sleep 99", "tool_call_id": "b" }] } },
        { "role": "tool", "tool_call_id": "b", "content": "too long",
          "extra": { "exception_type": "TimeoutExpired", "timestamp": 12.0 } },
        { "role": "tool", "tool_call_id": "a", "content": "x.py", "extra": { "timestamp": 12.5 } },
        { "role": "user", "content": "Mind the docs.", "extra": { "interrupt_type": "UserInterruption" } },
        { "role": "assistant", "content": null, "extra": { "actions": [{ "command": "echo DONE" }] } },
        { "role": "exit", "content": "diff", "extra": { "exit_status": "Submitted" } },
    ]);
    let info = json!({ "exit_status": "Submitted", "submission": "diff --git a b\n",
        "mini_version": "2.4.6", "model_stats": { "api_calls": 3, "instance_cost": 0.75 },
        "config": { "model": { "model_name": "gpt-x" }, "environment": { "cwd": "/testbed" },
            "agent": { "step_limit": 0, "cost_limit": 3.0 } } });
    let imported = read_value("a__b-1.traj.json", &mini(messages, info)).unwrap();
    assert_eq!(
        calls(&imported),
        [
            Call::Malformed("No call was found.".into()),
            command("ls"),
            command("sleep 99"),
            command("echo DONE"),
        ]
    );
    assert_eq!(
        seen(&imported),
        [
            ("No call was found.", Outcome::Refused),
            ("x.py", Outcome::Done),
            ("too long", Outcome::TimedOut),
            ("diff", Outcome::Submitted),
        ]
    );
    let Imported { episode, remarks, .. } = &imported;
    assert_eq!(episode.turns[0].action.text, "Hm.");
    let look = &episode.turns[1].action;
    assert_eq!((look.text.as_str(), look.reasoning.as_deref()), ("I look.", Some("Where?")));
    assert_eq!(
        (look.usage.prompt_tokens, look.usage.cached_tokens, look.usage.usd),
        (100, 60, Some(0.5))
    );
    assert_eq!(look.generation.as_ref().unwrap().finish, Finish::ToolCall);
    assert_eq!(episode.turns[2].action.usage, Usage::default());
    let issue = episode.task.statement.issue().unwrap();
    assert_eq!((issue.text.as_str(), issue.root.as_str()), ("Solve it.", "/testbed"));
    assert_eq!((episode.end.clone(), episode.verdict.clone()), (End::Submitted, None));
    assert_eq!(episode.patch.as_deref(), Some("diff --git a b\n"));
    assert_eq!((episode.task.id.as_str(), episode.task.budget.usd), ("a__b-1", Some(3.0)));
    assert_eq!(episode.provenance.started, "1970-01-01T00:00:10Z");
    assert!(episode.unjudged());
    let remarks: Vec<_> = remarks.iter().map(|(remark, times)| (*remark, *times)).collect();
    assert_eq!(
        remarks,
        [
            ("calls that shared the words of the call before", 1),
            ("messages of a person, left out", 1)
        ]
    );
}

#[test]
fn a_limit_and_what_was_not_seen_are_kept() {
    let messages = json!([
        { "role": "user", "content": "Solve it." },
        { "role": "assistant", "content": "", "extra": { "actions": [{ "command": "ls" }] } },
        { "role": "exit", "content": "LimitsExceeded", "extra": { "exit_status": "LimitsExceeded" } },
    ]);
    let info = |limit: u32| {
        json!({ "exit_status": "LimitsExceeded", "model_stats": { "api_calls": 1, "instance_cost": 1.0 },
            "config": { "agent": { "step_limit": limit, "cost_limit": 1.0 } } })
    };
    let imported = read_value("x.traj.json", &mini(messages.clone(), info(1))).unwrap();
    assert_eq!(imported.episode.end, End::BudgetSpent { limit: Limit::Turns });
    assert_eq!(imported.remarks["observations that the file does not hold"], 1);
    let imported = read_value("x.traj.json", &mini(messages, info(0))).unwrap();
    assert_eq!(imported.episode.end, End::BudgetSpent { limit: Limit::Usd });
}

#[test]
fn a_trajectory_of_swe_agent_is_turns() {
    let step = |action: &str, response: &str, observation: &str| {
        json!({ "action": action, "response": response, "thought": response,
            "observation": observation, "execution_time": 0.5, "state": { "working_dir": "/repo" } })
    };
    let assistant = |action: &str, content: &str, name: &str, args: Value| {
        json!({ "role": "assistant", "content": content, "action": action, "thought": content,
            "thinking_blocks": [{ "type": "thinking", "thinking": "Hm." }],
            "tool_calls": [{ "id": "1", "function": { "name": name, "arguments": args.to_string() } }] })
    };
    let view = json!({ "command": "view", "path": "/repo" });
    let history = json!([
        { "role": "system", "content": "You are." },
        { "role": "assistant", "content": "I look.", "action": "ls", "is_demo": true },
        { "role": "user", "content": [{ "type": "text", "text": "Solve it." }] },
        assistant("ls", "I look.", "bash", json!({ "command": "ls" })),
        assistant("str_replace_editor view /repo", "And here.", "str_replace_editor", view.clone()),
        assistant("submit", "Done.", "submit", json!({})),
    ]);
    let mut bad = step("", "No call.", "");
    bad["thought"] = json!("");
    let mut traj = json!({
        "trajectory": [step("ls", "I look.", "x.py"), bad,
            step("str_replace_editor view /repo", "And here.", "files"),
            step("submit", "Done.", "diff")],
        "history": history,
        "info": { "exit_status": "submitted", "submission": "diff", "swe_agent_version": "1.1.0",
            "model_stats": { "api_calls": 4, "tokens_sent": 9 } },
        "replay_config": json!({ "agent": { "model": { "name": "gpt-x" } } }).to_string(),
        "environment": "main",
    });
    let imported = read_value("a__b-1.traj", &traj).unwrap();
    let tool = |name: &str, args: &Value| Call::Tool { name: name.into(), args: args.clone() };
    assert_eq!(
        calls(&imported),
        [
            command("ls"),
            Call::Malformed("its words could not be read as a call".into()),
            tool("str_replace_editor", &view),
            tool("submit", &json!({})),
        ]
    );
    assert_eq!(
        seen(&imported),
        [
            ("x.py", Outcome::Done),
            ("", Outcome::Refused),
            ("files", Outcome::Done),
            ("diff", Outcome::Submitted)
        ]
    );
    let episode = &imported.episode;
    assert_eq!(episode.turns[0].action.reasoning.as_deref(), Some("Hm."));
    assert_eq!(episode.turns[0].timings.call_ms, 500);
    assert_eq!(episode.task.statement.issue().unwrap().root, "/repo");
    assert_eq!(episode.task.tools, ["bash", "str_replace_editor", "submit"]);
    assert_eq!(imported.model.as_deref(), Some("gpt-x"));
    assert_eq!(imported.totals["tokens_sent"], 9);
    assert_eq!(imported.remarks["steps after which the model was asked again"], 1);

    // The agent's own note about why it stopped is not a step of the model.
    let note = step("", "Exit due to cost limit", "diff");
    traj["trajectory"].as_array_mut().unwrap().push(note);
    traj["info"]["exit_status"] = json!("submitted (exit_cost)");
    let imported = read_value("a__b-1.traj", &traj).unwrap();
    assert_eq!(imported.episode.turns.len(), 4);
    assert_eq!(imported.episode.end, End::BudgetSpent { limit: Limit::Usd });
    assert_eq!(imported.episode.patch.as_deref(), Some("diff"));
}

#[test]
fn calls_in_words_are_commands() {
    let traj = json!({ "trajectory": [
        { "action": "edit 1:1\nx\nend_of_edit\n", "response": "I edit.", "observation": "ok" },
        { "action": "submit\n", "response": "Done.", "observation": "" },
    ], "info": { "exit_status": null, "submission": null } });
    let imported = read_value("a.traj", &traj).unwrap();
    let submit = Call::Tool { name: "submit".into(), args: json!({}) };
    assert_eq!(calls(&imported), [command("edit 1:1\nx\nend_of_edit\n"), submit]);
    assert_eq!(imported.remarks["calls in words, kept as commands of `bash`"], 1);
    let End::Failed { kind, why, .. } = &imported.episode.end else { panic!("no end is recorded") };
    assert_eq!(
        (*kind, why.as_str()),
        (FailureKind::Infrastructure, "the file does not say how it ended")
    );
    assert!(imported.episode.patch.is_none() && !imported.episode.unjudged());
}

#[test]
fn other_files_are_refused_in_a_sentence() {
    let check = |value: Value, expected: &str| {
        let error = read_value("x.traj", &value).unwrap_err();
        assert!(error.starts_with("FILE: ") && error.contains(expected), "{error}");
    };
    check(json!({ "trajectory_format": "mini-swe-agent-1" }), "its form is `mini-swe-agent-1`");
    check(json!({ "messages": [] }), "no `trajectory_format`");
    check(json!([1]), "it is no trajectory");
    check(json!({ "trajectory": [1] }), "step 1 is no object");
    check(mini(Value::Null, json!({})), "it has no list `messages`");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.traj");
    std::fs::write(&file, "{").unwrap();
    assert!(read(&file, &[]).unwrap_err().to_string().contains("it is not JSON"));
    assert!(read(&folder.path().join("none"), &[]).is_err());
}

#[test]
fn what_is_written_is_read_back() {
    let messages = json!([
        { "role": "user", "content": "Solve it." },
        { "role": "user", "content": "Why?", "extra": { "interrupt_type": "FormatError", "model_response": "?" } },
        { "role": "assistant", "content": "Look:\n", "reasoning_content": "Hm.",
          "extra": { "actions": [{ "command": "printf 'ä\\n'" }] } },
        { "role": "user", "content": "ä\n", "extra": { "raw_output": "ä\n" } },
        { "role": "assistant", "content": "", "extra": { "actions": [{ "command": "echo DONE" }] } },
        { "role": "exit", "content": "--- a\n+++ b\n" },
    ]);
    let info = json!({ "exit_status": "Submitted", "submission": "--- a\n+++ b\n" });
    let mut first = read_value("a__b-1.traj.json", &mini(messages, info)).unwrap().episode;
    first.turns.push(turn(
        ModelOutput { text: "I edit.".into(), ..ModelOutput::default() }
            .with_call(Call::Tool { name: "edit".into(), args: json!({ "path": "x", "n": 1 }) }),
        "done".into(),
        Outcome::Done,
        Timings { act_ms: 0, call_ms: 250 },
    ));
    let read_back = read_value("a__b-1.traj", &sweagent::write(&first, &[])).unwrap().episode;
    let parts = |episode: &Episode| {
        let of = |turn: &Turn| {
            let Action { text, reasoning, call, .. } = turn.action.clone();
            (text, reasoning, call, turn.observation.text.clone(), turn.timings.call_ms)
        };
        let turns: Vec<_> = episode.turns.iter().map(of).collect();
        (episode.task.id.clone(), turns, episode.patch.clone(), episode.end.clone())
    };
    assert_eq!(parts(&read_back), parts(&first));
    assert_eq!(
        sweagent::write(&first, &[])["info"].get("instance_cost"),
        None,
        "no price is known"
    );
}

fn atif(steps: Value) -> Value {
    json!({ "schema_version": "ATIF-v1.8", "agent": { "name": "coder", "version": "2" }, "steps": steps })
}

#[test]
fn an_atif_trajectory_of_another_agent_is_turns() {
    let part = |text: &str| json!({ "type": "text", "text": text });
    let image =
        json!({ "type": "image", "source": { "media_type": "image/png", "path": "a.png" } });
    let call = |id: &str, name: &str| json!({ "tool_call_id": id, "function_name": name, "arguments": { "x": 1 } });
    let steps = json!([
        { "step_id": 1, "source": "system", "message": "You are.", "timestamp": "2026-01-02T03:04:05Z" },
        { "step_id": 2, "source": "user", "message": [part("Solve"), image, part("it.")] },
        { "step_id": 3, "source": "agent", "message": "Earlier.", "is_copied_context": true },
        { "step_id": 4, "source": "agent", "message": "I look.", "reasoning_content": "Where?",
          "model_name": "gpt-y", "timestamp": "2026-01-02T04:04:06.5+01:00",
          "tool_calls": [call("a", "read"), call("b", "find"), call("c", "list")],
          "observation": { "results": [
              { "source_call_id": "b", "content": [part("found")] }, { "content": "rest" },
              { "source_call_id": "a", "content": "text" }, { "source_call_id": "a", "content": null }] },
          "metrics": { "prompt_tokens": 10, "completion_tokens": 3, "cached_tokens": 4, "cost_usd": 0.5 } },
        { "step_id": 5, "source": "system", "message": "Compacted." },
        { "step_id": 6, "source": "user", "message": "Mind the docs." },
        { "step_id": 7, "source": "agent", "message": "Run.", "llm_call_count": 2, "mood": "good",
          "tool_calls": [call("d", "run")] },
        { "step_id": 8, "source": "agent", "message": "Done.", "timestamp": "2026-01-02T03:04:09" },
    ]);
    let mut value = atif(steps);
    value["final_metrics"] = json!({ "total_steps": 8, "extra": { "turns": 3 } });
    value["subagent_trajectories"] = json!([{}, {}]);
    value["extra"] = json!({ "instance_id": "a__b-1", "end": "whatever" });
    let imported = read_value("trajectory.json", &value).unwrap();
    let tool = |name: &str| Call::Tool { name: name.into(), args: json!({ "x": 1 }) };
    assert_eq!(
        calls(&imported),
        [
            tool("read"),
            tool("find"),
            tool("list"),
            tool("run"),
            Call::Malformed("it called no tool".into()),
        ]
    );
    assert_eq!(
        seen(&imported),
        [
            ("text\n", Outcome::Done),
            ("found", Outcome::Done),
            ("rest", Outcome::Done),
            ("", Outcome::Done),
            ("", Outcome::Refused),
        ]
    );
    let Imported { episode, remarks, totals, .. } = &imported;
    let first = &episode.turns[0].action;
    assert_eq!((first.text.as_str(), first.reasoning.as_deref()), ("I look.", Some("Where?")));
    let usage = &first.usage;
    assert_eq!(
        (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.usd, usage.calls),
        (10, 3, 4, Some(0.5), 1)
    );
    assert_eq!(episode.turns[1].action.usage, Usage::default());
    assert_eq!(episode.turns[3].action.usage.calls, 2);
    assert_eq!(episode.task.statement.issue().unwrap().text, "Solve\nit.");
    assert_eq!((episode.task.id.as_str(), episode.policy.as_str()), ("a__b-1", "coder"));
    let Provenance { started, seconds, .. } = &episode.provenance;
    assert_eq!((started.as_str(), *seconds), ("2026-01-02T03:04:05Z", 1.5));
    assert_eq!(
        (imported.version.as_deref(), imported.model.as_deref()),
        (Some("2"), Some("gpt-y"))
    );
    assert_eq!(totals["extra"]["turns"], 3);
    assert!(episode.infrastructure_failure() && episode.verdict.is_none());
    let remarks: Vec<_> = remarks.iter().map(|(remark, times)| (*remark, *times)).collect();
    assert_eq!(
        remarks,
        [
            ("calls that shared the words of the call before", 2),
            ("fields that ATIF does not define, left out", 1),
            ("images and sounds, left out", 1),
            ("messages of a person, left out", 1),
            ("notes of the system, left out", 1),
            ("observations that the file does not hold", 1),
            ("steps copied from an earlier trajectory, left out", 1),
            ("trajectories of subagents, left out", 2),
        ]
    );
}

#[test]
fn all_published_versions_of_atif_are_read() {
    let read_version = |version: &str| {
        let mut value = atif(json!([{ "step_id": 1, "source": "agent", "message": "" }]));
        value["schema_version"] = json!(version);
        read_value("a/trajectory.json", &value)
    };
    for minor in 0..=8 {
        assert!(read_version(&format!("ATIF-v1.{minor}")).is_ok(), "1.{minor}");
    }
    for version in ["ATIF-v1.9", "ATIF-v1.10", "ATIF-v2.0", "ATIF-v1", "ATIF-"] {
        let error = read_version(version).unwrap_err();
        let expected =
            format!("its `schema_version` is {version}; fixfly reads ATIF-v1.0 to ATIF-v1.8");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn a_bad_atif_file_is_named_with_step_and_field() {
    let check = |value: Value, expected: &str| {
        let error = read_value("trajectory.json", &value).unwrap_err();
        assert_eq!(error, format!("FILE: {expected}"));
    };
    let second = |change: Value| {
        let mut step = json!({ "step_id": 2, "source": "agent", "message": "" });
        let Value::Object(change) = change else { unreachable!() };
        step.as_object_mut().unwrap().extend(change);
        atif(json!([{ "step_id": 1, "source": "user", "message": "" }, step]))
    };
    let mut nameless = second(json!({}));
    nameless["agent"] = json!({});
    check(nameless, "its `agent.name` is not text");
    check(atif(json!([])), "its `steps` is not a list of at least one step");
    check(atif(json!([1])), "step 1: it is not an object");
    check(second(json!({ "step_id": 3 })), "step 2: its `step_id` is not 2");
    check(second(json!({ "source": "tool" })), "step 2: its `source` is not system, user or agent");
    check(second(json!({ "message": 1 })), "step 2: its `message` is not text");
    check(second(json!({ "timestamp": "now" })), "step 2: its `timestamp` is not an ISO 8601 time");
    check(second(json!({ "tool_calls": {} })), "step 2: its `tool_calls` is not a list");
    let call =
        |args: Value| json!([{ "tool_call_id": "a", "function_name": "f", "arguments": args }]);
    check(
        second(json!({ "tool_calls": call(json!("x")) })),
        "step 2: its `tool_calls.arguments` is not an object",
    );
    check(
        second(json!({ "tool_calls": call(json!({})),
            "observation": { "results": [{ "source_call_id": "b" }] } })),
        "step 2: its `observation.results.source_call_id` names no call of it",
    );
    check(
        second(json!({ "metrics": { "prompt_tokens": -1 } })),
        "step 2: its `metrics.prompt_tokens` is not a count",
    );
    check(
        second(json!({ "extra": { "fixfly": {} } })),
        "step 2: its `extra.fixfly`: missing field `outcome`",
    );
}

#[test]
fn an_atif_file_has_the_name_of_its_instance_or_trial() {
    let value = atif(json!([{ "step_id": 1, "source": "agent", "message": "" }]));
    let check = |file: &str, result: Option<Value>, expected: &str| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, value.to_string()).unwrap();
        if let Some(result) = result {
            let trial = file.parent().unwrap().parent().unwrap();
            std::fs::write(trial.join("result.json"), result.to_string()).unwrap();
        }
        assert_eq!(read(&file, &[]).unwrap().episode.task.id, expected);
    };
    check("a__b-1/trajectory.json", None, "a__b-1");
    check("a__b-1.trajectory.json", None, "a__b-1");
    check("a__b-1__xYz1234/agent/trajectory.json", None, "a__b-1__xYz1234");
    let result = json!({ "task_name": "swe/a__b-1" });
    check("a__b-1__xYz1234/agent/trajectory.json", Some(result), "a__b-1");
}

/// An episode with all that ATIF has a field for, and what it has none for.
fn varied() -> Episode {
    let messages = json!([
        { "role": "user", "content": "Solve it." },
        { "role": "user", "content": "Why?", "extra": { "interrupt_type": "FormatError", "model_response": "?" } },
        { "role": "assistant", "content": "Look:\n", "reasoning_content": "Hm.",
          "extra": { "cost": 0.25, "actions": [{ "command": "printf 'ä\\n'" }] } },
        { "role": "user", "content": "ä\n", "extra": { "raw_output": "ä\n" } },
    ]);
    let info = json!({ "exit_status": "LimitsExceeded", "submission": "--- a\n+++ b\n" });
    let mut episode = read_value("a__b-1.traj.json", &mini(messages, info)).unwrap().episode;
    episode.end = End::BudgetSpent { limit: Limit::Tokens };
    episode.task.budget.tokens = Some(9);
    episode.provenance.seed = u64::MAX;
    let generation = Generation {
        model: "gpt-x".into(),
        sampling: Sampling { temperature: Some(0.7), ..Sampling::default() },
        thinking: Thinking::default(),
        finish: Finish::Length,
        finish_reason: Some("length".into()),
        first_token_ms: Some(12),
        tokens_per_second: None,
        tokens: vec![Token { id: 7, logprob: -0.1 }, Token { id: 8, logprob: -2.5e-7 }],
        native_calls: Vec::new(),
        repaired: Vec::new(),
        resampled: 0,
        speculation: None,
    };
    let usage = Usage { prompt_tokens: 5, reasoning_tokens: 2, calls: 3, ..Usage::default() };
    let output = ModelOutput {
        text: "I edit.".into(),
        usage,
        generation: Some(generation),
        ..ModelOutput::default()
    };
    let call = Call::Tool { name: "edit".into(), args: json!(["no", "object"]) };
    let timings = Timings { act_ms: 40, call_ms: 250 };
    episode.turns.push(turn(output.with_call(call), "no".into(), Outcome::Refused, timings));
    episode
}

#[test]
fn atif_goes_out_and_comes_back() {
    let templates = Templates::load(TaskKind::Issue, None).unwrap();
    let written = |episode: &Episode| {
        let prompt = render(&episode.task, &[], &templates);
        atif::write(episode, &prompt, Some("gpt-x"))
    };
    let before = varied();
    let exported = written(&before);
    let imported = read_value("a__b-1/trajectory.json", &exported).unwrap();
    assert_eq!(imported.remarks, BTreeMap::new());
    assert_eq!((imported.form, imported.model.as_deref()), (Form::Atif, Some("gpt-x")));
    assert_eq!(imported.episode, before);
    assert_eq!(written(&imported.episode), exported);

    // A verdict in a file is a claim.
    let mut judged = exported.clone();
    judged["extra"]["resolved"] = json!(true);
    assert_eq!(read_value("a__b-1/trajectory.json", &judged).unwrap().episode, before);
}

#[test]
fn files_of_another_format_are_refused_if_one_is_required() {
    let folder = tempfile::tempdir().unwrap();
    let step = json!({ "step_id": 1, "source": "agent", "message": "" });
    for (name, value) in
        [("a/trajectory.json", atif(json!([step]))), ("b.traj.json", mini(json!([]), json!({})))]
    {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, value.to_string()).unwrap();
    }
    let read = |only: &str| {
        let only = only.parse().ok();
        let import = Import::read(&[folder.path().to_path_buf()], &[], only).unwrap();
        let ids = import.trajectories.iter().map(|(_, imported)| imported.episode.task.id.clone());
        (ids.collect::<Vec<_>>(), import.broken)
    };
    assert_eq!(read("any"), (vec!["a".to_string(), "b".to_string()], Vec::new()));
    let (ids, broken) = read("atif");
    assert_eq!(ids, ["a"]);
    let [why] = broken.as_slice() else { panic!("{broken:?}") };
    assert!(
        why.ends_with("b.traj.json: its format is mini-swe-agent's, not the given one"),
        "{why}"
    );
}
