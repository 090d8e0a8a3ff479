//! A student in fixfly against the same file behind a server: 1, 4 and 8 episodes of
//! three turns that share a beginning, with and without speculation on both sides.
//!
//! ```text
//! cargo bench -p fixfly-policies --features llama --bench student_throughput -- \
//!     [--python PATH] [--llama-server PATH] [--model FILE.gguf | --shape small|tiny] \
//!     [--workload repair|write] [--episodes 1,4,8] [--turns 3] [--tokens 64] \
//!     [--speculation 8] [--ctx-size 4096]
//! ```
//!
//! `--python` has `llama-cpp-python[server]`: `scripts/peers/student` makes one
//! in `target/peers/student`. All sides get the same messages, make greedy
//! tokens with 16-bit caches, and use all processors. In the workload `repair`, a method
//! with a fault is shown, as `fixfly run faults` does; in `write`, a file of about 1,500
//! tokens is shown and a method is asked for. Random weights (`--shape`) copy nothing, so
//! only a `--model` shows what speculation gains.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it is run by people")]
// Tests use more of these.
#![allow(dead_code)]

#[path = "../tests/llama/gguf.rs"]
mod gguf;
#[path = "../tests/llama/stage.rs"]
mod stage;
#[path = "../tests/llama/tiny.rs"]
mod tiny;

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fixfly_policies::{ALL, Open};
use fixfly_runtime::{KvType, RemoteModel, Settings};
use fixfly_runtime::{Policy, Task};
use stage::{Folder, QWEN3, act, faulty_task, open, settings, task, turn};
use tiny::{Kind, ModelConfig, TINY, WINDOW, shaped};

/// 113 million parameters.
const SMALL: ModelConfig = ModelConfig {
    hidden_size: 768,
    num_hidden_layers: 14,
    num_attention_heads: 12,
    num_key_value_heads: 4,
    head_dim: 64,
    intermediate_size: 2816,
    max_position_embeddings: WINDOW,
};

/// Lines of a file that are about 1,500 tokens.
const LINES: usize = 48;

/// How llama-server drafts: nothing, its own n-gram lookup with its defaults and with
/// drafts as long as fixfly's, and its default speculation.
const DRAFTS: &[(&str, &[&str])] = &[
    ("llama-server", &[]),
    ("llama-server, ngram-simple", &["--spec-type", "ngram-simple"]),
    (
        "llama-server, ngram-simple 3 + 8",
        &[
            "--spec-type",
            "ngram-simple",
            "--spec-ngram-simple-size-n",
            "3",
            "--spec-ngram-simple-size-m",
            "8",
        ],
    ),
    ("llama-server, --spec-default", &["--spec-default"]),
];

/// What all episodes took.
#[derive(Default)]
struct Took {
    seconds: f64,
    prompt: u64,
    cached: u64,
    generated: u64,
    drafted: u64,
    accepted: u64,
}

impl Took {
    fn add(&mut self, other: &Took) {
        self.prompt += other.prompt;
        self.cached += other.cached;
        self.generated += other.generated;
        self.drafted += other.drafted;
        self.accepted += other.accepted;
    }
}

/// What is asked of the student.
#[derive(Clone, Copy, PartialEq)]
enum Workload {
    /// Repair a method that is shown.
    Repair,
    /// Write a method of a file that is shown.
    Write,
}

impl Workload {
    fn task(self, at: usize) -> Task {
        let id = format!("task-{at}");
        match self {
            Workload::Write => task(&id, LINES),
            Workload::Repair => faulty_task(&id, &faulty(at)),
        }
    }
}

/// A method of 25 lines whose last line has a fault.
fn faulty(at: usize) -> String {
    let mut text = format!("def total_{at}(self, rows, limit=None):\n    found = []\n");
    for step in 0..7 {
        let name = ["count", "width", "price", "weight", "offset", "margin", "share"][step];
        text += &format!(
            "    {name} = sum(row.{name} for row in rows if row.{name} is not None)\n    \
             if limit is not None and {name} > limit + {}:\n        \
             raise ValueError(f\"the {name} of {{self.name}} is over {{limit}}\")\n",
            at + step
        );
    }
    text + "    found.extend([count, width, price])\n    return sum(found) - 1\n"
}

