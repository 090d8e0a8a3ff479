//! The Agent Trajectory Interchange Format, as `harbor`'s models accept it.

use fixfly_runtime::{Call, Episode, Message, Role, Turn};
use serde_json::{Map, Value, json};

/// The newest version that a released `harbor` (0.26.0) accepts.
pub const VERSION: &str = "ATIF-v1.8";

/// Converts an episode to a trajectory. `prompt` is what the policy saw before its first
/// turn; `model` is the model that it used.
pub fn write(episode: &Episode, prompt: &[Message], model: Option<&str>) -> Value {
    let mut steps: Vec<Value> = prompt
        .iter()
        .enumerate()
        .map(|(at, message)| {
            let source = match message.role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "agent",
            };
            json!({ "step_id": at + 1, "source": source, "message": message.content })
        })
        .collect();
    for turn in &episode.turns {
        steps.push(step(turn, steps.len() + 1));
    }
    let sample = episode.provenance.sample;
    let mut agent = json!({ "name": episode.policy, "version": episode.provenance.fixfly });
    if let Some(model) = model {
        agent["model_name"] = json!(model);
    }
    json!({
        "schema_version": VERSION,
        "session_id": format!("{}.{sample}", episode.task.id),
        "trajectory_id": format!("{}.{sample}", episode.task.id),
        "agent": agent,
        "final_metrics": totals(episode, steps.len()),
        "steps": steps,
        "extra": {
            "instance_id": episode.task.id,
            "end": episode.end,
            "patch": episode.patch,
            "resolved": episode.verdict.as_ref().map(|verdict| verdict.solved),
        },
    })
}

fn step(turn: &Turn, id: usize) -> Value {
    let mut step = json!({ "step_id": id, "source": "agent", "message": turn.action.text });
    let mut seen = json!({ "content": turn.observation.text });
    if let Call::Tool { name, args } = &turn.action.call {
        let call = format!("call_{id}");
        // Arguments that are not an object were refused, and cannot be expressed here.
        let args = if args.is_object() { args.clone() } else { json!({}) };
        step["tool_calls"] =
            json!([{ "tool_call_id": call, "function_name": name, "arguments": args }]);
        seen["source_call_id"] = json!(call);
    }
    step["observation"] = json!({ "results": [seen] });
    if let Some(reasoning) = &turn.action.reasoning {
        step["reasoning_content"] = json!(reasoning);
    }
    if let Some(generation) = &turn.action.generation {
        step["model_name"] = json!(generation.model);
        step["metrics"] = metrics(turn);
    }
    step
}

fn metrics(turn: &Turn) -> Value {
    let usage = &turn.action.usage;
    let mut metrics = json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_tokens": usage.cached_tokens,
    });
    if let Some(usd) = usage.usd {
        metrics["cost_usd"] = json!(usd);
    }
    metrics
}

/// Sums over the turns of models; other turns have no tokens.
fn totals(episode: &Episode, steps: usize) -> Value {
    let by_model = || episode.turns.iter().filter(|turn| turn.action.generation.is_some());
    let usages = || by_model().map(|turn| &turn.action.usage);
    let mut totals = Map::from_iter([("total_steps".to_string(), json!(steps))]);
    if by_model().next().is_some() {
        let sums = [
            ("total_prompt_tokens", usages().map(|usage| usage.prompt_tokens).sum::<u64>()),
            ("total_completion_tokens", usages().map(|usage| usage.completion_tokens).sum()),
            ("total_cached_tokens", usages().map(|usage| usage.cached_tokens).sum()),
        ];
        totals.extend(sums.map(|(name, sum)| (name.to_string(), json!(sum))));
        let usd: Option<f64> = usages().map(|usage| usage.usd).sum();
        totals.extend(usd.map(|usd| ("total_cost_usd".to_string(), json!(usd))));
    }
    Value::Object(totals)
}
