//! The viewer.
#![allow(dead_code, reason = "the command that uses it is not here yet")]

mod sources;
