//! axe on every kind of page.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use super::page::{Page, browse};
use super::runs;

/// Of the package in `scripts/needs`.
const VERSION: &str = "0.1.8";

/// A rule that elements of a page violate.
#[derive(Deserialize)]
struct Violation {
    /// `None` if axe does not rate it.
    impact: Option<String>,
    id: String,
    /// The elements, as selectors with what is wrong.
    at: Vec<String>,
}

/// axe as a script that defines it in a page.
fn axe() -> String {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache =
        cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
    let file = cache.join(format!("fixfly/axe-{VERSION}/axe_playwright_python/axe.min.js"));
    fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!(
            "cannot read axe in {}: {error}; fetch it: bash -c '. scripts/needs; install_axe'",
            file.display()
        )
    })
}

async fn violations(page: &Page) -> Vec<Violation> {
    let found = page.run_until_done(
        "const place = (node) => `${node.target.join(' ')}: ${node.failureSummary}`;
        axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => done(
            violations.map(({ impact, id, nodes }) => ({ impact, id, at: nodes.map(place) }))));",
    );
    serde_json::from_value(found.await).unwrap()
}

/// Adds what is moderate, serious or critical on the page in light and dark, wide and narrow.
async fn check(page: &Page, path: &str, axe: &str, all: &mut BTreeSet<String>) {
    page.go(path).await;
    page.run(&format!("{axe}; return true")).await;
    // What is folded away is read too.
    page.run("document.querySelectorAll('details').forEach(one => { one.open = true })").await;
    for width in [1280, 360] {
        page.width(width).await;
        for scheme in ["light", "dark"] {
            page.system(scheme).await;
            for Violation { impact, id, at } in violations(page).await {
                if matches!(impact.as_deref(), Some("moderate" | "serious" | "critical")) {
                    let at = at.join("\n  ");
                    all.insert(format!("{path}, {width} px, {scheme}: {id}\n  {at}"));
                }
            }
        }
    }
}

#[test]
fn axe_finds_nothing_but_minor_things_on_any_kind_of_page() {
    let (folder, axe) = (runs::everything(), axe());
    browse(folder.path(), async |page| {
        let episode = "/run/second/episode/shop%2Fcart.py%3A%3ACart.add/0";
        let beside = "/compare?a=first&b=second&task=shop%2Fcart.py%3A%3ACart.add&sample=0";
        let mut all = BTreeSet::new();
        for path in [
            "/",
            "/run/second",
            episode,
            "/compare?a=first&b=second",
            beside,
            "/dataset/taught%2Fdataset",
            "/training/student",
        ] {
            check(page, path, &axe, &mut all).await;
        }
        // The page of an error.
        check(page, "/run/nothing", &axe, &mut all).await;
        assert!(all.is_empty(), "{}", all.into_iter().collect::<Vec<_>>().join("\n"));
    });
}
