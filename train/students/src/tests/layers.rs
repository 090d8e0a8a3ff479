//! The tensors of a model folder's layers; `benches/train_step.rs` uses them too.

/// Sizes that the layers of a model share.
pub(crate) struct Sizes {
    pub(crate) hidden_size: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) num_key_value_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) intermediate_size: usize,
}

/// Calls `put` with the name and sizes of every tensor of `layers` layers, always in the
/// same order. `kind` is `qwen3` if queries and keys have norms, and `qwen2` if queries,
/// keys and values have biases.
pub(crate) fn layers(
    layers: usize,
    kind: &str,
    sizes: &Sizes,
    put: &mut dyn FnMut(String, &[usize]),
) {
    let &Sizes {
        hidden_size,
        num_attention_heads,
        num_key_value_heads,
        head_dim,
        intermediate_size,
    } = sizes;
    let queries = num_attention_heads * head_dim;
    let keys = num_key_value_heads * head_dim;
    for layer in 0..layers {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        put(name("input_layernorm"), &[hidden_size]);
        put(name("post_attention_layernorm"), &[hidden_size]);
        if kind == "qwen3" {
            put(name("self_attn.q_norm"), &[head_dim]);
            put(name("self_attn.k_norm"), &[head_dim]);
        }
        for (part, rows) in [("q_proj", queries), ("k_proj", keys), ("v_proj", keys)] {
            put(name(&format!("self_attn.{part}")), &[rows, hidden_size]);
            if kind == "qwen2" {
                put(format!("model.layers.{layer}.self_attn.{part}.bias"), &[rows]);
            }
        }
        put(name("self_attn.o_proj"), &[hidden_size, queries]);
        put(name("mlp.gate_proj"), &[intermediate_size, hidden_size]);
        put(name("mlp.up_proj"), &[intermediate_size, hidden_size]);
        put(name("mlp.down_proj"), &[hidden_size, intermediate_size]);
    }
}
