//! Server-sent events, read as browsers read them: from bytes that are cut anywhere.

use std::mem::take;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// The type; empty for an ordinary message.
    pub(super) name: String,
    pub(super) data: String,
}

/// Reads events. How the bytes are cut makes no difference.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    /// Whether the last byte was a carriage return; a line feed after it ends no line.
    after_return: bool,
    /// Whether a line was read; only the first one may start with a byte-order mark.
    started: bool,
    name: String,
    data: Option<String>,
}

impl Events {
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for byte in bytes {
            let after_return = take(&mut self.after_return);
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => {
                    self.after_return = *byte == b'\r';
                    events.extend(self.end_line());
                }
                byte => self.line.push(*byte),
            }
        }
        events
    }

    /// The events that the end of the bytes leaves without their empty lines.
    pub(super) fn end(mut self) -> Vec<Event> {
        let last = if self.line.is_empty() { None } else { self.end_line() };
        [last, self.dispatch()].into_iter().flatten().collect()
    }

    fn end_line(&mut self) -> Option<Event> {
        let bytes = take(&mut self.line);
        let line = String::from_utf8_lossy(&bytes);
        let line = match std::mem::replace(&mut self.started, true) {
            false => line.strip_prefix('\u{feff}').unwrap_or(&line),
            true => &line,
        };
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        if let Some(error) = error(line, field, value) {
            let before = self.dispatch();
            (self.name, self.data) = ("error".into(), Some(error));
            return before;
        }
        match (field, &mut self.data) {
            ("data", Some(data)) => {
                data.push('\n');
                data.push_str(value);
            }
            ("data", None) => self.data = Some(value.into()),
            ("event", _) => self.name = value.into(),
            // A comment is a line without a name of a field.
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Event> {
        let (name, data) = (take(&mut self.name), self.data.take());
        data.filter(|data| !data.is_empty()).map(|data| Event { name, data })
    }
}

/// An error that a server writes outside of events: `error: {…}`, which is llama.cpp's form,
/// or JSON in a line of its own.
fn error(line: &str, field: &str, value: &str) -> Option<String> {
    if field == "error" && !value.is_empty() {
        return Some(value.into());
    }
    let is_object = line.trim_start().starts_with('{');
    let body = is_object.then(|| super::json::parse(line.trim()).ok()).flatten()?;
    body.get("error").map(|_| line.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&[u8]]) -> Vec<(String, String)> {
        let mut events = Events::default();
        let mut all: Vec<Event> = parts.iter().flat_map(|part| events.push(part)).collect();
        all.extend(events.end());
        all.into_iter().map(|event| (event.name, event.data)).collect()
    }

    /// Reads the bytes whole, and cut in two at every place, and byte by byte.
    #[track_caller]
    fn check(bytes: &[u8], expected: &[(&str, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
        assert_eq!(read(&[bytes]), expected);
        for cut in 0..bytes.len() {
            assert_eq!(read(&[&bytes[..cut], &bytes[cut..]]), expected, "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&single), expected);
    }

    /// The examples of the standard (WHATWG HTML, 9.2.6), and what servers send beside them.
    #[test]
    fn events_are_read_as_browsers_read_them() {
        check(b"data: YHOO\ndata: +2\ndata: 10\n\n", &[("", "YHOO\n+2\n10")]);
        check(
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            &[("", "first event"), ("", "second event"), ("", " third event")],
        );
        check(b"data\n\ndata\ndata\n\ndata:", &[("", "\n")]);
        check(b"data:test\n\ndata: test\n\n", &[("", "test"), ("", "test")]);
        check(b"event: add\ndata: 1\n\nevent: x\n\ndata: 2\n\n", &[("add", "1"), ("", "2")]);
        for end in ["\n", "\r", "\r\n"] {
            let text = format!("\u{feff}data: a{end}data: b{end}{end}: c{end}data: d{end}{end}");
            check(text.as_bytes(), &[("", "a\nb"), ("", "d")]);
        }
        check("data: é😀\n\n".as_bytes(), &[("", "é😀")]);
        check(b"data: \xff\n\n", &[("", "\u{fffd}")]);
        check(b"retry: 5\nid: 7\nunknown: x\ndata: a", &[("", "a")]);
        check(b"", &[]);
    }

    #[test]
    fn an_error_outside_of_events_is_one() {
        let (a, error) = (("", "a"), ("error", "{\"error\":1}"));
        check(b"data: a\n\nerror: {\"error\":1}\n\n", &[a, error]);
        check(b"data: a\nerror: {\"error\":1}\n", &[a, error]);
        check(b"data: a\n{\"error\":1}", &[a, error]);
        check(b"data: a\n\n{\"error\":1}", &[a, error]);
        check(b"data: a\n\n{\"other\":1}\n\nerror\n\n", &[a]);
    }
}
