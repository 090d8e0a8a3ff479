//! Deeds of agents, each in a copy of one base commit. Whatever it was, the patch makes the
//! agent's files of the base's files; what it cannot contain is listed.

mod fixture;

use std::path::Path;

use fixfly_runtime::LeftOutReason;
use tempfile::TempDir;

use super::*;
use crate::git::git_alone;
use crate::swebench::patch::{cleaned, is_test_by_custom};
use fixture::{Fixture, Here, parts, shell};

const EDIT: &str = "sed -i 's/VALUE = 1/VALUE = 2/' demo.py\n";

#[tokio::test]
async fn the_agent_s_repository_has_no_influence() {
    let fixture = Fixture::new();
    let (plain, _) = fixture.change(EDIT).await;
    let plain = plain.patch.unwrap();
    assert!(plain.starts_with("diff --git a/demo.py b/demo.py\nindex "), "{plain}");
    assert_eq!(plain.matches("diff --git").count(), 1);
    for deed in [
        "git commit -qa --amend --no-edit",
        "git checkout -q --orphan o; git commit -qam o",
        "git commit -qam x; git checkout -q --detach; git branch -D main",
        "git commit -qam x; git rebase -q --root --onto main~0 2>/dev/null || true",
        "git stash -q; git stash apply -q",
        "git stash -q; git checkout -q stash@{0} -- .",
        "git worktree add -q ../other; git worktree remove ../other",
        "git gc -q --prune=now --aggressive",
        "git add demo.py; git rm -q --cached -r .",
        "rm -rf .git",
        "rm -rf .git; echo 'gitdir: /nowhere' > .git",
        "mv .git /tmp/fixfly-moved.$$; ln -s /tmp/fixfly-moved.$$ .git; rm -rf /tmp/fixfly-moved.$$",
        "rm -rf .git; ln -s / .git",
        "rm -rf .git; mkfifo .git",
        "rm -rf .git; git init -q .",
        "rm -rf .git/objects; mkdir .git/objects",
        "echo junk > .git/HEAD",
        "echo junk > .git/config",
        "touch .git/index.lock .git/HEAD.lock .git/config.lock",
        "git config core.worktree /tmp",
        "git config core.bare true",
        "git config diff.noprefix true; git config diff.external false",
        "git config diff.mnemonicPrefix true",
        "git config diff.srcPrefix x/; git config diff.dstPrefix y/",
        "git config core.fileMode false; git config core.ignoreCase true; git config core.quotePath false",
        "git config core.abbrev 40; git config diff.context 0; git config diff.interHunkContext 9",
        "git config core.autocrlf true; git config core.eol crlf; git config core.symlinks false",
        "git config core.attributesFile /tmp/x; git config core.excludesFile /tmp/y",
        "git config core.fsmonitor false; git config core.hooksPath /tmp; git config color.ui always",
        "git config diff.submodule log; git config diff.orderFile /nowhere",
        "echo '*.py' > .git/info/exclude; echo '*.py -diff' > .git/info/attributes",
        "git config --add safe.directory ''; git config status.showUntrackedFiles no",
        "echo /nowhere > .git/objects/info/alternates",
        "git update-index --assume-unchanged demo.py",
        "git update-index --skip-worktree demo.py",
        "git config core.sparseCheckout true; git config index.sparse true",
        "git replace -f HEAD^{tree} $(git commit-tree -m x $(git mktree </dev/null)) 2>/dev/null || true",
    ] {
        let change = fixture.check(&format!("{EDIT}{deed}"), &[]).await;
        assert_eq!(change.patch.as_deref(), Some(plain.as_str()), "{deed}");
        assert_eq!(change.left_out, [], "{deed}");
    }
}

#[tokio::test]
async fn flags_that_were_set_before_an_edit_have_no_influence() {
    let fixture = Fixture::new();
    for deed in ["--assume-unchanged", "--skip-worktree", "--force-remove"] {
        let script = format!("git update-index {deed} demo.py; {EDIT}");
        assert!(fixture.check(&script, &[]).await.patch.unwrap().contains("+VALUE = 2"), "{deed}");
    }
}

