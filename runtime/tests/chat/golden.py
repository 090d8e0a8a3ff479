"""Makes the golden renderings, with Jinja set up as `transformers` does.

Needs `pip install jinja2`; run it in this folder after a template changed.
"""

import json
import pathlib
from datetime import datetime

from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent
CONVERSATIONS = json.loads((HERE / "conversations.json").read_text())


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(why):
    raise ValueError(why)


environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
environment.globals["strftime_now"] = datetime(2024, 7, 26).strftime

golden = {}
for file in [*sorted(HERE.glob("*.jinja")), HERE / "../../prompts/qwen3.jinja"]:
    template = environment.from_string(file.read_text())
    golden[file.stem] = {
        name: template.render(**conversation, add_generation_prompt=True, bos_token="<s>", eos_token="</s>")
        for name, conversation in CONVERSATIONS.items()
    }
(HERE / "golden.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
