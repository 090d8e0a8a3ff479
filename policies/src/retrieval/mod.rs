//! The baseline without a model: it adapts methods similar to the task's, then
//! repairs them where the tests fail.
//!
//! It sees the task, the test results and the training methods, but never the
//! answer. If the task shows a faulty method with its file, small changes of that method come
//! first. In each turn it makes all proposals it can and answers with the likeliest
//! one that it has not tried.

mod constructor;
mod copies;
mod corpus;
mod edits;
mod faulty;
mod joint;
mod names;
mod proposal;
mod python;
mod ranking;
mod rewrite;
mod target;
mod templates;
mod twin;
mod words;

use async_trait::async_trait;
use fixfly_runtime::{
    Action, Call, Entry, Method, Policy, PolicyError, Statement, Task, Turn, Usage, View,
};

use self::corpus::Corpus;
use self::proposal::Proposal;
use self::target::Target;
use crate::{Open, answer};

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: "retrieval",
    about: "methods of the training split, adapted, then repaired by the failing tests; no model",
    open: Open::Examples(|examples| Box::new(Retrieval { corpus: Corpus::new(&examples) })),
};

struct Retrieval {
    corpus: Corpus,
}

#[async_trait]
impl Policy for Retrieval {
    async fn act(&self, view: View<'_>) -> Result<Action, PolicyError> {
        let found = match &view.task.statement {
            Statement::Method(method) => {
                let chance = (view.sample > 0).then_some(view.seed);
                let best = self.propose(method, view.turns, chance);
                best.map(|best| (best.origin(), best.code))
            }
            Statement::Methods(joint) => joint::next(self, joint, &view),
            Statement::Issue(_) => {
                let id = &view.task.id;
                let why = format!("{id}: retrieval writes methods, it resolves no issue");
                return Err(PolicyError::Model(why));
            }
        };
        Ok(found.map_or_else(give_up, |(idea, code)| act(view.task, &idea, &code)))
    }
}

impl Retrieval {
    /// The likeliest proposal for a method that these turns have not tried. With `chance`, it is
    /// drawn by likelihood.
    fn propose(&self, method: &Method, turns: &[Turn], chance: Option<u64>) -> Option<Proposal> {
        let target = Target::read(method);
        let mut proposals = proposals(&target, &self.corpus);
        proposals.extend(edits::propose(&target, turns));
        proposals.extend(faulty::propose(&target));
        ranking::best(&target, proposals, turns, chance)
    }
}

/// All proposals that need no test results.
fn proposals(target: &Target<'_>, corpus: &Corpus) -> Vec<Proposal> {
    let mut proposals = copies::propose(target, corpus);
    proposals.extend(twin::propose(target));
    proposals.extend(constructor::propose(target, corpus));
    proposals.extend(templates::propose(target));
    proposals
}

fn act(task: &Task, idea: &str, code: &str) -> Action {
    answer::free(task, code, Some(format!("idea: {idea}")))
}

fn give_up() -> Action {
    Action {
        text: String::new(),
        reasoning: None,
        call: Call::Submit,
        usage: Usage::default(),
        generation: None,
    }
}

/// The code that an earlier turn submitted.
fn code(turn: &Turn) -> &str {
    let said = || fixfly_runtime::code_block(&turn.action.text);
    turn.observation.candidate.as_deref().unwrap_or_else(said)
}

#[cfg(test)]
mod tests {
    use fixfly_runtime::{DescribedBy, Example, FaultOptions, Method};

    use super::*;

    const CONTENT: &str = "\
class Reader:
    def load(self):
        return self.text


@overload
def load_bytes(path: str) -> str:
    ...


def load_bytes(path):
    with open(path) as file:
        return file.read()


def close(path):
    return path.shut()
";

    fn function(file: &str, declaration: &str, content: &str) -> Method {
        let name = declaration.split_once("def ").unwrap().1.split_once('(').unwrap().0;
        Method {
            file: file.into(),
            class_name: String::new(),
            name: name.into(),
            declaration: declaration.into(),
            decorators: Vec::new(),
            description: "Loads.".into(),
            described_by: DescribedBy::Docstring,
            content: content.into(),
            faulty: None,
            options: FaultOptions::default(),
        }
    }

    /// Where the proposals of this code come from.
    fn from(declaration: &str, code: &str) -> Vec<String> {
        let method = function("files.py", declaration, CONTENT);
        let source = "def load_all(path):\n    return list(path)\n".to_string();
        let recorded = function("more.py", "def load_all(path):", "");
        let example = Example { id: "more.py::load_all".into(), method: recorded, source };
        let found = proposals(&Target::read(&method), &Corpus::new(&[example]));
        assert!(found.iter().all(|proposal| proposal.code.starts_with(declaration)));
        let same = found.into_iter().filter(|proposal| proposal.code == code);
        same.map(|proposal| proposal.from).collect()
    }

    #[test]
    fn a_function_is_adapted_from_other_functions() {
        let sync = "def load_text(name):";
        let body = "\n    with open(name) as file:\n        return file.read()\n";
        assert_eq!(from(sync, &format!("{sync}{body}")), ["files.py::load_bytes"]);
        assert_eq!(from(sync, &format!("{sync}\n    return list(name)\n")), ["more.py::load_all"]);
        assert_eq!(from(sync, &format!("{sync}\n    return self\n")), [""; 0]);
        let stub = from("def load_bytes(path):", "def load_bytes(path):\n    ...\n");
        assert_eq!(stub, [""; 0]);
        let twin = "async def aclose(path):";
        let code = format!("{twin}\n    return await sync_to_async(close)(path)\n");
        assert!(from(twin, &code).contains(&"close".to_string()));
    }
}