#[tokio::test]
async fn every_kind_of_file_is_taken() {
    let fixture = Fixture::new();
    let check = async |deed: &str, apart: &[&str], expected: &[(&str, bool)]| {
        let change = fixture.check(deed, apart).await;
        assert_eq!(change.left_out, [], "{deed}");
        let found = parts(change.patch.as_deref().unwrap_or_default());
        let found: Vec<_> = found.iter().map(|(path, binary)| (path.as_str(), *binary)).collect();
        assert_eq!(found, expected, "{deed}: {change:#?}");
    };
    let text = |path: &'static str| (path, false);
    check("true", &[], &[]).await;
    check("touch demo.py; chmod 600 demo.py", &[], &[]).await;
    // Bytes.
    check("sed -i 's/^A = 1/A = 2/; s/VALUE = 1/VALUE = 2/' latin.py", &[], &[("latin.py", true)])
        .await;
    check("sed -i 's/NAME = \"caf/NAME = \"xcaf/' latin.py", &[], &[("latin.py", true)]).await;
    check("printf 'x = \"\\xe9\"\\n' > new.py", &[], &[("new.py", true)]).await;
    check("printf 'x = \"\\xe9\"\\n' >> demo.py", &[], &[("demo.py", true)]).await;
    check("rm latin.py", &[], &[("latin.py", true)]).await;
    check("printf '\\0\\3' >> data.bin", &[], &[("data.bin", true)]).await;
    check("printf 'a\\0b\\n' > zero.txt", &[], &[("zero.txt", true)]).await;
    check("echo 'é' > é.py", &[], &[text("\\303\\251.py")]).await;
    check(
        "printf 'y' > noeol.txt; printf 'z' > other.txt",
        &[],
        &[text("noeol.txt"), text("other.txt")],
    )
    .await;
    check(
        "printf 'diff --git a/x b/y\\n--- a/x\\n+++ b/y\\n' > quoted.txt",
        &[],
        &[text("quoted.txt")],
    )
    .await;
    // Line ends, and what attributes of the base commit convert.
    check("sed -i s/two/TWO/ crlf.txt", &[], &[text("crlf.txt")]).await;
    check("sed -i s/two/TWO/ dos.bat auto.md", &[], &[text("auto.md"), text("dos.bat")]).await;
    check("sed -i 's/\\r$//' crlf.txt", &[], &[text("crlf.txt")]).await;
    check("sed -i 's/$/\\r/' demo.py", &[], &[text("demo.py")]).await;
    check(
        "rm dos.bat auto.md wide.u16",
        &[],
        &[text("auto.md"), text("dos.bat"), text("wide.u16")],
    )
    .await;
    check("chmod +x dos.bat wide.u16", &[], &[text("dos.bat"), text("wide.u16")]).await;
    check("sed -i s/two/TWO/ latin.bat", &[], &[("latin.bat", true)]).await;
    check("printf 'h\\0o\\0\\n\\0' > wide.u16", &[], &[text("wide.u16")]).await;
    check(
        "printf 'p\\r\\nq\\r\\n' > new.txt; cp new.txt new.md",
        &[],
        &[text("new.md"), text("new.txt")],
    )
    .await;
    // Attributes of the agent.
    check(
        "printf '*.py -diff filter=x\\n*.txt working-tree-encoding=UTF-16 eol=crlf binary\\n' > .gitattributes
         git config filter.x.clean 'echo stolen'; git config filter.x.required true; git config diff.x.textconv rev
         echo 1 > new.py; echo 2 > new.txt; echo 3 >> demo.py",
        &[],
        &[text(".gitattributes"), text("demo.py"), text("new.py"), text("new.txt")],
    )
    .await;
    // Types and permissions.
    check(": > new.txt", &[], &[text("new.txt")]).await;
    check("echo x > empty.txt; : > noeol.txt", &[], &[text("empty.txt"), text("noeol.txt")]).await;
    check("rm empty.txt demo.py", &[], &[text("demo.py"), text("empty.txt")]).await;
    check("chmod +x demo.py; chmod -x run.sh", &[], &[text("demo.py"), text("run.sh")]).await;
    check(
        "ln -sfn crlf.txt link; ln -s /etc/passwd out; ln -s . loop",
        &[],
        &[text("link"), text("loop"), text("out")],
    )
    .await;
    check("rm link; echo x > link", &[], &[text("link"), text("link")]).await;
    check("rm demo.py; ln -s link demo.py", &[], &[text("demo.py"), text("demo.py")]).await;
    check(
        "rm demo.py; mkdir demo.py; echo x > demo.py/x",
        &[],
        &[text("demo.py"), text("demo.py/x")],
    )
    .await;
    check(
        "rm -r pkg; echo x > pkg",
        &[],
        &[text("pkg"), text("pkg/.gitignore"), text("pkg/a.py"), text("pkg/sub/b.py")],
    )
    .await;
    check(
        "mv pkg away; ln -s away pkg",
        &[],
        &[
            text("away/.gitignore"),
            text("away/a.py"),
            text("away/sub/b.py"),
            text("pkg"),
            text("pkg/.gitignore"),
            text("pkg/a.py"),
            text("pkg/sub/b.py"),
        ],
    )
    .await;
    check("git mv demo.py core.py", &[], &[text("core.py"), text("demo.py")]).await;
    check("ln demo.py hard.py", &[], &[text("hard.py")]).await;
    check("mkdir -p only/folders", &[], &[]).await;
    // Nested repositories are files.
    check(
        "mkdir r; (cd r; git init -q; echo 1 > x); git add -A 2>/dev/null || true",
        &[],
        &[text("r/x")],
    )
    .await;
    check(
        "mkdir r; (cd r; git init -q; echo 1 > x; git add -A; git -c user.name=a -c user.email=a@a commit -qm x); git add -A",
        &[],
        &[text("r/x")],
    )
    .await;
    check("(cd pkg; git init -q; echo 1 > a.py)", &[], &[text("pkg/a.py")]).await;
    check("git worktree add -q w 2>/dev/null; rm w/* -rf; echo 1 > w/x; rm w/.gitignore w/.gitattributes", &[], &[text("w/x")]).await;
    // Names.
    check(
        "echo y > $'odd\\nname \"q\" \\\\ \\351.txt'",
        &[],
        &[text("odd\\nname \\\"q\\\" \\\\ \\351.txt")],
    )
    .await;
    check(
        "echo y > '*.py'; echo y > ':(top)x'; echo y > -v",
        &[],
        &[text("*.py"), text("-v"), text(":(top)x")],
    )
    .await;
    check("mkdir 'a b'; echo y > 'a b/c d.py'", &[], &[text("a b/c d.py")]).await;
}

