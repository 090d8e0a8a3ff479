//! The Agent Trajectory Interchange Format, as `harbor`'s models accept it.
//!
//! What the format has no field for is in `extra.fixfly`, of the file and of each step, so
//! that an exported run can be imported without loss. Verdicts are not imported.

mod read;

use fixfly_runtime::{Call, Episode, Generation, Message, Role, Turn, Usage};
use serde_json::{Map, Value, json};

pub(super) use read::{Own, is_version, read};

/// The name of a file that holds a trajectory in the format.
pub(super) const FILE: &str = "trajectory.json";

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
            "fixfly": {
                // Not the sandbox: it has paths of this machine.
                "statement": episode.task.statement,
                "tools": episode.task.tools,
                "budget": episode.task.budget,
                "left_out": episode.left_out,
                "sample": sample,
                "seed": episode.provenance.seed,
                "isolation": episode.provenance.isolation,
                "started": episode.provenance.started,
                "seconds": episode.provenance.seconds,
            },
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
    let Turn { action, observation, timings, .. } = turn;
    if let Some(reasoning) = &action.reasoning {
        step["reasoning_content"] = json!(reasoning);
    }
    if let Some(generation) = &action.generation {
        step["model_name"] = json!(generation.model);
    }
    if has_metrics(turn) {
        step["metrics"] = metrics(turn);
    }
    // 0 means that no model was asked, and forbids both.
    if action.usage.calls > 0 || (!has_metrics(turn) && action.reasoning.is_none()) {
        step["llm_call_count"] = json!(action.usage.calls);
    }
    let mut own = json!({
        "outcome": observation.outcome,
        "timings": timings,
        "usage": action.usage,
        "generation": action.generation.as_ref().map(without_tokens),
    });
    match &action.call {
        Call::Tool { args, .. } if !args.is_object() => own["arguments"] = args.clone(),
        Call::Malformed(why) => own["malformed"] = json!(why),
        Call::Tool { .. } | Call::Submit => {}
    }
    step["extra"] = json!({ "fixfly": own });
    step
}

/// The tokens of a generation have fields of the format.
fn without_tokens(generation: &Generation) -> Generation {
    Generation { tokens: Vec::new(), ..generation.clone() }
}

fn has_metrics(turn: &Turn) -> bool {
    let Usage { prompt_tokens, completion_tokens, usd, .. } = turn.action.usage;
    turn.action.generation.is_some() || prompt_tokens + completion_tokens > 0 || usd.is_some()
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
    let tokens = turn.action.generation.iter().flat_map(|generation| &generation.tokens);
    let (ids, logprobs): (Vec<u32>, Vec<f32>) =
        tokens.map(|token| (token.id, token.logprob)).unzip();
    if !ids.is_empty() {
        metrics["completion_token_ids"] = json!(ids);
        metrics["logprobs"] = json!(logprobs);
    }
    metrics
}

/// Sums over the turns of models; other turns have no tokens.
fn totals(episode: &Episode, steps: usize) -> Value {
    let by_model = || episode.turns.iter().filter(|turn| has_metrics(turn));
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
