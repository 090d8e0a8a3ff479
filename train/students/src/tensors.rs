//! The tensors of a model: their names in Hugging Face folders and in GGUF files, their
//! sizes, and the order of their rows.

use crate::model_config::{Family, ModelConfig};
use crate::settings::Target;

/// The parts of a layer: Hugging Face's name, and llama.cpp's.
const PARTS: [(&str, &str); 11] = [
    ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// Hugging Face's name for a matrix of a layer, without `.weight`.
pub(crate) fn module(layer: usize, target: Target) -> String {
    format!("model.layers.{layer}.{}.{}", target.part(), target.name())
}

/// llama.cpp's name for a tensor of Hugging Face; `None` if it is no tensor of a decoder.
pub(crate) fn gguf_name(name: &str) -> Option<String> {
    let (module, kind) = name.rsplit_once('.')?;
    let place = match module {
        "model.embed_tokens" => "token_embd".to_string(),
        "model.norm" => "output_norm".to_string(),
        "lm_head" => "output".to_string(),
        _ => {
            let (layer, part) = module.strip_prefix("model.layers.")?.split_once('.')?;
            let (_, part) = PARTS.iter().find(|(ours, _)| *ours == part)?;
            format!("blk.{layer}.{part}")
        }
    };
    Some(format!("{place}.{kind}"))
}

impl ModelConfig {
    /// Rows and columns of a matrix of a layer.
    pub(crate) fn sizes(&self, target: Target) -> (usize, usize) {
        match target {
            Target::QProj => (self.queries(), self.hidden_size),
            Target::KProj | Target::VProj => (self.keys(), self.hidden_size),
            Target::OProj => (self.hidden_size, self.queries()),
            Target::GateProj | Target::UpProj => (self.intermediate_size, self.hidden_size),
            Target::DownProj => (self.hidden_size, self.intermediate_size),
        }
    }

    /// Hugging Face's names of all tensors, and their sizes.
    pub(crate) fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let table = vec![self.vocab_size, self.hidden_size];
        let mut all = vec![
            ("model.embed_tokens.weight".to_string(), table.clone()),
            ("model.norm.weight".to_string(), vec![self.hidden_size]),
        ];
        if !self.tie_word_embeddings {
            all.push(("lm_head.weight".to_string(), table));
        }
        let mut norms = vec![
            ("input_layernorm", self.hidden_size),
            ("post_attention_layernorm", self.hidden_size),
        ];
        if self.family.norms_heads() {
            norms
                .extend([("self_attn.q_norm", self.head_dim), ("self_attn.k_norm", self.head_dim)]);
        }
        for layer in 0..self.num_hidden_layers {
            let norm = |(part, size): &(&str, usize)| {
                (format!("model.layers.{layer}.{part}.weight"), vec![*size])
            };
            all.extend(norms.iter().map(norm));
            for target in Target::ALL {
                let ((out, input), module) = (self.sizes(target), module(layer, target));
                if self.family.has_bias(target) {
                    all.push((format!("{module}.bias"), vec![out]));
                }
                all.push((format!("{module}.weight"), vec![out, input]));
            }
        }
        all
    }

    /// The heads of a matrix whose rows llama.cpp has in another order: its architecture
    /// `llama` rotates pairs of neighbouring elements, and Hugging Face pairs that are half
    /// a head apart. `None` if the order is the same.
    pub(crate) fn reordered_heads(&self, name: &str) -> Option<usize> {
        match self.family {
            Family::Qwen2 | Family::Qwen3 => None,
            Family::Llama | Family::Mistral if name.contains(".q_proj.") => {
                Some(self.num_attention_heads)
            }
            Family::Llama | Family::Mistral if name.contains(".k_proj.") => {
                Some(self.num_key_value_heads)
            }
            Family::Llama | Family::Mistral => None,
        }
    }
}

/// Rows in the order of Hugging Face, from the order of llama.cpp's architecture `llama`.
pub(crate) fn reordered(bytes: &[u8], row: usize, heads: usize) -> Vec<u8> {
    let rows = bytes.len() / row.max(1);
    let half = rows / heads.max(1) / 2;
    let mut ordered = Vec::with_capacity(bytes.len());
    for head in 0..heads {
        for side in 0..2 {
            for pair in 0..half {
                let from = (head * 2 * half + 2 * pair + side) * row;
                ordered.extend_from_slice(&bytes[from..from + row]);
            }
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Option<&str>) {
        assert_eq!(gguf_name(name).as_deref(), expected);
    }

    #[test]
    fn tensors_have_the_names_of_llama_cpp() {
        check("model.embed_tokens.weight", Some("token_embd.weight"));
        check("model.norm.weight", Some("output_norm.weight"));
        check("lm_head.weight", Some("output.weight"));
        check("model.layers.11.self_attn.q_proj.bias", Some("blk.11.attn_q.bias"));
        check("model.layers.0.self_attn.o_proj.weight", Some("blk.0.attn_output.weight"));
        check("model.layers.0.mlp.down_proj.weight", Some("blk.0.ffn_down.weight"));
        check("model.layers.0.post_attention_layernorm.weight", Some("blk.0.ffn_norm.weight"));
        check("model.layers.0.self_attn.rotary_emb.inv_freq", None);
        check("rope_freqs.weight", None);
    }

    #[test]
    fn rows_of_pairs_come_apart_into_halves() {
        // Two heads of four rows, one byte each.
        assert_eq!(reordered(&[0, 1, 2, 3, 10, 11, 12, 13], 1, 2), [0, 2, 1, 3, 10, 12, 11, 13]);
        assert_eq!(reordered(&[0, 0, 1, 1, 2, 2, 3, 3], 2, 1), [0, 0, 2, 2, 1, 1, 3, 3]);
    }
}