#[tokio::test]
async fn all_of_a_change_is_graded_when_a_link_and_a_folder_change_places() {
    let fixture = Fixture::new();
    for deed in [
        "mv pkg away; ln -s away pkg",
        "rm folder; mkdir folder; echo x > folder/a.py",
        "rm folder; cp -r pkg folder",
    ] {
        let patch = fixture.check(&format!("{EDIT}{deed}"), &[]).await.patch.unwrap();
        let cleaned = cleaned(&patch, &is_test_by_custom);
        assert_eq!((cleaned.patch, cleaned.dropped), (patch, Vec::new()), "{deed}");
    }
}

#[tokio::test]
async fn the_base_commit_s_ignore_rules_hold() {
    let fixture = Fixture::new();
    let check = async |deed: &str, apart: &[&str], expected: &[&str]| {
        let change = fixture.check(deed, apart).await;
        // Source files are listed.
        let left = change.left_out.iter().map(|out| (out.path.as_str(), out.reason));
        let sources = apart.iter().filter(|path| path.ends_with(".py"));
        let sources: Vec<_> = sources.map(|path| (*path, LeftOutReason::Ignored)).collect();
        assert_eq!(left.collect::<Vec<_>>(), sources, "{deed}");
        let found = parts(change.patch.as_deref().unwrap_or_default());
        let found: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(found, expected, "{deed}");
    };
    let new =
        "echo x > a.log; mkdir build; echo x > build/x.py; echo x > pkg/a.tmp; echo x > b.tmp; ";
    let ignored = ["a.log", "build/x.py", "pkg/a.tmp"];
    check(new, &ignored, &["b.tmp"]).await;
    check(&format!("{new} git add --force ."), &ignored, &["b.tmp"]).await;
    check(&format!("{new} echo '*' > .gitignore"), &ignored, &[".gitignore", "b.tmp"]).await;
    check(&format!("{new} rm .gitignore"), &ignored, &[".gitignore", "b.tmp"]).await;
    check("mkdir n; echo '*' > n/.gitignore; echo x > n/x.py", &[], &["n/.gitignore", "n/x.py"])
        .await;
    check("echo '*.py' > .git/info/exclude; echo x > new.py", &[], &["new.py"]).await;
    // What the base commit contains is never ignored.
    check(
        "echo x >> kept.log; mkdir pkg/build; echo x > pkg/build/x; echo x > pkg/kept.log",
        &["pkg/build/x"],
        &["kept.log", "pkg/kept.log"],
    )
    .await;
    let val = "mkdir build; echo x > build/val.py; echo 'import val' >> demo.py; ";
    check(&format!("{val} git add -f ."), &["build/val.py"], &["demo.py"]).await;
    let unignored = format!("{val} sed -i /build/d .gitignore");
    check(&unignored, &["build/val.py"], &[".gitignore", "demo.py"]).await;
}

