//! How pages write numbers and times. Unknown values are dashes.

use fixfly_runtime::thousands;
use jiff::Timestamp;

use crate::metrics::Share;

pub(crate) const UNKNOWN: &str = "—";

/// `76.6 % (72.2–80.5)`.
pub(crate) fn share(share: &Share) -> String {
    match (share.percent, share.low, share.high) {
        (Some(percent), Some(low), Some(high)) => format!("{percent:.1} % ({low:.1}–{high:.1})"),
        _ => UNKNOWN.into(),
    }
}

pub(crate) fn tokens(tokens: Option<u64>) -> String {
    tokens.map_or(UNKNOWN.into(), thousands)
}

/// Dollars: to the cent from one dollar on, otherwise to four places.
pub(crate) fn money(usd: Option<f64>) -> String {
    match usd {
        None => UNKNOWN.into(),
        Some(usd) if usd >= 1.0 => format!("${usd:.2}"),
        Some(usd) => format!("${usd:.4}"),
    }
}

/// `0.8 s`, `14 min 3 s`, `5 h 12 min`.
pub(crate) fn seconds(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// How long ago a time was: `3 h ago`.
pub(crate) fn age(started: &str, now: Timestamp) -> String {
    let Ok(started) = started.parse::<Timestamp>() else { return UNKNOWN.into() };
    let seconds = (now.as_second() - started.as_second()).max(0);
    match seconds {
        0..60 => "just now".into(),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// `2026-01-01 00:00 UTC`.
pub(crate) fn date(started: &str) -> String {
    match started.parse::<Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => started.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_short() {
        assert_eq!(share(&Share::new(304, 397)), "76.6 % (72.2–80.5)");
        assert_eq!([share(&Share::new(0, 0)), money(None), tokens(None)], [UNKNOWN; 3]);
        assert_eq!([money(Some(0.01234)), money(Some(12.345))], ["$0.0123", "$12.35"]);
        assert_eq!(
            [0.84, 42.2, 843.0, 18_730.0].map(seconds),
            ["0.8 s", "42 s", "14 min 3 s", "5 h 12 min"]
        );
    }

    #[test]
    fn ages_are_counted_from_the_start() {
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        #[track_caller]
        fn check(now: Timestamp, started: &str, expected: &str) {
            assert_eq!(age(started, now), expected);
        }
        check(now, "2026-01-09T23:59:30Z", "just now");
        check(now, "2026-01-09T23:18:00.5Z", "42 min ago");
        check(now, "2026-01-08T23:00:00Z", "25 h ago");
        check(now, "2026-01-01T00:00:00Z", "9 days ago");
        check(now, "2026-02-01T00:00:00Z", "just now");
        check(now, "yesterday", UNKNOWN);
        assert_eq!(date("2026-01-08T23:00:12.345Z"), "2026-01-08 23:00 UTC");
    }
}
