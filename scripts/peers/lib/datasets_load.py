"""Loads a dataset of fixfly with the trainers' own code and compares what they would learn."""

import contextlib
import importlib.machinery
import io
import json
import sys
import types
from pathlib import Path

import transformers

# PyPI's torchaudio may be built for another CUDA than its torch, and is needed for no text.
audio = types.ModuleType("torchaudio")
audio.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
sys.modules["torchaudio"] = audio

from datasets import load_dataset
from llamafactory.data.loader import get_dataset
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams import DataArguments, ModelArguments
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Seq2SeqTrainingArguments
from trl.data_utils import is_conversational

folder, loss = Path(sys.argv[1]), sys.argv[2]
rows = [json.loads(line) for line in open(folder / "rows.jsonl")]


def bytes_tokenizer():
    """A token a byte, and ChatML's own: no download, and nothing is out of its vocabulary."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate(alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    return tokenizer


def learned(tokenizer, ids, labels):
    """The spans of text that carry loss."""
    spans, span = [], []
    for id, label in zip(ids, labels):
        if label != -100:
            span.append(id)
        elif span:
            spans.append(span)
            span = []
    return [tokenizer.decode(span) for span in spans + [span] if span]


def settings():
    """What fixfly wrote beside the data."""
    lines = (folder / "sharegpt/llamafactory.yaml").read_text().splitlines()
    pairs = (line.split("#")[0].split(": ") for line in lines if not line.startswith("#"))
    return {pair[0].strip(): pair[1].strip() for pair in pairs}


told = settings()
assert told["mask_history"] == ("true" if loss == "last" else "false")
data_args = DataArguments(
    dataset_dir=str(folder / "sharegpt"),
    dataset=told["dataset"],
    template=told["template"],
    enable_thinking={"true": True, "false": False, "null": None}[told["enable_thinking"]],
    mask_history=told["mask_history"] == "true",
    cutoff_len=10_000_000,  # a token a byte here
    overwrite_cache=True,
)
tokenizer = bytes_tokenizer()
template = get_template_and_fix_tokenizer(tokenizer, data_args)
training = Seq2SeqTrainingArguments(output_dir=str(folder / "out"), do_train=True, use_cpu=True)
model_args = ModelArguments(model_name_or_path="none")
with contextlib.redirect_stdout(io.StringIO()):  # it prints an example
    parts = get_dataset(template, model_args, data_args, training, stage="sft", tokenizer=tokenizer)
loaded = parts["train_dataset"]
assert len(loaded) == len(rows), f"{len(rows) - len(loaded)} of {len(rows)} rows were skipped"
for row, example in zip(rows, loaded):
    expected = [m["content"] + "<|im_end|>\n" for m in row["messages"] if m["loss"]]
    assert learned(tokenizer, example["input_ids"], example["labels"]) == expected, row["id"]
    text = tokenizer.decode(example["input_ids"])
    assert all(message["content"] in text for message in row["messages"]), row["id"]
print(f"LLaMA-Factory, loss {loss}: {len(loaded)} of {len(rows)} rows, {sum(map(len, loaded['input_ids']))} tokens; spans as meant")

trl = load_dataset("json", data_files=str(folder / "trl/train.jsonl"), split="train")
assert len(trl) == len(rows) and is_conversational(trl[0])
for row, example in zip(rows, trl):
    said = example["prompt"] + example["completion"] if loss == "last" else example["messages"]
    assert said == [{"role": m["role"], "content": m["content"]} for m in row["messages"]], row["id"]
print(f"TRL, loss {loss}: {len(trl)} rows, columns {trl.column_names}, conversational")

chats = load_dataset("json", data_files=str(folder / "openai/train.jsonl"), split="train")
assert len(chats) == len(rows)
for row, chat in zip(rows, chats):
    messages = chat["messages"]
    assert messages[-1]["role"] == "assistant" and messages[-1]["weight"] == 1
    assert {m["role"] for m in messages} == {"system", "user", "assistant"}
    assert [m["weight"] for m in messages if m["role"] == "assistant"] == [
        int(m["loss"]) for m in row["messages"] if m["role"] == "assistant"
    ], row["id"]
print(f"OpenAI chats, loss {loss}: {len(chats)} rows, weights as meant")
