//! The pages of a site as files that need no server.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::path::Path;

use super::address::Address;
use super::engine::{SCRIPT, STYLE};
use super::error::ViewError;
use super::site::Site;

const STYLE_FILE: &str = "assets/style.css";
const SCRIPT_FILE: &str = "assets/view.js";
/// Bytes of a name that is made of a task's id.
const NAME: usize = 80;

/// Writes all pages of a site to a folder, and returns how many there are. They link to
/// each other by relative addresses.
///
/// # Errors
/// [`ViewError`] if the folder is not empty, or a file cannot be read or written.
pub fn export_pages(site: &Site, folder: &Path) -> Result<usize, ViewError> {
    let entries = fs::read_dir(folder).map(|mut entries| entries.next().is_some());
    if entries.unwrap_or(folder.exists()) {
        return Err(ViewError::NotEmpty(folder.into()));
    }
    site.freeze();
    write(folder, STYLE_FILE, STYLE)?;
    write(folder, SCRIPT_FILE, SCRIPT)?;
    let mut files = Files::default();
    files.file(Target { address: Address::Home, query: String::new() });
    for (name, place) in site.places_now() {
        let address = place.kind.address(name);
        if site.exists(&address) {
            files.file(Target { address, query: String::new() });
        }
    }
    let mut pages = 0;
    while let Some((target, file)) = files.waiting.pop_front() {
        let html = site.html(&target.address, &target.query, true)?;
        write(folder, &file, &files.relinked(site, &html, &target.address, &file))?;
        pages += 1;
    }
    Ok(pages)
}

fn write(folder: &Path, file: &str, text: &str) -> Result<(), ViewError> {
    let file = folder.join(file);
    let parent = file.parent().map_or(Ok(()), fs::create_dir_all);
    parent.and_then(|()| fs::write(&file, text)).map_err(|why| ViewError::Write { file, why })
}

/// A page of the export.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Target {
    address: Address,
    query: String,
}

impl Target {
    /// The page that a link leads to. Filters are left out, and pages of lists are kept.
    fn of(path: &str, query: &str) -> Option<Target> {
        let address = Address::parse(path)?;
        let kept = |key: &str| match address {
            Address::Run(_) | Address::Dataset(_) => key == "page",
            Address::Compare => key == "page" || key.len() == 1,
            Address::Home | Address::Episode { .. } | Address::Training(_) => false,
        };
        let mut rest = form_urlencoded::Serializer::new(String::new());
        let pairs = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| kept(key));
        rest.extend_pairs(pairs.filter(|(key, value)| key != "page" || value != "1"));
        let query = rest.finish();
        Some(Target { address, query })
    }

    /// The name of its file, if no other page has it.
    fn name(&self) -> String {
        let name = match &self.address {
            Address::Home => "index".into(),
            Address::Compare => format!("compare/{}", safe(&self.query)),
            Address::Run(name) => format!("run/{}/index", safe(name)),
            Address::Episode { run, task, sample } => {
                format!("run/{}/episode/{}-{}", safe(run), safe(task), safe(sample))
            }
            Address::Dataset(name) => format!("dataset/{}", safe(name)),
            Address::Training(name) => format!("training/{}", safe(name)),
        };
        match (&self.address, &*self.query) {
            (Address::Compare, _) | (_, "") => name,
            (_, query) => format!("{name}-{}", safe(query)),
        }
    }
}

/// A name that is the same in a file system and in an address.
fn safe(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = name.chars().map(letter).take(NAME).collect();
    let name = name.trim_matches(['.', '-']);
    if name.is_empty() { "page".into() } else { name.into() }
}

/// The files of pages, and those that wait to be written.
#[derive(Default)]
struct Files {
    of: HashMap<Target, String>,
    /// In lower case: some file systems know no other.
    taken: HashSet<String>,
    waiting: VecDeque<(Target, String)>,
}

impl Files {
    fn file(&mut self, target: Target) -> String {
        if let Some(file) = self.of.get(&target) {
            return file.clone();
        }
        let name = target.name();
        let names = (1..).map(|n| match n {
            1 => format!("{name}.html"),
            n => format!("{name}-{n}.html"),
        });
        let mut names = names.filter(|file| !self.taken.contains(&file.to_lowercase()));
        let file = names.next().unwrap_or_default();
        self.taken.insert(file.to_lowercase());
        self.of.insert(target.clone(), file.clone());
        self.waiting.push_back((target, file.clone()));
        file
    }

