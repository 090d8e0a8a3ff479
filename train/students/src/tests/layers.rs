//! The tensors of a model folder's layers; `benches/train_step.rs` makes them too.

/// Sizes that the layers of a model share.
pub(crate) struct Sizes {
    pub(crate) width: usize,
    pub(crate) heads: usize,
    pub(crate) kept: usize,
    pub(crate) head: usize,
    pub(crate) inner: usize,
}

/// Hands over the name and sizes of every tensor of `layers` layers, in an order
/// that stays; `norms` are Qwen3's of queries and keys.
pub(crate) fn layers(
    layers: usize,
    norms: bool,
    sizes: &Sizes,
    put: &mut dyn FnMut(String, &[usize]),
) {
    let &Sizes { width, heads, kept, head, inner } = sizes;
    for layer in 0..layers {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        put(name("input_layernorm"), &[width]);
        put(name("post_attention_layernorm"), &[width]);
        if norms {
            put(name("self_attn.q_norm"), &[head]);
            put(name("self_attn.k_norm"), &[head]);
        }
        put(name("self_attn.q_proj"), &[heads * head, width]);
        put(name("self_attn.k_proj"), &[kept * head, width]);
        put(name("self_attn.v_proj"), &[kept * head, width]);
        put(name("self_attn.o_proj"), &[width, heads * head]);
        put(name("mlp.gate_proj"), &[inner, width]);
        put(name("mlp.up_proj"), &[inner, width]);
        put(name("mlp.down_proj"), &[width, inner]);
    }
}
