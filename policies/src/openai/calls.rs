//! Assembles native tool calls from an answer or from the parts of a stream.
//!
//! Servers agree on little here. Calls are told apart by their ids, then by their indices,
//! then by their order. A part continues a call, or repeats it from the start; which of the
//! two a server means shows only when all parts are there.

use fixfly_runtime::NativeCall;
use serde_json::Value;

/// The calls of one answer.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Vec<Assembly>,
    size: usize,
}

/// A call whose parts are still arriving.
#[derive(Debug, Default)]
struct Assembly {
    id: Option<String>,
    index: Option<u64>,
    name: String,
    parts: Vec<String>,
    extra_content: Option<Value>,
}

/// One part, as a server sent it.
struct Part {
    id: Option<String>,
    index: Option<u64>,
    name: String,
    arguments: String,
    extra_content: Option<Value>,
    /// Its place among the parts that arrived together, and their number.
    place: (usize, usize),
}

impl Calls {
    /// Adds the parts in a message or in a delta of a stream.
    pub(super) fn add(&mut self, message: &Value, is_stream: bool) {
        let listed = message["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
        let single = message.get("tool_calls").filter(|call| call.is_object());
        // The form before tool calls.
        let legacy = message.get("function_call").filter(|call| call.is_object());
        let single = single.or(legacy.filter(|_| listed.is_empty()));
        let parts: Vec<&Value> =
            listed.iter().chain(single).filter(|part| part.is_object()).collect();
        for (at, part) in parts.iter().enumerate() {
            let part = Part::of(part, (at, parts.len()));
            self.size += part.name.len() + part.arguments.len();
            let target = if is_stream { self.target(&part) } else { None };
            let target = target.unwrap_or_else(|| {
                self.calls.push(Assembly::default());
                self.calls.len() - 1
            });
            self.calls[target].add(part);
        }
    }

    /// Bytes of all parts so far.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The calls, in the order in which they began.
    pub(super) fn done(self) -> Vec<NativeCall> {
        let mut calls: Vec<NativeCall> = Vec::new();
        for assembly in self.calls {
            let call = assembly.done();
            let is_same = |other: &NativeCall| {
                let same_id = other.id == call.id || other.id.is_none() || call.id.is_none();
                same_id && other.name == call.name && other.arguments == call.arguments
            };
            let is_empty = call.name.is_empty() && call.arguments.is_empty();
            // Some servers send a call twice, or a list of empty calls.
            if !is_empty && !calls.iter().any(is_same) {
                calls.push(call);
            }
        }
        calls
    }

    /// The call that a part of a stream belongs to; `None` if it begins one.
    fn target(&self, part: &Part) -> Option<usize> {
        let last = |is_it: &dyn Fn(&Assembly) -> bool| self.calls.iter().rposition(is_it);
        if let Some(id) = &part.id {
            let has_id = |call: &Assembly| call.id.as_ref() == Some(id);
            let fits = |call: &Assembly| {
                call.index.is_none() || part.index.is_none() || call.index == part.index
            };
            if let Some(at) = last(&|call| has_id(call) && fits(call)) {
                return Some(at);
            }
        }
        match (part.index, &part.id) {
            (Some(index), id) => {
                let at = last(&|call| call.index == Some(index))?;
                let call = &self.calls[at];
                let is_other = id.is_some() && call.id.is_some();
                let continues = match is_other {
                    // A new id for each part, as some servers send: only a name begins a call.
                    true => part.name.is_empty() || call.lacks(part),
                    false => !call.is_followed_by(part),
                };
                continues.then_some(at)
            }
            (None, Some(_)) => {
                let at = self.calls.len().checked_sub(1)?;
                let call = &self.calls[at];
                let continues = part.name.is_empty() && (call.id.is_none() || !call.is_whole());
                continues.then_some(at)
            }
            (None, None) if part.name.is_empty() && part.place.1 > 1 => {
                (part.place.0 < self.calls.len()).then_some(part.place.0)
            }
            (None, None) => {
                let at = self.calls.len().checked_sub(1)?;
                (!self.calls[at].is_followed_by(part)).then_some(at)
            }
        }
    }
}

impl Part {
    fn of(part: &Value, place: (usize, usize)) -> Part {
        let function = part.get("function").filter(|function| function.is_object()).unwrap_or(part);
        let text =
            |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_string);
        let arguments = ["arguments", "parameters", "input"]
            .into_iter()
            .find_map(|key| function.get(key).filter(|arguments| !arguments.is_null()));
        Part {
            id: text(&part["id"]).or_else(|| part["id"].as_i64().map(|id| id.to_string())),
            index: part["index"].as_u64().or_else(|| part["index"].as_str()?.parse().ok()),
            name: text(&function["name"]).unwrap_or_default(),
            arguments: match arguments {
                None => String::new(),
                Some(Value::String(text)) => text.clone(),
                // An object in place of its text.
                Some(other) => other.to_string(),
            },
            extra_content: part.get("extra_content").filter(|extra| !extra.is_null()).cloned(),
            place,
        }
    }
}

