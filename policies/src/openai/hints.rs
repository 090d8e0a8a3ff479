//! How long a server asks its clients to wait: headers, fields and words.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use regex::Regex;
use serde_json::Value;

/// Looks up a header.
pub(super) type Headers<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Longer than any server means.
const YEAR: f64 = 366.0 * 86_400.0;
/// From this on, a number of seconds is a time since 1970; from a thousand times that
/// on, milliseconds.
const EPOCH: f64 = 1e9;

static WORDS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)(?:try again|retry|wait|resets?)(?: your request)?(?: in| after| for)?[ :~]*((?:\d+(?:\.\d+)?\s*(?:milliseconds?|ms|minutes?|mins?|seconds?|secs?|hours?|hrs?|days?|[mshd])[ ,]*(?:and )?)+|\d+(?:\.\d+)?(?:s\b)?)",
    )
    .ok()
});
static PART: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)(\d+(?:\.\d+)?)\s*([a-zµ]*)").ok());
static DATE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:again|resets?|retry|until)(?: at| on| after| until)?:? (\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)").ok()
});

/// How long a server asks us to wait before the next request.
pub(super) fn wait(
    status: u16,
    headers: &Headers<'_>,
    body: &Value,
    text: &str,
) -> Option<Duration> {
    // The server's dates are of its own clock. This machine's may be wrong, and can jump.
    let date = headers("date").and_then(|date| httpdate::parse_http_date(&date).ok());
    let now = date.unwrap_or_else(SystemTime::now);
    let told = || milliseconds(&headers("retry-after-ms")?);
    let told = told().or_else(|| time(&headers("retry-after")?, now));
    let told = told.or_else(|| field(body, now)).or_else(|| words(text, now));
    // Each answer has the headers of limits: they are the reason only where the server says
    // so.
    told.or_else(|| resets(headers, now).filter(|_| status == 429))
}

/// Fields of an error: Google's `retryDelay`, OpenRouter's forwarded headers, others'.
fn field(body: &Value, now: SystemTime) -> Option<Duration> {
    let places = ["/error", ""].map(|place| body.pointer(place));
    places.into_iter().flatten().find_map(|error| {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let get = |place: &str| text(error.pointer(place)?);
        let details = error["details"].as_array().into_iter().flatten();
        let delay = details.filter_map(|detail| text(&detail["retryDelay"])).next();
        let told = || milliseconds(&get("/retry_after_ms")?);
        told()
            .or_else(|| time(&get("/retry_after").or_else(|| get("/retryAfter"))?, now))
            .or_else(|| time(&delay?, now))
            .or_else(|| time(&get("/metadata/headers/X-RateLimit-Reset")?, now))
    })
}

/// "Please try again in 6m0s."
fn words(text: &str, now: SystemTime) -> Option<Duration> {
    let found = || WORDS.as_ref()?.captures(text)?.get(1);
    if let Some(date) = DATE.as_ref().and_then(|date| date.captures(text)?.get(1)) {
        return time(date.as_str(), now);
    }
    let found = found()?;
    // A time of day is no duration.
    let rest = text[found.end()..].trim_start().to_lowercase();
    let is_time = [":", "am", "pm", "a.m", "p.m"].iter().any(|start| rest.starts_with(start));
    if is_time { None } else { time(found.as_str(), now) }
}

/// The headers of limits that are used up. If the server does not say which are, the
/// longest counts.
fn resets(headers: &Headers<'_>, now: SystemTime) -> Option<Duration> {
    let limits = [
        "-requests",
        "-tokens",
        "-input-tokens",
        "-output-tokens",
        "-requests-minute",
        "-requests-hour",
        "-requests-day",
        "-tokens-minute",
        "-tokens-hour",
        "-tokens-day",
        "",
    ];
    let names = limits.iter().flat_map(|limit| {
        let plain = ["x-ratelimit", "ratelimit"]
            .map(|start| [format!("{start}-remaining{limit}"), format!("{start}-reset{limit}")]);
        let other = limit.trim_start_matches('-');
        let anthropic =
            ["remaining", "reset"].map(|end| format!("anthropic-ratelimit-{other}-{end}"));
        plain.into_iter().chain([anthropic])
    });
    let waits = names.filter_map(|[remaining, reset]| {
        let left = headers(&remaining).and_then(|left| left.trim().parse::<f64>().ok());
        left.is_none_or(|left| left <= 0.0).then(|| time(&headers(&reset)?, now)).flatten()
    });
    waits.chain(headers("ratelimit").and_then(|text| used_up(&text))).max()
}

