//! The limits of an attempt.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The limits of an attempt, or what is left of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Budget {
    /// Turns.
    pub turns: u32,
    /// Tokens of prompts and completions together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Wall-clock seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
}

impl Budget {
    /// The limit that is reached, if this is what is left.
    pub(crate) fn limit_met(&self) -> Option<Limit> {
        match self {
            Budget { turns: 0, .. } => Some(Limit::Turns),
            Budget { tokens: Some(0), .. } => Some(Limit::Tokens),
            Budget { seconds: Some(0), .. } => Some(Limit::Seconds),
            Budget { usd: Some(usd), .. } if *usd <= 0.0 => Some(Limit::Usd),
            _ => None,
        }
    }
}

/// A limit that ends an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Turns.
    Turns,
    /// Tokens.
    Tokens,
    /// Wall-clock time.
    Seconds,
    /// Money.
    Usd,
    /// The model's context window.
    Context,
    /// Malformed answers in a row.
    Malformed,
}