fn flag<T: std::str::FromStr>(name: &str, default: T) -> T {
    let mut words = std::env::args().skip_while(|word| *word != name).skip(1);
    words.next().and_then(|word| word.parse().ok()).unwrap_or(default)
}

/// All episodes at once, each turn as soon as the one before has ended.
async fn episodes(policy: Arc<dyn Policy>, workload: Workload, count: usize, turns: usize) -> Took {
    let clock = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for at in 0..count {
        let policy = policy.clone();
        all.spawn(async move { episode(&*policy, &workload.task(at), turns).await });
    }
    let mut took = Took::default();
    while let Some(one) = all.join_next().await {
        took.add(&one.unwrap());
    }
    Took { seconds: clock.elapsed().as_secs_f64(), ..took }
}

async fn episode(policy: &dyn Policy, task: &Task, turns: usize) -> Took {
    let (mut took, mut made) = (Took::default(), Vec::new());
    while made.len() < turns {
        let action = act(policy, task, &made, 1).await.unwrap();
        took.prompt += action.usage.prompt_tokens;
        took.cached += action.usage.cached_tokens;
        took.generated += action.usage.completion_tokens;
        if let Some(speculation) = action.generation.as_ref().and_then(|one| one.speculation) {
            took.drafted += speculation.drafted_tokens;
            took.accepted += speculation.accepted_tokens;
        }
        let failed = format!("test_area: AssertionError: {} != 4 in {}", made.len(), task.id);
        made.push(turn(action, &failed));
    }
    took
}

/// A server of the file, ended with this.
struct Server {
    child: Child,
    words: PathBuf,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(mut command: Command, folder: &Path, port: u16) -> Server {
        let words = folder.join(format!("server-{port}.txt"));
        let log = std::fs::File::create(&words).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let server = Server { child, words, port };
        let patience = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(patience.elapsed() < Duration::from_secs(120), "{}", server.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        server
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.words).unwrap()).into_owned()
    }

    /// Prompt tokens decoded, according to llama.cpp's log.
    fn read(&self) -> u64 {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains("prompt eval time"));
        let counts = lines.filter_map(|line| {
            line.split_once('/')?.1.split_whitespace().next()?.parse::<u64>().ok()
        });
        counts.sum()
    }

    fn policy(&self, folder: &Path, tokens: u32) -> Arc<dyn Policy> {
        let entry = ALL.iter().find(|entry| entry.name == "openai").unwrap();
        let Open::Model(open) = entry.open else { panic!("it asks a model") };
        let home = folder.join(format!("journal-{}", self.port));
        std::fs::create_dir_all(&home).unwrap();
        let remote = RemoteModel {
            base_url: Some(format!("http://127.0.0.1:{}/v1", self.port)),
            stream: Some(false),
            run: home.clone(),
            journal: home,
            ..RemoteModel::default()
        };
        let asked = settings(Path::new("student"), tokens);
        open(&Settings { remote, ..asked }).unwrap().into()
    }
}

fn python_server(python: &Path, file: &Path, window: u32, cache: bool, port: u16) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "llama_cpp.server", "--host", "127.0.0.1", "--model"]).arg(file);
    command.args(["--model_alias", "student", "--n_ctx", &window.to_string()]);
    command.args(["--port", &port.to_string(), "--cache", if cache { "true" } else { "false" }]);
    command
}

fn llama_server(
    program: &Path,
    file: &Path,
    window: u32,
    episodes: usize,
    port: u16,
    drafts: &[&str],
) -> Command {
    let mut command = Command::new(program);
    command.args(["--host", "127.0.0.1", "--jinja", "-a", "student", "-m"]).arg(file);
    command.args(["--port", &port.to_string(), "-np", &episodes.to_string()]);
    command.args(["-c", &(window as usize * episodes).to_string()]).args(drafts);
    command
}

