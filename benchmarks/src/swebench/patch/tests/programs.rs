//! The reader is compared with `git apply` and patch(1) themselves.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use proptest::prelude::*;

use super::super::*;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 200, ..Default::default() }
}

fn git(folder: &Path, words: &[&str]) -> Output {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=x", "-c", "user.email=x@x", "-c", "core.fileMode=true"]);
    git.args(words).current_dir(folder);
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").output().unwrap()
}

fn done(folder: &Path, words: &[&str]) -> Vec<u8> {
    let output = git(folder, words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The names that `git apply` finds in a patch; `None` if it refuses the patch.
fn numstat(folder: &Path, patch: &[u8]) -> Option<Vec<Vec<u8>>> {
    let file = folder.join(".git/patch");
    fs::write(&file, patch).unwrap();
    let output = git(folder, &["apply", "--numstat", "-z", &file.display().to_string()]);
    let name = |entry: &[u8]| entry.splitn(3, |byte| *byte == b'\t').nth(2).map(<[u8]>::to_vec);
    let entries = output.stdout.split(|byte| *byte == 0);
    output.status.success().then(|| entries.filter_map(name).collect())
}

/// A component of a path, of bytes that some program treats specially.
fn component() -> impl Strategy<Value = Vec<u8>> {
    let bytes: Vec<&'static [u8]> = vec![
        b"a",
        b"b",
        b"x.py",
        b" ",
        b"\"",
        b"\\",
        b"\t",
        b"\n",
        b"'",
        b"-",
        b"\xc3\xa9",
        b"\xe9",
        b"\x01",
        b"\xe6\x97\xa5",
        b"b/".split_at(1).0,
        b"@@",
        b"0",
        b"\r",
        b"*",
        b"~",
    ];
    prop::collection::vec(prop::sample::select(bytes), 1..4).prop_map(|parts| parts.concat())
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(component(), 1..3).prop_map(|parts| parts.join(&b'/'))
}

#[derive(Clone, Debug)]
enum Change {
    Edit,
    Add,
    Empty,
    Delete,
    Rename(Vec<u8>),
    Mode,
    Binary,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::Edit),
        Just(Change::Add),
        Just(Change::Empty),
        Just(Change::Delete),
        path().prop_map(Change::Rename),
        Just(Change::Mode),
        Just(Change::Binary),
    ]
}

