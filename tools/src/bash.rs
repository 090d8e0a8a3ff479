//! A shell whose folder, variables and functions persist from call to call.
//!
//! Each call is a process of its own, so a timeout kills everything that it started. The
//! state is saved when a call ends.

use std::time::Duration;

use async_trait::async_trait;
use fixfly_runtime::{
    Command, Entry, Observation, Outcome, Status, Tool, ToolContext, ToolError, ToolSpec,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::place::{OWN, clipped, root};
use crate::{Open, arguments, parameters};

const NAME: &str = "bash";

pub(crate) const ENTRY: Entry<Open> =
    Entry { name: NAME, about: "run a command in a shell that lasts", open: || Box::new(Bash) };

struct Bash;

/// Timeout of a call in seconds: the default, and the maximum.
const SECONDS: [u64; 2] = [60, 600];
/// Bytes of output that are kept before clipping.
const CAP: usize = 256 << 10;
/// How mini-swe-agent's models submit: the first line of output.
const HAND_IN: &str = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT";

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The command, as bash reads it; several lines are fine.
    command: String,
    /// Seconds it may take: 60 if not given, 600 at most.
    timeout: Option<u64>,
}

/// Restores the state, runs the command, and saves the state.
const SHELL: &str = r#"
exec 2>&1 </dev/null
__state=$2
[ -f "$__state" ] && . "$__state" >/dev/null 2>&1
trap '__code=$?; mkdir -p "${__state%/*}"; { declare -p | grep -Ev "^declare -[a-zA-Z]*r|^declare -[^ ]+ (BASH|FUNCNAME|DIRSTACK|GROUPS|PIPESTATUS|RANDOM|SRANDOM|SECONDS|EPOCH|LINENO|COMP_|SHLVL|PWD|OLDPWD|_|__)"; declare -f; printf "cd -- %q\n" "$PWD"; } > "$__state"; exit $__code' EXIT
eval "$1"
"#;

#[async_trait]
impl Tool for Bash {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: NAME.into(),
            description: "Runs a command in bash. The working folder, variables and functions last from call to call; \
                          programs in the background end with the call. Gives what it printed, both streams together, \
                          and its exit code where that is not 0. Nothing can be typed into it, and there is no network."
                .into(),
            parameters: parameters::<Arguments>(),
        }
    }

    async fn call(&self, args: Value, context: ToolContext<'_>) -> Result<Observation, ToolError> {
        let Arguments { command, timeout } = arguments(NAME, args)?;
        let root = root(NAME, &context)?;
        if command.contains('\0') {
            return Err(ToolError::Refused(
                "`bash` was given a command with a zero byte in it".into(),
            ));
        }
        let mut check = Command::new(["bash", "-n"]);
        check.stdin = command.clone().into_bytes();
        let checked = context.sandbox.exec(&check).await?;
        if checked.status != Status::Exited(0) {
            let why = String::from_utf8_lossy(&checked.stderr);
            return Err(ToolError::Refused(format!(
                "the command was not run, bash cannot read it:\n{}",
                why.trim()
            )));
        }
        let seconds = timeout.unwrap_or(SECONDS[0]).clamp(1, SECONDS[1]);
        let state = format!("{OWN}/shell");
        let mut shell = Command::new(["bash", "-c", SHELL, "bash", &command, &state]);
        shell.workdir = Some(root.to_string());
        shell.timeout = Some(Duration::from_secs(seconds));
        shell.output_cap = Some(CAP);
        let output = context.sandbox.exec(&shell).await?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status == Status::Exited(0) && hands_in(&printed, &context) {
            let change = context.work_tree()?.change(context.task, context.sandbox).await?;
            return Ok(Observation::submitted(change));
        }
        let mut text = clipped(printed.trim_end_matches('\n'), output.elided);
        let (outcome, ending) = match output.status {
            Status::Exited(0) if text.is_empty() => (Outcome::Done, "(no output)".to_string()),
            Status::Exited(0) => (Outcome::Done, String::new()),
            Status::Exited(code) => (Outcome::Done, format!("(exit code {code})")),
            Status::Signalled(signal) => (Outcome::Done, format!("(ended by signal {signal})")),
            Status::TimedOut => {
                let ending = format!(
                    "(killed after {seconds} s, with all it started; ask for more by `timeout`)"
                );
                (Outcome::TimedOut, ending)
            }
        };
        if !ending.is_empty() {
            text += if text.is_empty() { "" } else { "\n" };
            text += &ending;
        }
        Ok(Observation::new(outcome, text))
    }
}

/// Whether the output submits the work, if there is no tool for that.
fn hands_in(printed: &str, context: &ToolContext<'_>) -> bool {
    let has_tool = context.task.tools.iter().any(|tool| tool == "submit");
    !has_tool && printed.trim_start().lines().next().is_some_and(|line| line.trim() == HAND_IN)
}
