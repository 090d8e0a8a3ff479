"""Loads a tiny student with peft, transformers, llama.cpp and TensorBoard, and compares."""

import json
import subprocess
import sys
from pathlib import Path

import numpy
import torch
from peft import PeftModel
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForCausalLM, AutoTokenizer

family, folder, gguf_logits = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
rows = [json.loads(line) for line in open(folder / "dataset/tokens/rows.jsonl")]
base = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
student = PeftModel.from_pretrained(base, folder / "peft").eval()
merged = AutoModelForCausalLM.from_pretrained(folder / "merged", dtype=torch.float32).eval()


def loss(model):
    total = count = 0
    for row in rows:
        ids = torch.tensor([row["tokens"]])
        labels = torch.full_like(ids, -100)
        for begin, end in row["loss"]:
            labels[0, begin:end] = ids[0, begin:end]
        with torch.no_grad():
            logits = model(input_ids=ids).logits
        total += torch.nn.functional.cross_entropy(logits[0, :-1], labels[0, 1:], reduction="sum").item()
        count += int((labels[0, 1:] != -100).sum())
    return total / count


log = [json.loads(line) for line in open(folder / "student/log.jsonl")]
steps = [line for line in log if line["kind"] == "step"]
with student.disable_adapter():
    before = loss(student)
after, whole = loss(student), loss(merged)
print(f"{family}: loss {before:.4f} before, {after:.6f} by peft, {whole:.6f} merged; fixfly's last step {steps[-1]['loss']:.4f}")
assert abs(after - whole) < 1e-5 * after, (after, whole)
assert after < before - 0.1, "it learned nothing"

events = EventAccumulator(str(folder / "student/tensorboard")).Reload()
shown = [event.value for event in events.Scalars("train/loss")]
assert numpy.allclose(shown, [step["loss"] for step in steps]), "TensorBoard shows other losses"

tokens = rows[0]["tokens"] + rows[1]["tokens"]
tokenizer = AutoTokenizer.from_pretrained(folder / "base")
text = tokenizer.decode(tokens)


def logits(*files):
    loaded = subprocess.run([gguf_logits, *(folder / file for file in files)], input=text, stdout=subprocess.PIPE, text=True, check=True)
    loaded = json.loads(loaded.stdout)
    assert loaded["tokens"] == tokens, "llama.cpp reads other tokens"
    assert "im_start" in loaded["chat_template"]
    return numpy.array(loaded["logits"])


with torch.no_grad():
    right = student(input_ids=torch.tensor([tokens])).logits[0].numpy()
    with student.disable_adapter():
        plain = student(input_ids=torch.tensor([tokens])).logits[0].numpy()
scale = numpy.abs(right).max()
for name, made, expected in [
    ("base", logits("base.gguf"), plain),
    ("base + LoRA", logits("base.gguf", "lora.gguf"), right),
    ("merged", logits("merged.gguf"), right),
]:
    off = numpy.abs(made - expected).max() / scale
    print(f"{family}: llama.cpp's logits of {name} are {off:.1e} off, of {scale:.1f}")
    assert off < 1e-4, name
apart = numpy.abs(right - plain).max() / scale
assert apart > 0.05, f"the adapter changes logits by {apart} alone: nothing was compared"
