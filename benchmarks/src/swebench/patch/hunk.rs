//! The headers of hunks, and the commands of older formats.

/// The numbers of lines of a hunk, by its header `@@ -1,7 +1,8 @@`, and whether git reads it
/// as patch(1) does.
pub(super) fn ranges(line: &[u8]) -> Option<([u64; 2], bool)> {
    let (old, rest) = range(line.strip_prefix(b"@@ -")?)?;
    let (new, rest) = range(rest.strip_prefix(b" +")?)?;
    let alike = rest.starts_with(b" @@");
    (alike || rest.starts_with(b" @") || rest.starts_with(b"@")).then_some(([old, new], alike))
}

/// The number of lines in `1,7`, and what follows.
fn range(text: &[u8]) -> Option<(u64, &[u8])> {
    let (_, rest) = number(text)?;
    match rest.strip_prefix(b",") {
        Some(rest) => number(rest),
        None => Some((1, rest)),
    }
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    // More digits than a file has lines.
    if digits == 0 || digits > 9 {
        return None;
    }
    let number =
        text[..digits].iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some((number, &text[digits..]))
}

/// Whether a line may be a command of an ed script or of a plain diff: `3,4c5`.
pub(super) fn is_command(text: &[u8]) -> bool {
    let numbers =
        |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit() || **b == b',').count();
    let (before, after) = text.split_at(numbers(text));
    let Some((b'a' | b'c' | b'd', after)) = after.split_first() else { return false };
    before.first().is_some_and(u8::is_ascii_digit)
        && after[numbers(after)..].trim_ascii().is_empty()
}
