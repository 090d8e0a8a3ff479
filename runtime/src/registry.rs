//! Finds plug-ins by name.

/// A plug-in: one `const ENTRY` in its file and one line in its crate's `ALL`.
pub struct Entry<F> {
    /// Name of the module, in files and in flags.
    pub name: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// Creates the plug-in.
    pub open: F,
}

/// Finds an entry by name.
///
/// # Errors
/// One sentence with the unknown name and the available ones.
///
/// ```
/// use fixfly_runtime::{Entry, find};
/// const ALL: &[Entry<fn() -> u8>] = &[Entry { name: "one", about: "one", open: || 1 }];
/// assert_eq!((find("number", ALL, "one").unwrap().open)(), 1);
/// assert_eq!(
///     find("number", ALL, "two").err().unwrap(),
///     "unknown number `two`; available: one"
/// );
/// ```
pub fn find<'a, F>(kind: &str, all: &'a [Entry<F>], name: &str) -> Result<&'a Entry<F>, String> {
    all.iter().find(|entry| entry.name == name).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|entry| entry.name).collect();
        format!("unknown {kind} `{name}`; available: {}", names.join(", "))
    })
}
