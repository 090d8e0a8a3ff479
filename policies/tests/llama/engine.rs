//! An engine that ends costs the calls in flight, and nothing else.

use std::fs;
use std::process::Command;
use std::time::Duration;

use fixfly_policies::llama_by;
use fixfly_runtime::PolicyError;

use crate::stage::{Folder, QWEN3, act, fault, ids, open, settings, task};
use crate::tiny::{Kind, WINDOW, model, wordless};

/// Processes of the engine that this thread's process started and that serve
/// this model: only they have it in memory.
pub(crate) fn engines(model: &std::path::Path) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    let mut ids: Vec<u32> = ids.filter(|id| *id != std::process::id()).collect();
    ids.retain(|id| {
        let maps = fs::read_to_string(format!("/proc/{id}/maps")).unwrap_or_default();
        maps.contains(&model.display().to_string())
    });
    ids
}

#[tokio::test]
async fn an_engine_that_ends_is_started_again() {
    let folder = Folder::new();
    let file = model(&folder, Kind::Qwen3, Some(QWEN3));
    let mut long = settings(&file, 3000);
    long.sampling.temperature = Some(1.0);
    let (policy, task) = (open(&long), task("a", 3));
    let killed = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let [engine] = engines(&file)[..] else { panic!("one engine serves the model") };
        let killed = Command::new("kill").args(["-9", &engine.to_string()]).status().unwrap();
        assert!(killed.success());
    };
    let (failed, ()) = tokio::join!(act(&*policy, &task, &[], 1), killed);
    match failed.unwrap_err() {
        PolicyError::Infrastructure(why) => {
            assert_eq!(why, "the engine of the model ended: signal 9 killed it");
        }
        other => panic!("{other:?}"),
    }
    let again = tokio::join!(act(&*policy, &task, &[], 1), act(&*policy, &task, &[], 1));
    let [one, other] = [again.0, again.1].map(|action| ids(&action.unwrap()));
    // So many words may round apart in the end.
    assert_eq!(one[..100], other[..100]);
    drop(policy);
    assert_eq!(engines(&file), [0; 0], "no engine outlives its policy");
}

#[tokio::test]
async fn llama_cpp_may_end_its_process_and_nobody_elses() {
    let folder = Folder::new();
    let policy = open(&settings(&wordless(&folder, QWEN3), 5));
    for _ in 0..2 {
        match act(&*policy, &task("a", 3), &[], 1).await.unwrap_err() {
            PolicyError::Infrastructure(why) => {
                assert!(why.starts_with("the engine of the model ended: "), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_makes_room() {
    let folder = Folder::new();
    let settings = settings(&model(&folder, Kind::Qwen3, Some(QWEN3)), WINDOW);
    let (policy, long) = (open(&settings), task("a", 3));
    let left = tokio::time::timeout(Duration::from_millis(50), act(&*policy, &long, &[], 1));
    assert!(left.await.is_err());
    let again = act(&*policy, &long, &[], 1).await.unwrap();
    assert!(again.usage.completion_tokens > 0);
}

#[test]
fn an_engine_that_does_not_start_is_named() {
    let folder = Folder::new();
    let settings = settings(&model(&folder, Kind::Qwen3, Some(QWEN3)), 1);
    let why = llama_by("/no/such/engine".as_ref(), &settings).err().unwrap();
    assert!(why.starts_with("the engine `/no/such/engine` cannot be started"), "{why}");
    let why = llama_by("/bin/false".as_ref(), &settings).err().unwrap();
    assert!(why.contains("engine"), "{why}");
    let mut threads = settings;
    threads.local.threads = Some(u32::MAX);
    assert!(fault(&threads).contains("threads"));
}
