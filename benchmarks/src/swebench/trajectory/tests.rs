use fixfly_runtime::{
    FailureKind, Finish, Limit, Sampling, TaskKind, Templates, Thinking, Token, render,
};

use super::*;

mod atif_files;

use atif_files::atif;

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
