use super::*;

pub(super) fn atif(steps: Value) -> Value {
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
