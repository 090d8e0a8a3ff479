//! Numbers, durations and sizes as text.

use std::time::Duration;

/// A number with a comma after every three digits: `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration: `2h 2m`.
pub fn readable(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h {minutes}m"),
        (days, hours, ..) => format!("{days}d {hours}h"),
    }
}

/// Bytes in a size with its unit: `40GB`, `1.5 GiB`, `512M`.
///
/// # Errors
/// One sentence if it is no such size, or none at all.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "G" | "GB" => 1e9,
        "GIB" => f64::from(1 << 30),
        "M" | "MB" => 1e6,
        "MIB" => f64::from(1 << 20),
        _ => 0.0,
    };
    let number = digits.trim_end().parse::<f64>().ok().map(|number| number * unit);
    let bytes = number.filter(|bytes| bytes.is_finite() && *bytes > 0.0);
    bytes.map(|bytes| bytes as u64).ok_or_else(|| "it must be a size, such as 40GB or 512MB".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        let all = [0, 12, 999, 1000, 30_670_848].map(thousands);
        assert_eq!(all, ["0", "12", "999", "1,000", "30,670,848"]);
    }

    #[test]
    fn sizes_have_a_unit() {
        let all = ["40GB", "1.5 GiB", "512m", "1MiB"].map(|text| parse_bytes(text).ok());
        let expected = [40_000_000_000, 1_610_612_736, 512_000_000, 1_048_576].map(Some);
        assert_eq!(all, expected);
        for text in ["", "40", "GB", "-1GB", "0GB", "40KB", "infGB", "1e999GB", "4 0GB"] {
            let why = parse_bytes(text).unwrap_err();
            assert_eq!(why, "it must be a size, such as 40GB or 512MB", "{text}");
        }
    }

    #[test]
    fn times_are_short() {
        let all = [59, 61, 7325, 200_000].map(|seconds| readable(Duration::from_secs(seconds)));
        assert_eq!(all, ["59s", "1m 1s", "2h 2m", "2d 7h"]);
    }
}