#[tokio::test]
async fn products_of_tools_that_are_ignored_are_not_listed() {
    let fixture = Fixture::new();
    let check = async |deed: &str, expected: &[(&str, u64)]| {
        let (change, _) = fixture.change(&format!("{EDIT}mkdir build; {deed}")).await;
        let found = change.left_out.iter().map(|out| (out.path.as_str(), out.more));
        assert_eq!(found.collect::<Vec<_>>(), expected, "{deed}");
    };
    check("mkdir build/lib; cp pkg/a.py build/lib; : > build/lib/__init__.py", &[]).await;
    check("mkdir build/lib; echo more > build/lib/a.py", &[("build/lib/a.py", 0)]).await;
    for folder in ["__pycache__", ".cache", "x.egg-info", "v/site-packages", "node_modules"] {
        check(&format!("mkdir -p build/{folder}; echo xyz > build/{folder}/x.py"), &[]).await;
    }
    check("echo x > build/x.c; echo x > build/x.html; ln -s /nowhere build/l", &[]).await;
    let names: Vec<String> = (10..30).map(|at| format!("build/{at}.toml")).collect();
    let mut expected: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 0)).collect();
    expected[19].1 = 6;
    check("for n in {10..35}; do echo x > build/$n.toml; done", &expected).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_taken_costs_only_itself_and_is_listed() {
    let fixture = Fixture::new();
    let check = async |deed: &str, apart: &[&str], expected: &[(&str, LeftOutReason)]| {
        let change = fixture.check(&format!("{EDIT}{deed}"), apart).await;
        let found = change.left_out.iter().map(|out| (out.path.as_str(), out.reason));
        assert_eq!(found.collect::<Vec<_>>(), expected, "{deed}");
        assert!(change.patch.unwrap().contains("+VALUE = 2"), "{deed}");
    };
    check("seq 1 3000000 > out.txt", &["out.txt"], &[("out.txt", LeftOutReason::TooLarge)]).await;
    check(
        "truncate -s 3T out.txt || truncate -s 3G out.txt",
        &["out.txt"],
        &[("out.txt", LeftOutReason::TooLarge)],
    )
    .await;
    check("seq 1 3000000 > out.log", &["out.log"], &[]).await;
    check(
        "for n in 1 2 3; do seq 1 900000 > $n.txt; done",
        &["3.txt"],
        &[("3.txt", LeftOutReason::ChangeTooLarge)],
    )
    .await;
    check("mkfifo pipe; mkfifo build.log", &[], &[("pipe", LeftOutReason::SpecialFile)]).await;
    check(
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'",
        &[],
        &[("s", LeftOutReason::SpecialFile)],
    )
    .await;
    check(
        "mkdir .GIT; echo x > .GIT/x; echo x > 'git~1'",
        &[".GIT/x", "git~1"],
        &[(".GIT/x", LeftOutReason::RefusedPath), ("git~1", LeftOutReason::RefusedPath)],
    )
    .await;
    check("ln -s x .gitmodules", &[".gitmodules"], &[(".gitmodules", LeftOutReason::RefusedPath)])
        .await;
    check("ln -s $'\\351' odd", &["odd"], &[("odd", LeftOutReason::LinkTarget)]).await;
}

#[tokio::test]
async fn more_new_files_than_a_change_may_have_take_no_other_s_place() {
    let fixture = Fixture::new();
    let script = format!("{EDIT}mkdir many; (cd many; seq 1 17000 | xargs touch); echo x > zz.py");
    let (change, _) = fixture.change(&script).await;
    let patch = change.patch.unwrap();
    assert!(patch.contains("+VALUE = 2") && patch.len() < 8 << 20, "{}", patch.len());
    let reasons: Vec<_> = change.left_out.iter().map(|out| out.reason).collect();
    assert_eq!(reasons, [LeftOutReason::ChangeTooLarge; MAX_LISTED]);
    let more: u64 = change.left_out.iter().map(|out| out.more).sum();
    let left = more as usize + MAX_LISTED;
    assert_eq!(parts(&patch).len() + left, 17_002);
}

