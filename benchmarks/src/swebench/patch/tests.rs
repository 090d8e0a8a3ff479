use super::*;

mod programs;

const PATCH: &str = "\
diff --git a/src/a.py b/src/a.py
--- a/src/a.py
+++ b/src/a.py
@@ -1,2 +1,2 @@
 x
--- a/not a header
+++ b/nor this
diff --git a/tests/test_a.py b/tests/test_a.py
new file mode 100644
--- /dev/null
+++ b/tests/test_a.py
@@ -0,0 +1 @@
+diff --git a/x b/y
diff --git a/logo.png b/logo.png
index 1..2 100644
Binary files a/logo.png and b/logo.png differ
diff --git a/old.py b/new.py
similarity index 100%
rename from old.py
rename to new.py
diff --git a/reproduce.py b/reproduce.py
new file mode 100644
--- /dev/null
+++ b/reproduce.py
@@ -0,0 +1 @@
+x";

/// Paths before and after, `-` where there is none.
fn read(patch: &[u8]) -> Vec<String> {
    let side = |path: &Option<Vec<u8>>| path.as_ref().map_or("-".into(), |path| shown(path));
    files(patch).iter().map(|f| format!("{} > {}", side(&f.old), side(&f.new))).collect()
}

#[test]
fn a_patch_is_read_file_by_file() {
    assert_eq!(
        read(PATCH.as_bytes()),
        [
            "src/a.py > src/a.py",
            "- > tests/test_a.py",
            "logo.png > logo.png",
            "old.py > new.py",
            "- > reproduce.py"
        ]
    );
    let all: Vec<&[u8]> = files(PATCH.as_bytes()).iter().map(|file| file.text).collect();
    assert_eq!(all.concat(), PATCH.as_bytes());
    let [first, ..] = &files(PATCH.as_bytes())[..] else { panic!("there are files") };
    assert_eq!(first.changes, [b"--- a/not a header".as_slice(), b"+++ b/nor this"]);
    assert_eq!(files(b"no patch"), []);
}

