//! Links of a page, and where they lead.

use std::collections::BTreeMap;

/// The links of a page that lead to no file or to no heading.
pub(super) fn broken(
    page: &str,
    text: &str,
    read: &dyn Fn(&str) -> Option<String>,
    exists: &dyn Fn(&str) -> bool,
) -> Vec<String> {
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut broken = vec![];
    for (line, link) in links(text) {
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
        let file = if path.is_empty() { page.to_owned() } else { joined(folder, path) };
        let why = if !exists(&file) {
            "no such file"
        } else if !anchor.is_empty()
            && !anchors(&read(&file).unwrap_or_default()).contains(&anchor.to_owned())
        {
            "no such heading"
        } else {
            continue;
        };
        broken.push(format!("{page}:{line}: {link}: {why}"));
    }
    broken
}

/// A path relative to a folder, without dots.
fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Lines outside fenced blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (!is_code && !is_fence).then_some((index + 1, line))
    })
}

/// Targets of links and images, outside code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = vec![];
    for (line, text) in prose(text) {
        // What stands between backticks is no link.
        let outside: String = text.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for rest in outside.split("](").skip(1) {
            found.extend(rest.split_once(')').map(|(link, _)| (line, link.to_owned())));
        }
        for rest in outside.split("src=\"").skip(1) {
            found.extend(rest.split_once('"').map(|(link, _)| (line, link.to_owned())));
        }
    }
    found
}

/// The anchors of a page's headings, as GitHub and mdBook make them.
fn anchors(text: &str) -> Vec<String> {
    let mut seen = BTreeMap::new();
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    let slugs = headings.map(|(_, line)| {
        let slug: String = line
            .trim_start_matches('#')
            .trim()
            .to_lowercase()
            .chars()
            .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter))
            .map(|letter| if letter == ' ' { '-' } else { letter })
            .collect();
        let times = seen.entry(slug.clone()).or_insert(0);
        *times += 1;
        if *times > 1 { format!("{slug}-{}", *times - 1) } else { slug }
    });
    slugs.collect()
}

#[test]
fn links_lead_to_files_and_headings() {
    let page = "# A `b`: c\n[one](x.md#d-e) [two](y.md) `[no](n.md)`\n```\n[no](n.md)\n```\n\
                ![img](i.png)\n[up](../z.md) [self](#a-b-c) [web](https://x.y) [bad](#nope)\n";
    let read = |file: &str| match file {
        "docs/x.md" => Some("## D, e\n".to_owned()),
        "docs/p.md" => Some(page.to_owned()),
        _ => None,
    };
    let exists = |file: &str| ["docs/x.md", "docs/p.md", "z.md"].contains(&file);
    assert_eq!(
        broken("docs/p.md", page, &read, &exists),
        [
            "docs/p.md:2: y.md: no such file",
            "docs/p.md:6: i.png: no such file",
            "docs/p.md:7: #nope: no such heading"
        ]
    );
    assert_eq!(anchors("# A\n## A\n# The `x_y` (z)\n"), ["a", "a-1", "the-x_y-z"]);
}
