//! Translates how other agents name the end of an episode.

use fixfly_runtime::{Boundary, End, FailureKind, Limit};

/// The end for an exit status of SWE-agent: `submitted`, `submitted (exit_cost)`,
/// `exit_cost`.
pub(super) fn by_sweagent(status: Option<&str>, why: Option<&str>) -> End {
    let Some(status) = status.filter(|status| !status.is_empty()) else { return unknown_end() };
    let inner = status.strip_prefix("submitted (").and_then(|rest| rest.strip_suffix(')'));
    let limit = match inner.unwrap_or(status) {
        "submitted" | "exit_forfeit" | "exit_command" => return End::Submitted,
        "exit_cost" => Limit::Usd,
        "exit_context" => Limit::Context,
        "exit_total_execution_time" => Limit::Seconds,
        "exit_format" => Limit::Malformed,
        "exit_turns" => Limit::Turns,
        "exit_tokens" => Limit::Tokens,
        "exit_command_timeout" => return failed(Boundary::Tool, FailureKind::Model, status, why),
        "exit_environment_error" => {
            return failed(Boundary::Sandbox, FailureKind::Infrastructure, status, why);
        }
        _ => return failed(Boundary::Policy, FailureKind::Infrastructure, status, why),
    };
    End::BudgetSpent { limit }
}

/// SWE-agent's exit status for an end.
pub(super) fn to_sweagent(end: &End, has_patch: bool) -> String {
    let word = match end {
        End::Solved | End::Submitted => return "submitted".to_string(),
        End::BudgetSpent { limit } => match limit {
            Limit::Turns => "exit_turns",
            Limit::Tokens => "exit_tokens",
            Limit::Seconds => "exit_total_execution_time",
            Limit::Usd => "exit_cost",
            Limit::Context => "exit_context",
            Limit::Malformed => "exit_format",
        },
        End::Failed { at: Boundary::Tool, .. } => "exit_command_timeout",
        End::Failed { at: Boundary::Sandbox, .. } => "exit_environment_error",
        End::Failed { .. } => "exit_error",
    };
    if has_patch { format!("submitted ({word})") } else { word.to_string() }
}

/// The end for an exit status of mini-swe-agent. `spent` is the limit that was reached, if
/// the status does not name one.
pub(super) fn by_mini(status: Option<&str>, why: Option<&str>, spent: Option<Limit>) -> End {
    let limit = match (status.unwrap_or_default(), spent) {
        ("", _) => return unknown_end(),
        ("Submitted", _) => return End::Submitted,
        ("LimitsExceeded", Some(limit)) => limit,
        ("TimeExceeded", _) => Limit::Seconds,
        ("RepeatedFormatError", _) => Limit::Malformed,
        ("ContextWindowExceededError", _) => Limit::Context,
        (status, _) => return failed(Boundary::Policy, FailureKind::Infrastructure, status, why),
    };
    End::BudgetSpent { limit }
}

pub(super) fn unknown_end() -> End {
    let why = "the file does not say how it ended".to_string();
    End::Failed { at: Boundary::Policy, kind: FailureKind::Infrastructure, why }
}

fn failed(at: Boundary, kind: FailureKind, status: &str, why: Option<&str>) -> End {
    let why = match why.map(str::trim).filter(|why| !why.is_empty()) {
        Some(why) => format!("{status}: {why}"),
        None => status.to_string(),
    };
    End::Failed { at, kind, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_go_there_and_back() {
        let limits = [
            Limit::Turns,
            Limit::Tokens,
            Limit::Seconds,
            Limit::Usd,
            Limit::Context,
            Limit::Malformed,
        ];
        for limit in limits {
            let end = End::BudgetSpent { limit };
            for has_patch in [true, false] {
                assert_eq!(by_sweagent(Some(&to_sweagent(&end, has_patch)), None), end);
            }
        }
        assert_eq!(by_sweagent(Some(&to_sweagent(&End::Submitted, false)), None), End::Submitted);
    }

    #[test]
    fn words_of_agents() {
        let limit = |limit| End::BudgetSpent { limit };
        assert_eq!(by_sweagent(Some("submitted (exit_context)"), None), limit(Limit::Context));
        assert_eq!(by_mini(Some("LimitsExceeded"), None, Some(Limit::Usd)), limit(Limit::Usd));
        assert_eq!(by_mini(Some("Submitted"), None, None), End::Submitted);
        for (status, why) in [
            (None, "the file does not say how it ended"),
            (Some("AuthenticationError"), "AuthenticationError: no key"),
            (Some("LimitsExceeded"), "LimitsExceeded: no key"),
        ] {
            let End::Failed { why: actual, kind, .. } = by_mini(status, Some("no key"), None)
            else {
                panic!("{status:?} is a failure")
            };
            assert_eq!((actual.as_str(), kind), (why, FailureKind::Infrastructure));
        }
    }
}
