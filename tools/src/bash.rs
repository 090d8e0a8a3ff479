//! A shell whose folder, variables and functions persist from call to call.
//!
//! Each call is a process of its own, so a timeout kills everything that it started. The
//! state is saved when a call ends.

use std::time::Duration;

use async_trait::async_trait;
use fixfly_runtime::{
    Command, Entry, Observation, Outcome, Sandbox, Status, Tool, ToolContext, ToolError, ToolSpec,
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

/// Restores the state, runs the command, and saves the state. If bash cannot read all of the
/// command, it runs none of it and prints nothing: bash reads a whole line before it runs any
/// of it, so only several lines are checked first, in a fork, and errors go to the output
/// only from the command on. Variables that bash sets itself are not saved. A program or a
/// loop would cost more than all of this.
const SHELL: &str = r#"
exec 2>/dev/null </dev/null; __state=$2
case $1 in *$'\n'*) (eval $'set -n\n'"$1") >/dev/null || exit 2; esac
[ -f "$__state" ] && . "$__state" >/dev/null
trap '{ set -- "$?" "$__state" "$PWD"; set +eux; [ "$__read" ] || exit 2; unset "${!_@}" "${!BASH@}" "${!EPOCH@}" "${!COMP_@}" FUNCNAME DIRSTACK GROUPS PIPESTATUS RANDOM SRANDOM SECONDS LINENO SHLVL PWD OLDPWD; [ -d "${2%/*}" ] || mkdir -p "${2%/*}"; { declare -p; declare -f; printf "cd -- %q\n" "$3"; } >| "$2"; exit "$1"; } 2>/dev/null' EXIT
eval "__read=1; exec 2>&1; $1"
"#;
/// The exit code of a shell that cannot read its command; commands may exit with it, too.
const UNREADABLE: i32 = 2;

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
        let seconds = timeout.unwrap_or(SECONDS[0]).clamp(1, SECONDS[1]);
        let state = format!("{OWN}/shell");
        let mut shell = Command::new(["bash", "-c", SHELL, "bash", &command, &state]);
        shell.workdir = Some(root.to_string());
        shell.timeout = Some(Duration::from_secs(seconds));
        shell.output_cap = Some(CAP);
        let output = context.sandbox.exec(&shell).await?;
        if output.status == Status::Exited(UNREADABLE) && output.stdout.is_empty() {
            require_readable(&command, context.sandbox).await?;
        }
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

/// Refuses a command that bash cannot read, in bash's words.
async fn require_readable(command: &str, sandbox: &dyn Sandbox) -> Result<(), ToolError> {
    let mut check = Command::new(["bash", "-n"]);
    check.stdin = command.into();
    let checked = sandbox.exec(&check).await?;
    if checked.status == Status::Exited(0) {
        return Ok(());
    }
    Err(ToolError::Refused(format!(
        "the command was not run, bash cannot read it:\n{}",
        String::from_utf8_lossy(&checked.stderr).trim()
    )))
}

/// Whether the output submits the work, if there is no tool for that.
fn hands_in(printed: &str, context: &ToolContext<'_>) -> bool {
    let has_tool = context.task.tools.iter().any(|tool| tool == "submit");
    !has_tool && printed.trim_start().lines().next().is_some_and(|line| line.trim() == HAND_IN)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;
    use std::process::{Command, Output, Stdio};

    use super::{SHELL, UNREADABLE};

    /// Runs a command in the shell, without a sandbox.
    fn shell(command: &str, state: &Path) -> Output {
        let mut shell = Command::new("bash");
        shell.args(["-c", SHELL, "bash", command]).arg(state).env_clear();
        shell.env("PATH", "/usr/bin:/bin").current_dir("/tmp").output().unwrap()
    }

    #[test]
    fn a_command_runs_only_if_bash_can_read_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let ran = folder.path().join("ran");
        let touch = format!("touch {}", ran.display());
        for rest in [
            "",
            "# only",
            "echo 'a",
            "}",
            "} ; x() {",
            "if true; then",
            "cat <<EOF\nx\nEOF",
            "cat <<EOF\nx",
            "f() {",
            "echo $(ls",
            "a=(1 2",
            "case x in a) ;;",
            "[[ a == b",
            "((1+",
            "&& a",
            "a |",
            "a \\",
            "diff <(ls) <(ls",
            "set +n; fi",
            "exit 2\n'",
            "echo a;; b",
            "shopt -s extglob\necho !(a)",
            "x=$'\\''",
            "time ls",
            "{ echo;",
            "python3 - <<'P'\n'''\nP",
        ] {
            // Behind another line, and in the same line.
            for between in ["\n", "; "] {
                let command = format!("{touch}{between}{rest}");
                let mut check = Command::new("bash");
                check.arg("-n").stdin(Stdio::piped()).stderr(Stdio::null());
                let mut check = check.spawn().unwrap();
                check.stdin.take().unwrap().write_all(command.as_bytes()).unwrap();
                let is_readable = check.wait().unwrap().success();
                let output = shell(&command, &folder.path().join("own/shell"));
                assert_eq!(ran.exists(), is_readable, "{command}: {output:?}");
                let is_silent =
                    output.stdout.is_empty() && output.status.code() == Some(UNREADABLE);
                assert!(is_readable || is_silent, "{command}: {output:?}");
                let _ = std::fs::remove_file(&ran);
            }
        }
    }

    #[test]
    fn folder_variables_and_functions_persist_from_call_to_call() {
        #[track_caller]
        fn check(calls: &[&str], expected: &str) {
            let folder = tempfile::tempdir().unwrap();
            let state = folder.path().join("own/shell");
            let printed = calls.iter().map(|command| shell(command, &state).stdout);
            let last = printed.collect::<Vec<_>>().pop().unwrap();
            assert_eq!(String::from_utf8_lossy(&last), expected, "{calls:?}");
        }
        check(&["a=1; cd /; f() { echo f; }", "echo $a $PWD; f"], "1 /\nf\n");
        check(&["x=$'a\\n declare -r z\\nb'; set -C", "echo \"$x\""], "a\n declare -r z\nb\n");
        check(&["declare -A m=([k]='v w'); n=(1 2)", "echo ${m[k]} ${n[1]}"], "v w 2\n");
        check(&["export E=5; set -e; false; a=1", "env | grep ^E=; echo ${a-none}"], "E=5\nnone\n");
        check(
            &["declare -r ro=1; _own=2; RANDOM=1", "true", "echo ${ro-none} ${_own-none}"],
            "1 none\n",
        );
        check(&["set -eux; set -o posix; a=1", "echo $a; echo $a >&2"], "1\n1\n");
        check(&["IFS=_; set -- x; cd /", "echo $PWD; printf %q \"$IFS\""], "/\n_");
        check(&["no-such-program"], "bash: line 6: no-such-program: command not found\n");
        check(&["a=$'\\xff'", "[ \"$a\" = $'\\xff' ] && echo same"], "same\n");
        check(&["a=1", "fi", "echo $a"], "1\n");
        check(&["exit 7", "echo $?"], "0\n");
    }
}
