//! A base commit, and what agents do in copies of it on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process;
use std::sync::Arc;

use async_trait::async_trait;
use fixfly_runtime::{Change, Command, Output, Process, Sandbox, SandboxError, Status};
use tempfile::TempDir;

use super::super::{Mode, change};
use crate::git::git_alone;

/// Runs commands on this machine.
pub(super) struct Here;

#[async_trait]
impl Sandbox for Here {
    async fn exec(&self, command: &Command) -> Result<Output, SandboxError> {
        let mut child = process::Command::new(&command.argv[0]);
        child.args(&command.argv[1..]).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        child.env("PYTHONPATH", "/nowhere").current_dir(command.workdir.as_deref().unwrap());
        let input = TempDir::new().unwrap();
        fs::write(input.path().join("in"), &command.stdin).unwrap();
        child.stdin(fs::File::open(input.path().join("in")).unwrap());
        let output = child.output().unwrap();
        let status = Status::Exited(output.status.code().unwrap());
        Ok(Output { status, stdout: output.stdout, stderr: output.stderr, elided: 0 })
    }

    async fn spawn(&self, _: &str, _: &Command) -> Result<Arc<dyn Process>, SandboxError> {
        unreachable!("nothing is spawned")
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

pub(super) fn shell(folder: &Path, script: &str) {
    let mut shell = process::Command::new("bash");
    shell.args(["-ec", script]).current_dir(folder).env("HOME", folder);
    shell.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C");
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The base commit. Its files are committed as an agent's tree is made.
const BASE: &str = r#"
printf 'VALUE = 1\nOTHER = 1\n' > demo.py
printf '# -*- coding: latin-1 -*-\nA = 1\nNAME = "caf\xe9"\nVALUE = 1\n' > latin.py
printf 'one\r\ntwo\r\nthree\r\n' > crlf.txt; cp crlf.txt dos.bat; cp crlf.txt auto.md
printf 'caf\xe9\r\ntwo\r\n' > latin.bat
printf 'h\0i\0\n\0' > wide.u16
printf '\0\1\2\377' > data.bin; printf 'x' > noeol.txt; : > empty.txt
printf 'x\n' > $'odd\nname "q" \\ \351.txt'; printf 'u\n' > 'ünï.txt'
mkdir -p pkg/sub tests; printf 'a\n' > pkg/a.py; printf 'b\n' > pkg/sub/b.py; : > tests/__init__.py
printf '#!/bin/sh\n' > run.sh; chmod +x run.sh
ln -s demo.py link; ln -s pkg folder
printf '*.log\nbuild/\n!kept.log\n' > .gitignore; printf '*.tmp\n' > pkg/.gitignore
printf '*.bat text eol=crlf\n*.md text=auto\n*.u16 text working-tree-encoding=UTF-16LE\n*.id ident\n' > .gitattributes
printf 'tracked\n' > kept.log; printf '$Id$\nx\n' > k.id
git init -q -b main .; git config user.name x; git config user.email x@x; git config core.autocrlf false
git add --all --force; git commit -qm base; git config gc.auto 0
"#;

/// The files below a folder but git's own: permission, and bytes or the target of a link.
pub(super) type Files = BTreeMap<Vec<u8>, (Mode, Vec<u8>)>;

fn files(root: &Path, folder: &Path, found: &mut Files) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        if entry.file_name() == ".git" {
            continue;
        } else if kind.is_dir() {
            files(root, &path, found);
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec();
            found.insert(name, (Mode::Link, target));
        } else if kind.is_file() {
            let is_executable = entry.metadata().unwrap().permissions().mode() & 0o100 != 0;
            let mode = if is_executable { Mode::Executable } else { Mode::File };
            let is_small = entry.metadata().unwrap().len() < 1 << 26;
            let bytes = if is_small { fs::read(&path).unwrap() } else { Vec::new() };
            found.insert(name, (mode, bytes));
        }
    }
}

pub(super) struct Fixture {
    pub(super) folder: TempDir,
}

impl Fixture {
    pub(super) fn new() -> Fixture {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("base")).unwrap();
        shell(&folder.path().join("base"), BASE);
        Fixture { folder }
    }

    fn copy(&self, name: &str) -> std::path::PathBuf {
        shell(self.folder.path(), &format!("rm -rf {name}; cp -a base {name}"));
        self.folder.path().join(name)
    }

    /// The change that a script makes in a copy of the base, and that copy's files.
    pub(super) async fn change(&self, script: &str) -> (Change, Files) {
        let agent = self.copy("agent");
        shell(&agent, script);
        let base = self.folder.path().join("base");
        let change = change(&base, agent.to_str().unwrap(), &Here).await;
        let change = change.unwrap_or_else(|why| panic!("{script}: {why}"));
        let mut now = Files::new();
        files(&agent, &agent, &mut now);
        (change, now)
    }

    /// The files of the base after a patch, as the official harness applies it.
    fn patched(&self, patch: Option<&str>) -> Files {
        let fresh = self.copy("fresh");
        if let Some(patch) = patch {
            fs::write(self.folder.path().join("patch"), patch).unwrap();
            let mut apply = git_alone();
            let output = apply.args(["apply", "../patch"]).current_dir(&fresh).output().unwrap();
            let why = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{patch}\n{why}");
        }
        let mut files_ = Files::new();
        files(&fresh, &fresh, &mut files_);
        files_
    }

    /// Checks that the patch makes the agent's files of the base's, apart from these, which the
    /// base ignores or which are left out.
    pub(super) async fn check(&self, script: &str, apart: &[&str]) -> Change {
        let (change, mut now) = self.change(script).await;
        for path in apart {
            now.remove(path.as_bytes());
        }
        assert_eq!(self.patched(change.patch.as_deref()), now, "{script}\n{change:#?}");
        change
    }
}

/// The paths of a patch as git writes them, and whether each is in binary form.
pub(super) fn parts(patch: &str) -> Vec<(String, bool)> {
    let path = |part: &str| {
        let both = part.lines().next().unwrap();
        let old = both[..both.len() / 2].trim_matches('"');
        old.strip_prefix("a/").unwrap().to_string()
    };
    let patch = format!("\n{patch}");
    let parts = patch.split("\ndiff --git ").skip(1);
    parts.map(|part| (path(part), part.contains("\nGIT binary patch\n"))).collect()
}
