//! Reads the bytes of an answer: server-sent events or JSON, whatever they are labelled.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::mem::take;

use fixfly_runtime::Finish;
use serde_json::Value;

use super::events::{Event, Events};
use super::json;
use super::response::{Parts, Reply};
use super::server_error::{ServerError, line};

/// Bytes from the start of an answer that are kept for messages.
const START: usize = 300;
/// More bytes than any answer has.
const MAX_BYTES: usize = 1 << 28;

/// Why bytes are not an answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AnswerError {
    /// The server reports an error in an answer of status 200.
    #[error("{0}")]
    Reported(Box<ServerError>),
    /// The answer is cut off, or cannot be read.
    #[error("{0}")]
    Broken(String),
    /// It ended for a reason that is not in our list.
    #[error("the server ended its answer with finish_reason `{0}`, which is not in our list")]
    UnknownReason(String),
}

/// Reads one answer from its bytes. The result depends on the bytes alone, not on how they
/// are cut.
#[derive(Debug)]
pub struct AnswerReader {
    label: String,
    form: Form,
    parts: Parts,
    bytes: usize,
    start: Vec<u8>,
    /// Whether the server sent its last event.
    done: bool,
}

#[derive(Debug)]
enum Form {
    /// The bytes so far do not tell.
    Undecided(Vec<u8>),
    Events(Events),
    Json(Vec<u8>),
    /// HTML: no answer.
    Markup,
}

impl AnswerReader {
    /// A reader for an answer with this `content-type`. It is used only where the bytes
    /// are not UTF-8, and in messages.
    pub fn new(label: &str) -> AnswerReader {
        let form = Form::Undecided(Vec::new());
        let label = label.to_string();
        let (parts, start) = (Parts::default(), Vec::new());
        AnswerReader { label, form, parts, bytes: 0, start, done: false }
    }

    /// Also takes these finish reasons, which the user's profile explains.
    pub(super) fn with_reasons(mut self, reasons: &BTreeMap<String, Finish>) -> AnswerReader {
        self.parts.know(reasons);
        self
    }

