"""Compares the tokens of exported GGUF files in llama.cpp with those of `tokenizers`.

`tokenizers_llama.py FIXFLY GGUF_LOGITS FOLDER`: for each published pre-tokenizer that llama.cpp has
a rule for, trains a small vocabulary on fixfly's probe, writes a tiny model, exports it, and reads
the probe and some lines in llama.cpp.
"""

import json
import pathlib
import subprocess
import sys

import numpy
from safetensors.numpy import save_file
from tokenizers import Tokenizer, trainers
from tokenizers.pre_tokenizers import ByteLevel

ROOT = pathlib.Path(__file__).parents[3]
STUDENTS = ROOT / "train/students/src"
fixfly, logits, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
PROBE = (STUDENTS / "export/probe.txt").read_text()
LINES = ["a  1", "x = 1234", "for i in range(10):\n    print(i)  # 10 times\n", "It's 3.14\t\tok\r\n\r\n"]
WIDTH, LAYERS, WORDS = 16, 1, 2048


def model(into, described, ignore_merges):
    tokenizer = {
        "version": "1.0", "truncation": {"max_length": 4, "stride": 0, "strategy": "LongestFirst", "direction": "Right"},
        "padding": None, "added_tokens": [], "normalizer": {"type": "NFC"}, "pre_tokenizer": described,
        "post_processor": None, "decoder": None,
        "model": {"type": "BPE", "vocab": {}, "merges": [], "ignore_merges": False},
    }
    made = Tokenizer.from_str(json.dumps(tokenizer))
    made.no_truncation()
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS, special_tokens=["<|end|>"], initial_alphabet=ByteLevel.alphabet(), min_frequency=1, show_progress=False
    )
    # Repeated pieces, so that words of many kinds become tokens.
    made.train_from_iterator([PROBE] * 4 + LINES * 4, trainer)
    text = json.loads(made.to_str())
    text["model"]["ignore_merges"] = ignore_merges
    text["truncation"] = tokenizer["truncation"]
    into.mkdir(parents=True, exist_ok=True)
    (into / "tokenizer.json").write_text(json.dumps(text, ensure_ascii=False))
    (into / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "chat_template": "x"}))
    config = {
        "model_type": "llama", "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 16, "vocab_size": WORDS,
        "max_position_embeddings": 4096, "tie_word_embeddings": True,
    }
    (into / "config.json").write_text(json.dumps(config))
    chance = numpy.random.default_rng(1)
    shapes = {"model.embed_tokens": (WORDS, WIDTH), "model.norm": (WIDTH,)}
    for layer in range(LAYERS):
        for part, shape in {
            "input_layernorm": (WIDTH,), "post_attention_layernorm": (WIDTH,), "self_attn.q_proj": (16, WIDTH),
            "self_attn.k_proj": (16, WIDTH), "self_attn.v_proj": (16, WIDTH), "self_attn.o_proj": (WIDTH, 16),
            "mlp.gate_proj": (16, WIDTH), "mlp.up_proj": (16, WIDTH), "mlp.down_proj": (WIDTH, 16),
        }.items():
            shapes[f"model.layers.{layer}.{part}"] = shape
    tensors = {f"{name}.weight": chance.normal(size=shape).astype("float32") for name, shape in shapes.items()}
    save_file(tensors, into / "model.safetensors")
    return made


failed = 0
for at, case in enumerate(json.loads((STUDENTS / "goldens/pre_tokenizers.json").read_text())):
    into = folder / f"model-{at}"
    made = model(into, case["pre_tokenizer"], case["ignore_merges"])
    file = folder / f"{at}.gguf"
    file.unlink(missing_ok=True)
    done = subprocess.run([fixfly, "export", "gguf", into, "--dtype", "f32", "-o", file], capture_output=True, text=True)
    if case["name"] is None:
        print(f"refused: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 1, "it was exported"
        continue
    assert done.returncode == 0, done.stderr
    # llama.cpp cuts words of this kind otherwise: docs/training.md.
    known = case["name"] in ("tekken", "gpt-4o")
    before = failed
    for text in [*([] if known else [PROBE]), *LINES]:
        read = subprocess.run([logits, file], input=text.encode(), capture_output=True, check=True)
        theirs, own = json.loads(read.stdout)["tokens"], made.encode(text, add_special_tokens=False).ids
        if theirs != own:
            failed += 1
            print(f"{case['name']}: {text[:30]!r}: {theirs[:20]} in llama.cpp, {own[:20]} in tokenizers")
    if failed == before:
        print(f"{case['name']}: the same tokens")
sys.exit(bool(failed))
