//! What an agent changed in a work tree, and what of it could not be taken.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The change of a work tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// A unified diff against what the policy was given; `None` if nothing changed.
    pub patch: Option<String>,
    /// What the diff lacks because it could not be taken.
    pub left_out: Vec<LeftOut>,
}

impl Change {
    /// What is left out, in sentences for the policy; empty if nothing is.
    pub fn note(&self) -> String {
        if self.left_out.is_empty() {
            return String::new();
        }
        let lines: Vec<String> = self.left_out.iter().map(|out| format!("- {out}")).collect();
        format!("\nThese are left out of the change:\n{}", lines.join("\n"))
    }
}

/// A file or folder that is left out of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// Path below the root of the work tree; in quotes, as git writes it, if it is not plain
    /// text.
    pub path: String,
    /// Why.
    pub reason: LeftOutReason,
    /// The size of the file in bytes, if the reason is a size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The number of further files that are left out for this reason and are not listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Why a file or folder is left out of a change.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LeftOutReason {
    /// The file is larger than the limit for one file.
    TooLarge,
    /// The change as a whole is larger than its limit; smaller files come first.
    ChangeTooLarge,
    /// The folder contains more new files than can be listed.
    TooManyFiles,
    /// It cannot be read.
    Unreadable,
    /// It is a pipe, a socket or a device.
    SpecialFile,
    /// It changed while it was read.
    ChangedWhileRead,
    /// No patch can contain its path: git refuses it.
    RefusedPath,
    /// It is a link to a path that is not UTF-8, which no patch in UTF-8 can contain.
    LinkTarget,
    /// It is a new source file that the base commit's ignore rules exclude.
    Ignored,
}

impl LeftOutReason {
    fn as_str(self) -> &'static str {
        match self {
            LeftOutReason::TooLarge => "the file is too large",
            LeftOutReason::ChangeTooLarge => "all changes together are too large",
            LeftOutReason::TooManyFiles => "the folder contains too many new files",
            LeftOutReason::Unreadable => "it cannot be read",
            LeftOutReason::SpecialFile => "it is a pipe, a socket or a device",
            LeftOutReason::ChangedWhileRead => "it changed while it was read",
            LeftOutReason::RefusedPath => "git refuses its path",
            LeftOutReason::LinkTarget => "it is a link to a path that is not UTF-8",
            LeftOutReason::Ignored => "the ignore rules of the base commit exclude it",
        }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LeftOut { path, reason, bytes, more } = self;
        write!(to, "{path}: {}", reason.as_str())?;
        if let Some(bytes) = bytes {
            write!(to, " ({bytes} bytes)")?;
        }
        match more {
            0 => Ok(()),
            more => write!(to, "; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_listed_with_its_reason() {
        let check = |left_out: Vec<LeftOut>, expected: &str| {
            let change = Change { patch: None, left_out };
            assert_eq!(change.note(), expected);
        };
        let out = |reason, bytes, more| LeftOut { path: "a.log".into(), reason, bytes, more };
        let head = "\nThese are left out of the change:\n- a.log: ";
        check(Vec::new(), "");
        check(
            vec![out(LeftOutReason::TooLarge, Some(9), 0)],
            &format!("{head}the file is too large (9 bytes)"),
        );
        check(
            vec![out(LeftOutReason::SpecialFile, None, 3)],
            &format!("{head}it is a pipe, a socket or a device; and 3 more"),
        );
    }

    #[test]
    fn a_record_states_the_reason_as_a_word() {
        let out =
            LeftOut { path: "p".into(), reason: LeftOutReason::SpecialFile, bytes: None, more: 0 };
        let json = serde_json::to_string(&out).unwrap();
        assert_eq!(json, r#"{"path":"p","reason":"special_file"}"#);
        assert_eq!(serde_json::from_str::<LeftOut>(&json).unwrap(), out);
    }
}
