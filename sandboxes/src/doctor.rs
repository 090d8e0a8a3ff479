//! The protections of all sandboxes, as a table.

use comfy_table::{ContentArrangement, Table, presets};
use fixfly_runtime::{Impact, Protection};

use crate::{ALL, HostOptions};

/// Columns of the table.
const WIDTH: u16 = 118;

/// What each sandbox of this machine protects from, and how to get what is missing, as text.
pub async fn doctor() -> String {
    let mut text = String::new();
    for entry in ALL {
        let (protections, isolation) = match (entry.open)(&HostOptions::default()) {
            Ok(host) => (host.protections().await, host.isolation()),
            Err(why) => (Vec::new(), why.to_string()),
        };
        text += &format!("{}: {}\n", entry.name, verdict(&protections, &isolation));
        if !protections.is_empty() {
            text += &format!("{}\n", table(&protections));
        }
    }
    text
}

fn verdict(protections: &[Protection], isolation: &str) -> String {
    let missing: Vec<_> = protections.iter().filter(|protection| protection.is_missing()).collect();
    match missing.first() {
        None if protections.is_empty() => isolation.to_owned(),
        None => "every required protection is available".to_owned(),
        Some(first) if first.impact == Impact::NoSandbox => "not available".to_owned(),
        Some(_) => {
            format!("required protections missing: {}; runs need --allow-weak", missing.len())
        }
    }
}

fn table(protections: &[Protection]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(WIDTH);
    table.set_header(["protection", "provided by", "remedy", "without it"]);
    table.add_rows(protections.iter().map(row));
    table.trim_fmt()
}

fn row(protection: &Protection) -> [String; 4] {
    let name = protection.name.to_owned();
    match &protection.by {
        Some(by) => [name, by.clone(), String::new(), String::new()],
        None => {
            let missing = if protection.needed { "MISSING" } else { "missing" };
            [
                name,
                missing.to_owned(),
                protection.remedy.clone(),
                protection.impact.as_str().to_owned(),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protection(by: Option<&str>, needed: bool) -> Protection {
        Protection {
            name: "memory of the whole sandbox",
            by: by.map(str::to_owned),
            needed,
            remedy: "ask for it".to_owned(),
            impact: Impact::TakesAllMemory,
        }
    }

    #[test]
    fn a_missing_protection_is_shown_with_its_remedy_and_its_impact() {
        let protections =
            [protection(Some("cgroup v1"), true), protection(None, true), protection(None, false)];
        insta::assert_snapshot!(table(&protections));
    }

    #[test]
    fn only_required_protections_make_a_sandbox_weak() {
        let isolation = "wasm: no system calls";
        let needed = "required protections missing: 1; runs need --allow-weak";
        for (protections, expected) in [
            (vec![], isolation),
            (vec![protection(Some("x"), true)], "every required protection is available"),
            (vec![protection(None, false)], "every required protection is available"),
            (vec![protection(None, true), protection(None, false)], needed),
        ] {
            assert_eq!(verdict(&protections, isolation), expected);
        }
    }
}
