//! What this fixfly was built with.

use crate::failure::Usage;

/// A part that a build may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    Train,
    Llama,
    Otlp,
}

impl Feature {
    fn name(self) -> &'static str {
        match self {
            Feature::Train => "train",
            Feature::Llama => "llama",
            Feature::Otlp => "otlp",
        }
    }

    /// Whether it is compiled in. The tests are compiled with everything, and
    /// leave parts out by `FIXFLY_WITHOUT`.
    fn is_here(self) -> bool {
        let compiled = match self {
            Feature::Train => cfg!(feature = "train"),
            Feature::Llama => cfg!(feature = "llama"),
            Feature::Otlp => cfg!(feature = "otlp"),
        };
        let without = std::env::var("FIXFLY_WITHOUT").unwrap_or_default();
        compiled && !without.split(',').any(|name| name == self.name())
    }
}

/// Refuses what needs parts that this build lacks, and says how to get them.
pub(crate) fn require(features: &[Feature]) -> Result<(), Usage> {
    let missing: Vec<&str> = features
        .iter()
        .filter(|feature| !feature.is_here())
        .map(|feature| feature.name())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let needed: Vec<&str> = features.iter().map(|feature| feature.name()).collect();
    let or = match features {
        [Feature::Train] => ", or train with LLaMA-Factory: `fixfly train llamafactory`",
        _ => "",
    };
    Err(Usage(format!(
        "this fixfly was built without {}; build it with `cargo build --release --features {}`{or}",
        missing.join(" and "),
        needed.join(","),
    )))
}
