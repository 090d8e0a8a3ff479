"""Compares the loss of rows in fixfly's trainer with that in llama.cpp, on the same GGUF file."""

import json
import subprocess
import sys
from pathlib import Path

name, file, folder, gguf_logits = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]

# Largest relative differences. In products with quantised matrices, llama.cpp rounds
# activations to 8 bits and the trainer does not: 0.42 % at most on tiny random models
# (train/students/src/tests/served.rs), 0.14 % on SmolLM2 in Q4_1 without an adapter.
QUANTISED = 2e-2
# Both compute in f32; what is left is the order of sums. A wrong order of rows, a bias that is
# left out or another tokenizer would be far above it.
EXACT = 1e-3

rows = folder / "dataset/tokens/rows.jsonl"
count = sum(1 for _ in open(rows))
assert count >= 6, f"{name}: only {count} rows"


def losses(*files):
    """The loss of each row in llama.cpp, with the number of its tokens that carry loss."""
    with open(rows) as lines:
        command = [gguf_logits, *map(str, files), "--rows"]
        done = subprocess.run(command, stdin=lines, stdout=subprocess.PIPE, text=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == count, f"{name}: {len(found)} of {count} rows"
    return found


def mean(found):
    return sum(row["loss"] * row["learned"] for row in found) / sum(row["learned"] for row in found)


log = [json.loads(line) for line in open(folder / "student/log.jsonl")]
validations = [line for line in log if line["kind"] == "validation"]
# An export takes the checkpoint with the lowest validation loss.
chosen = min(validations, key=lambda line: line["loss"])
trained = chosen["loss"]
before, served = losses(file), losses(file, folder / "adapter.gguf")
exact = losses(folder / "merged.gguf")
learned = sum(row["learned"] for row in served)
assert chosen["learned"] == learned, f"{name}: {chosen['learned']} tokens carry loss, {learned} in llama.cpp"

print(f"{name}: {count} rows, {learned} tokens with loss; {mean(before):.4f} in llama.cpp before the training")
apart = {}
for what, found, bound in [("the file and the adapter", served, QUANTISED), ("the merged file in f32", exact, EXACT)]:
    apart[what] = abs(mean(found) / trained - 1)
    print(f"  {what}: {trained:.6f} in the trainer, {mean(found):.6f} in llama.cpp, {apart[what]:.2e} apart (at most {bound})")
for one, other in zip(served, exact):
    print(f"    {one['row']}: {one['loss']:.4f} quantised, {other['loss']:.4f} in f32")
assert apart["the file and the adapter"] <= QUANTISED, apart
assert apart["the merged file in f32"] <= EXACT, apart
# Otherwise a base without its adapter would pass, too.
assert mean(served) < 0.95 * mean(before), f"{name}: the adapter changed little: {mean(before)}, then {mean(served)}"
