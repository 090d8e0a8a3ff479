//! `fixfly bench` given what it cannot use: one sentence, naming the remedy.

use crate::{command, refused, sentence};

#[track_caller]
fn check(output: std::process::Output, expected: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = errors.lines().last().unwrap_or_default().to_string();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(last.starts_with("error: "), "{errors}");
    for part in expected {
        assert!(last.contains(part), "`{part}` is not in: {last}");
    }
}

#[test]
fn an_archive_with_another_hash_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("Django-5.2.19.tar.gz");
    std::fs::write(&archive, "not Django").unwrap();
    let words = ["bench", "build", "django", "--archive", archive.to_str().unwrap()];
    let output = command(&words).env("FIXFLY_HOME", folder.path()).output().unwrap();
    check(
        output,
        &["Django-5.2.19.tar.gz has the SHA-256", "not ad03d8abc51d", "pass the right archive"],
    );
}

#[test]
fn a_failed_download_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(&["bench", "build", "django"])
        .env("FIXFLY_HOME", folder.path())
        .env("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
        .env("PIP_RETRIES", "0")
        .env("PIP_DEFAULT_TIMEOUT", "2")
        .env("PIP_NO_CACHE_DIR", "1")
        .env_remove("PIP_FIND_LINKS")
        .output()
        .unwrap();
    check(output, &["Django 5.2.19 could not be downloaded from PyPI"]);
}

#[test]
fn a_missing_python_is_reported_with_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(&["bench", "build", "django"])
        .env("FIXFLY_HOME", folder.path())
        .env("FIXFLY_PYTHON", "/nonexistent/python")
        .output()
        .unwrap();
    check(output, &["`/nonexistent/python` cannot be run", "install Python 3.11 or newer"]);
}

#[test]
fn a_benchmark_that_was_not_built_names_the_command() {
    let (code, why) = refused(&["bench", "verify", "django"]);
    assert_eq!(code, 1);
    assert!(why.contains("run `fixfly bench build django` first"), "{why}");
}

#[test]
fn a_manifest_of_another_version_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("manifest.jsonl"), "{\"schema\": 99}\n").unwrap();
    let words =
        ["run", "python", "--benchmark-dir", folder.path().to_str().unwrap(), "-o", "/tmp/x"];
    let (code, why) = sentence(command(&words).output().unwrap());
    assert_eq!(code, 1);
    assert!(
        why.contains("manifest.jsonl, line 1: this is a manifest of version 99, not 1"),
        "{why}"
    );
}

#[test]
fn a_sandbox_that_supports_every_item_is_not_probed() {
    let (code, why) = refused(&["bench", "probe", "django", "--sandbox", "local"]);
    assert_eq!(code, 2);
    assert!(why.starts_with("`local` supports every item; sandboxes to probe: wasm"), "{why}");
}

#[cfg(feature = "wasm")]
#[test]
fn a_failed_webassembly_build_is_reported_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let without = |name: &str, value: &str| {
        command(&["sandbox", "wasm", "build"])
            .env("FIXFLY_HOME", folder.path())
            .env("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
            .env("PIP_RETRIES", "0")
            .env("PIP_DEFAULT_TIMEOUT", "2")
            .env("PIP_NO_CACHE_DIR", "1")
            .env_remove("PIP_FIND_LINKS")
            .env(name, value)
            .output()
            .unwrap()
    };
    check(without("LANG", "C.UTF-8"), &["CPython for WASI could not be had from PyPI: "]);
    let python = without("FIXFLY_PYTHON", "/nonexistent/python");
    check(python, &["`/nonexistent/python` cannot be run", "install Python 3.11 or newer"]);
    let left = std::fs::read_dir(folder.path().join("wasm")).unwrap().count();
    assert_eq!(left, 0, "something half made is left");
}