/// A repository with changes; those that are impossible are passed over.
fn repository(changes: &[(Vec<u8>, Change)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &[u8]| -> PathBuf { folder.path().join(OsStr::from_bytes(path)) };
    let put = |path: &[u8], bytes: &[u8]| {
        fs::create_dir_all(at(path).parent().unwrap()).and_then(|()| fs::write(at(path), bytes))
    };
    done(folder.path(), &["init", "-q", "."]);
    for (path, change) in changes {
        if !matches!(change, Change::Add | Change::Empty) {
            let _ = put(path, &[b"1\n2\n--- a/x\n+++ b/y\n".as_slice(), path].concat());
        }
    }
    done(folder.path(), &["add", "-A"]);
    done(folder.path(), &["commit", "-qm", "x", "--allow-empty"]);
    for (path, change) in changes {
        let _ = match change {
            Change::Edit => put(path, b"1\n2\n-- a/z\n++ b/z\n3"),
            Change::Add => put(path, b"-- a/z\n"),
            Change::Empty => put(path, b""),
            Change::Delete => fs::remove_file(at(path)),
            Change::Rename(to) if !at(to).exists() => {
                put(to, b"").and_then(|()| fs::rename(at(path), at(to)))
            }
            Change::Rename(_) => Ok(()),
            Change::Mode => fs::set_permissions(at(path), fs::Permissions::from_mode(0o755)),
            Change::Binary => put(path, b"\0\x01\xe9---"),
        };
    }
    done(folder.path(), &["add", "-A"]);
    folder
}

proptest! {
    #![proptest_config(config(48))]

    /// Whatever names files have and whatever prefixes git was told to write, the reader
    /// finds the names that `git apply` finds.
    #[test]
    fn a_patch_of_git_has_the_names_that_git_apply_finds(
        changes in prop::collection::vec((path(), change()), 1..4),
        form in prop::sample::select(vec![
            vec![], vec!["-c", "core.quotePath=false"], vec!["-c", "diff.mnemonicPrefix=true"],
            vec!["-c", "diff.srcPrefix=old/", "-c", "diff.dstPrefix=new/"],
        ]),
        binary in any::<bool>(),
    ) {
        let folder = repository(&changes);
        let binary = if binary { "--binary" } else { "--text" };
        let words = [&form[..], &["diff", "--cached", "-M", binary, "HEAD"]].concat();
        let patch = done(folder.path(), &words);
        let expected = match patch.is_empty() {
            true => Some(Vec::new()),
            false => numstat(folder.path(), &patch),
        };
        let found: Vec<Vec<u8>> = files(&patch).iter().map(|file| file.path().to_vec()).collect();
        // git itself cannot read every patch that it writes.
        if let Some(expected) = expected {
            prop_assert_eq!(found, expected, "{}", String::from_utf8_lossy(&patch));
        }
        let parts: Vec<&[u8]> = reader::parts(&patch).iter().map(|part| part.text).collect();
        prop_assert_eq!(parts.concat(), patch);
    }
}

/// Text that some program may take for a header.
fn header() -> impl Strategy<Value = String> {
    let indent = ["", "", "", "", " ", "\t", "X", "- ", "+", "> "];
    let word = [
        "--- ",
        "+++ ",
        "Index: ",
        "*** ",
        "diff --git ",
        "rename to ",
        "rename from ",
        "copy to ",
    ];
    (prop::sample::select(indent.to_vec()), prop::sample::select(word.to_vec()), name(), name())
        .prop_map(|(indent, word, name, other)| match word {
            "diff --git " => format!("{indent}{word}{name} {other}"),
            word => format!("{indent}{word}{name}"),
        })
}

fn name() -> impl Strategy<Value = String> {
    let prefix = [
        "a/", "b/", "", "./", "a//", "/", "old/", "\"a/", "\"q\nr/", "  a/", "a/x/../", "../", "l/",
    ];
    let name = [
        "tests/__init__.py",
        "tests/__init__.py",
        "demo.py",
        "demo.py",
        "tests/new.py",
        "x y.py",
        "t\\145sts/__init__.py",
        "__init__.py",
        "/dev/null",
    ];
    let end = [
        "",
        "",
        "",
        "\"",
        "\t2020-01-01 00:00:00",
        " 2020-01-01 00:00:00 +0000",
        "\r",
        "\u{b}",
        "\0",
        " x",
        "\t1970-01-01 00:00:00 +0000",
    ];
    (
        prop::sample::select(prefix.to_vec()),
        prop::sample::select(name.to_vec()),
        prop::sample::select(end.to_vec()),
    )
        .prop_map(|(prefix, name, end)| match name {
            "/dev/null" => name.to_string(),
            name => format!("{prefix}{name}{end}"),
        })
}

fn piece() -> impl Strategy<Value = String> {
    let hunks = [
        "@@ -0,0 +1 @@\n+import demo",
        "@@ -1 +1,2 @@\n x = 1\n+y = 2",
        "@@ -0,0 +1 @@ f()\n+z",
        "@@ -1 +1 @@\n-x = 1\n+x = 2",
        "@@ -1,3 +1,4 @@\n x = 1",
        "@@ -0,0 +1,3 @@",
        "@@ -1,2 +1,2@@",
        "@@ -1 +1 @@\n-x = 1\n\\ No newline at end of file\n+x = 2",
        "@@ -1,9 +1,9 @@",
        "new file mode 100644",
        "deleted file mode 100644",
        "old mode 100644\nnew mode 100755",
        "index e69de29..43d3727 100644",
        "similarity index 100%",
        "0a1\n> import demo",
        "0a\nimport demo\n.",
        "***************\n*** 0 ****\n--- 1 ----\n+ import demo",
        "prose",
        "",
        "+import demo",
        " x = 1",
        "-- ",
    ];
    let first = hunks[..4].to_vec();
    let sides = || {
        (name(), name(), prop::sample::select(first.clone()))
            .prop_map(|(old, new, hunk)| format!("--- {old}\n+++ {new}\n{hunk}"))
    };
    let indented =
        (sides(), prop::sample::select(vec![" ", "  ", "X", "\t"])).prop_map(|(text, indent)| {
            indent.to_string() + &text.replace('\n', &format!("\n{indent}"))
        });
    prop_oneof![
        3 => header(),
        3 => sides(),
        2 => prop::sample::select(hunks.to_vec()).prop_map(str::to_string),
        1 => indented,
    ]
}

/// A tree with tests, in which a patch is tried by each program.
fn tree() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tests")).unwrap();
    for (name, text) in [
        ("demo.py", "x = 1\n"),
        ("tests/__init__.py", ""),
        ("x y.py", "x = 1\n"),
        ("__init__.py", ""),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    for words in [&["init", "-q", "."][..], &["add", "-A"], &["commit", "-qm", "x"]] {
        done(folder.path(), words);
    }
    folder
}

const IS_TEST: &dyn Fn(&str) -> bool = &|path| path.starts_with("tests/");

/// The changed files below `tests` after each program, if any.
fn changed_tests(folder: &Path, patch: &str) -> Option<String> {
    let file = folder.join(".git/patch");
    fs::write(&file, patch).unwrap();
    for program in [
        "git apply --verbose",
        "git apply --verbose --3way",
        "git apply --verbose --reject",
        "patch --batch --forward --fuzz=5 -p1 -i",
        "patch --batch --fuzz=5 -p1 -i",
    ] {
        let script = format!("{program} {} >/dev/null 2>&1", file.display());
        Command::new("sh").args(["-c", &script]).current_dir(folder).status().unwrap();
        let changed = done(folder, &["status", "--porcelain", "-uall", "--", "tests"]);
        if !changed.is_empty() {
            return Some(format!("{program}: {}", String::from_utf8_lossy(&changed)));
        }
        done(folder, &["reset", "-q", "--hard"]);
        done(folder, &["clean", "-fdqx"]);
    }
    None
}

proptest! {
    #![proptest_config(config(96))]

    /// No program that applies patches changes a test by what the reader keeps, nor does it
    /// read a name there that the reader does not.
    #[test]
    fn no_program_changes_a_test_by_what_is_kept(pieces in prop::collection::vec(piece(), 1..7)) {
        let patch = pieces.join("\n") + "\n";
        let folder = tree();
        if let Some(names) = numstat(folder.path(), patch.as_bytes()) {
            let parts = files(patch.as_bytes());
            let known: Vec<&Vec<u8>> = parts.iter().flat_map(|file| &file.names).collect();
            let is_readable = parts.iter().all(|file| file.unreadable.is_none());
            for name in names {
                let name = name::paths(&name)[0].clone();
                // Without `deleted file mode`, git takes `/dev/null` for a file.
                let is_null = name == b"dev/null";
                prop_assert!(
                    is_null || !is_readable || known.contains(&&name),
                    "{}: {:?}", patch, shown(&name)
                );
            }
        }
        let kept = cleaned(&patch, IS_TEST).patch;
        if !kept.is_empty() {
            let changed = changed_tests(folder.path(), &kept);
            prop_assert_eq!(changed, None, "{}", kept);
        }
    }
}

proptest! {
    #![proptest_config(config(512))]

    /// As the fuzz target has it: the parts are the patch, and parts that are left out do not
    /// change what the others mean.
    #[test]
    fn what_is_kept_names_no_test_when_it_is_read_again(
        pieces in prop::collection::vec(piece(), 1..9), noise in any::<(u16, u8)>(),
    ) {
        let mut patch = pieces.join("\n").into_bytes();
        let (at, byte) = (usize::from(noise.0) % (patch.len() + 1), noise.1);
        patch.insert(at, byte);
        let parts = split(&patch, IS_TEST);
        let texts: Vec<&[u8]> = parts.iter().map(|(part, _)| part.text).collect();
        prop_assert_eq!(texts.concat(), patch.clone());
        let kept: Vec<&[u8]> =
            parts.iter().filter(|(_, why)| why.is_none()).map(|(part, _)| part.text).collect();
        for file in files(&kept.concat()) {
            let test = file.names.iter().find(|name| name.starts_with(b"tests/"));
            prop_assert!(test.is_none(), "{}", String::from_utf8_lossy(&patch));
        }
    }
}

#[test]
fn a_patch_of_text_that_is_no_utf8_is_kept_and_other_data_is_not() {
    let check = |name: &str, before: &[u8], after: &[u8], expected: Content| {
        let folder = tempfile::tempdir().unwrap();
        done(folder.path(), &["init", "-q", "."]);
        fs::write(folder.path().join(name), before).unwrap();
        fs::write(folder.path().join(".git/info/attributes"), "* binary").unwrap();
        done(folder.path(), &["add", "-A"]);
        done(folder.path(), &["commit", "-qm", "x"]);
        fs::write(folder.path().join(name), after).unwrap();
        let patch = done(folder.path(), &["diff", "--binary", "HEAD"]);
        let files = files(&patch);
        assert_eq!(files[0].content, expected, "{}", String::from_utf8_lossy(&patch));
        assert!(!files[0].changes.is_empty());
        let cleaned = cleaned(&String::from_utf8(patch.clone()).unwrap(), IS_TEST);
        let kept = if expected == Content::Encoded { patch } else { Vec::new() };
        assert_eq!(cleaned.patch.into_bytes(), kept);
    };
    check("latin.py", b"NAME = 'caf\xe9'\n", b"NAME = 'xcaf\xe9'\n", Content::Encoded);
    let long: Vec<u8> = (0_u32..4000)
        .flat_map(|line| format!("line {} \u{fc}\n", line * line).into_bytes())
        .collect();
    let longer = [&long[..30000], b"caf\xe9\n", &long[30000..]].concat();
    check("long.py", &long, &longer, Content::Encoded);
    check("logo.png", b"\x89PNG\0\0", b"\x89PNG\0\x01", Content::Binary);
    let zeros = [&long[..30000], b"\0\0", &long[30000..]].concat();
    check("long.bin", &long, &zeros, Content::Binary);
}
