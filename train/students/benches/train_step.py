"""peft's side of train_step.rs: prints seconds of processors a step, tokens a second, MB beyond the loaded model, and MB at most."""

import gc
import json
import resource
import sys
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

base, rows = Path(sys.argv[1]), Path(sys.argv[2])
threads, accumulation, dropout = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
targets, checkpointing = sys.argv[6].split(","), sys.argv[7] == "checkpointing"
torch.set_num_threads(threads)
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="sdpa", use_cache=False)
model = get_peft_model(model, LoraConfig(r=32, lora_alpha=64, lora_dropout=dropout, target_modules=targets, task_type="CAUSAL_LM"))
if checkpointing:
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
model.train()
params = [param for param in model.parameters() if param.requires_grad]
optimiser = torch.optim.AdamW(params, lr=1e-4, weight_decay=0.001)


def memory(key):
    return next(float(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(key))


def processor():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


rows = [json.loads(line) for line in open(rows / "tokens/rows.jsonl")]
steps = [rows[at : at + accumulation] for at in range(0, len(rows), accumulation)]
gc.collect()
loaded = memory("VmRSS")
for at, step in enumerate(steps):
    if at == 1:
        # The first step warms up.
        begun, clock = processor(), time.monotonic()
    for row in step:
        ids = torch.tensor([row["tokens"]])
        labels = torch.full_like(ids, -100)
        for begin, end in row["loss"]:
            labels[0, begin:end] = ids[0, begin:end]
        (model(input_ids=ids, labels=labels).loss / len(step)).backward()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    optimiser.step()
    optimiser.zero_grad()
spent, took = processor() - begun, time.monotonic() - clock
tokens = sum(len(row["tokens"]) for step in steps[1:] for row in step)
print(spent / (len(steps) - 1), tokens / took, memory("VmHWM") - loaded, memory("VmHWM"))
