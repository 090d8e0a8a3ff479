"""Makes the goldens of train/students/src/goldens with PyTorch, transformers and peft.

    python3 -m venv /tmp/goldens && /tmp/goldens/bin/pip install torch transformers peft safetensors numpy
    /tmp/goldens/bin/python -P scripts/goldens/train.py train/students/src/goldens [KIND...]

The models, adapters and rows are those of train/students/src/tests.rs: numbers come from
the same generator on both sides, so that no weights need to be stored. With kinds, only
their goldens are made anew.
"""

import json
import math
import sys
from pathlib import Path

import numpy
import torch
import transformers
import peft
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

OUT = Path(sys.argv[1])
KINDS = sys.argv[2:] or ["qwen3", "llama", "mistral", "qwen2", "smollm2"]
TIED = ["qwen3", "qwen2", "smollm2"]
WORDS, WIDTH, HEADS, KEPT, HEAD, INNER, LAYERS = 64, 32, 4, 2, 16, 48, 2
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RANK, ALPHA, STEPS, WARMUP, RATE, DECAY = 4, 8, 20, 2, 1e-2, 0.001
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
M = numpy.uint64


def mix(value):
    with numpy.errstate(over="ignore"):
        value = value + M(0x9E3779B97F4A7C15)
        value = (value ^ (value >> M(30))) * M(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> M(27))) * M(0x94D049BB133111EB)
        return value ^ (value >> M(31))


def random(sizes, seed):
    at = numpy.arange(math.prod(sizes), dtype=M)
    unit = (mix(M(seed) ^ mix(at)) >> M(11)).astype(numpy.float64) / float(1 << 53)
    return torch.from_numpy((unit.astype(numpy.float32) * numpy.float32(2) - numpy.float32(1)).reshape(sizes))


def config(kind):
    common = dict(
        hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KEPT,
        head_dim=HEAD, intermediate_size=INNER, vocab_size=WORDS, max_position_embeddings=256,
        rms_norm_eps=1e-6, tie_word_embeddings=kind in TIED, use_cache=False, attn_implementation="eager",
    )
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    if kind == "llama":
        rope = {
            "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 16,
        }
    common["rope_parameters"] = rope
    if kind == "smollm2":
        rope["rope_theta"] = 100000.0
    if kind == "mistral":
        common["sliding_window"] = 5
    made = {
        "qwen3": transformers.Qwen3Config, "qwen2": transformers.Qwen2Config, "mistral": transformers.MistralConfig,
        "llama": transformers.LlamaConfig, "smollm2": transformers.LlamaConfig,
    }
    return made[kind](**common)


def names(kind):
    yield "model.embed_tokens.weight", [WORDS, WIDTH]
    yield "model.norm.weight", [WIDTH]
    if kind not in TIED:
        yield "lm_head.weight", [WORDS, WIDTH]
    for layer in range(LAYERS):
        part = f"model.layers.{layer}."
        yield part + "input_layernorm.weight", [WIDTH]
        yield part + "post_attention_layernorm.weight", [WIDTH]
        if kind == "qwen3":
            yield part + "self_attn.q_norm.weight", [HEAD]
            yield part + "self_attn.k_norm.weight", [HEAD]
        for name, rows in [("q_proj", HEADS * HEAD), ("k_proj", KEPT * HEAD), ("v_proj", KEPT * HEAD)]:
            yield part + f"self_attn.{name}.weight", [rows, WIDTH]
            if kind == "qwen2":
                yield part + f"self_attn.{name}.bias", [rows]
        yield part + "self_attn.o_proj.weight", [WIDTH, HEADS * HEAD]
        yield part + "mlp.gate_proj.weight", [INNER, WIDTH]
        yield part + "mlp.up_proj.weight", [INNER, WIDTH]
        yield part + "mlp.down_proj.weight", [WIDTH, INNER]


def model(kind):
    made = transformers.AutoModelForCausalLM.from_config(config(kind)).float()
    state = {}
    for seed, (name, sizes) in enumerate(names(kind), 101):
        numbers = random(sizes, seed)
        state[name] = numbers * 0.2 + 1 if "norm" in name else numbers * 0.25
    missing, unexpected = made.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    made.tie_weights()
    return made


def rows():
    for at, length in enumerate([11, 7, 20, 5, 16, 9]):
        ids = torch.tensor([[(token * 7 + at * 13 + token * token) % WORDS for token in range(length)]])
        labels = torch.full_like(ids, -100)
        for begin, end in [(length // 3, length // 2), (length // 2 + 1, length)]:
            labels[0, begin:end] = ids[0, begin:end]
        labels[0, 0] = -100
        yield ids, labels


def learn(made):
    learned = sum(int((labels[:, 1:] != -100).sum()) for _, labels in rows())
    total = 0.0
    for ids, labels in rows():
        logits = made(input_ids=ids).logits.float()
        loss = torch.nn.functional.cross_entropy(
            logits[0, :-1], labels[0, 1:], ignore_index=-100, reduction="sum"
        ) / learned
        loss.backward()
        total += loss.item()
    return total


goldens = json.loads((OUT / "goldens.json").read_text()) if sys.argv[2:] else {}
made_by = f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}"
for kind in KINDS:
    whole = model(kind)
    loss = learn(whole)
    full = {}
    for name, param in whole.named_parameters():
        along = (param.grad * random(list(param.shape), 9)).sum().item()
        full[name] = [param.grad.norm().item(), along]

    made = get_peft_model(
        model(kind),
        LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=TARGETS, task_type="CAUSAL_LM"),
    )
    params = {name.replace(".default", ""): param for name, param in made.named_parameters() if param.requires_grad}
    for layer in range(LAYERS):
        for at, target in enumerate(TARGETS):
            part = "mlp" if at > 3 else "self_attn"
            for half, letter in enumerate("AB"):
                name = f"base_model.model.model.layers.{layer}.{part}.{target}.lora_{letter}.weight"
                seed = 2 * (layer * len(TARGETS) + at) + half
                params[name].data.copy_(random(list(params[name].shape), seed) * 0.2)
    lora_loss = learn(made)
    save_file({name: param.grad.contiguous() for name, param in params.items()}, OUT / f"{kind}.safetensors")

    made.zero_grad()
    optimiser = torch.optim.AdamW(params.values(), lr=RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=DECAY)
    schedule = transformers.get_cosine_schedule_with_warmup(optimiser, WARMUP, STEPS)
    steps = []
    for _ in range(STEPS):
        optimiser.zero_grad()
        step_loss = learn(made)
        norm = torch.nn.utils.clip_grad_norm_(params.values(), 1.0).item()
        steps.append([step_loss, norm, schedule.get_last_lr()[0]])
        optimiser.step()
        schedule.step()
    goldens[kind] = {"made_by": made_by, "full_loss": loss, "full": full, "lora_loss": lora_loss, "steps": steps}
(OUT / "goldens.json").write_text(json.dumps(goldens, indent=1) + "\n")