/// The wait of the limits that are used up in one header: `"default";r=0;t=7200`.
fn used_up(text: &str) -> Option<Duration> {
    let waits = text.split(',').filter_map(|limit| {
        let get = |name: &str| {
            let pairs = limit.split(';').filter_map(|part| part.trim().split_once('='));
            pairs.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse::<f64>().ok())
        };
        get("r").filter(|left| *left <= 0.0).and_then(|_| seconds(get("t")?))
    });
    waits.max()
}

fn milliseconds(text: &str) -> Option<Duration> {
    seconds(text.trim().parse::<f64>().ok()? / 1000.0)
}

/// Reads seconds, a duration with units, a date, or a time since 1970.
fn time(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim().trim_end_matches(['.', ',']);
    let since_1970 = |at: f64| {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        seconds((at - now.as_secs_f64()).max(0.0))
    };
    if let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) {
        return match number {
            number if number >= EPOCH * 1000.0 => since_1970(number / 1000.0),
            number if number >= EPOCH => since_1970(number),
            number => seconds(number),
        };
    }
    if let Ok(date) = httpdate::parse_http_date(text) {
        return Some(date.duration_since(now).unwrap_or_default());
    }
    if let Ok(date) = text.replacen(' ', "T", 1).parse::<jiff::Timestamp>() {
        return since_1970(date.as_millisecond() as f64 / 1000.0);
    }
    if let Ok(date) = text.replacen(' ', "T", 1).parse::<jiff::civil::DateTime>() {
        // Without a zone, it is taken as UTC.
        let date = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        return since_1970(date.timestamp().as_millisecond() as f64 / 1000.0);
    }
    clock(text).or_else(|| units(text))
}

/// `1:00:00`: hours, minutes and seconds.
fn clock(text: &str) -> Option<Duration> {
    let parts: Option<Vec<u32>> = text.split(':').map(|part| part.parse().ok()).collect();
    let parts = parts.filter(|parts| matches!(parts.len(), 2 | 3))?;
    seconds(parts.iter().fold(0.0, |sum, part| sum * 60.0 + f64::from(*part)))
}

/// `6m0s`, `1.5 seconds`, `1 hour and 5 minutes`.
fn units(text: &str) -> Option<Duration> {
    let mut sum = 0.0;
    let mut any = false;
    for part in PART.as_ref()?.captures_iter(text) {
        let number: f64 = part[1].parse().ok()?;
        sum += number
            * match part[2].to_lowercase().as_str() {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                unit if unit == "ms" || unit.starts_with("milli") => 1e-3,
                unit if unit.is_empty() || unit.starts_with('s') => 1.0,
                unit if unit.starts_with('m') => 60.0,
                unit if unit.starts_with('h') => 3600.0,
                unit if unit.starts_with('d') => 86_400.0,
                _ => return None,
            };
        any = true;
    }
    any.then(|| seconds(sum)).flatten()
}

fn seconds(number: f64) -> Option<Duration> {
    (number.is_finite() && number >= 0.0).then(|| Duration::from_secs_f64(number.min(YEAR)))
}

