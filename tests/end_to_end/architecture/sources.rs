//! The modules of a crate, found as the compiler finds them.

use std::path::{Path, PathBuf};

use super::tokens::{Kind, Token, after_group, tokens};

/// A module: its own tokens, without those of the modules inside it.
pub(super) struct Module {
    pub(super) file: PathBuf,
    /// Empty for the crate's root.
    pub(super) path: Vec<String>,
    pub(super) tokens: Vec<Token>,
}

/// Reads a file; none if there is no such file.
pub(super) type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// Reads a file of this machine.
pub(super) fn read(file: &Path) -> Option<String> {
    std::fs::read_to_string(file).ok()
}

/// All modules of the crate with that root, except its tests.
pub(super) fn modules(root: &Path, read: Read) -> Vec<Module> {
    let mut reader = Reader { read, modules: Vec::new() };
    let folder = root.parent().unwrap().to_owned();
    let text = read(root).unwrap_or_else(|| panic!("{}: there is no such file", root.display()));
    reader.take(tokens(&text), root, Vec::new(), folder);
    reader.modules
}

struct Reader<'a> {
    read: Read<'a>,
    modules: Vec<Module>,
}

impl Reader<'_> {
    /// Splits the modules inside off; `folder` is where their files are.
    fn take(&mut self, tokens: Vec<Token>, file: &Path, path: Vec<String>, folder: PathBuf) {
        let (mut own, mut at, mut place) = (Vec::new(), 0, None);
        while at < tokens.len() {
            if let [pound, open, name, _, value, ..] = &tokens[at..]
                && pound.is("#")
                && open.is("[")
                && name.is("path")
                && value.kind == Kind::Text
            {
                place = Some(file.with_file_name(&value.text));
            }
            if let [keyword, name, next, ..] = &tokens[at..]
                && keyword.is("mod")
                && name.is_word()
                && (next.is(";") || next.is("{"))
            {
                let child = [&path[..], std::slice::from_ref(&name.text)].concat();
                let inside = folder.join(&name.text);
                own.extend_from_slice(&tokens[at..at + 2]);
                at += 2;
                if tokens[at].is("{") {
                    let after = after_group(&tokens, at);
                    self.take(tokens[at + 1..after - 1].to_vec(), file, child, inside);
                    at = after;
                } else {
                    self.child(place.take(), child, inside);
                }
                continue;
            }
            own.push(tokens[at].clone());
            at += 1;
        }
        self.modules.push(Module { file: file.to_owned(), path, tokens: own });
    }

    /// Reads the module that a file declares.
    fn child(&mut self, place: Option<PathBuf>, path: Vec<String>, folder: PathBuf) {
        let usual = [folder.with_extension("rs"), folder.join("mod.rs")];
        let files = place.map_or_else(|| usual.to_vec(), |place| vec![place]);
        let found = files.iter().find_map(|file| Some((file, (self.read)(file)?)));
        let (file, text) = found.unwrap_or_else(|| panic!("none of these files: {files:?}"));
        self.take(tokens(&text), file, path, folder);
    }
}