impl Assembly {
    fn add(&mut self, part: Part) {
        self.id = self.id.take().or(part.id);
        self.index = self.index.or(part.index);
        self.extra_content = part.extra_content.or(self.extra_content.take());
        if part.name.starts_with(&self.name) {
            // The name for the first time, again, or from its start.
            self.name = part.name;
        } else if !self.name.ends_with(&part.name) && self.parts.is_empty() {
            self.name += &part.name;
        }
        if !part.arguments.is_empty() {
            self.parts.push(part.arguments);
        }
    }

    /// Whether the arguments so far are an object.
    fn is_whole(&self) -> bool {
        let text = self.arguments();
        serde_json::from_str::<Value>(&text).is_ok_and(|arguments| arguments.is_object())
    }

    /// Whether a part without an id of its own begins the next call: it has a name, and the
    /// arguments are whole, or begin again.
    fn is_followed_by(&self, part: &Part) -> bool {
        if part.name.is_empty() || self.name.is_empty() {
            return false;
        }
        let begins = part.arguments.trim_start().starts_with('{');
        let other = part.name != self.name && !self.parts.is_empty();
        let repeats =
            self.parts.last().is_some_and(|last| part.arguments.starts_with(last.as_str()));
        other || (self.is_whole() && begins && !repeats)
    }

    /// Whether a part with a name and another id still belongs to this call: the arguments
    /// are not whole, and the part does not begin new ones.
    fn lacks(&self, part: &Part) -> bool {
        part.name == self.name
            && !self.parts.is_empty()
            && !self.is_whole()
            && !part.arguments.trim_start().starts_with('{')
    }

    /// The arguments: the parts together, or the last part where each repeats what came
    /// before it.
    fn arguments(&self) -> String {
        let whole = self.parts.concat();
        let [before @ .., last] = self.parts.as_slice() else { return whole };
        if before.is_empty() || serde_json::from_str::<Value>(&whole).is_ok() {
            return whole;
        }
        let grows = self.parts.windows(2).all(|two| two[1].starts_with(&two[0]));
        if grows || before.concat() == *last { last.clone() } else { whole }
    }

