//! The size of a model's key-value cache.

use super::error::GgufError;
use super::header::GgufHeader;

/// What the key-value cache holds of one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvSizes {
    /// Key-value heads of all layers together.
    pub heads: u64,
    /// Numbers of a head's key.
    pub key: u64,
    /// Numbers of a head's value.
    pub value: u64,
}

impl KvSizes {
    /// Numbers of all keys and values. Those that no memory can hold are `u64::MAX`.
    pub fn numbers(&self) -> u64 {
        self.heads.saturating_mul(self.key.saturating_add(self.value))
    }
}

impl GgufHeader {
    /// What the key-value cache holds of one token.
    ///
    /// # Errors
    /// [`GgufError`] if the header lacks the number of layers or heads, or the hidden size.
    pub fn kv_sizes(&self) -> Result<KvSizes, GgufError> {
        let layers = self.fact("block_count")?;
        let heads = self.fact("attention.head_count")?.max(1);
        let size = self.fact("embedding_length")? / heads;
        let kept = self.numbers(&format!("{}.attention.head_count_kv", self.architecture()?));
        Ok(KvSizes {
            heads: match kept.as_deref() {
                None => layers.saturating_mul(heads),
                Some([all]) => layers.saturating_mul(*all),
                Some(each) => each.iter().copied().fold(0, u64::saturating_add),
            },
            key: self.fact("attention.key_length").unwrap_or(size),
            value: self.fact("attention.value_length").unwrap_or(size),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::GgufValue;
    use super::*;

    #[track_caller]
    fn check(more: &[(&str, GgufValue)], expected: Option<(KvSizes, u64)>) {
        let mut header = GgufHeader::default();
        let text = GgufValue::Text("llama".into());
        header.values.insert("general.architecture".into(), text);
        for (name, number) in
            [("block_count", 30), ("attention.head_count", 9), ("embedding_length", 576)]
        {
            header.values.insert(format!("llama.{name}"), GgufValue::Unsigned(number));
        }
        for (name, value) in more {
            header.values.insert(format!("llama.{name}"), value.clone());
        }
        let sizes = header.kv_sizes().ok();
        assert_eq!(sizes.map(|sizes| (sizes, sizes.numbers())), expected);
    }

    #[test]
    fn the_cache_has_the_heads_of_all_layers() {
        use GgufValue::{Numbers, Unsigned};
        let sizes = |heads| KvSizes { heads, key: 64, value: 64 };
        check(&[], Some((sizes(270), 270 * 128)));
        // SmolLM2-135M, and a model whose layers differ.
        check(&[("attention.head_count_kv", Unsigned(3))], Some((sizes(90), 90 * 128)));
        let each = Numbers([1.0, 2.0].repeat(15));
        check(&[("attention.head_count_kv", each)], Some((sizes(45), 45 * 128)));
        let wide = KvSizes { heads: 270, key: 32, value: 64 };
        check(&[("attention.key_length", Unsigned(32))], Some((wide, 270 * 96)));
    }

    #[test]
    fn what_cannot_be_right_is_as_large_as_a_number_can_be() {
        let huge = KvSizes { heads: u64::MAX, key: 64, value: 64 };
        let heads = GgufValue::Unsigned(u64::MAX);
        check(&[("attention.head_count_kv", heads)], Some((huge, u64::MAX)));
        check(&[("block_count", GgufValue::Bool(true))], None);
    }
}
