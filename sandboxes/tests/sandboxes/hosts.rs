//! Several engines as one host: sandboxes are placed on each, and an engine that dies costs
//! its own sandboxes and nothing else. Both engines are the one of this machine, each behind
//! a socket of its own.

use std::sync::Arc;

use crate::common::between::{Between, Fate, Request};
use crate::common::*;
use crate::engine::is_real;
use fixfly_runtime::{Host, SandboxError};
use fixfly_sandboxes::{HostOptions, docker};

/// The engines as one host.
fn hosts(engines: &[&Between]) -> Arc<dyn Host> {
    let docker_hosts = engines.iter().map(|engine| engine.address()).collect();
    (docker::ENTRY.open)(&HostOptions { docker_hosts, ..HostOptions::default() }).unwrap()
}

fn answered() -> Between {
    Between::new(true, Box::new(|_, _| Fate::Answered))
}

/// How many containers an engine was asked for.
fn created(engine: &Between) -> usize {
    engine.asked("/containers/create").len()
}

#[tokio::test]
async fn an_address_of_no_engine_is_refused() {
    let options = HostOptions { docker_hosts: vec!["node-1".into()], ..HostOptions::default() };
    let why = fixfly_sandboxes::open_with("docker", &options).err().unwrap().to_string();
    assert!(why.contains("`node-1` is not the address of a Docker engine"), "{why}");
    let why = fixfly_sandboxes::open_with("local", &options).err().unwrap().to_string();
    assert!(why.contains("--docker-host needs --sandbox docker, not local"), "{why}");
}

#[tokio::test]
async fn with_all_engines_down_the_error_names_each() {
    let docker_hosts = vec!["unix:///nonexistent/a".into(), "unix:///nonexistent/b".into()];
    let hosts = (docker::ENTRY.open)(&HostOptions { docker_hosts, ..HostOptions::default() });
    let hosts = hosts.unwrap();
    let spec = fixfly_runtime::SandboxSpec { image: Some("x".into()), ..spec() };
    let why = hosts.open(&spec).await.err().unwrap();
    assert!(matches!(why, SandboxError::Open(_)), "{why}");
    let why = why.to_string();
    assert!(why.contains("no Docker engine answers at unix:///nonexistent/a"), "{why}");
    assert!(why.contains("no Docker engine answers at unix:///nonexistent/b"), "{why}");
    let protections = hosts.protections().await;
    assert!(protections.len() == 1 && protections[0].is_missing(), "{protections:?}");
    assert!(protections[0].remedy.contains("/nonexistent/b"), "{protections:?}");
}

#[tokio::test]
async fn sandboxes_are_placed_by_free_capacity() {
    if !is_real().await {
        return;
    }
    let (one, two) = (answered(), answered());
    let hosts = hosts(&[&one, &two]);
    let mut sandboxes = Vec::new();
    for opened in [(1, 0), (1, 1), (2, 1), (2, 2)] {
        let sandbox = hosts.open(&spec()).await.unwrap();
        assert_eq!(expect(&*sandbox, "echo here").await, "here\n");
        sandboxes.push(sandbox);
        assert_eq!((created(&one), created(&two)), opened);
    }
    // The place of one that is closed is free.
    sandboxes.remove(1).close().await.unwrap();
    sandboxes.push(hosts.open(&spec()).await.unwrap());
    assert_eq!((created(&one), created(&two)), (2, 3));
    for sandbox in sandboxes {
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_engine_that_dies_gets_no_more_sandboxes() {
    if !is_real().await {
        return;
    }
    let one = answered();
    let down = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_down = Arc::clone(&down);
    let decide = move |_: &Request, _| match is_down.load(std::sync::atomic::Ordering::SeqCst) {
        true => Fate::IsReset,
        false => Fate::Answered,
    };
    let two = Between::new(true, Box::new(decide));
    let hosts = hosts(&[&one, &two]);
    let first = hosts.open(&spec()).await.unwrap();
    let second = hosts.open(&spec()).await.unwrap();
    assert_eq!((created(&one), created(&two)), (1, 1));

    down.store(true, std::sync::atomic::Ordering::SeqCst);
    two.restart();
    let failed = second.exec(&sh("true")).await;
    assert!(matches!(failed, Err(SandboxError::Exec { .. })), "{failed:?}");
    assert!(second.is_lost() && !first.is_lost());
    let third = hosts.open(&spec()).await.unwrap();
    assert_eq!((created(&one), created(&two)), (2, 1), "it goes to the engine that is up");
    assert_eq!(expect(&*third, "echo here").await, "here\n");
    assert_eq!(expect(&*first, "echo here").await, "here\n");
    for sandbox in [first, second, third] {
        sandbox.close().await.unwrap();
    }
}
