//! Makes sure that a patch without tests changes none, whatever the programs that apply it
//! make of it: patch(1) follows symbolic links of the tree, for example.

use std::collections::BTreeMap;

use fixfly_runtime::{BenchmarkError, Command, Sandbox, Status};

use super::evaluate::{ROOT, text};
use super::patch::shown;

/// The files that differ from the commit, with git's two letters for how, ignored ones too.
pub(super) type Changes = BTreeMap<Vec<u8>, [u8; 2]>;

/// Lists the files that differ from the commit.
pub(super) async fn changes(sandbox: &dyn Sandbox) -> Result<Changes, BenchmarkError> {
    let status = "git -c core.fsmonitor=false -c core.untrackedCache=false status --porcelain -z \
                  --no-renames --untracked-files=all --ignored=traditional";
    let listed = run(sandbox, status, Vec::new()).await?;
    let entry = |entry: &[u8]| {
        let (how, path) = entry.split_first_chunk::<2>()?;
        Some((path.strip_prefix(b" ")?.to_vec(), *how))
    };
    Ok(listed.split(|byte| *byte == 0).filter_map(entry).collect())
}

/// Undoes the changes of tests since `before`, and returns their paths.
pub(super) async fn restore(
    sandbox: &dyn Sandbox,
    before: &Changes,
    is_test: &(dyn Fn(&str) -> bool + Sync),
) -> Result<Vec<String>, BenchmarkError> {
    let mut changed = changes(sandbox).await?;
    changed.retain(|path, _| !before.contains_key(path) && is_test(&String::from_utf8_lossy(path)));
    let of = |is_new: bool| -> Vec<u8> {
        let of_kind = changed.iter().filter(|(_, how)| b"?!A".contains(&how[0]) == is_new);
        of_kind.flat_map(|(path, _)| [path.as_slice(), b"\0"].concat()).collect()
    };
    let git = "git -c core.hooksPath=/dev/null --literal-pathspecs";
    for (is_new, script) in [
        (
            true,
            format!(
                "xargs -0 sh -c '{git} rm -rfq --cached --ignore-unmatch -- \"$@\"; rm -rf -- \"$@\"' sh"
            ),
        ),
        (false, format!("xargs -0 {git} checkout --quiet HEAD --")),
    ] {
        let paths = of(is_new);
        if !paths.is_empty() {
            run(sandbox, &script, paths).await?;
        }
    }
    Ok(changed.keys().map(|path| shown(path)).collect())
}

async fn run(
    sandbox: &dyn Sandbox,
    script: &str,
    stdin: Vec<u8>,
) -> Result<Vec<u8>, BenchmarkError> {
    let mut command = Command::new(["bash", "-c", script]);
    command.workdir = Some(ROOT.into());
    command.stdin = stdin;
    command.output_cap = Some(64 << 20);
    let output = sandbox.exec(&command).await?;
    if output.status != Status::Exited(0) || output.elided > 0 {
        return Err(BenchmarkError::Broken(format!(
            "the changes of the work tree cannot be listed: {}",
            text(&output.stderr).trim()
        )));
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::{Command as Program, Stdio};
    use std::sync::Arc;

    use async_trait::async_trait;
    use fixfly_runtime::{Output, Process, SandboxError};

    use super::*;

    /// Runs commands in a folder of this machine.
    struct Folder(PathBuf);

    #[async_trait]
    impl Sandbox for Folder {
        async fn exec(&self, command: &Command) -> Result<Output, SandboxError> {
            use std::io::Write;
            let mut program = Program::new(&command.argv[0]);
            program.args(&command.argv[1..]).current_dir(&self.0).stdin(Stdio::piped());
            let mut child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(&command.stdin).unwrap();
            let done = child.wait_with_output().unwrap();
            Ok(Output {
                status: Status::Exited(done.status.code().unwrap()),
                stdout: done.stdout,
                stderr: done.stderr,
                elided: 0,
            })
        }

        async fn spawn(&self, _: &str, _: &Command) -> Result<Arc<dyn Process>, SandboxError> {
            unreachable!("nothing is started")
        }

        async fn read(&self, _: &str) -> Result<Vec<u8>, SandboxError> {
            unreachable!("nothing is read")
        }

        async fn write(&self, _: &str, _: &[u8]) -> Result<(), SandboxError> {
            unreachable!("nothing is written")
        }

        async fn close(self: Box<Self>) -> Result<(), SandboxError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn changes_of_tests_are_undone_however_they_were_made() {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = Folder(folder.path().to_path_buf());
        let sh = async |script: &str| run(&sandbox, script, Vec::new()).await.unwrap();
        sh("git init -q . && mkdir tests && echo 1 > tests/a.py && echo 1 > 'tests/b é.py' && echo '*.log' > .gitignore
            ln -s tests link && echo 1 > fix.py && echo 1 > tests/c.py && git add -A
            git -c user.name=x -c user.email=x@x commit -qm x; echo old > tests/old.log; echo 2 > tests/c.py").await;
        let before = changes(&sandbox).await.unwrap();
        assert_eq!(
            before.keys().map(|path| shown(path)).collect::<Vec<_>>(),
            ["tests/c.py", "tests/old.log"]
        );
        sh("echo 2 > link/a.py; rm 'tests/b é.py'; echo x > link/new.py; echo x > tests/new.log
            echo x > tests/staged.py; git add tests/staged.py; echo 2 > fix.py; echo x > more.py")
        .await;
        let undone = restore(&sandbox, &before, &|path| path.starts_with("tests/")).await.unwrap();
        assert_eq!(
            undone,
            ["tests/a.py", "tests/b é.py", "tests/new.log", "tests/new.py", "tests/staged.py"]
        );
        let after =
            sh("git status --porcelain -uall; cat tests/a.py tests/b* tests/old.log; ls tests")
                .await;
        assert_eq!(
            text(&after),
            " M fix.py\n M tests/c.py\n?? more.py\n1\n1\nold\na.py\nb é.py\nc.py\nold.log\n"
        );
    }
}