    /// Reads more bytes. Returns whether they hold text of the answer.
    ///
    /// # Errors
    /// [`AnswerError`]; no more can be read then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<bool, AnswerError> {
        self.bytes += bytes.len();
        let room = START - self.start.len();
        self.start.extend(bytes.iter().take(room));
        if self.done {
            return Ok(false);
        }
        if self.bytes > MAX_BYTES {
            return Err(AnswerError::Broken("the answer has no end".into()));
        }
        match &mut self.form {
            Form::Undecided(head) => {
                head.extend_from_slice(bytes);
                let Some(form) = Form::of(head) else { return Ok(false) };
                let head = take(head);
                self.form = form;
                self.bytes -= head.len();
                self.start.clear();
                self.push(&head)
            }
            Form::Events(events) => {
                let events = events.push(bytes);
                self.events(events)
            }
            Form::Json(body) => {
                body.extend_from_slice(bytes);
                Ok(false)
            }
            Form::Markup => Ok(false),
        }
    }

    /// Whether the server sent its last event: what follows is not read.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the answer is whole, even if its connection now breaks.
    pub fn is_whole(&self) -> bool {
        match &self.form {
            Form::Json(body) => json::parse(&decoded(body, &self.label)).is_ok(),
            _ => self.has_reason(),
        }
    }

    /// Whether the reason to stop was read. Only counts of tokens may follow.
    pub(super) fn has_reason(&self) -> bool {
        self.done || self.parts.has_reason()
    }

    /// Bytes of text so far, roughly.
    pub(super) fn size(&self) -> usize {
        match &self.form {
            Form::Json(body) => {
                let find = |key: &[u8]| body.windows(key.len()).position(|part| part == key);
                let start = find(b"\"message\"").or_else(|| find(b"\"delta\""));
                start.map_or(0, |start| body.len() - start)
            }
            _ => self.parts.size(),
        }
    }

    /// The answer, after its last byte.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn end(mut self) -> Result<Reply, AnswerError> {
        let form = std::mem::replace(&mut self.form, Form::Markup);
        let start = match &form {
            Form::Markup => String::new(),
            _ => decoded(&self.start, &self.label).into_owned(),
        };
        match form {
            Form::Events(events) => self.last_events(events)?,
            Form::Json(body) => self.json(&body)?,
            Form::Undecided(_) => {
                return Err(AnswerError::Broken("the server sent an empty answer".into()));
            }
            Form::Markup => {}
        }
        match self.parts.is_empty() {
            true => Err(self.no_answer(&start)),
            false => self.parts.done(),
        }
    }

    fn no_answer(&self, start: &str) -> AnswerError {
        let start =
            if start.is_empty() { String::new() } else { format!(" ({})", line(start, 200)) };
        AnswerError::Broken(format!(
            "the server answered with `{}`, not with an answer in JSON{start}: is the address right, up to and including /v1?",
            line(&self.label, 100)
        ))
    }

    fn events(&mut self, events: Vec<Event>) -> Result<bool, AnswerError> {
        let mut any = false;
        for event in events {
            any |= self.event(&event)?;
            if self.done {
                break;
            }
        }
        Ok(any)
    }

    fn event(&mut self, event: &Event) -> Result<bool, AnswerError> {
        let data = event.data.trim();
        if data.eq_ignore_ascii_case("[done]") {
            self.done = true;
            return Ok(false);
        }
        let lines = data.lines().count();
        match json::parse(data) {
            // What fails after its last word is whole.
            Ok(_) if self.parts.has_finish() && event.name == "error" => Ok(false),
            Ok(body) if event.name == "error" && body.get("choices").is_none() => Err(error(body)),
            Ok(value) => self.value(&value),
            // Some servers leave out the empty lines between events.
            Err(_) if lines > 1 => {
                let each = |data: &str| Event { name: event.name.clone(), data: data.into() };
                self.events(data.lines().map(each).collect())
            }
            Err(_) if self.parts.has_finish() => Ok(false),
            Err(_) if event.name == "error" => Err(error(Value::String(data.into()))),
            // A sign of life.
            Err(_) if !matches!(&*event.name, "" | "message") => Ok(false),
            Err(why) => Err(AnswerError::Broken(format!(
                "the answer is not JSON ({why}): {}",
                line(data, 200)
            ))),
        }
    }

    /// Reads the events that the end of the bytes leaves. What is not JSON is cut off.
    fn last_events(&mut self, events: Events) -> Result<(), AnswerError> {
        for event in events.end() {
            let data = event.data.trim();
            let is_whole = json::parse(data).is_ok() || data.eq_ignore_ascii_case("[done]");
            if is_whole && !self.done {
                self.event(&event)?;
            }
        }
        Ok(())
    }

    /// Reads JSON: one answer, or the chunks of a stream, in a list or one after another.
    /// Some servers close even a whole answer as a stream, with `data: [DONE]`.
    fn json(&mut self, body: &[u8]) -> Result<(), AnswerError> {
        let text = decoded(body, &self.label);
        if let Ok(value) = json::parse(&text) {
            return self.value(&value).map(drop);
        }
        let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        let mut any = false;
        while let Some(Ok(value)) = values.next() {
            any = true;
            self.value(&value)?;
        }
        if !any {
            let why = format!("the answer is not JSON, or is cut off: {}", line(&text, 200));
            return Err(AnswerError::Broken(why));
        }
        let rest = text.get(values.byte_offset()..).unwrap_or_default();
        let mut events = Events::default();
        let read = events.push(rest.as_bytes());
        self.events(read)?;
        self.last_events(events)
    }

    fn value(&mut self, value: &Value) -> Result<bool, AnswerError> {
        match value {
            Value::Array(all) => {
                all.iter().try_fold(false, |any, value| Ok(self.value(value)? || any))
            }
            Value::Object(_) => self.parts.add(value),
            _ => Ok(false),
        }
    }
}

fn error(body: Value) -> AnswerError {
    AnswerError::Reported(Box::new(ServerError::in_answer(body)))
}

impl Form {
    /// The form of an answer that starts with these bytes.
    fn of(head: &[u8]) -> Option<Form> {
        // Byte-order marks, white space, and the zeros of UTF-16.
        let ignored = [0xef, 0xbb, 0xbf, 0xfe, 0xff, 0, b' ', b'\t', b'\n', b'\r'];
        match head.iter().find(|byte| !ignored.contains(byte))? {
            b'{' | b'[' => Some(Form::Json(Vec::new())),
            b'<' => Some(Form::Markup),
            _ => Some(Form::Events(Events::default())),
        }
    }
}

/// The text of a body: UTF-8 or UTF-16, as Python's `json` finds out; else what the label
/// says.
fn decoded<'a>(body: &'a [u8], label: &str) -> Cow<'a, str> {
    let utf8 = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if let Ok(text) = std::str::from_utf8(utf8)
        && !text.contains('\0')
    {
        return Cow::Borrowed(text);
    }
    let marked = encoding_rs::Encoding::for_bom(body).map(|(encoding, _)| encoding);
    let guessed = match body {
        [0, byte, ..] if *byte != 0 => Some(encoding_rs::UTF_16BE),
        [_, 0, byte, ..] if *byte != 0 => Some(encoding_rs::UTF_16LE),
        _ => None,
    };
    let charset = || {
        let (_, rest) = label.split_once("charset=")?;
        let name = rest.split(';').next()?.trim().trim_matches(['"', '\'']);
        encoding_rs::Encoding::for_label(name.as_bytes())
    };
    let encoding = marked.or(guessed).or_else(charset).unwrap_or(encoding_rs::UTF_8);
    encoding.decode(body).0
}

#[cfg(test)]
#[path = "reader/tests.rs"]
mod tests;
