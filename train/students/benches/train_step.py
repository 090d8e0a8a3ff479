"""peft's side of train_step.rs: prints seconds of processors a step, and MB beyond the loaded model."""

import gc
import json
import resource
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

folder = Path(sys.argv[1])
torch.set_num_threads(int(sys.argv[2]))
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa", use_cache=False)
targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
model = get_peft_model(model, LoraConfig(r=32, lora_alpha=64, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM"))
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


rows = [json.loads(line) for line in open(folder / "tokens/rows.jsonl")]
gc.collect()
base = memory("VmRSS")
for at, row in enumerate(rows):
    if at == 1:
        begun = processor()
    ids = torch.tensor([row["tokens"]])
    labels = torch.full_like(ids, -100)
    for begin, end in row["loss"]:
        labels[0, begin:end] = ids[0, begin:end]
    model(input_ids=ids, labels=labels).loss.backward()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    optimiser.step()
    optimiser.zero_grad()
print((processor() - begun) / (len(rows) - 1), memory("VmHWM") - base)
