//! Text from elsewhere: reads it in the forms that people have, and shows it safely.

mod encoding;
mod json;
mod log;
mod number;
mod printable;
mod shared;

pub use encoding::{NotText, decode_utf8, read_text};
pub use json::{LONE_SURROGATE, parse_json, replace_lone_surrogates};
pub use log::{log_event, one_line};
pub use number::{parse_bytes, readable, thousands};
pub use printable::{printable, printable_pieces, printable_styled};
pub use shared::{SharedStr, StrPool};
