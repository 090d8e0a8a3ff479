//! The models that have a name.

use std::fs;
use std::path::{Path, PathBuf};

use fixfly_runtime::{ThinkingSwitch, home};
use serde::Deserialize;

use super::error::ModelError;

const OURS: &str = include_str!("catalogue.toml");
/// The user's own models, in the folder of [`home`].
const THEIRS: &str = "models.toml";

/// A model that can be fetched by name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its name in commands, and of its file.
    pub name: String,
    /// A description in a few words.
    pub about: String,
    /// `general.architecture` of the file.
    pub architecture: String,
    /// Number of weights.
    pub parameters: u64,
    /// The usual name of the file's quantisation, such as `Q4_K_M`.
    pub quantisation: String,
    /// The SPDX identifier of the weights' licence.
    pub licence: String,
    /// Context length in tokens.
    pub context: u64,
    /// The family of the chat template, such as `chatml`.
    pub template: String,
    /// How the model is asked to reason or not.
    #[serde(default)]
    pub thinking: ThinkingSwitch,
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// The file on the Hugging Face hub.
    pub hub: Option<HubFile>,
    /// Files in wheels of PyPI that make the model, joined in this order.
    #[serde(default)]
    pub pypi: Vec<WheelFile>,
}

/// A file on the Hugging Face hub.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubFile {
    /// `OWNER/NAME`.
    pub repository: String,
    /// A commit, or a branch.
    pub revision: String,
    /// The path in the repository.
    pub file: String,
}

/// A file in a wheel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WheelFile {
    /// `PACKAGE==VERSION`.
    pub package: String,
    /// The path in the wheel.
    pub member: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    #[serde(default)]
    model: Vec<Model>,
}

impl Model {
    /// Where its file is once it is fetched.
    pub fn path(&self) -> PathBuf {
        folder().join(format!("{}.gguf", self.name))
    }

    /// Whether it is fetched.
    pub fn is_fetched(&self) -> bool {
        fs::metadata(self.path()).is_ok_and(|file| file.is_file() && file.len() == self.size)
    }

    fn fault(&self) -> Option<String> {
        let name = &self.name;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.starts_with(['.', '-']) || !name.chars().all(is_plain) {
            return Some(format!(
                "`{name}` is no name for a model: use letters, digits, `-`, `_` and `.`"
            ));
        }
        let is_hash = self.sha256.len() == 64
            && self.sha256.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
        if !is_hash {
            return Some(format!("{name}: sha256 must be 64 hexadecimal digits in lower case"));
        }
        let is_pinned = |part: &WheelFile| {
            part.package.split_once("==").is_some_and(|(name, version)| {
                let plain = |text: &str| !text.is_empty() && text.chars().all(is_plain);
                !name.starts_with('-') && plain(name) && plain(version)
            })
        };
        let loose = self.pypi.iter().find(|part| !is_pinned(part))?;
        Some(format!("{name}: `{}` must be PACKAGE==VERSION", loose.package))
    }
}

/// The folder of fetched models.
pub(super) fn folder() -> PathBuf {
    home().join("models")
}

/// All models that have a name: fixfly's own, then those of `models.toml` in fixfly's
/// home folder.
///
/// # Errors
/// [`ModelError::Catalogue`], with the place.
pub fn models() -> Result<Vec<Model>, ModelError> {
    let mut all = read(Path::new("catalogue.toml"), OURS)?;
    let file = home().join(THEIRS);
    if file.exists() {
        let wrong = |why| ModelError::Catalogue { file: file.clone(), why };
        let text = fixfly_runtime::read_text(&file).map_err(|why| wrong(why.to_string()))?;
        for model in read(&file, &text)? {
            if all.iter().any(|other| other.name == model.name) {
                return Err(wrong(format!("`{}` is there twice; rename it", model.name)));
            }
            all.push(model);
        }
    }
    Ok(all)
}

fn read(file: &Path, text: &str) -> Result<Vec<Model>, ModelError> {
    let wrong = |why| ModelError::Catalogue { file: file.to_path_buf(), why };
    let all: Catalogue = toml::from_str(text).map_err(|why| wrong(why.to_string()))?;
    match all.model.iter().find_map(Model::fault) {
        Some(fault) => Err(wrong(fault)),
        None => Ok(all.model),
    }
}

/// The model of that name.
///
/// # Errors
/// [`ModelError::Unknown`] with all names, or [`ModelError::Catalogue`].
pub fn model(name: &str) -> Result<Model, ModelError> {
    let all = models()?;
    let names = || all.iter().map(|model| model.name.clone()).collect::<Vec<_>>().join(", ");
    let found = all.iter().find(|model| model.name == name).cloned();
    found.ok_or_else(|| ModelError::Unknown { name: name.into(), names: names() })
}

/// The file that a path or a name stands for: a path that exists is itself, a name is
/// the fetched file, and any other path is itself.
///
/// # Errors
/// [`ModelError::NotFetched`] if a name stands for no file yet; [`ModelError::Catalogue`].
pub fn resolve(value: &Path) -> Result<PathBuf, ModelError> {
    let Some(name) = value.to_str().filter(|_| !value.exists()) else { return Ok(value.into()) };
    match models()?.into_iter().find(|model| model.name == name) {
        Some(model) if model.is_fetched() => Ok(model.path()),
        Some(model) => Err(ModelError::NotFetched(model.name)),
        None => Ok(value.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "[[model]]\nname = 'a'\nabout = 'x'\narchitecture = 'llama'\n\
        parameters = 1\nquantisation = 'F16'\nlicence = 'MIT'\ncontext = 8\ntemplate = 'chatml'\n\
        size = 4\nsha256 = 'SHA'\n";

    fn text(more: &str) -> String {
        LEAST.replace("SHA", &"0".repeat(64)) + more
    }

    #[test]
    fn every_model_of_ours_has_a_source_and_names_differ() {
        let all = read(Path::new("catalogue.toml"), OURS).unwrap();
        assert!(all.len() > 1);
        for (at, model) in all.iter().enumerate() {
            assert!(model.hub.is_some() || !model.pypi.is_empty(), "{}", model.name);
            assert!(all.iter().skip(at + 1).all(|other| other.name != model.name));
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let why = match read(Path::new("models.toml"), text) {
            Ok(all) => format!("{} models", all.len()),
            Err(why) => why.to_string(),
        };
        assert!(why.contains(expected), "{why}");
    }

    #[test]
    fn an_entry_that_cannot_be_used_is_refused() {
        check(&text(""), "1 models");
        check("", "0 models");
        check(&text("").replace("'a'", "'../a'"), "models.toml: `../a` is no name for a model");
        check(&text("").replace("'a'", "'-a'"), "`-a` is no name for a model");
        check(&LEAST.replace("SHA", "ab"), "models.toml: a: sha256 must be 64");
        check(&text("url = 'x'\n"), "unknown field `url`");
        let part =
            |package: &str| text(&format!("pypi = [{{ package = '{package}', member = 'm' }}]\n"));
        check(&part("b==1.0"), "1 models");
        check(&part("b"), "`b` must be PACKAGE==VERSION");
        check(&part("--index-url==x"), "must be PACKAGE==VERSION");
        check(&part("b==1 --pre"), "must be PACKAGE==VERSION");
    }

    #[test]
    fn a_path_is_itself() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for path in [file.path(), Path::new("/no/such.gguf"), Path::new("models/Qwen3-8B")] {
            assert_eq!(resolve(path).unwrap(), path);
        }
    }
}
