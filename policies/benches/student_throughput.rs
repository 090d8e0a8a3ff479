//! A student in fixfly against the same file behind a server: eight episodes of
//! three turns that share a beginning.
//!
//! ```text
//! cargo bench -p fixfly-policies --features llama --bench student_throughput -- \
//!     [--python PATH] [--llama-server PATH] [--shape small|tiny] [--episodes 8] [--turns 3] [--tokens 64]
//! ```
//!
//! `--python` has `llama-cpp-python[server]`: `scripts/peers/student` makes one
//! in `target/peers/student`. All sides get the same messages, make greedy
//! tokens with 16-bit caches, and use all processors.
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
use stage::{Folder, QWEN3, act, open, settings, task, turn};
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

/// What all episodes took.
#[derive(Default)]
struct Took {
    seconds: f64,
    prompt: u64,
    cached: u64,
    generated: u64,
}

fn flag<T: std::str::FromStr>(name: &str, default: T) -> T {
    let mut words = std::env::args().skip_while(|word| *word != name).skip(1);
    words.next().and_then(|word| word.parse().ok()).unwrap_or(default)
}

/// All episodes at once, each turn as soon as the one before has ended.
async fn episodes(policy: Arc<dyn Policy>, count: usize, turns: usize) -> Took {
    let clock = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for at in 0..count {
        let policy = policy.clone();
        all.spawn(
            async move { episode(&*policy, &task(&format!("task-{at}"), LINES), turns).await },
        );
    }
    let mut took = Took::default();
    while let Some(one) = all.join_next().await {
        let one = one.unwrap();
        took.prompt += one.prompt;
        took.cached += one.cached;
        took.generated += one.generated;
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

fn llama_server(program: &Path, file: &Path, window: u32, episodes: usize, port: u16) -> Command {
    let mut command = Command::new(program);
    command.args(["--host", "127.0.0.1", "--jinja", "-a", "student", "-m"]).arg(file);
    command.args(["--port", &port.to_string(), "-np", &episodes.to_string()]);
    command.args(["-c", &(window as usize * episodes).to_string()]);
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
}

fn main() {
    let small = flag("--shape", "small".to_string()) == "small";
    let shape: ModelConfig = if small { SMALL } else { TINY };
    let (count, turns) = (flag("--episodes", 8), flag("--turns", 3));
    let tokens: u32 = flag("--tokens", 64);
    let folder = Folder::new();
    let file = shaped(&folder, Kind::Qwen3, shape, Some(QWEN3));
    let bytes = std::fs::metadata(&file).unwrap().len();
    println!(
        "qwen3 shape of {} layers, hidden size {}, {} MB of 32-bit weights; {count} episodes, {turns} turns, {tokens} tokens a turn",
        shape.num_hidden_layers,
        shape.hidden_size,
        bytes / 1_000_000
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut ours = settings(&file, tokens);
        ours.local.threads = None;
        ours.local.kv_type = KvType::F16;
        ours.local.episodes = count;
        ours.local.record_tokens = false;
        let took = episodes(open(&ours).into(), count, turns).await;
        print("fixfly", &took, took.prompt - took.cached, None);
        let seconds = Some(took.seconds);
        let python: PathBuf = flag("--python", PathBuf::new());
        for (cache, name) in
            [(false, "llama-cpp-python"), (true, "llama-cpp-python with its cache")]
        {
            if !python.as_os_str().is_empty() {
                let port = if cache { 18_652 } else { 18_651 };
                let command =
                    python_server(&python, &file, shape.max_position_embeddings, cache, port);
                let server = Server::start(command, &folder, port);
                let took = episodes(server.policy(&folder, tokens), count, turns).await;
                print(name, &took, server.read(), seconds);
            }
        }
        let program: PathBuf = flag("--llama-server", PathBuf::new());
        if !program.as_os_str().is_empty() {
            let command =
                llama_server(&program, &file, shape.max_position_embeddings, count, 18_653);
            let server = Server::start(command, &folder, 18_653);
            let took = episodes(server.policy(&folder, tokens), count, turns).await;
            print("llama-server", &took, server.read(), seconds);
        }
    });
}
