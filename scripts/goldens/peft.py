"""Makes the golden values of `adapter_config.json`, with peft's own functions.

Needs the source of peft beside no torch: `pip download --no-deps peft` and unpack the wheel.
`python peft.py FOLDER` writes `train/students/src/goldens/peft.json`. peft itself imports torch, so
its two functions that match names are taken from its source.
"""

import ast
import json
import math
import pathlib
import re
import sys
from typing import Optional, Sequence
from types import SimpleNamespace

SOURCE = pathlib.Path(sys.argv[1])
OUT = pathlib.Path(__file__).parents[2] / "train/students/src/goldens/peft.json"


class _ExcludedModule:
    """As in peft: a match that counts as none."""

    def __bool__(self):
        return False


def functions(file, *names, **known):
    tree = ast.parse((SOURCE / file).read_text())
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names]
    for node in found:
        node.returns, node.decorator_list = None, []
        for arg in node.args.args:
            arg.annotation = None
    space = {**known, "re": re, "_ExcludedModule": _ExcludedModule, "Optional": Optional, "Sequence": Sequence}
    exec(compile(ast.Module(found, []), file, "exec"), space)
    return [space[name] for name in names]


get_pattern_key, match = functions("peft/utils/other.py", "get_pattern_key", "match_target_against_key")
(check_target,) = functions(
    "peft/tuners/tuners_utils.py", "check_target_module_exists", match_target_against_key=match
)

MODULES = [
    "model.layers.0.self_attn.q_proj",
    "model.layers.1.self_attn.q_proj",
    "model.layers.1.self_attn.v_proj",
    "model.layers.10.mlp.up_proj",
    "model.layers.10.mlp.down_proj",
]
ALL = ["q_proj", "v_proj", "up_proj", "down_proj"]
CASES = [
    {},
    {"use_rslora": True},
    {"lora_alpha": 0},
    {"lora_alpha": 7.5},
    {"alpha_pattern": {"layers.0.self_attn.q_proj": 80}},
    {"alpha_pattern": {"q_proj": 80, "layers.0.self_attn.q_proj": 3}},
    {"alpha_pattern": {"layers.0.self_attn.q_proj": 3, "q_proj": 80}},
    {"alpha_pattern": {"proj": 80}},
    {"alpha_pattern": {"layers\\.1.*": 80}},
    {"alpha_pattern": {"model.layers.(0|10)\\..*": 16}},
    {"alpha_pattern": {"^model.layers.1.self_attn.v_proj": 16}},
    {"rank_pattern": {"v_proj": 8}},
    {"rank_pattern": {"v_proj": 8}, "alpha_pattern": {"v_proj": 4}},
    {"rank_pattern": {"v_proj": 9}, "use_rslora": True},
    {"rank_pattern": {".*_proj": 2}},
    {"target_modules": ["q_proj"]},
    {"target_modules": ["self_attn.q_proj", "model.layers.10.mlp.up_proj"]},
    {"target_modules": ["proj"]},
    {"target_modules": ".*\\.(q|up)_proj"},
    {"target_modules": "q_proj"},
    {"target_modules": "model.layers.1.*"},
    {"target_modules": "(?:.*?(?:language|text).*?(?:mlp).*?(?:up_proj).*?)|(?:\\bmodel\\.layers\\.[\\d]{1,}\\.(?:self_attn|mlp)\\.(?:(?:q_proj|up_proj)))"},
    {"exclude_modules": ["v_proj"]},
    {"exclude_modules": "model.layers.1\\..*"},
    {"layers_to_transform": 1},
    {"layers_to_transform": [0, 10]},
    {"layers_to_transform": [1], "layers_pattern": "layers"},
    {"layers_to_transform": [1], "layers_pattern": ["h", "layers"]},
    {"layers_to_transform": [1], "layers_pattern": "h"},
    {"layers_to_transform": [], "layers_pattern": []},
    {"layers_to_transform": [1], "target_modules": ".*q_proj"},
]

golden = []
for case in CASES:
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ALL, **case}
    told = SimpleNamespace(
        **{
            "exclude_modules": None,
            "modules_to_save": None,
            "target_parameters": None,
            "layers_to_transform": None,
            "layers_pattern": None,
            **config,
        }
    )
    modules = {}
    for module in MODULES:
        ranks, alphas = config.get("rank_pattern", {}), config.get("alpha_pattern", {})
        rank = ranks.get(get_pattern_key(ranks.keys(), module), config["r"])
        alpha = alphas.get(get_pattern_key(alphas.keys(), module), config["lora_alpha"])
        # LoraLayer.update_layer
        scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
        modules[module] = [bool(check_target(told, module)), rank, scale]
    golden.append({"config": json.dumps(config), "modules": modules})
OUT.write_text(json.dumps(golden, indent=1) + "\n")
