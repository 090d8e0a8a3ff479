"""A tiny model folder as Hugging Face has them, with a dataset in the forms trainers read."""

import json
import sys
from pathlib import Path

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

family, folder = sys.argv[1], Path(sys.argv[2])
base, dataset = folder / "base", folder / "dataset"
torch.manual_seed(7)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CUT = {
    "qwen3": r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
    "llama": r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
}
CUT["mistral"] = CUT["llama"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

raw = Tokenizer(models.BPE())
raw.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Split(Regex(CUT[family]), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
)
raw.decoder = decoders.ByteLevel()
source = Path(json.__file__).read_text()
raw.train_from_iterator(
    source.splitlines(keepends=True),
    trainers.BpeTrainer(vocab_size=600, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
)
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=TEMPLATE
)
tokenizer.save_pretrained(base)
# transformers 5 writes a name that version 4, which LLaMA-Factory 0.9.5 requires, does not accept.
about = base / "tokenizer_config.json"
about.write_text(json.dumps({**json.loads(about.read_text()), "tokenizer_class": "PreTrainedTokenizerFast"}))

rope = {"rope_type": "default", "rope_theta": 10000.0}
if family == "llama":
    rope = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 128}
made = {"qwen3": transformers.Qwen3Config, "llama": transformers.LlamaConfig, "mistral": transformers.MistralConfig}[family]
config = made(
    hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=32, intermediate_size=160,
    vocab_size=608, max_position_embeddings=512, rms_norm_eps=1e-6, tie_word_embeddings=family == "qwen3",
    rope_parameters=rope, bos_token_id=None, eos_token_id=2, pad_token_id=0,
    **({"sliding_window": None} if family == "mistral" else {}),
)
model = transformers.AutoModelForCausalLM.from_config(config).float()
with torch.no_grad():
    for name, param in model.named_parameters():
        param.copy_(1 + 0.2 * torch.randn_like(param) if "norm" in name else 0.12 * torch.randn_like(param))
model.save_pretrained(base, max_shard_size="200KB")

lines = [line for line in source.splitlines() if len(line) > 30][:24]
(dataset / "tokens").mkdir(parents=True)
(dataset / "sharegpt").mkdir()
rows, chats = [], []
for at, line in enumerate(lines):
    prompt = f"<|im_start|>user\nrepeat {line}<|im_end|>\n<|im_start|>assistant\n"
    answer = f"{line}<|im_end|>"
    before, all_ = (tokenizer.encode(text, add_special_tokens=False) for text in (prompt, prompt + answer))
    rows.append({"row": f"row-{at}", "tokens": all_, "loss": [[len(before), len(all_)]]})
    messages = [{"from": "user", "value": f"repeat {line}"}, {"from": "AI", "value": line}]
    chats.append({"conversations": messages, "system": "", "id": f"row-{at}"})


def jsonl(path, all_):
    path.write_text("".join(json.dumps(one) + "\n" for one in all_))


jsonl(dataset / "tokens/rows.jsonl", rows)
jsonl(dataset / "sharegpt/train.jsonl", chats[:20])
jsonl(dataset / "sharegpt/validation.jsonl", chats[20:])
columns = {"messages": "conversations", "system": "system", "tools": None}
tags = {"role_tag": "from", "content_tag": "value", "user_tag": "user", "assistant_tag": "AI",
        "observation_tag": "observation", "function_tag": "function_call", "system_tag": "system"}
info = {
    f"fixfly_{part}": {"file_name": f"{part}.jsonl", "formatting": "sharegpt", "columns": columns, "tags": tags}
    for part in ("train", "validation")
}
(dataset / "sharegpt/dataset_info.json").write_text(json.dumps(info))
(dataset / "sharegpt/llamafactory.yaml").write_text(
    "stage: sft\ndo_train: true\ndataset_dir: .  # this folder\ndataset: fixfly_train\neval_dataset: fixfly_validation\n"
    "template: qwen3\nenable_thinking: false\nmask_history: false\ncutoff_len: 256\n"
)
