//! Reasoning for answers that have none: what a teacher is asked, the loop that asks,
//! which of its answers are taken, and the record of all.

mod answers;
mod ask;
mod judge;
mod leaks;
mod prompts;
mod requests;
mod table;

pub use answers::{Answered, Answers, Outcome, Tally};
pub use ask::{AskEnd, AskWatch, Asking, TraceRequest, TraceRequests};
pub use judge::{TeacherAnswer, compressed, elicited, final_code, same_code};
pub use leaks::without_leaks;
pub use prompts::{ELICITATIONS, Failed, Prompts, Question};
pub use requests::{Accept, Compression, Elicitation, TaskTests};
