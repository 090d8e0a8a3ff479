//! Words of a shell script.

/// Where a job's words have the number of the part.
pub(super) const PART: &str = "{part}";

/// A word that bash reads as it is.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:=,@%+-".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A line of words; `{part}` becomes the variable of that name.
pub(super) fn line(words: &[String]) -> String {
    let word = |word: &String| match word.contains(PART) {
        false => quoted(word),
        true => {
            let pieces = word.split(PART).map(|piece| match piece {
                "" => String::new(),
                piece => quoted(piece),
            });
            pieces.collect::<Vec<_>>().join("\"$part\"")
        }
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// A line of words for people; `N` for the number of the part.
pub(super) fn shown(words: &[String]) -> String {
    let words = words.iter().map(|word| quoted(&word.replace(PART, "N")));
    words.collect::<Vec<_>>().join(" ")
}

/// Numbers in ascending order, as Slurm writes sets of them: `1-3,7`.
pub(super) fn ranges(numbers: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let shown = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn bash_reads_every_word_as_it_is() {
        let words = [
            "run", "", "a b", "it's", "$HOME", "*", "~", "a\nb", "`x`", "ä", "-o", "'", "\\", "!",
            "#", "a=b", "{a,b}",
        ];
        let line = line(&words.map(String::from));
        let script = format!("for word in {line}; do printf '%s\\0' \"$word\"; done");
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.split_terminator('\0').collect::<Vec<_>>(), words);
    }

    #[test]
    fn the_number_of_the_part_is_a_variable() {
        let check = |word: &str, expected: &str| assert_eq!(line(&[word.into()]), expected);
        check("{part}/8", "\"$part\"/8");
        check("runs/my run/{part}", "'runs/my run/'\"$part\"");
        check("{part}", "\"$part\"");
        check("{parts}", "'{parts}'");
    }

    #[test]
    fn numbers_are_ranges() {
        for (numbers, expected) in
            [(&[][..], ""), (&[3], "3"), (&[1, 2, 3, 7], "1-3,7"), (&[1, 3, 4], "1,3-4")]
        {
            assert_eq!(ranges(numbers), expected);
        }
    }
}