#[test]
fn names_are_those_that_git_reads() {
    let check =
        |patch: &str, expected: &[&str]| assert_eq!(read(patch.as_bytes()), expected, "{patch}");
    let hunk = "@@ -1 +1 @@\n-x\n+y\n";
    let plain = |old: &str, new: &str| format!("--- {old}\n+++ {new}\n{hunk}");
    check(
        &(plain("a.py", "a.py") + &plain("b.py\t2020", "b.py\t2021")),
        &["a.py > a.py", "b.py > b.py"],
    );
    check(&plain("i/src/a.py", "w/src/a.py"), &["src/a.py > src/a.py"]);
    check(&plain("a/src//a.py", "b/src//a.py"), &["src/a.py > src/a.py"]);
    check(
        &plain(r#""a/d\303\251 \"q\"\t.py""#, r#""b/d\303\251 \"q\"\t.py""#),
        &[r#""d\303\251 \"q\"\011.py" > "d\303\251 \"q\"\011.py""#],
    );
    check(&plain(r#""a/\303\251.py""#, r#""b/\303\251.py""#), &["é.py > é.py"]);
    check(&plain(r#""a/\351.py""#, r#""b/\351.py""#), &[r#""\351.py" > "\351.py""#]);
    check(&plain("a/b c.py\t", "b/b c.py\t"), &["b c.py > b c.py"]);
    check(
        &plain("a/b.py 2020-01-02 03:04:05 +0000", "b/b.py 2020-01-02 03:04:05 +0000"),
        &["b.py > b.py"],
    );
    check(
        &plain("a/b.py\t1970-01-01 01:00:00 +0100", "b/b.py\t2020-01-02 03:04:05 +0000"),
        &["- > b.py"],
    );
    check(&plain("a/b.py", "b/b.py.orig"), &["b.py > b.py"]);
    check(&plain("a/b.py", "/dev/null"), &["b.py > -"]);
    check(&plain("a/b.py\r", "b/b.py\r").replace("@@\n", "@@\r\n"), &["b.py > b.py"]);
    check(
        &format!("Index: a.py\n====\n{}", plain("a.py\t(revision 1)", "a.py\t(working copy)")),
        &["a.py > a.py"],
    );
    check("diff --git a/x y b/x y\nold mode 100644\nnew mode 100755\n", &["x y > x y"]);
    check(
        "diff --git \"a/\\303\\251\" \"b/\\303\\251\"\nnew file mode 100644\nindex 0..1\n",
        &["- > é"],
    );
    check("diff --git a/x b/x\ndeleted file mode 100644\nindex 1..0\n", &["x > -"]);
    check(
        "diff --git a/x b/y\nsimilarity index 100%\ncopy from x\ncopy to \"y\\t\"\n",
        &["x > \"y\\011\""],
    );
    check(
        "diff --git a/x b/x\nindex 1..2\nGIT binary patch\nliteral 1\nIcmZPo000310RR91\n\n",
        &["x > x"],
    );
    check(&format!("Here it is:\n```diff\n{}```\nDone.\n", plain("a/x", "b/x")), &["x > x"]);
    check(
        "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+y\n\\ No newline at end of file\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n-x\n+y\n",
        &["x > x", "y > y"],
    );
}

/// What `cleaned` leaves out, and whether anything is left.
fn left_out(patch: &str) -> (Vec<String>, bool) {
    let cleaned = cleaned(patch, &|path| path.starts_with("tests/"));
    (cleaned.dropped, !cleaned.patch.is_empty())
}

#[test]
fn a_change_of_a_test_is_left_out_under_any_header() {
    let hunk = "@@ -0,0 +1 @@\n+import demo; demo.VALUE = 2\n";
    let sides = |old: &str, new: &str| format!("--- {old}\n+++ {new}\n{hunk}");
    let both = |name: &str| sides(name, name);
    let git = |old: &str, new: &str| {
        format!("diff --git {old} {new}\nindex e69de29..43d3727 100644\n{}", sides(old, new))
    };
    let path = "tests/__init__.py";
    for patch in [
        // Prefixes: git's own, mnemonic ones, any others, none.
        git("a/tests/__init__.py", "b/tests/__init__.py"),
        git("i/tests/__init__.py", "w/tests/__init__.py"),
        git("x/tests/__init__.py", "y/tests/__init__.py"),
        git("old/tests/__init__.py", "new/tests/__init__.py"),
        git(path, path),
        // Detours.
        both("./tests/__init__.py"),
        both("a//tests/__init__.py"),
        both("a/./tests//__init__.py"),
        both("a/src/../tests/__init__.py"),
        both("/tests/__init__.py"),
        both("//tests/__init__.py"),
        // Notations.
        both("\"a/tests/__init__.py\""),
        both(r#""a/\164\145sts/__init__.py""#),
        both("\"a/tests/__init__.py"),
        both("a/tests/__init__.py\t2020-01-02 03:04:05"),
        both("a/tests/__init__.py 2020-01-02 03:04:05 +0000"),
        both("a/tests/__init__.py\r"),
        both("a/tests/__init__.py\u{b}x"),
        both("a/tests/__init__.py\0x"),
        both("  a/tests/__init__.py"),
        // One of two names.
        sides("a/demo.py", "b/tests/__init__.py"),
        sides("a/tests/__init__.py", "b/demo.py"),
        sides("/dev/null", "b/tests/__init__.py"),
        sides("a/tests/__init__.py", "/dev/null"),
        format!("diff --git a/demo.py b/demo.py\n{}", both("a/tests/__init__.py")),
        format!("diff --git a/tests/__init__.py b/tests/__init__.py\n{}", both("a/demo.py")),
        format!("Index: tests/__init__.py\n{}", both("a/nothing.py")),
        format!("--- a/tests/__init__.py\nprose\n{}", both("a/nothing.py")),
        // No lines.
        "diff --git a/demo.py b/tests/__init__.py\nrename from demo.py\nrename to tests/__init__.py\n".into(),
        "diff --git a/tests/__init__.py b/x.py\nsimilarity index 100%\nrename old tests/__init__.py\nrename new x.py\n".into(),
        "diff --git a/x.py b/x.py\ncopy from x.py\ncopy to \"tests/__init__.py\"\n".into(),
        "diff --git a/tests/__init__.py b/tests/__init__.py\nold mode 100644\nnew mode 100755\n".into(),
        "diff --git \"a/tests/__init__.py\" b/tests/__init__.py\ndeleted file mode 100644\n".into(),
        format!("diff --git a/{path} b/{path}\nindex 1..2\nGIT binary patch\nliteral 1\nIcmZPo000310RR91\n\n"),
        format!("diff --git a/{path} b/{path}\nBinary files a/{path} and b/{path} differ\n"),
        // What only patch(1) reads.
        both("a/tests/__init__.py").lines().map(|line| format!(" {line}\n")).collect(),
        both("a/tests/__init__.py").lines().map(|line| format!("X\t{line}\n")).collect(),
        sides("a/tests/__init__.py", "b/tests/__init__.py").replacen("--- ", "- --- ", 1),
        format!("@@ -1,9 +1,9 @@\n{}", both("a/tests/__init__.py").lines().map(|line| format!(" {line}\n")).collect::<String>()),
        "*** a/tests/__init__.py\n--- b/tests/__init__.py\n***************\n*** 0 ****\n--- 1 ----\n+ import demo\n".into(),
        "Index: tests/__init__.py\n0a1\n> import demo\n".into(),
        "Index: tests/__init__.py\n0a\nimport demo\n.\n".into(),
        // Hunks whose lines do not fit their headers.
        format!("--- a/demo.py\n+++ b/demo.py\n@@ -1,9 +1,9 @@\n x = 1\n{}", both("a/tests/__init__.py")),
        format!("--- a/demo.py\n+++ b/demo.py\n@@ -1,2 +1,9@@\n x = 1\n{}", both("a/tests/__init__.py")),
    ] {
        let (dropped, any) = left_out(&patch);
        assert!(dropped.iter().any(|why| why.ends_with(": a test")) && !any, "{patch}\n{dropped:?}");
    }
}

#[test]
fn a_fix_stays_beside_a_test_that_is_left_out() {
    let test = "--- a/tests/__init__.py\n+++ b/tests/__init__.py\n@@ -0,0 +1 @@\n+import demo\n";
    for fix in [
        "--- a/demo.py\n+++ b/demo.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n",
        // More lines than its header says: git and patch(1) pass them over.
        "--- a/demo.py\n+++ b/demo.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n+x = 3\n",
        "diff --git a/run b/run\nold mode 100644\nnew mode 100755\n",
        "diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n",
    ] {
        let git = format!("diff --git a/tests/__init__.py b/tests/__init__.py\n{test}");
        for patch in [format!("{fix}{git}"), format!("{git}{fix}")] {
            let cleaned = cleaned(&patch, &|path| path.starts_with("tests/"));
            let kept = cleaned.patch.replace("+x = 3\n", "");
            assert_eq!(kept, fix.replace("+x = 3\n", ""), "{patch}");
            assert_eq!(cleaned.dropped, ["tests/__init__.py: a test"]);
        }
    }
}

#[test]
fn what_is_no_test_stays_word_for_word() {
    for patch in [
        PATCH.split("diff --git a/tests").next().unwrap(),
        "From 0123 Mon Sep 17\nSubject: x\n\n---\n demo.py | 1 +\n\ndiff --git a/demo.py b/demo.py\n--- a/demo.py\n+++ b/demo.py\n@@ -1 +1,2 @@\n x\n+y\n-- \n2.30\n",
        "--- a/doc.txt\n+++ b/doc.txt\n@@ -1,2 +1,2 @@\n \n--- a/tests/x.py\n+++ b/tests/x.py\n",
        "diff --git \"a/d\\303\\251.py\" \"b/d\\303\\251.py\"\n--- \"a/d\\303\\251.py\"\n+++ \"b/d\\303\\251.py\"\n@@ -1 +1 @@\n-x\n+\u{e9}\n",
        "--- a/demo.py\r\n+++ b/demo.py\r\n@@ -1 +1 @@\r\n-x\r\n+y\r\n",
        "diff --git a/run b/run\nold mode 100644\nnew mode 100755\n",
        "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+src/demo.py\n\\ No newline at end of file\n",
    ] {
        let cleaned = cleaned(patch, &|path| path.starts_with("tests/"));
        assert_eq!((cleaned.patch.as_str(), cleaned.dropped), (patch, Vec::new()));
    }
}

#[test]
fn a_part_that_may_change_another_file_is_left_out_with_its_reason() {
    let link = |name: &str, to: &str| {
        format!(
            "diff --git a/{name} b/{name}\nnew file mode 120000\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+{to}\n\\ No newline at end of file\n"
        )
    };
    let add = |name: &str| format!("--- a/{name}\n+++ b/{name}\n@@ -0,0 +1 @@\n+x\n");
    let check = |patch: &str, expected: &[&str]| {
        let (dropped, any) = left_out(patch);
        assert_eq!(
            (dropped, any),
            (expected.iter().map(ToString::to_string).collect(), false),
            "{patch}"
        );
    };
    check(&add("../x.py"), &["../x.py: a name with `..` or `.git`"]);
    check(
        &add(".git/hooks/post-checkout"),
        &[".git/hooks/post-checkout: a name with `..` or `.git`"],
    );
    check(&add("sub/.GIT/config"), &["sub/.GIT/config: a name with `..` or `.git`"]);
    let long = left_out(&add(&"x".repeat(9000))).0.concat();
    assert!(long.ends_with(": a header that is too long for a path"), "{long}");
    check(&link("l", "tests"), &["tests/: a test"]);
    check(&link("a/l", "../tests/x.py"), &["tests/x.py: a test"]);
    check(&link("tests", "src"), &["tests/: a test"]);
    check(&link("l", "/testbed/tests"), &["l: a symbolic link out of the tree"]);
    check(&link("l", "../../testbed/tests"), &["l: a symbolic link out of the tree"]);
    let over = "a name in quotes that does not end in its line";
    check(
        &add("x").replace("a/x", "\"x\ny/tests/x.py\"").replace("b/x", "\"x\ny/tests/x.py\""),
        &[&format!("\"\\\"x\": {over}")],
    );
    check(
        "diff --git \"x\ny/tests/x.py\" b/x\nold mode 100644\nnew mode 100755\n",
        &[&format!("\"\\\"x\": {over}")],
    );
    check("Index: demo.py\n1d\n", &["demo.py: no unified diff"]);
    let before = "l: a symbolic link before a path that is left out";
    check(
        &(link("l", "src") + &add("l/tests/x.py")),
        &[before, "l/tests/x.py: a path through a symbolic link"],
    );
    // A folder that a link replaces: with the link, or not at all.
    let delete = |name: &str| {
        format!(
            "diff --git a/{name} b/{name}\ndeleted file mode 100644\n--- a/{name}\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
        )
    };
    let through = "a path through a symbolic link";
    check(&(link("lib", "tests") + &delete("lib/x.py")), &["tests/: a test", "tests/x.py: a test"]);
    check(
        &(link("lib", ".") + &delete("lib/tests/x.py")),
        &["lib: a symbolic link before a path that is left out", "tests/x.py: a test"],
    );
    check(
        &(link("lib", "/lib2") + &delete("lib/x.py")),
        &[
            "lib: a symbolic link out of the tree",
            "lib/x.py: a path behind a symbolic link that is left out",
        ],
    );
    check(
        &(link("lib", "lib2")
            + &delete("lib/x.py").replace("-x\n", "+x\n").replace("-1 +0,0", "-0,0 +1")),
        &["lib: a symbolic link before a path that is left out", &format!("lib/x.py: {through}")],
    );
    check(
        &(link("lib", "lib2") + &delete("lib/x.py") + &add("lib/y.py")),
        &[
            "lib: a symbolic link before a path that is left out",
            "lib/x.py: a path behind a symbolic link that is left out",
            &format!("lib/y.py: {through}"),
        ],
    );
}

#[test]
fn a_folder_may_become_a_link() {
    let link = "diff --git a/lib b/lib\nnew file mode 120000\n--- /dev/null\n+++ b/lib\n@@ -0,0 +1 @@\n+lib2\n\\ No newline at end of file\n";
    let delete = "diff --git a/lib/x.py b/lib/x.py\ndeleted file mode 100644\nindex 1..0\n--- a/lib/x.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n";
    let empty =
        "diff --git a/lib/e.py b/lib/e.py\ndeleted file mode 100644\nindex e69de29..0000000\n";
    let new = "diff --git a/lib2/x.py b/lib2/x.py\nnew file mode 100644\n--- /dev/null\n+++ b/lib2/x.py\n@@ -0,0 +1 @@\n+x\n";
    let moved = "diff --git a/lib/y.py b/lib2/y.py\nsimilarity index 100%\nrename from lib/y.py\nrename to lib2/y.py\n";
    let fix = "diff --git a/demo.py b/demo.py\n--- a/demo.py\n+++ b/demo.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n";
    let unlink = link
        .replace("new file", "deleted file")
        .replace("--- /dev/null\n+++ b/lib", "--- a/lib\n+++ /dev/null")
        .replace("-0,0 +1", "-1 +0,0")
        .replace("+lib2", "-lib2");
    let in_place = new.replace("lib2", "lib");
    let into_tests = [&unlink.replace("lib2", "tests"), &*in_place].concat();
    let (dropped, any) = left_out(&into_tests);
    assert_eq!(
        (dropped.concat().as_str(), any),
        ("lib: a symbolic link before a path that is left outtests/x.py: a test", false)
    );
    for patch in [
        [&unlink, &*in_place, fix].concat(),
        [link, delete, empty, new, fix].concat(),
        [link, moved, fix].concat(),
        [delete, moved, new, link, fix].concat(),
    ] {
        let cleaned = cleaned(&patch, &|path| path.starts_with("tests/"));
        assert_eq!((cleaned.patch, cleaned.dropped), (patch, Vec::new()));
    }
}

#[test]
fn only_new_scripts_that_nothing_uses_are_left_out() {
    let new = |name: &str, line: &str| {
        format!(
            "diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+{line}\n"
        )
    };
    let check = |patch: String, expected: &[&str]| {
        let dropped = cleaned(&patch, &|path| path.starts_with("tests/")).dropped;
        let expected: Vec<String> =
            expected.iter().map(|path| format!("{path}: a script that shows the fault")).collect();
        assert_eq!(dropped, expected, "{patch}");
    };
    for name in [
        "repro.py",
        "reproduce.py",
        "reproduce_issue.py",
        "Reproduction.py",
        "debug_1.py",
        "demo.py",
        "tmp",
        "temp2.txt",
        "scratch-x.py",
        "bug123.py",
        "issue-12.py",
        "minimal.py",
        "verify_fix.py",
        "check_x.py",
        "test_x.py",
        "test.sh",
        "example.py",
    ] {
        check(new(name, "x"), &[name]);
    }
    for name in [
        "template.py",
        "issues.py",
        "temperature.py",
        "bugfix.py",
        "demos.py",
        "debugger.py",
        "reproducible.py",
        "minimalist.py",
        "verifying.py",
        "checker.py",
        "examples.py",
        "testing.py",
        "src/temp.py",
    ] {
        check(new(name, "x"), &[]);
    }
    // An existing file, by headers from which nothing can be stripped.
    let plain = "--- demo.py\n+++ demo.py\n@@ -1 +1 @@\n-x\n+y\n";
    check(plain.into(), &[]);
    check(format!("diff --git demo.py demo.py\nindex 1..2 100644\n{plain}"), &[]);
    check(plain.replacen("--- demo.py", "--- /dev/null", 1), &["demo.py"]);
    // Modules that a kept part imports.
    let core = |line: &str| new("core.py", line);
    check(new("temp.py", "x") + &core("from temp import x"), &[]);
    check(new("temp.py", "x") + &core("    import os, temp as t"), &[]);
    check(new("temp.py", "x") + &core("m = importlib.import_module('temp')"), &[]);
    check(new("issue.json", "{}") + &core("open('issue.json')"), &[]);
    check(new("temp.py", "import bug") + &new("bug.py", "x") + &core("import temp"), &[]);
    check(new("temp.py", "x") + &core("temp = 1"), &["temp.py"]);
    check(new("temp.py", "x") + &core("import temperature"), &["temp.py"]);
    check(new("debug.py", "import bug") + &new("bug.py", "x"), &["debug.py", "bug.py"]);
}

#[test]
fn only_the_fix_is_graded() {
    let cleaned = cleaned(PATCH, &is_test_by_custom);
    assert_eq!(read(cleaned.patch.as_bytes()), ["src/a.py > src/a.py", "old.py > new.py"]);
    assert_eq!(
        cleaned.dropped,
        [
            "tests/test_a.py: a test",
            "logo.png: no text",
            "reproduce.py: a script that shows the fault"
        ]
    );
    assert!(!is_test_by_custom("src/contest.py") && is_test_by_custom("a/conftest.py"));
    let prose = format!(
        "Before.\n{}After.\n",
        &PATCH[PATCH.find("diff --git a/tests").unwrap()..PATCH.find("diff --git a/logo").unwrap()]
    );
    assert_eq!(super::cleaned(&prose, &is_test_by_custom).patch, "", "prose is no change");
}
