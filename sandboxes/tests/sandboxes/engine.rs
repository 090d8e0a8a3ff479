//! An engine that hangs, resets, restarts and answers 500: a proxy before the
//! real one, where there is one, and a scripted one everywhere.

use std::time::{Duration, Instant};

use crate::common::between::{Between, Fate, Request};
use crate::common::*;
use fixfly_runtime::{Host, SandboxError};
use fixfly_sandboxes::docker::{Engine, Patience};

fn hasty() -> Patience {
    Patience { call: Duration::from_secs(2), tries: 3, pause: Duration::from_millis(10) }
}

/// The error of opening a sandbox if the engine handles the creation of containers so.
async fn refused(fate: Fate, patience: Patience) -> (String, Vec<Request>) {
    let decide = move |request: &Request, _| match request.is("/containers/create") {
        true => fate,
        false => Fate::Answered,
    };
    let between = Between::new(false, Box::new(decide));
    let start = Instant::now();
    let opened = between.engine(patience).open(&spec()).await;
    assert!(start.elapsed() < Duration::from_secs(40), "its patience is bounded");
    let why = opened.err().unwrap();
    assert!(matches!(why, SandboxError::Open(_)), "{why}");
    (why.to_string(), between.asked("/containers/create"))
}

#[tokio::test]
async fn an_engine_that_fails_is_asked_again_and_then_a_failure_of_the_sandbox() {
    for (fate, says, tries) in [
        (Fate::Fails, "out of sorts", 3),
        (Fate::Hangs, "Timeout error", 3),
        (Fate::IsReset, "", 3),
        // The script's 404 is a reason: nothing is asked twice.
        (Fate::Answered, "there is no such thing", 1),
    ] {
        let (why, asked) = refused(fate, hasty()).await;
        assert!(
            why.starts_with("the sandbox could not be opened: ") && why.contains(says),
            "{why}"
        );
        assert_eq!(asked.len(), tries, "{why}");
    }
}

#[tokio::test]
async fn a_container_is_asked_for_with_all_that_holds_it() {
    let (_, asked) = refused(Fate::Answered, hasty()).await;
    let body: serde_json::Value = serde_json::from_slice(&asked[0].body).unwrap();
    let host = &body["HostConfig"];
    for (part, expected) in [
        (&host["NetworkMode"], serde_json::json!("none")),
        (&host["CapDrop"], serde_json::json!(["ALL"])),
        (&host["ReadonlyRootfs"], serde_json::json!(true)),
        (&host["Init"], serde_json::json!(true)),
        (&host["Memory"], serde_json::json!(4096_u64 << 20)),
        (&host["MemorySwap"], serde_json::json!(4096_u64 << 20)),
        (&host["PidsLimit"], serde_json::json!(256 + 24)),
        (&host["NanoCpus"], serde_json::json!(2_000_000_000_u64)),
        (&body["Image"], serde_json::json!("fixfly/python:1")),
        (&body["OpenStdin"], serde_json::json!(true)),
    ] {
        assert_eq!(part, &expected, "{body}");
    }
    let user = body["User"].as_str().unwrap();
    assert!(!user.is_empty() && !user.starts_with("0:"), "{user}");
    let options = host["SecurityOpt"].to_string();
    assert!(options.contains("no-new-privileges:true") && options.contains("perf_event_open"));
    for label in ["owner", "lease", "run", "machine"] {
        assert!(body["Labels"][format!("dev.fixfly.{label}")].is_string(), "{label}");
    }
}

#[tokio::test]
async fn an_engine_that_is_not_there_says_how_to_name_one() {
    let engine = Engine::at("unix:///nonexistent/sock", hasty());
    let why = engine.open(&spec()).await.err().unwrap().to_string();
    assert!(why.contains("no Docker engine answers") && why.contains("DOCKER_HOST"), "{why}");
}

/// Whether a real engine with an image is here.
pub(crate) async fn is_real() -> bool {
    let opened = Engine::default().open(&spec()).await;
    match opened {
        Ok(sandbox) => sandbox.close().await.is_ok(),
        Err(why) if beyond(&why) => {
            eprintln!("skipped: {why}");
            false
        }
        Err(why) => panic!("{why}"),
    }
}

#[tokio::test]
async fn what_passes_is_waited_out() {
    if !is_real().await {
        return;
    }
    for (what, fate) in [
        ("/version", Fate::Fails),
        ("/info", Fate::IsReset),
        ("/containers/create", Fate::Fails),
        ("/containers/create", Fate::LosesItsAnswer),
        ("/start", Fate::Hangs),
        ("/start", Fate::LosesItsAnswer),
        ("/attach", Fate::IsReset),
    ] {
        // The first of its kind only.
        let decide = move |request: &Request, before| match request.is(what) && before == 0 {
            true => fate,
            false => Fate::Answered,
        };
        let between = Between::new(true, Box::new(decide));
        let patience = Patience { call: Duration::from_secs(5), ..hasty() };
        let sandbox = between.engine(patience).open(&spec()).await;
        let sandbox = sandbox.unwrap_or_else(|why| panic!("{what}: {why}"));
        assert_eq!(expect(&*sandbox, "echo here").await, "here\n", "{what}");
        assert!(between.asked(what).len() > 1, "{what} was asked again");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_engine_that_restarts_under_a_command_is_a_failure_of_the_sandbox() {
    if !is_real().await {
        return;
    }
    let between = Between::new(true, Box::new(|_, _| Fate::Answered));
    let sandbox = between.engine(Patience::default()).open(&spec()).await.unwrap();
    let mark = marker();
    let sleep = sh(&format!("sleep {mark}"));
    let (why, ()) = tokio::join!(sandbox.exec(&sleep), async {
        assert!(within(Duration::from_secs(20), || marked(&mark) > 0).await, "it never began");
        between.restart();
    });
    assert!(matches!(why, Err(SandboxError::Exec { .. })), "{why:?}");
    assert!(within(Duration::from_secs(10), || marked(&mark) == 0).await, "it ends with its input");
    let start = Instant::now();
    let after = sandbox.exec(&sh("true")).await;
    assert!(matches!(after, Err(SandboxError::Exec { .. })), "{after:?}");
    assert!(start.elapsed() < Duration::from_secs(10), "it is known at once");
    sandbox.close().await.unwrap();
}
