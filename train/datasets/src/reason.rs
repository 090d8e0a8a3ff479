//! Reasoning for answers without any: the prompts for a teacher, the loop that sends them,
//! the rules for accepting answers, and their record.

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
