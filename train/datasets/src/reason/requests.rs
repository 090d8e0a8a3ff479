//! The two kinds of request about a row: for its reasoning, and for a shorter trace.

use std::sync::Arc;

use async_trait::async_trait;
use fixfly_runtime::{Completion, Message};

use super::answers::{Answered, Outcome};
use super::ask::TraceRequest;
use super::judge::{TeacherAnswer, compressed, elicited, final_code, same_code};
use super::prompts::{Prompts, Question};
use crate::language::Language;
use crate::row::Row;
use crate::tokens::Tokens;
use crate::traces::Trace;

/// When the trace of an answer is accepted.
#[derive(Clone)]
pub enum Accept {
    /// Its final code has the syntax tree of the given solution.
    Same(Arc<dyn Language + Send + Sync>),
    /// Its final code passes the tests.
    Tests(Arc<dyn TaskTests>),
}

/// The tests of a benchmark's tasks.
#[async_trait]
pub trait TaskTests: Send + Sync {
    /// Whether a method passes the tests of a task; an error if the infrastructure failed.
    async fn passes(&self, task: &str, code: &str) -> Result<bool, String>;
}

/// Requests the reasoning behind the answer of a row.
pub struct Elicitation {
    row: String,
    task: String,
    prompt: String,
    question: Question,
    prompts: Arc<Prompts>,
    accept: Accept,
}

impl Elicitation {
    /// The request about a row, with the prompt of this name if the row has a failed
    /// attempt.
    pub fn new(row: Row, prompt: &str, prompts: Arc<Prompts>, accept: Accept) -> Self {
        let question = Question::of(&row);
        let prompt = prompts.of_question(prompt, &question).to_string();
        Elicitation { row: row.id, task: row.origin.task, prompt, question, prompts, accept }
    }
}

#[async_trait]
impl TraceRequest for Elicitation {
    fn row(&self) -> &str {
        &self.row
    }

    fn prompt(&self) -> &str {
        &self.prompt
    }

    fn messages(&self, _: Option<&Answered>) -> Vec<Message> {
        self.prompts.elicit(&self.prompt, &self.question)
    }

    async fn judge(&self, words: &Completion) -> Result<Outcome, String> {
        let right = match (final_code(&words.text), &self.accept) {
            (None, _) => Err("the answer contains no code"),
            (Some(code), Accept::Same(language)) => {
                match same_code(code, &self.question.solution, &**language) {
                    true => Ok("same code"),
                    false => Err("its code is not the given solution"),
                }
            }
            (Some(code), Accept::Tests(tests)) => match tests.passes(&self.task, code).await? {
                true => Ok("tests"),
                false => Err("its code does not pass the tests"),
            },
        };
        Ok(elicited(answer(words), right))
    }
}

/// Requests a shorter trace of a row.
pub struct Compression {
    row: String,
    reasoning: String,
    most: usize,
    prompts: Arc<Prompts>,
    tokens: Arc<Tokens>,
}

impl Compression {
    /// A request to shorten a trace to at most `most` tokens.
    pub fn new(trace: &Trace, most: usize, prompts: Arc<Prompts>, tokens: Arc<Tokens>) -> Self {
        let (row, reasoning) = (trace.row.clone(), trace.reasoning.clone());
        Compression { row, reasoning, most, prompts, tokens }
    }
}

#[async_trait]
impl TraceRequest for Compression {
    fn row(&self) -> &str {
        &self.row
    }

    fn prompt(&self) -> &str {
        "compress"
    }

    fn messages(&self, before: Option<&Answered>) -> Vec<Message> {
        let before = before.map(|answer| self.tokens.of(answer.text.trim()));
        let before = before.filter(|tokens| *tokens > self.most);
        self.prompts.compress(&self.reasoning, self.most, before)
    }

    async fn judge(&self, words: &Completion) -> Result<Outcome, String> {
        Ok(compressed(answer(words), self.most, &self.tokens))
    }
}

fn answer(words: &Completion) -> TeacherAnswer<'_> {
    let (text, reasoning) = (words.text.as_str(), words.reasoning.as_deref());
    TeacherAnswer { text, reasoning, finish: words.generation.finish }
}
