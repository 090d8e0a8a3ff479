//! Takes off what some models write into the lines of code: prompts of the interpreter,
//! line numbers, white space that Python does not accept.

use super::python::Strings;

/// Other readings of a block that is not Python as it is, likeliest first.
pub(super) fn readings(code: &str) -> impl Iterator<Item = String> + '_ {
    let all: [fn(&str) -> Option<String>; 3] = [without_prompts, without_numbers, with_spaces];
    all.into_iter().filter_map(move |reading| reading(code))
}

/// The input of an interactive session, without what it printed.
fn without_prompts(code: &str) -> Option<String> {
    if !code.lines().any(|line| line.trim_start().starts_with(">>> ")) {
        return None;
    }
    let input = code.lines().filter_map(|line| {
        let line = line.trim_start();
        let rest = line.strip_prefix(">>>").or_else(|| line.strip_prefix("..."))?;
        Some(rest.strip_prefix(' ').unwrap_or(rest))
    });
    Some(joined(input))
}

/// The lines without the numbers before them.
fn without_numbers(code: &str) -> Option<String> {
    let lines: Vec<&str> = code.lines().filter(|line| !line.trim().is_empty()).collect();
    let first = lines.first()?;
    let column = after_number(first)? + after_number(first).map(|at| spaces(&first[at..]))?;
    let mut last = None;
    let mut kept = Vec::new();
    for line in lines {
        let (number, at) = (number(line)?, after_number(line)?);
        if last.is_some_and(|last| number <= last) {
            return None;
        }
        last = Some(number);
        let rest = &line[at..];
        let after_tab = rest.strip_prefix('\t');
        kept.push(match after_tab.or_else(|| rest.strip_prefix([':', '|'])) {
            Some(rest) if after_tab.is_some() => rest,
            Some(rest) => rest.strip_prefix(' ').unwrap_or(rest),
            // Numbers and code are two columns.
            None if line.len() <= column => "",
            None if line.is_char_boundary(column) && line[..column].ends_with(' ') => {
                &line[column..]
            }
            None => return None,
        });
    }
    Some(joined(kept.into_iter()))
}

fn number(line: &str) -> Option<u32> {
    let digits = line.trim_start();
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// Where the number at the start of a line ends, with the spaces before its separator.
fn after_number(line: &str) -> Option<usize> {
    let start = spaces(line);
    let digits = line[start..].find(|c: char| !c.is_ascii_digit()).unwrap_or(line.len() - start);
    let end = start + digits;
    let gap = spaces(&line[end..]);
    let separated = line[end + gap..].starts_with(['|', ':']);
    (digits > 0).then_some(if separated { end + gap } else { end })
}

fn spaces(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// White space of other kinds, outside strings, as spaces.
fn with_spaces(code: &str) -> Option<String> {
    let is_odd = |c: char| c.is_whitespace() && !c.is_ascii();
    if !code.contains(is_odd) {
        return None;
    }
    let mut strings = Strings::default();
    let lines = code.lines().map(|line| {
        let mut odd = Vec::new();
        strings.each(line, |at, _| {
            if line.is_char_boundary(at) && line[at..].starts_with(is_odd) {
                odd.push(at);
            }
        });
        let (mut spaced, mut last) = (String::new(), 0);
        for at in odd {
            spaced += &line[last..at];
            spaced.push(' ');
            last = at + line[at..].chars().next().map_or(0, char::len_utf8);
        }
        spaced + &line[last..]
    });
    let lines: Vec<String> = lines.collect();
    Some(joined(lines.iter().map(String::as_str)))
}

fn joined<'l>(lines: impl Iterator<Item = &'l str>) -> String {
    lines.flat_map(|line| [line, "\n"]).collect()
}
