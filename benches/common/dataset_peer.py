"""The job of `fixfly dataset build`, less its leak audit, by Hugging Face's `datasets`.

python dataset_peer.py EPISODES.jsonl PROMPTS OUT.jsonl PROCESSES
"""

import json
import sys
import tempfile
from pathlib import Path

from datasets import load_dataset
from jinja2 import Environment

episodes, prompts, out, processes = sys.argv[1:]
environment = Environment(trim_blocks=True)
templates = {
    name: environment.from_string((Path(prompts) / f"{name}.jinja").read_text()) for name in ("system", "first", "later")
}
FAILED = {"failed", "invalid", "timed_out", "crashed", "out_of_memory", "exited"}


def row(line):
    episode = json.loads(line["text"])
    method, turns = episode["task"]["statement"], episode["turns"]
    solved = (episode.get("verdict") or {}).get("solved")
    failing = [turn for turn in turns if turn["observation"]["outcome"] in FAILED and "tool" in turn["action"]["call"]]
    if not solved or (len(turns) > 1 and not failing):
        return {"system": "", "conversations": [], "key": ""}
    answer = turns[-1]["action"]["text"]
    conversation = [{"from": "user", "value": templates["first"].render(**method).rstrip()}]
    kept = failing[-1:] if len(turns) > 1 else []
    for turn in kept:
        later = templates["later"].render(change="", observation=turn["observation"]["text"]).rstrip()
        conversation += [{"from": "AI", "value": turn["action"]["text"]}, {"from": "user", "value": later}]
    conversation.append({"from": "AI", "value": answer})
    key = "\0".join([episode["task"]["id"], *(turn["action"]["text"] for turn in kept), answer])
    return {"system": templates["system"].render(**method).rstrip(), "conversations": conversation, "key": key}


with tempfile.TemporaryDirectory() as cache:
    data = load_dataset("text", data_files=episodes, split="train", cache_dir=cache)
    data = data.map(row, remove_columns=["text"], num_proc=int(processes))
    seen = set()
    data = data.filter(lambda key: bool(key) and key not in seen and not seen.add(key), input_columns="key")
    data.remove_columns("key").to_json(out)
