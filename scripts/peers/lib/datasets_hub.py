"""Loads what `fixfly dataset hub` wrote with `datasets`, from disk, and compares the rows.

python datasets_hub.py DATASET HUB
"""

import json
import sys
from pathlib import Path

import yaml
from datasets import load_dataset

dataset, hub = map(Path, sys.argv[1:])
rows = [json.loads(line) for line in open(dataset / "rows.jsonl")]
loaded = load_dataset(str(hub))
assert set(loaded) == {row["part"] for row in rows}, loaded


def expected(row):
    """A row of `rows.jsonl` as the columns have it."""
    origin = dict(row["origin"])
    answer = origin.pop("answer")
    turn = answer["turn"] if isinstance(answer, dict) else None
    trace = origin.pop("trace", None)
    sampling = origin["sampling"]
    names = ("temperature", "top_p", "top_k", "max_tokens", "seed")
    return {key: row[key] for key in ("id", "kind", "tokens", "messages")} | {
        "origin": {"masked": []}
        | origin
        | {
            # Without the folders of the machine.
            "run": Path(origin["run"]).name,
            "answer": "original" if turn is None else "turn",
            "answer_turn": turn,
            "sampling": sampling and {name: sampling.get(name) for name in names},
        },
        "trace": trace,
    }


for part, table in loaded.items():
    of_part = [row for row in rows if row["part"] == part]
    assert len(table) == len(of_part), (part, len(table), len(of_part))
    for row, got in zip(of_part, table):
        got = dict(got)
        got["origin"] = dict(got["origin"])
        trace = got["origin"].pop("trace")
        got["trace"] = trace and json.loads(trace)
        assert got == expected(row), (row["id"], got, expected(row))
    # Messages are lists of structures, not text.
    assert isinstance(table[0]["messages"][0], dict)

_, settings, _ = (hub / "README.md").read_text().split("---\n", 2)
settings = yaml.safe_load(settings)
[config] = settings["configs"]
assert {file["split"] for file in config["data_files"]} == set(loaded)
print(f"{hub.name}: {len(rows)} rows equal in {', '.join(f'{len(t)} {p}' for p, t in loaded.items())}, {settings['size_categories'][0]}")
