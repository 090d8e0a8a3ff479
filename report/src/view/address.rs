//! The addresses of pages: what a path means, and the path of a page.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What stays in a part of a path.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The address of a page, without its query.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Address {
    Home,
    Run(String),
    Episode { run: String, task: String, sample: String },
    Compare,
    Dataset(String),
    Training(String),
}

impl Address {
    /// Parses a path.
    pub(crate) fn parse(path: &str) -> Option<Address> {
        let parts: Option<Vec<String>> = path
            .strip_prefix('/')?
            .split('/')
            .map(|part| Some(percent_decode_str(part).decode_utf8().ok()?.into_owned()))
            .collect();
        let parts = parts?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Some(match parts.as_slice() {
            [""] => Address::Home,
            ["compare"] => Address::Compare,
            ["run", name] => Address::Run((*name).into()),
            ["run", run, "episode", task, sample] => Address::Episode {
                run: (*run).into(),
                task: (*task).into(),
                sample: (*sample).into(),
            },
            ["dataset", name] => Address::Dataset((*name).into()),
            ["training", name] => Address::Training((*name).into()),
            _ => return None,
        })
    }

    /// The path. It has no characters that HTML escapes.
    pub(crate) fn path(&self) -> String {
        let part = |text: &str| match text {
            // A browser takes these parts as steps in the tree of folders.
            "." => "%2E".to_string(),
            ".." => "%2E%2E".to_string(),
            text => utf8_percent_encode(text, PART).to_string(),
        };
        match self {
            Address::Home => "/".into(),
            Address::Compare => "/compare".into(),
            Address::Run(name) => format!("/run/{}", part(name)),
            Address::Episode { run, task, sample } => {
                format!("/run/{}/episode/{}/{}", part(run), part(task), part(sample))
            }
            Address::Dataset(name) => format!("/dataset/{}", part(name)),
            Address::Training(name) => format!("/training/{}", part(name)),
        }
    }

    pub(crate) fn episode(run: &str, task: &str, sample: u32) -> Address {
        Address::Episode { run: run.into(), task: task.into(), sample: sample.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_it_is_written() {
        for address in [
            Address::Home,
            Address::Compare,
            Address::Run("first".into()),
            Address::Run("sweeps/a b/ü?#%<\"'&>".into()),
            Address::episode("runs/x", "django/utils/html.py::MLStripper.get_data", 3),
            Address::Dataset("d".into()),
            Address::Training("s/t".into()),
        ] {
            let path = address.path();
            assert_eq!(Address::parse(&path), Some(address), "{path}");
            assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>&\"'".contains(&byte)));
        }
        for path in ["", "/run", "/run/", "/run/a/b", "/nowhere", "/run/%ff"] {
            let found = Address::parse(path);
            assert!(found.is_none() || found == Some(Address::Run(String::new())), "{path}");
        }
    }
}
