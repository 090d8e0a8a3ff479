//! Ownership of sandboxes. Everything that could outlive fixfly contains the names of its
//! run and of the process that opened it, so that a later sweep recognises leftovers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Maximum number of letters of a run's name in another name.
const LONGEST: usize = 100;

/// A name that is unique on this machine.
pub(crate) fn fresh() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("fixfly-{}-{}", owner(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A unique name that contains the run's name, for what carries no labels.
pub(crate) fn fresh_of(run: &str) -> String {
    format!("{}{}", fresh(), suffix(run))
}

/// A run's name as a suffix for another name; a long one is shortened to its end.
fn suffix(run: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    let letters: Vec<char> = run.chars().map(letter).collect();
    let kept = &letters[letters.len().saturating_sub(LONGEST)..];
    if kept.is_empty() { String::new() } else { format!(".{}", String::from_iter(kept)) }
}

/// The owner in a name from [`fresh`].
pub(crate) fn owner_of(name: &str) -> Option<&str> {
    let of = name.strip_prefix("fixfly-")?;
    let (end, _) = of.match_indices('-').nth(1)?;
    Some(&of[..end])
}

/// The id of this process, which no later process with the same pid has.
pub(crate) fn owner() -> String {
    let pid = std::process::id();
    format!("{pid}-{}", started(pid).unwrap_or_default())
}

/// Whether the process with this id is still running.
pub(crate) fn lives(owner: &str) -> bool {
    let parts = owner.split_once('-').and_then(|(pid, start)| Some((pid.parse().ok()?, start)));
    parts.is_some_and(|(pid, start): (u32, _)| started(pid).as_deref() == Some(start))
}

/// The id of this machine's current boot.
#[cfg(feature = "docker")]
pub(crate) fn machine() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot.trim().to_owned()
}

/// When a process started, in clock ticks since boot; `None` for a zombie.
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    (!["Z", "X"].contains(&state)).then(|| fields.nth(18).map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_owner_who_lives() {
        let name = fresh();
        assert_eq!(owner_of(&name), Some(owner().as_str()));
        assert!(lives(&owner()));
    }

    #[test]
    fn a_run_s_name_is_in_the_sandbox_s_name_and_changes_no_owner() {
        for (run, expected) in [
            ("", "".to_owned()),
            ("runs/in-docker", ".runs_in_docker".to_owned()),
            (&"ö/".repeat(99), format!(".{}", "_".repeat(100))),
        ] {
            assert_eq!(suffix(run), expected);
            let name = format!("fixfly-12-345-6{expected}");
            assert_eq!(owner_of(&name), Some("12-345"), "{name}");
        }
    }

    #[test]
    fn a_dead_process_and_a_later_one_of_its_number_own_nothing() {
        for (owner, alive) in [("999999999-1", false), ("1-1", false), ("", false), ("x", false)] {
            assert_eq!(lives(owner), alive, "{owner}");
        }
        assert!(!lives(&format!("{}-1", std::process::id())));
    }
}