#[tokio::test]
async fn a_file_of_the_base_that_cannot_be_taken_counts_as_unchanged() {
    let fixture = Fixture::new();
    let script = format!("{EDIT}rm noeol.txt; mkfifo noeol.txt; seq 1 3000000 > crlf.txt");
    let (change, _) = fixture.change(&script).await;
    let found: Vec<_> = change.left_out.iter().map(|out| (out.path.as_str(), out.reason)).collect();
    let large = ("crlf.txt", LeftOutReason::TooLarge);
    assert_eq!(found, [large, ("noeol.txt", LeftOutReason::SpecialFile)]);
    assert_eq!(parts(&change.patch.unwrap()), [("demo.py".to_string(), false)]);
}

#[tokio::test]
async fn a_change_that_cannot_be_read_is_an_error() {
    let fixture = Fixture::new();
    let check = async |base: &Path, root: &str, expected: &str| {
        let why = change(base, root, &Here).await.unwrap_err().to_string();
        assert!(why.contains(expected), "{why}");
    };
    let base = fixture.folder.path().join("base");
    let nowhere = fixture.folder.path().join("nowhere");
    check(&nowhere, base.to_str().unwrap(), "nowhere cannot be read").await;
    shell(&base, "rm -rf .git/refs .git/packed-refs");
    check(&base, base.to_str().unwrap(), "the base commit cannot be read").await;
}

#[tokio::test]
async fn contents_are_read_only_from_the_files_that_were_listed() {
    let folder = TempDir::new().unwrap();
    shell(folder.path(), "echo x > file; mkfifo pipe; ln -s file link; mkdir folder");
    let check = async |path: &str, size: u64, expected: Result<&[u8], LeftOutReason>| {
        let wanted = [Wanted { path: path.into(), mode: Mode::File, size }];
        let found = listing::read(&Here, folder.path().to_str().unwrap(), &wanted).await.unwrap();
        assert_eq!(found, [expected.map(<[u8]>::to_vec)], "{path} {size}");
    };
    check("file", 2, Ok(b"x\n")).await;
    check("link", 4, Ok(b"file")).await;
    for size in [0, 1, 3] {
        check("file", size, Err(LeftOutReason::ChangedWhileRead)).await;
    }
    check("link", 5, Err(LeftOutReason::ChangedWhileRead)).await;
    check("pipe", 0, Err(LeftOutReason::SpecialFile)).await;
    check("folder", 0, Err(LeftOutReason::SpecialFile)).await;
    check("nothing", 0, Err(LeftOutReason::Unreadable)).await;
}

#[test]
fn a_path_is_refused_if_git_refuses_it() {
    let folder = TempDir::new().unwrap();
    shell(folder.path(), "git init -q .; git hash-object -w --stdin </dev/null");
    let blob = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
    for path in [
        "a.py",
        ".gitignore",
        "git",
        "git~2",
        ".github/x",
        "a.git",
        "gitk/x",
        ".gitx",
        ".git2",
        "..a",
        "...",
        ".git/x",
        "a/.git/x",
        ".GIT/x",
        "a/.Git",
        "git~1",
        "GIT~1/x",
        ".git ",
        ".git. . /x",
        ".git:x",
        "a\\.git\\x",
        ".gitmodules",
        "a b",
        "ä",
    ] {
        let mut add = git_alone();
        let entry = format!("100644,{blob},{path}");
        add.args(["update-index", "--add", "--cacheinfo", &entry]).current_dir(folder.path());
        let is_refused_by_git = !add.output().unwrap().status.success();
        assert_eq!(is_refused(path.as_bytes(), false), is_refused_by_git, "{path}");
    }
    assert!(is_refused(b".gitmodules", true) && is_refused(b"a/GITMOD~1", true));
}

#[test]
fn the_record_of_what_is_left_out_stays_readable() {
    let left =
        |name: usize, reason| Left { path: format!("{name:03}").into(), reason, bytes: None };
    let many = (0..250).rev().map(|name| left(name, LeftOutReason::SpecialFile));
    let out = listed(many.chain([left(7, LeftOutReason::TooLarge)]).collect());
    assert_eq!(out.len(), MAX_LISTED + 1);
    assert_eq!((out[0].reason, out[0].more), (LeftOutReason::TooLarge, 0));
    assert_eq!((out[1].path.as_str(), out[1].more), ("000", 0));
    assert_eq!((out[MAX_LISTED].path.as_str(), out[MAX_LISTED].more), ("199", 50));
    assert_eq!(shown(b"a \xc3\xa9"), "a é");
    assert_eq!(shown(b"a\xe9\n\"\\"), r#""a\351\012\"\\""#);
}
