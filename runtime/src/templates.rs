//! The wording of conversations: templates that are checked when they are loaded.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, context};
use sha2::{Digest, Sha256};

use crate::hash::hex;

/// The wording of a conversation: Jinja templates, checked when loaded.
#[derive(Clone, Debug)]
pub struct Templates {
    environment: Environment<'static>,
    /// SHA-256 of the three texts, hexadecimal; recorded with every run.
    pub hash: String,
}

/// A template that cannot be used; the message states the file, the place and the fault.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(pub(crate) String);

/// The built-in wording of a kind of task, and the variables that templates may use.
pub(crate) struct Prompts {
    /// `system`, `first` and `later`.
    pub(crate) texts: [(&'static str, &'static str); 3],
    /// Variables of `system` and `first`, for a task whose texts are all the given one.
    pub(crate) sample: fn(&str) -> minijinja::Value,
}

impl Templates {
    /// Parses the templates. `texts` takes the name and the built-in text of each, and
    /// returns its name for error messages and the text to use.
    pub(crate) fn of(
        prompts: &Prompts,
        texts: impl Fn(&str, &str) -> Result<(String, String), TemplateError>,
    ) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(
            SyntaxConfig::builder()
                .trim_blocks(true)
                .build()
                .unwrap_or_else(|e| unreachable!("default delimiters are valid: {e}")),
        );
        let mut hasher = Sha256::new();
        for (name, built_in) in prompts.texts {
            let (shown, text) = texts(name, built_in)?;
            hasher.update(text.as_bytes());
            hasher.update([0]);
            environment
                .add_template_owned(name, text)
                .map_err(|e| TemplateError(format!("{shown}: {e:#}")))?;
            try_out(&environment, prompts, name)
                .map_err(|e| TemplateError(format!("{shown}: {e:#}")))?;
        }
        let hash = hex(hasher.finalize());
        Ok(Templates { environment, hash })
    }

    /// The texts, by name; recorded with every run.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let templates = self.environment.templates();
        templates.map(|(name, text)| (name.to_string(), text.source().to_string())).collect()
    }

    pub(crate) fn fill(&self, name: &str, context: minijinja::Value) -> String {
        fill(&self.environment, name, context)
            .unwrap_or_else(|e| panic!("template {name} was tried out when loaded: {e:#}"))
    }
}

fn fill(
    environment: &Environment<'_>,
    name: &str,
    context: minijinja::Value,
) -> Result<String, minijinja::Error> {
    Ok(environment.get_template(name)?.render(context)?.trim_end().to_string())
}

/// Renders with every variable that exists at run time, so that a fault in a user's
/// template is found before the first episode.
fn try_out(
    environment: &Environment<'_>,
    prompts: &Prompts,
    name: &str,
) -> Result<(), minijinja::Error> {
    for some in ["", "x"] {
        let context = match name {
            "later" => context! { change => some, observation => some, feedback => "full" },
            _ => (prompts.sample)(some),
        };
        fill(environment, name, context)?;
    }
    Ok(())
}
