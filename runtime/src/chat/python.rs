//! Methods and functions of Python that chat templates use, as Python has them. Those of
//! minijinja's own Python compatibility lack arguments and some methods.

mod text;

use minijinja::value::{Kwargs, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::filters::{striptags, truncate};
use minijinja_contrib::globals::{cycler, joiner};
use minijinja_contrib::pycompat::unknown_method_callback;

/// Makes an environment read templates as Python's Jinja does.
pub(super) fn add(environment: &mut Environment<'_>) {
    environment.set_unknown_method_callback(method);
    environment.add_test("sequence", is_sequence);
    environment.add_filter("striptags", striptags);
    environment.add_filter("truncate", truncate);
    environment.add_filter("center", center);
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_function("cycler", |items: Rest<Value>| cycler(items.0));
    environment.add_function("joiner", joiner);
}

/// The value, or another one if it is undefined, or not true where `boolean` is.
fn default(value: &Value, options: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let [other, boolean] = all_arguments(&options.into_values(), ["default_value", "boolean"])?;
    match value.is_undefined() || (flag(boolean.as_ref()) && !value.is_true()) {
        true => Ok(other.unwrap_or_else(|| Value::from(""))),
        false => Ok(value.clone()),
    }
}

fn center(text: &Value, width: Option<i64>) -> Result<Value, Error> {
    let centred = text::method(&text.to_string(), "center", &[width.unwrap_or(80).into()])?;
    Ok(centred.unwrap_or_default())
}

/// A method of a string, a list or a dictionary.
fn method(
    state: &mut State<'_, '_>,
    value: &Value,
    name: &str,
    given: &[Value],
) -> Result<Value, Error> {
    let own = match (value.as_str(), value.kind()) {
        (Some(text), _) => text::method(text, name, given)?,
        (None, ValueKind::Seq) => list(value, name, given)?,
        (None, ValueKind::Map) if name == "copy" => {
            let [] = arguments(given, [])?;
            Some(value.clone())
        }
        _ => None,
    };
    match own {
        Some(found) => Ok(found),
        None => unknown_method_callback(state, value, name, given),
    }
}

fn list(value: &Value, name: &str, given: &[Value]) -> Result<Option<Value>, Error> {
    match name {
        "copy" => {
            let [] = arguments(given, [])?;
            Ok(Some(value.clone()))
        }
        "index" => {
            let [item] = arguments(given, ["value"])?;
            let item = item.unwrap_or_default();
            let at = value.try_iter()?.position(|other| other == item);
            let missing = || wrong(format!("{item} is not in the list"));
            at.map(|at| Some(Value::from(at))).ok_or_else(missing)
        }
        _ => Ok(None),
    }
}

/// In Jinja, what has a length and items: strings and mappings too.
fn is_sequence(value: &Value) -> bool {
    value.is_undefined()
        || matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map)
        || (value.kind() == ValueKind::Iterable && value.len().is_some())
}

/// The arguments of a call, given by place or by name. None is as if it were not given.
pub(super) fn arguments<const N: usize>(
    given: &[Value],
    names: [&str; N],
) -> Result<[Option<Value>; N], Error> {
    let all = all_arguments(given, names)?;
    Ok(all.map(|value| value.filter(|value| !value.is_none())))
}

/// The same, with those that are None.
fn all_arguments<const N: usize>(
    given: &[Value],
    names: [&str; N],
) -> Result<[Option<Value>; N], Error> {
    let (given, named) = match given.split_last() {
        Some((last, rest)) if !last.is_undefined() => match Kwargs::try_from(last.clone()) {
            Ok(named) => (rest, Some(named)),
            Err(_) => (given, None),
        },
        _ => (given, None),
    };
    if given.len() > N {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    let mut found = std::array::from_fn(|at| given.get(at).cloned());
    if let Some(named) = named {
        for (slot, name) in found.iter_mut().zip(names) {
            if named.has(name) {
                *slot = Some(named.get::<Value>(name)?);
            }
        }
        named.assert_all_used()?;
    }
    Ok(found)
}

/// An optional whole number.
pub(super) fn whole(value: &Option<Value>) -> Result<Option<i64>, Error> {
    value.clone().map(i64::try_from).transpose()
}

/// Whether an optional argument is true.
pub(super) fn flag(value: Option<&Value>) -> bool {
    value.is_some_and(Value::is_true)
}

fn wrong(why: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, why)
}