    /// The page with relative links. A link to what the site does not have becomes text.
    fn relinked(&mut self, site: &Site, html: &str, own: &Address, file: &str) -> String {
        let path = own.path();
        let up = "../".repeat(file.matches('/').count());
        let mut text = String::with_capacity(html.len());
        let mut rest = html;
        // Texts have no quotes: they are escaped.
        let starts = ["=\"/", "=\"&#x2f;", "=\"?"];
        while let Some(at) = starts.iter().filter_map(|start| rest.find(start)).min() {
            let start = at + 2;
            let Some(length) = rest[start..].find('"') else { break };
            let mut link = unescaped(&rest[start..start + length]);
            if link.starts_with('?') {
                link.insert_str(0, &path);
            }
            match self.relative(site, &link) {
                Some(link) => {
                    text += &rest[..start];
                    text += &up;
                    text += &link;
                }
                None => {
                    text += &rest[..at];
                    text += "=\"";
                    // An empty address would be this page.
                    text += "#";
                }
            }
            rest = &rest[start + length..];
        }
        text + rest
    }

    fn relative(&mut self, site: &Site, link: &str) -> Option<String> {
        if let Some(asset) = link.strip_prefix("/assets/") {
            return Some(format!("assets/{asset}"));
        }
        let (link, fragment) = link.split_once('#').map_or((link, None), |(l, f)| (l, Some(f)));
        let (path, query) = link.split_once('?').unwrap_or((link, ""));
        let target = Target::of(path, query)?;
        if !self.of.contains_key(&target) && !site.exists(&target.address) {
            return None;
        }
        let file = self.file(target);
        Some(fragment.map_or(file.clone(), |fragment| format!("{file}#{fragment}")))
    }
}

fn unescaped(text: &str) -> String {
    text.replace("&#x2f;", "/").replace("&quot;", "\"").replace("&#x27;", "'").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture::{self, episodes, record};

    /// The local links of a page.
    fn links(html: &str) -> Vec<&str> {
        let parts = html.split(['"']).collect::<Vec<_>>();
        let named = parts
            .windows(2)
            .filter(|pair| pair[0].ends_with(" href=") || pair[0].ends_with(" src="));
        named.map(|pair| pair[1]).filter(|link| !link.starts_with("data:")).collect()
    }

    fn pages(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pages(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "html") {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_link_of_an_export_leads_to_a_file() {
        let (runs, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fixture::write_run(&runs.path().join("a"), &record(), &episodes());
        fixture::write_run(&runs.path().join("b c/<ü>"), &record(), &fixture::many(250));
        let site = fixture::site(runs.path());
        let folder = out.path().join("new");
        let written = export_pages(&site, &folder).unwrap();
        let mut found = Vec::new();
        pages(&folder, &mut found);
        // Home, two runs (one with two more pages), their episodes, a comparison.
        assert_eq!((written, found.len()), (1 + 1 + 3 + 3 + 250 + 1, written));
        let mut seen = 0;
        for page in &found {
            let html = fs::read_to_string(page).unwrap();
            assert!(!html.contains("<form action"), "{}", page.display());
            for link in links(&html) {
                let file = link.split(['#', '?']).next().unwrap();
                assert!(!link.starts_with('/') && !link.contains('?'), "{link}");
                let there = file.is_empty() || page.parent().unwrap().join(file).is_file();
                assert!(there, "{} links to {link}", page.display());
                seen += 1;
            }
        }
        assert!(seen > 1000);
        let error = export_pages(&site, &folder).unwrap_err().to_string();
        assert!(error.ends_with("is not empty; name a new or an empty folder with --export"));
    }

    #[test]
    fn names_of_files_are_safe_and_differ() {
        let mut files = Files::default();
        let mut file = |task: &str| {
            files.file(Target { address: Address::episode("r", task, 0), query: String::new() })
        };
        assert_eq!(file("a/b.py::C.f"), "run/r/episode/a-b.py--C.f-0.html");
        assert_eq!(file("a/b.py::C F"), "run/r/episode/a-b.py--C-F-0.html");
        assert_eq!(file("a/b.py::C/f"), "run/r/episode/a-b.py--C-f-0-2.html");
        assert_eq!(file("a/b.py::C.f"), "run/r/episode/a-b.py--C.f-0.html");
        assert_eq!(file("../../x"), "run/r/episode/x-0.html");
        assert_eq!(safe("…"), "page");
    }
}
