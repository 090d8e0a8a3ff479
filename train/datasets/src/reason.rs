//! Reasoning for answers that have none: what a teacher is asked, which of its
//! answers are taken, and the record of both.

mod answers;
mod judge;
mod leaks;
mod prompts;

pub use answers::{Answered, Answers, Outcome, Tally};
pub use judge::{Said, compressed, elicited, final_code, same_code};
pub use leaks::without_leaks;
pub use prompts::{ELICITATIONS, Failed, Prompts, Question};
