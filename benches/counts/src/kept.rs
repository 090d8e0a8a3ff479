//! The file of counts that the repository keeps, by key.

use std::collections::BTreeMap;
use std::path::Path;

use crate::fault::Fault;

/// Instructions per round, by the name of the path.
pub(crate) type Counts = BTreeMap<String, u64>;

const HEAD: &str = "\
# Instructions per round of each path that scripts/counts measures, by compiler, C library and
# processor. `scripts/counts --write` replaces the section of this machine and keeps the others.
";

/// All counts of the file.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Kept(BTreeMap<String, Counts>);

impl Kept {
    /// Reads the file; none are kept if it does not exist.
    pub(crate) fn read(file: &Path) -> Result<Kept, Fault> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(why) => return Err(Fault::file(file, &why)),
        };
        Kept::parse(&text).map_err(|why| Fault::file(file, &why))
    }

    fn parse(text: &str) -> Result<Kept, toml::de::Error> {
        toml::from_str(text).map(Kept)
    }

    /// The counts of a key, if there are any.
    pub(crate) fn of(&self, key: &str) -> Option<&Counts> {
        self.0.get(key)
    }

    /// Replaces the counts of a key.
    pub(crate) fn set(&mut self, key: String, counts: Counts) {
        self.0.insert(key, counts);
    }

    pub(crate) fn write(&self, file: &Path) -> Result<(), Fault> {
        std::fs::write(file, self.text()).map_err(|why| Fault::file(file, &why))
    }

    fn text(&self) -> String {
        let sections = self.0.iter().map(|(key, counts)| {
            let lines = counts.iter().map(|(path, count)| format!("{path} = {count}\n"));
            format!("\n[{key:?}]\n{}", lines.collect::<String>())
        });
        format!("{HEAD}{}", sections.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_other_machines_keep_their_counts() {
        let mut kept = Kept::default();
        kept.set("rustc 1; a".into(), Counts::from([("turn".into(), 7)]));
        kept.set("rustc 1; b \"x\"".into(), Counts::from([("turn".into(), 8)]));
        kept.set("rustc 1; a".into(), Counts::from([("turn".into(), 9), ("read".into(), 1)]));
        let text = kept.text();
        assert!(text.ends_with("\n[\"rustc 1; b \\\"x\\\"\"]\nturn = 8\n"), "{text}");
        assert_eq!(Kept::parse(&text).unwrap(), kept);
    }

    #[test]
    fn a_file_that_is_not_there_keeps_nothing() {
        let file = tempfile::tempdir().unwrap().path().join("counts.toml");
        assert_eq!(Kept::read(&file).unwrap(), Kept::default());
    }
}
