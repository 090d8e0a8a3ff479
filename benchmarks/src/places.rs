//! What an item asks for: one function or method, or the several of a joint item.

use std::mem;
use std::sync::Arc;

use fixfly_runtime::{BenchmarkError, DescribedBy, FaultOptions, Method};

use crate::manifest::{AND, RunPath};
use crate::server::{Limits, Request, Swap};
use crate::source::{self, MethodDef};

/// A file of the project and one function or method of it.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) text: Arc<str>,
    pub(crate) method: MethodDef,
}

/// The functions and methods of an item, in the order of their file: at least one. Sources of
/// candidates are in the same order.
#[derive(Clone)]
pub(crate) struct Places(Vec<Place>);

/// The sources of an answer, and what was removed from it, in words for the model.
pub(crate) struct Reduced {
    pub(crate) sources: Vec<String>,
    pub(crate) notes: Vec<String>,
}

impl From<Place> for Places {
    fn from(place: Place) -> Self {
        Places(vec![place])
    }
}

impl Places {
    /// The places of one file; `None` if there are none.
    pub(crate) fn new(mut places: Vec<Place>) -> Option<Self> {
        places.sort_by_key(|place| place.method.span.start);
        (!places.is_empty()).then_some(Places(places))
    }

    /// Each of them.
    pub(crate) fn each(&self) -> &[Place] {
        &self.0
    }

    fn first(&self) -> &Place {
        &self.0[0]
    }

    pub(crate) fn file(&self) -> &str {
        &self.first().file
    }

    /// `file.py::A.f`; of a joint item `file.py::A.f+g`.
    pub(crate) fn id(&self) -> String {
        let paths: Vec<String> = self.0.iter().map(|place| place.method.path()).collect();
        format!("{}::{}", self.file(), paths.join(&AND.to_string()))
    }

    /// The bytes of all of them, one after the other.
    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|place| &place.text[place.method.span.clone()]).collect()
    }

    fn methods(&self) -> Vec<MethodDef> {
        self.0.iter().map(|place| place.method.clone()).collect()
    }

    /// Each as its authors wrote it.
    pub(crate) fn truths(&self) -> Vec<String> {
        self.0.iter().map(Place::truth).collect()
    }

    /// Each with a body that raises.
    pub(crate) fn stubs(&self) -> Vec<String> {
        self.0.iter().map(Place::stub).collect()
    }

    /// The originals, but the stub of one.
    pub(crate) fn one_stubbed(&self, at: usize) -> Vec<String> {
        let mut sources = self.truths();
        sources[at] = self.0[at].stub();
        sources
    }

    /// What a model's answer has for each of them; or what is wrong, in words for the model.
    pub(crate) fn candidate(&self, answer: &str) -> Result<Reduced, String> {
        self.read(answer, &self.first().text)
    }

    /// The sources of a submitted candidate without anything else: nothing else may be written
    /// to the file, whatever the policy submitted.
    pub(crate) fn reduced(&self, id: &str, candidate: &str) -> Result<Vec<String>, BenchmarkError> {
        let read = self.read(candidate, "");
        let invalid = |why| BenchmarkError::Broken(format!("{id}: invalid candidate: {why}"));
        Ok(read.map_err(invalid)?.sources)
    }

    /// The sources of a candidate that was recorded.
    pub(crate) fn recorded(
        &self,
        id: &str,
        candidate: &str,
    ) -> Result<Vec<String>, BenchmarkError> {
        match self.0.len() {
            1 => Ok(vec![candidate.to_string()]),
            _ => self.reduced(id, candidate),
        }
    }

    fn read(&self, answer: &str, file: &str) -> Result<Reduced, String> {
        match self.0.as_slice() {
            [place] => {
                let found = match file {
                    "" => source::candidate(answer, &place.method.name),
                    file => source::candidate_for(answer, &place.method, file),
                };
                let found = found.map_err(|why| why.to_string())?;
                Ok(Reduced { sources: vec![found.source], notes: found.notes })
            }
            _ => {
                let found = source::joint_candidate(answer, &self.methods(), file);
                let found = found.map_err(|why| why.to_string())?;
                Ok(Reduced { sources: found.sources, notes: found.notes })
            }
        }
    }

    /// The file without all of them.
    pub(crate) fn removed(&self) -> String {
        source::all_removed(&self.first().text, &self.methods())
    }

    /// The file with these sources.
    pub(crate) fn spliced(&self, sources: &[String]) -> String {
        source::all_spliced(&self.first().text, &self.methods(), sources)
    }

    /// A request that runs `tests` with these sources.
    pub(crate) fn request(
        &self,
        sources: &[String],
        path: RunPath,
        tests: Vec<String>,
        limits: Limits,
    ) -> Request {
        let mut request = self.first().request(&sources[0], path, tests, limits);
        let more = self.0.iter().zip(sources).skip(1);
        let more: Vec<_> = more
            .flat_map(|(place, source)| {
                mem::take(&mut place.request(source, path, Vec::new(), limits).methods)
            })
            .collect();
        if !more.is_empty() {
            request.methods.extend(more);
            request.content = base64(self.spliced(sources).as_bytes());
        }
        request
    }
}

impl Place {
    pub(crate) fn id(&self) -> String {
        format!("{}::{}", self.file, self.method.path())
    }

    /// The statement of the task to write it, with its description and where that comes from.
    pub(crate) fn statement(&self, (description, described_by): (String, DescribedBy)) -> Method {
        Method {
            file: self.file.clone(),
            class_name: self.method.classes.join("."),
            name: self.method.name.clone(),
            declaration: self.method.declaration.clone(),
            decorators: self.method.decorators.clone(),
            description,
            described_by,
            content: source::removed(&self.text, &self.method),
            faulty: None,
            options: FaultOptions::default(),
        }
    }

    /// The method as its authors wrote it.
    pub(crate) fn truth(&self) -> String {
        source::source_of(&self.text, &self.method)
    }

    /// The method with a body that raises.
    pub(crate) fn stub(&self) -> String {
        source::stub(&self.text, &self.method)
    }

    /// A request that runs `tests` with `candidate` as the method.
    pub(crate) fn request(
        &self,
        candidate: &str,
        path: RunPath,
        tests: Vec<String>,
        limits: Limits,
    ) -> Request {
        let content = source::spliced(&self.text, &self.method, candidate);
        let start = self.method.span.start;
        let end = content.len() - (self.text.len() - self.method.span.end);
        let line_start = content[..start].rfind('\n').map_or(0, |at| at + 1);
        let lines = |text: &str| text.matches('\n').count() as i64;
        Request {
            path,
            file: self.file.clone(),
            tests,
            limits,
            reversed: false,
            shared: false,
            methods: vec![Swap {
                classes: self.method.classes.clone(),
                name: self.method.name.clone(),
                first_line: self.method.first_line,
                line: self.method.line,
                source: content[line_start..end].to_string() + "\n",
                lines: lines(&content) - lines(&self.text),
            }],
            content: base64(content.as_bytes()),
        }
    }
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
