//! Number formats shared by all tables.

use crate::metrics::{Estimate, Share};

use super::groups::Rate;

pub(super) const NONE: &str = "—";

/// `82.4 (78.3–85.8)`, with σ for repeats.
pub(super) fn rate(rate: &Option<Rate>) -> String {
    let Some(rate) = rate else { return NONE.into() };
    let sigma = rate.spread.as_ref().map_or(String::new(), |s| format!(" σ {:.1}", s.sigma));
    format!("{:.1}{sigma} ({:.1}–{:.1})", rate.percent, rate.low, rate.high)
}

/// `+5.9 (+2.1 to +9.6)`.
pub(super) fn gain(gain: &Option<Estimate>) -> String {
    gain.map_or(NONE.into(), |gain| {
        format!("{:+.1} ({:+.1} to {:+.1})", gain.value, gain.low, gain.high)
    })
}

/// `0.331 (0.320–0.342)`.
pub(super) fn score(score: &Option<Estimate>) -> String {
    score.map_or(NONE.into(), |score| {
        format!("{:.3} ({:.3}–{:.3})", score.value, score.low, score.high)
    })
}

/// `1147 (1100–1190)`.
pub(super) fn whole(estimate: &Option<Estimate>) -> String {
    estimate.map_or(NONE.into(), |e| format!("{:.0} ({:.0}–{:.0})", e.value, e.low, e.high))
}

/// `20.0 (12.1–31.2) of 60`.
pub(super) fn share(share: &Share) -> String {
    match (share.percent, share.low, share.high) {
        (Some(percent), Some(low), Some(high)) => {
            format!("{percent:.1} ({low:.1}–{high:.1}) of {}", share.of)
        }
        _ => NONE.into(),
    }
}

/// `12.3`.
pub(super) fn number(value: Option<f64>) -> String {
    value.map_or(NONE.into(), |value| format!("{value:.1}"))
}
