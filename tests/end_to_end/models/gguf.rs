//! A GGUF file of two layers, by the format's own description.

struct Writer(Vec<u8>);

impl Writer {
    fn u32(&mut self, number: u32) {
        self.0.extend(number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u64(text.len() as u64);
        self.0.extend(text.as_bytes());
    }

    fn string(&mut self, key: &str, value: &str) {
        self.text(key);
        self.u32(8);
        self.text(value);
    }

    fn number(&mut self, key: &str, value: u32) {
        self.text(key);
        self.u32(4);
        self.u32(value);
    }

    fn float(&mut self, key: &str, value: f32) {
        self.text(key);
        self.u32(6);
        self.u32(value.to_bits());
    }
}

const STRINGS: [(&str, &str); 6] = [
    ("general.architecture", "llama"),
    ("general.name", "Tiny \u{1b}[31m"),
    ("general.license", "mit"),
    ("tokenizer.ggml.model", "gpt2"),
    ("tokenizer.ggml.pre", "smollm"),
    ("tokenizer.chat_template", "{% if tools %}{{ tools }}{% endif %}{{ messages }}"),
];
const NUMBERS: [(&str, u32); 8] = [
    ("llama.block_count", 2),
    ("llama.context_length", 64),
    ("llama.embedding_length", 32),
    ("llama.feed_forward_length", 64),
    ("llama.attention.head_count", 4),
    ("llama.attention.head_count_kv", 2),
    ("tokenizer.ggml.bos_token_id", 0),
    ("tokenizer.ggml.eos_token_id", 1),
];
const TOKENS: [&str; 4] = ["<s>", "</s>", "a", "b"];

/// Its matrices are Q8_0, its norms F32.
pub(super) fn tiny() -> Vec<u8> {
    let mut tensors: Vec<(String, Vec<u64>)> =
        vec![("token_embd.weight".into(), vec![32, 4]), ("output_norm.weight".into(), vec![32])];
    for layer in 0..2 {
        let of = |name: &str| format!("blk.{layer}.{name}.weight");
        tensors.push((of("attn_norm"), vec![32]));
        tensors.push((of("ffn_norm"), vec![32]));
        tensors.push((of("attn_q"), vec![32, 32]));
        tensors.push((of("attn_k"), vec![32, 16]));
        tensors.push((of("attn_v"), vec![32, 16]));
        tensors.push((of("attn_output"), vec![32, 32]));
        tensors.push((of("ffn_gate"), vec![32, 64]));
        tensors.push((of("ffn_up"), vec![32, 64]));
        tensors.push((of("ffn_down"), vec![64, 32]));
    }
    let mut file = Writer(b"GGUF".to_vec());
    file.u32(3);
    file.u64(tensors.len() as u64);
    file.u64((STRINGS.len() + NUMBERS.len() + 2) as u64);
    for (key, value) in STRINGS {
        file.string(key, value);
    }
    for (key, value) in NUMBERS {
        file.number(key, value);
    }
    file.float("llama.attention.layer_norm_rms_epsilon", 1e-5);
    file.text("tokenizer.ggml.tokens");
    file.u32(9);
    file.u32(8);
    file.u64(TOKENS.len() as u64);
    for token in TOKENS {
        file.text(token);
    }
    let mut offset = 0;
    for (name, sizes) in &tensors {
        file.text(name);
        file.u32(sizes.len() as u32);
        for size in sizes {
            file.u64(*size);
        }
        let values: u64 = sizes.iter().product();
        let (kind, bytes) = if sizes.len() == 1 { (0, values * 4) } else { (8, values / 32 * 34) };
        file.u32(kind);
        file.u64(offset);
        offset += bytes.next_multiple_of(32);
    }
    let data = file.0.len().next_multiple_of(32);
    file.0.resize(data + offset as usize, 0);
    file.0
}
