//! The lines of a TOML file.

use super::ClusterError;

/// A table of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section<'a> {
    /// The keys before the first table.
    Top,
    /// A table by its name.
    Table(&'a str),
    /// One of the stages, counted from 0.
    Stage(usize),
}

/// A file's name and text.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// An error at a key, or at its table if there is no such key.
    pub(super) fn fault(&self, section: Section<'_>, key: &str, why: &str) -> ClusterError {
        ClusterError::Usage(format!("{}: `{key}` {why}", self.place(section, key)))
    }

    /// The file, and the line of a key or of its table.
    pub(super) fn place(&self, section: Section<'_>, key: &str) -> String {
        match self.line(section, key) {
            Some(line) => format!("{}: line {line}", self.name),
            None => self.name.to_string(),
        }
    }

    /// The line of a byte, counted from 1.
    pub(super) fn line_at(&self, byte: usize) -> usize {
        self.text.bytes().take(byte).filter(|byte| *byte == b'\n').count() + 1
    }

    fn line(&self, section: Section<'_>, key: &str) -> Option<usize> {
        let (mut stages, mut inside, mut header) = (0, section == Section::Top, None);
        for (line, number) in self.text.lines().zip(1..) {
            let line = line.trim();
            if let Some(named) = line.strip_prefix('[') {
                let named = named.trim_start_matches('[');
                let named = named.split(']').next().unwrap_or_default().trim();
                let (table, rest) = named.split_once('.').unwrap_or((named, ""));
                if named == "stages" {
                    stages += 1;
                }
                inside = match section {
                    Section::Top => false,
                    Section::Table(name) => table == name,
                    Section::Stage(at) => table == "stages" && stages == at + 1,
                };
                if inside && header.is_none() {
                    header = Some(number);
                }
                if inside && rest == key || section == Section::Top && table == key {
                    return Some(number);
                }
            } else if inside {
                let name = line.split(['=', '.']).next().unwrap_or_default().trim();
                if name.trim_matches('"') == key {
                    return Some(number);
                }
            }
        }
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_its_table() {
        let text = "run = []\n[cluster]\ntime = '1'\n[cluster.environment]\nA = 'b'\n\
                    [[stages]]\nname = 'a'\n[[stages]]\nname = 'b'\ntime = '2'\n";
        let source = Source { name: "x.toml", text };
        for (section, key, expected) in [
            (Section::Top, "run", Some(1)),
            (Section::Top, "cluster", Some(2)),
            (Section::Top, "time", None),
            (Section::Table("cluster"), "time", Some(3)),
            (Section::Table("cluster"), "environment", Some(4)),
            (Section::Table("cluster"), "name", Some(2)),
            (Section::Table("merge"), "time", None),
            (Section::Stage(0), "name", Some(7)),
            (Section::Stage(0), "time", Some(6)),
            (Section::Stage(1), "time", Some(10)),
        ] {
            assert_eq!(source.line(section, key), expected, "{section:?} {key}");
        }
    }
}