fn print(name: &str, took: &Took, read: u64, ours: Option<f64>) {
    let ratio = ours.map_or(String::new(), |ours| format!("  fixfly {:.2}x", took.seconds / ours));
    println!(
        "{name:<34} {:>7.2} s  {:>6} of {:>6} prompt tokens read  {:>5} tokens generated  {:>6.1} tokens/s{ratio}",
        took.seconds,
        read,
        took.prompt,
        took.generated,
        took.generated as f64 / took.seconds,
    );
    if took.drafted > 0 {
        println!("{:<34} {} of {} drafted tokens accepted", "", took.accepted, took.drafted);
    }
}

/// What is compared.
struct Setup {
    folder: Folder,
    file: PathBuf,
    window: u32,
    workload: Workload,
    turns: usize,
    tokens: u32,
}

impl Setup {
    async fn fixfly(&self, count: usize, speculation: u32, unified_cache: bool) -> Took {
        let mut ours = settings(&self.file, self.tokens);
        ours.local.threads = None;
        ours.local.kv_type = KvType::F16;
        ours.local.context_length = Some(self.window);
        ours.local.episodes = count;
        ours.local.record_tokens = false;
        ours.local.speculation = Some(speculation);
        ours.local.unified_cache = unified_cache;
        episodes(open(&ours).into(), self.workload, count, self.turns).await
    }

    async fn served(&self, command: Command, port: u16, count: usize) -> (Took, u64) {
        let server = Server::start(command, &self.folder, port);
        let policy = server.policy(&self.folder, self.tokens);
        let took = episodes(policy, self.workload, count, self.turns).await;
        (took, server.read())
    }

    /// Compares all sides with so many episodes. Ratios are to fixfly with speculation.
    async fn compare(&self, count: usize, speculation: u32, port: u16) {
        println!("{count} episodes, {} turns, {} tokens a turn", self.turns, self.tokens);
        let took = self.fixfly(count, speculation, false).await;
        let seconds = Some(took.seconds);
        print("fixfly", &took, took.prompt - took.cached, None);
        let took = self.fixfly(count, 0, false).await;
        print("fixfly, --speculation off", &took, took.prompt - took.cached, seconds);
        let took = self.fixfly(count, 0, true).await;
        print("fixfly, off, one cache for all", &took, took.prompt - took.cached, seconds);
        let python: PathBuf = flag("--python", PathBuf::new());
        for (at, name) in (0_u16..).zip(["llama-cpp-python", "llama-cpp-python with its cache"]) {
            if !python.as_os_str().is_empty() {
                let port = port + at;
                let command = python_server(&python, &self.file, self.window, at == 1, port);
                let (took, read) = self.served(command, port, count).await;
                print(name, &took, read, seconds);
            }
        }
        let program: PathBuf = flag("--llama-server", PathBuf::new());
        for (at, (name, drafts)) in (2_u16..).zip(DRAFTS) {
            if !program.as_os_str().is_empty() {
                let port = port + at;
                let command = llama_server(&program, &self.file, self.window, count, port, drafts);
                let (took, read) = self.served(command, port, count).await;
                print(name, &took, read, seconds);
            }
        }
    }
}

fn main() {
    let small = flag("--shape", "small".to_string()) == "small";
    let shape: ModelConfig = if small { SMALL } else { TINY };
    let folder = Folder::new();
    let model: PathBuf = flag("--model", PathBuf::new());
    let file = match model.as_os_str().is_empty() {
        true => shaped(&folder, Kind::Qwen3, shape, Some(QWEN3)),
        false => model,
    };
    let bytes = std::fs::metadata(&file).unwrap().len();
    let workload = match flag("--workload", "repair".to_string()).as_str() {
        "write" => Workload::Write,
        _ => Workload::Repair,
    };
    println!("{}, {} MB", file.display(), bytes / 1_000_000);
    let counts = flag("--episodes", "1,4,8".to_string());
    let counts: Vec<usize> = counts.split(',').map(|count| count.parse().unwrap()).collect();
    let (turns, tokens, window) =
        (flag("--turns", 3), flag("--tokens", 64), flag("--ctx-size", WINDOW));
    let setup = Setup { folder, file, window, workload, turns, tokens };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for (at, count) in (0_u16..).zip(counts) {
            setup.compare(count, flag("--speculation", 8), 18_651 + 10 * at).await;
        }
    });
}
