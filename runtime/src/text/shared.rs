//! Short strings that many values share.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt::{self, Debug, Display, Formatter};
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An immutable string. A copy of it takes no memory of its own.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharedStr(Arc<str>);

impl Deref for SharedStr {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for SharedStr {
    fn borrow(&self) -> &str {
        self
    }
}

impl From<&str> for SharedStr {
    fn from(text: &str) -> Self {
        SharedStr(text.into())
    }
}

impl From<String> for SharedStr {
    fn from(text: String) -> Self {
        SharedStr(text.into())
    }
}

impl PartialEq<str> for SharedStr {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for SharedStr {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl Display for SharedStr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&**self, f)
    }
}

impl Debug for SharedStr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Debug::fmt(&**self, f)
    }
}

impl Serialize for SharedStr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for SharedStr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// Keeps one copy of each string.
#[derive(Clone, Debug, Default)]
pub struct StrPool(HashSet<SharedStr>);

impl StrPool {
    /// The pool's copy of a text.
    pub fn get(&mut self, text: &str) -> SharedStr {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let new = SharedStr::from(text);
        self.0.insert(new.clone());
        new
    }

    /// Replaces a string by the pool's copy of it.
    pub fn replace(&mut self, text: &mut SharedStr) {
        match self.0.get(&**text) {
            Some(known) => *text = known.clone(),
            None => drop(self.0.insert(text.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_of_a_pool_are_one() {
        let mut pool = StrPool::default();
        let one = pool.get("KeyError");
        let mut other = SharedStr::from("KeyError".to_string());
        assert!(!Arc::ptr_eq(&one.0, &other.0) && one == other);
        pool.replace(&mut other);
        assert!(Arc::ptr_eq(&one.0, &other.0));
        assert!(other == "KeyError" && one != pool.get("TypeError"));
    }

    #[test]
    fn a_string_is_written_as_any_other() {
        let text = SharedStr::from("a\"b");
        assert_eq!(serde_json::to_string(&text).unwrap(), r#""a\"b""#);
        assert_eq!(serde_json::from_str::<SharedStr>(r#""a\"b""#).unwrap(), text);
        assert_eq!(format!("{text} {text:?}"), r#"a"b "a\"b""#);
    }
}