/// A duration for people: `1h 5m`.
pub(super) fn readable(wait: Duration) -> String {
    let seconds = wait.as_secs_f64().ceil() as u64;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, 0) => format!("{minutes}m"),
        (0, 0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h {minutes}m"),
        (days, hours, ..) => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(status: u16, all: &[(&str, &str)], text: &str) -> Option<f64> {
        let headers = |name: &str| {
            all.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
        };
        let body = serde_json::from_str(text).unwrap_or_default();
        wait(status, &headers, &body, text).map(|wait| wait.as_secs_f64())
    }

    #[track_caller]
    fn check(all: &[(&str, &str)], text: &str, expected: Option<f64>) {
        let found = told(429, all, text);
        let near = match (found, expected) {
            (Some(found), Some(expected)) => (found - expected).abs() < 3.0,
            (found, expected) => found == expected,
        };
        assert!(near, "{all:?} {text}: {found:?}, not {expected:?}");
    }

    #[test]
    fn headers_are_read_in_every_form() {
        check(&[("retry-after", "86400")], "", Some(86_400.0));
        check(&[("retry-after", " 12.5 ")], "", Some(12.5));
        check(&[("retry-after", "1e300")], "", Some(YEAR));
        check(&[("retry-after", "-5")], "", None);
        check(&[("retry-after", "soon")], "", None);
        check(&[("retry-after", "inf")], "", None);
        check(&[("retry-after", "1:00:00")], "", Some(3600.0));
        check(&[("retry-after", "02:30")], "", Some(150.0));
        check(&[("ratelimit", "\"default\";r=0;t=7200")], "", Some(7200.0));
        check(&[("ratelimit", "\"a\";r=9;t=7200, \"b\";r=0;t=60")], "", Some(60.0));
        check(&[("ratelimit", "\"default\";r=1;t=7200")], "", None);
        let day = [
            ("x-ratelimit-remaining-requests-day", "0"),
            ("x-ratelimit-reset-requests-day", "7200"),
        ];
        check(&day, "", Some(7200.0));
        let reset = [("x-ratelimit-reset-requests", "24h")];
        assert_eq!(told(500, &reset, ""), None, "no limit is the reason");
        assert_eq!(told(500, &[("retry-after", "5")], ""), Some(5.0));
        check(&[("retry-after", "20s")], "", Some(20.0));
        check(&[("retry-after-ms", "20500"), ("retry-after", "99")], "", Some(20.5));
        check(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")], "", Some(0.0));
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(120));
        check(&[("retry-after", &date)], "", Some(120.0));
        let at = jiff::Timestamp::now().as_second() + 90;
        check(&[("x-ratelimit-reset", &at.to_string())], "", Some(90.0));
        let (date, later) = ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:29:30 GMT");
        check(&[("date", date), ("retry-after", later)], "", Some(90.0));
        check(&[("date", date), ("x-ratelimit-reset", "1445412490")], "", Some(10.0));
        check(&[("date", date)], "It resets at 2015-10-21T07:28:05Z", Some(5.0));
        check(&[("date", "soon"), ("retry-after", later)], "", Some(0.0));
        check(&[("x-ratelimit-reset", &(at * 1000).to_string())], "", Some(90.0));
        check(&[("x-ratelimit-reset-requests", "6m0s")], "", Some(360.0));
        check(&[("x-ratelimit-reset-tokens", "20ms")], "", Some(0.02));
        let used_up = [
            ("x-ratelimit-remaining-requests", "9"),
            ("x-ratelimit-reset-requests", "24h0m0s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "1m30.5s"),
        ];
        check(&used_up, "", Some(90.5));
        let stamp = jiff::Timestamp::from_second(at).unwrap().to_string();
        check(&[("anthropic-ratelimit-tokens-reset", &stamp)], "", Some(90.0));
    }

    #[test]
    fn words_and_fields_are_read_too() {
        check(&[], "Rate limit reached. Please try again in 20s. Visit x", Some(20.0));
        check(&[], "Please try again in 6m0s.", Some(360.0));
        check(&[], "Please try again in 7.66s.", Some(7.66));
        check(&[], "Please retry after 30 seconds.", Some(30.0));
        check(&[], "try again in 1 hour and 5 minutes", Some(3900.0));
        check(&[], "Please try again in 250ms.", Some(0.25));
        check(&[], "please wait 2 minutes", Some(120.0));
        check(&[], "try again later", None);
        check(&[], "Your limit resets 12am", None);
        check(&[], "Your limit resets at 12:30", None);
        check(&[], "It resets 3 p.m. (UTC)", None);
        check(
            &[],
            "Your limit will reset at 2027-01-06 22:02:00",
            told(429, &[], "resets at 2027-01-06T22:02:00Z"),
        );
        check(&[], "Too many requests, 5 of 5", None);
        check(&[], &json!({ "error": { "retry_after": 7 } }).to_string(), Some(7.0));
        let google = json!({ "error": { "details": [{}, { "retryDelay": "41s" }] } });
        check(&[], &google.to_string(), Some(41.0));
        let at = ((jiff::Timestamp::now().as_second() + 60) * 1000).to_string();
        let forwarded =
            json!({ "error": { "metadata": { "headers": { "X-RateLimit-Reset": at } } } });
        check(&[], &forwarded.to_string(), Some(60.0));
        let at = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + 60).unwrap();
        check(&[], &format!("Your limit resets at {at}"), Some(60.0));
    }

    #[test]
    fn a_wait_is_shown_in_short() {
        let check = |wait: u64, expected: &str| {
            assert_eq!(readable(Duration::from_secs(wait)), expected);
        };
        check(9, "9s");
        check(600, "10m");
        check(61, "1m 1s");
        check(7_500, "2h 5m");
        check(86_400, "1d 0h");
    }
}
