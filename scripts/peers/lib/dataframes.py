"""Runs the Python blocks of a page, and compares what they find with the run's own lines.

python dataframes.py PAGE TOKENIZER.json      in a folder with runs/mine and datasets/mine
"""

import json
import re
import sys
from pathlib import Path

from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

END = "<|im_end|>"
# ChatML that marks the model's own text, as TRL requires of a template for `assistant_only_loss`.
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def write_model(folder, file):
    """A model of one layer from random weights."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=file, eos_token=END, pad_token="<|endoftext|>")
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, head_dim=16, max_position_embeddings=16384,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)


def blocks(page):
    """The Python of a page, by the heading above it."""
    parts = re.split(r"^## (.+)$", Path(page).read_text(), flags=re.MULTILINE)
    found = {}
    for heading, text in zip(parts[1::2], parts[2::2]):
        [code] = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
        found[heading] = code
    return found


def main():
    page, tokenizer = sys.argv[1:]
    episodes = [json.loads(line) for line in open("runs/mine/episodes.jsonl")]
    assert episodes and all(end["end"].get("failure") != "infrastructure" for end in episodes)
    expected = sum(episode["end"]["kind"] == "solved" for episode in episodes)
    turns = sorted(len(e["turns"]) for e in episodes if e["end"]["kind"] == "solved")
    counts = {turn: turns.count(turn) for turn in turns}

    found = blocks(page)
    assert sorted(found) == ["TRL", "datasets", "pandas", "polars"], sorted(found)
    for name in ("datasets", "polars", "pandas"):
        scope = {}
        exec(compile(found[name], f"{page} {name}", "exec"), scope)
        assert int(scope["solved"]) == expected, (name, scope["solved"], expected)
        assert len(scope["run"]) == len(episodes), name
        if name == "polars":
            assert dict(scope["by_turn"].iter_rows()) == counts, (scope["by_turn"], counts)
        if name == "pandas":
            assert scope["by_turn"].to_dict() == counts, (scope["by_turn"], counts)
        print(f"{name}: {expected} of {len(episodes)} solved, as the run's lines have it", flush=True)

    write_model("models/tiny", tokenizer)
    scope = {}
    exec(compile(found["TRL"], f"{page} TRL", "exec"), scope)
    rows = sum(1 for _ in open("datasets/mine/trl/train.jsonl"))
    assert len(scope["rows"]) == rows and len(scope["trainer"].train_dataset) == rows, "rows were skipped"
    [last] = [entry["train_loss"] for entry in scope["trainer"].state.log_history if "train_loss" in entry]
    assert last > 0
    print(f"TRL: {rows} rows, none skipped, {scope['trainer'].state.global_step} steps")


main()