    fn done(self) -> NativeCall {
        let arguments = self.arguments();
        NativeCall { id: self.id, name: self.name, arguments, extra_content: self.extra_content }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The calls of deltas, as name and arguments.
    #[track_caller]
    fn check(deltas: &[Value], expected: &[(&str, &str)]) {
        let mut calls = Calls::default();
        for delta in deltas {
            calls.add(&json!({ "tool_calls": delta }), true);
        }
        let done = calls.done();
        let found: Vec<_> = done.iter().map(|call| (&*call.name, &*call.arguments)).collect();
        assert_eq!(found, expected, "{deltas:?}");
    }

    /// A part; what is `null` is left out.
    fn part(id: Value, index: Value, name: Value, arguments: Value) -> Value {
        let mut part = json!({ "id": id, "index": index, "type": "function",
            "function": { "name": name, "arguments": arguments } });
        for place in ["", "/function"] {
            let fields = part.pointer_mut(place).and_then(Value::as_object_mut);
            fields.unwrap().retain(|_, value| !value.is_null());
        }
        part
    }

    const NO: Value = Value::Null;
    const LS: &str = "{\"command\": \"ls\"}";
    const PWD: &str = "{\"command\": \"pwd\"}";

    #[test]
    fn calls_are_told_apart_by_id_then_index_then_order() {
        let (ls, pwd) = (json!(LS), json!(PWD));
        let bash = || json!("bash");
        let both: &[(&str, &str)] = &[("bash", LS), ("bash", PWD)];
        let two = |first: Value, second: Value| check(&[json!([first]), json!([second])], both);
        // One index for all, no index, the index as text, one id for all.
        two(
            part(json!("a"), json!(0), bash(), ls.clone()),
            part(json!("b"), json!(0), bash(), pwd.clone()),
        );
        two(part(json!("a"), NO, bash(), ls.clone()), part(json!("b"), NO, bash(), pwd.clone()));
        two(part(NO, NO, bash(), ls.clone()), part(NO, NO, bash(), pwd.clone()));
        two(part(NO, json!(0), bash(), ls.clone()), part(NO, json!(0), bash(), pwd.clone()));
        two(part(NO, json!("0"), bash(), ls.clone()), part(NO, json!("1"), bash(), pwd.clone()));
        two(
            part(json!("a"), json!(0), bash(), ls.clone()),
            part(json!("a"), json!(1), bash(), pwd.clone()),
        );
        two(part(json!(1), NO, bash(), ls.clone()), part(json!(2), NO, bash(), pwd.clone()));
        // Both in one part.
        check(
            &[json!([part(NO, NO, bash(), ls.clone()), part(NO, NO, bash(), pwd.clone())])],
            both,
        );
        // The second index first.
        check(
            &[
                json!([part(json!("b"), json!(1), bash(), NO)]),
                json!([part(json!("a"), json!(0), bash(), ls.clone())]),
                json!([part(NO, json!(1), NO, pwd.clone())]),
            ],
            &[("bash", PWD), ("bash", LS)],
        );
        // Interleaved deltas of two calls, by index and by place.
        let (one, other) = LS.split_at(5);
        let (two, last) = PWD.split_at(5);
        for at in [[json!(0), json!(1)], [NO, NO]] {
            let [first, second] = at;
            check(
                &[
                    json!([
                        part(NO, first.clone(), bash(), json!(one)),
                        part(NO, second.clone(), json!("view"), json!(two))
                    ]),
                    json!([
                        part(NO, first.clone(), NO, json!(other)),
                        part(NO, second.clone(), NO, json!(last))
                    ]),
                ],
                &[("bash", LS), ("view", PWD)],
            );
        }
        // The same call twice is sent twice; with ids of their own there are two.
        check(
            &[json!([part(NO, NO, bash(), ls.clone())]), json!([part(NO, NO, bash(), ls.clone())])],
            &[("bash", LS)],
        );
        check(
            &[
                json!([part(json!("a"), NO, bash(), ls.clone())]),
                json!([part(json!("b"), NO, bash(), ls.clone())]),
            ],
            &[("bash", LS), ("bash", LS)],
        );
    }

    #[test]
    fn a_call_is_one_however_its_parts_repeat() {
        let deltas = ["{\"comm", "and\": ", "\"ls\"}"];
        let grown = ["{\"comm", "{\"command\": ", LS];
        let a = || json!("a");
        type Parts = [&'static str; 3];
        let sent = |parts: Parts, of: &dyn Fn(usize, &str) -> Value| {
            let parts = parts.iter().enumerate().map(|(at, text)| json!([of(at, text)]));
            check(&parts.collect::<Vec<_>>(), &[("bash", LS)]);
        };
        let first = |at: usize, value: Value| if at == 0 { value } else { NO };
        for parts in [deltas, grown] {
            // OpenAI's way; name and id in each part; no index; no id; a new id for each part.
            sent(parts, &|at, text| {
                part(first(at, a()), json!(0), first(at, json!("bash")), json!(text))
            });
            sent(parts, &|_, text| part(a(), json!(0), json!("bash"), json!(text)));
            sent(parts, &|_, text| part(a(), NO, json!("bash"), json!(text)));
            sent(parts, &|at, text| {
                part(first(at, a()), NO, first(at, json!("bash")), json!(text))
            });
            sent(parts, &|at, text| part(NO, NO, first(at, json!("bash")), json!(text)));
            sent(parts, &|_, text| part(NO, json!(0), json!("bash"), json!(text)));
            sent(parts, &|at, text| {
                part(json!(at), json!(0), first(at, json!("bash")), json!(text))
            });
        }
        sent(deltas, &|at, text| part(json!(at + 1), json!(0), json!("bash"), json!(text)));
        // An id, a name and arguments that arrive apart.
        check(
            &[
                json!([part(NO, json!(0), json!("bash"), json!(""))]),
                json!([part(a(), json!(0), NO, NO)]),
                json!([part(NO, json!(0), json!("bash"), json!(LS))]),
            ],
            &[("bash", LS)],
        );
        // All of it again at the end.
        check(
            &[
                json!([part(a(), json!(0), json!("bash"), json!("{\"command\""))]),
                json!([part(NO, json!(0), NO, json!(": \"ls\"}"))]),
                json!([part(a(), json!(0), json!("bash"), json!(LS))]),
            ],
            &[("bash", LS)],
        );
        // Parts of a name, arguments as an object, and a delta that looks like a repetition.
        check(
            &[
                json!([part(a(), json!(0), json!("ba"), NO)]),
                json!([part(NO, json!(0), json!("sh"), json!("{}"))]),
            ],
            &[("bash", "{}")],
        );
        check(
            &[json!([part(a(), json!(0), json!("bash"), json!({ "command": "ls" }))])],
            &[("bash", "{\"command\":\"ls\"}")],
        );
        check(
            &[
                json!([part(a(), json!(0), json!("f"), json!("{\"a\":"))]),
                json!([part(NO, json!(0), NO, json!("{\"a\":1}}"))]),
            ],
            &[("f", "{\"a\":{\"a\":1}}")],
        );
    }

    #[test]
    fn what_a_server_adds_to_a_call_is_kept() {
        let extra = json!({ "google": { "thought_signature": "s" } });
        let mut first = part(json!("a"), json!(0), json!("bash"), json!("{\"command\":"));
        first["extra_content"] = extra.clone();
        let rest = part(NO, json!(0), NO, json!(" \"ls\"}"));
        for deltas in
            [[first.clone(), rest.clone()], [first, json!({ "index": 0, "extra_content": null })]]
        {
            let mut calls = Calls::default();
            deltas.iter().for_each(|delta| calls.add(&json!({ "tool_calls": [delta] }), true));
            let done = calls.done();
            assert_eq!((done.len(), done[0].extra_content.as_ref()), (1, Some(&extra)));
        }
    }

    #[test]
    fn a_message_lists_each_call_once() {
        let whole = |message: Value, expected: &[(Option<&str>, &str, &str)]| {
            let mut calls = Calls::default();
            calls.add(&message, false);
            assert!(calls.size() > 0);
            let done = calls.done();
            let found: Vec<_> = done
                .iter()
                .map(|call| (call.id.as_deref(), &*call.name, &*call.arguments))
                .collect();
            assert_eq!(found, expected, "{message}");
        };
        let call = |id: &str, arguments: Value| part(json!(id), json!(0), json!("bash"), arguments);
        whole(
            json!({ "tool_calls": [call("a", json!(LS)), call("a", json!(PWD))] }),
            &[(Some("a"), "bash", LS), (Some("a"), "bash", PWD)],
        );
        whole(
            json!({ "tool_calls": [call("a", json!(LS)), call("a", json!(LS))] }),
            &[(Some("a"), "bash", LS)],
        );
        whole(json!({ "tool_calls": call("a", json!(LS)) }), &[(Some("a"), "bash", LS)]);
        whole(
            json!({ "function_call": { "name": "bash", "arguments": LS } }),
            &[(None, "bash", LS)],
        );
        whole(
            json!({ "tool_calls": [{ "name": "bash", "input": { "a": 1 } }, {}, null] }),
            &[(None, "bash", "{\"a\":1}")],
        );
    }
}
