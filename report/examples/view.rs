//! Serves the pages of a folder, without benchmarks, tokenizers and datasets.
//!
//! `cargo run -p fixfly-report --example view --features view -- FOLDER [PORT | EXPORT]`
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "it has no terminal")]

use std::error::Error;
use std::path::{Path, PathBuf};

use fixfly_report::{DatasetRows, Prompt, Server, Site, Sources, export_pages};
use fixfly_runtime::{Episode, RunRecord, Task};

struct Nothing;

impl Sources for Nothing {
    fn original(&self, _: &Path, _: &RunRecord, _: &Task) -> Result<String, String> {
        Err("this example has no benchmarks".into())
    }

    fn prompt(&self, _: &Path, _: &RunRecord, _: &Episode, _: usize) -> Result<Prompt, String> {
        Err("this example has no tokenizers".into())
    }

    fn dataset(&self, _: &Path) -> Result<Box<dyn DatasetRows>, String> {
        Err("this example has no datasets".into())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let folder = PathBuf::from(words.next().unwrap_or_else(|| "runs".into()));
    let site = Site::open(&[folder], Box::new(Nothing))?;
    let target = words.next().unwrap_or_else(|| "0".into());
    let Ok(port) = target.parse() else {
        println!("{} pages", export_pages(&site, Path::new(&target))?);
        return Ok(());
    };
    tokio::runtime::Runtime::new()?.block_on(async {
        let server = Server::bind(site, None, port).await?;
        println!("{}", server.url());
        server.run().await?;
        Ok(())
    })
}
