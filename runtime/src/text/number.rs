//! Numbers and durations as text.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        let all = [0, 12, 999, 1000, 30_670_848].map(thousands);
        assert_eq!(all, ["0", "12", "999", "1,000", "30,670,848"]);
    }
    #[test]
    fn times_are_short() {
        let all = [59, 61, 7325, 200_000].map(|seconds| readable(Duration::from_secs(seconds)));
        assert_eq!(all, ["59s", "1m 1s", "2h 2m", "2d 7h"]);
    }
}
