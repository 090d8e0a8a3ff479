"""Makes the golden texts of chat templates, rendered by `transformers` itself.

Needs `pip install transformers jinja2`; writes `runtime/tests/chat/python.json`, which the tests of
`runtime/src/chat.rs` read. `EXPRESSIONS` are pieces of templates; `TEMPLATES` are in the manner of
well-known models, and each renders every conversation of `CONVERSATIONS` that it accepts.
"""

import json
import pathlib

from transformers.utils.chat_template_utils import _compile_jinja_template

HERE = pathlib.Path(__file__).parent
OUT = HERE.parents[1] / "runtime/tests/chat/python.json"

# What the expressions see: the text of the first message, and the first tool's parameters.
TEXT = " \tOne, two: it's ß 3\u00a0\x1fx\r\nline\u2028<b> & 'q' "
TOOL = {
    "type": "function",
    "function": {
        "name": "edit",
        "description": "Ändert <Text> & \"mehr\".",
        "parameters": {
            "type": "object",
            "properties": {"items": {"type": "array", "items": {"type": "string"}}, "n": {"type": "integer", "default": 1e-05}},
            "required": ["n"],
            "strict": True,
            "none": None,
            "big": 1e16,
            "half": 0.5,
            "empty": [],
            "nothing": {},
        },
    },
}
EXPRESSIONS = """
{{ t.strip() }}|{{ t.lstrip() }}|{{ t.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a\\n\\n'.rstrip('\\n') }}
{{ t.split() | join('/') }}|{{ t.split(' ', 1) | join('/') }}|{{ t.split(None, 2) | join('/') }}|{{ t.rsplit(None, 2) | join('/') }}|{{ 'a,b,c'.rsplit(',', 1) }}|{{ 'a b'.split() }}
{{ 'a</think>b</think>c'.split('</think>')[-1].lstrip('\\n') }}|{{ 'a,b'.split(sep=',') }}|{{ 'a b c'.split(maxsplit=1) }}
{{ t.splitlines() | join('/') }}|{{ t.splitlines(True)|length }}|{{ ''.splitlines() }}
{{ t.title() }}|{{ t.upper() }}|{{ t.lower() }}|{{ 'ABC def'.capitalize() }}|{{ 'aBc'.swapcase() }}|{{ 'Straße'.casefold() }}
{{ 'a-b-c'.partition('-') }}|{{ 'a-b-c'.rpartition('-') }}|{{ 'abc'.partition('-') }}|{{ 'abc'.rpartition('-') }}
{{ 'prefix'.removeprefix('pre') }}|{{ 'prefix'.removesuffix('fix') }}|{{ 'prefix'.removesuffix('x1') }}
{{ 'abcabc'.find('c') }}|{{ 'abcabc'.rfind('c') }}|{{ 'abcabc'.find('c', 3) }}|{{ 'abcabc'.find('z') }}|{{ 'äbc'.index('c') }}|{{ 'aaa'.count('a', 1) }}
{{ 'abc'.startswith(('x', 'a')) }}|{{ 'abc'.endswith('bc') }}|{{ 'abc'.startswith('b', 1) }}|{{ 'abc'.endswith('b', 0, -1) }}
{{ 'aaa'.replace('a', 'b', 2) }}|{{ 'abc'.replace('', '-') }}|{{ 'a' | replace('a', 'b') }}
{{ '7'.zfill(3) }}|{{ '-7'.zfill(4) }}|{{ 'a'.ljust(3) }}|{{ 'a'.rjust(3, '.') }}|{{ 'ab'.center(5, '*') }}|{{ 'abc' | center(6) }}|
{{ '12'.isdigit() }}|{{ 'ab'.isalpha() }}|{{ '\\x1f '.isspace() }}|{{ 'AB'.isupper() }}|{{ 'a1'.isalnum() }}
{{ '-'.join(['a', 'b']) }}|{{ ['a', 1, none] | join('-') }}|{{ '%s is %d' | format('x', 3) }}|{{ '{} {}'.format('a', 'b') }}
{{ t[1:4] }}|{{ t[-4:] }}|{{ 'abcdef'[::2] }}|{{ 'abc'[::-1] }}|{{ 'abc'[0] }}|{{ [1, 2, 3][::-1] }}|{{ [1, 2, 3][:-1] }}
{{ true }}|{{ none }}|{{ [true, none, 'a', 1.0] }}|{{ {'a': 'b', 'c': [1]} }}|{{ undefined_name }}|{{ 1.0 }}|{{ 10 / 2 }}|{{ 7 // 2 }}|{{ 2 ** 3 }}|{{ 7 % 3 }}
{{ p | tojson }}
{{ p | tojson(indent=2) }}
{{ p | tojson(ensure_ascii=True, sort_keys=True, separators=(',', ':')) }}
{{ tools | tojson }}|{{ t | tojson }}|{{ '</script>é' | tojson }}
{% for k, v in p.properties.items() %}{{ k }}={{ v.type }};{% endfor %}|{{ p.get('x') }}|{{ p.get('x', 'd') }}|{{ p.keys() | list }}|{{ p['properties']['items'].get('type') }}
{{ p is mapping }}{{ p is sequence }}{{ p is iterable }}{{ t is string }}{{ t is sequence }}{{ t is iterable }}{{ t is mapping }}{{ [1] is sequence }}{{ 1 is number }}{{ true is number }}{{ true is integer }}{{ 1.0 is float }}{{ none is none }}{{ x is defined }}{{ x is undefined }}{{ tools is defined }}{{ true is boolean }}
{% set ns = namespace(a=1, b='x') %}{% for i in range(3) %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}
{% macro m(a, b='z') %}[{{ a }}{{ b }}]{% endmacro %}{{ m('x') }}{{ m('x', b=1) }}{{ m(b=2, a='q') }}
{% for i in range(6) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{{ loop.first }}{{ loop.index0 }}{% endfor %}
{% for i in [1, 2, 3] %}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.last }}{{ loop.cycle('a', 'b') }},{% else %}none{% endfor %}
{% for m in messages if m.role == 'user' %}{{ loop.length }}{{ m['content'] | trim | length }}{% endfor %}
{%- set x = 'a' -%}   {{- x -}}   {#- gone -#}   {%- if x == 'a' %}  kept  {% endif -%}
{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='role') | list | length }}{{ [3, 1, 2] | sort | join(',') }}{{ [1, 2] | first }}{{ [1, 2] | last }}{{ messages | rejectattr('role', 'eq', 'user') | list }}
{{ 'a' ~ 1 ~ none ~ true }}|{{ 'a' + 'b' }}|{{ 'ab' * 2 }}|{{ 'b' in 'abc' }}|{{ 'x' not in ['a'] }}|{{ 1 if false }}|{{ (1, 2) }}
{% set caught %}a  {{ 1 }}  b{% endset %}[{{ caught }}]{% filter upper %}abc{% endfilter %}
{{ 'x' | default('d') }}|{{ y | default('d') }}|{{ y | default(none) }}|{{ y | default(none) is none }}|{{ y | d }}|{{ y | default([]) }}|{{ none | default('d', true) }}|{{ '' | default('d', boolean=true) }}|{{ ' a b ' | trim }}|{{ 'a b' | wordcount if false else 'w' }}
{{ p | items | list | length }}|{{ {'b': 1, 'a': 2} | dictsort }}|{{ [1, 2, 3] | batch(2) | list }}|{{ 'abc' | list }}|{{ 'abc' | reverse }}|{{ [1, 1] | unique | list }}|{{ [1, 2] | sum }}|{{ '5' | int + 1 }}
{{ 'hello world' | title }}|{{ 'hello' | capitalize }}|{{ 'a\\nb' | indent(2) }}|{{ 'a\\nb' | indent(2, true) }}|{{ 3.7 | round }}|{{ -3 | abs }}|{{ 'x' | string }}|{{ true | string }}|{{ '<b>' | e }}|{{ '<b>' | safe }}
{% set sep = joiner(', ') %}{{ sep() }}a{{ sep() }}b|{% set c = cycler('x', 'y') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}|{{ dict(a=1) }}|{{ ['a', 'b'].index('b') }}
{% generation %}  in  {% endgeneration %}|{%- generation -%}  in  {%- endgeneration -%}  |{% set v = 1 %}{% generation %}{% set v = 2 %}{{ v }}{% endgeneration %}{{ v }}
{% raw %}{% generation %}{{ x }}{% endraw %}{# {% generation %} #}{{ '{% generation %}' }}
{% if messages[0]['role'] == 'user' and not (messages | length > 5) or false %}yes{% elif true %}no{% else %}never{% endif %}{% with a = 1 %}{{ a }}{% endwith %}
{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ bos_token is defined }}{{ pad_token is defined }}{{ add_generation_prompt }}
{{ '\\u00e9\\x41\\t|' }}{{ "it's" }}{{ 'a' 'b' }}{{ 1_000 }}{{ [1,2,] }}{{ {'a': 1}.a }}{{ {'a': {'b': 2}}['a'].b }}
""".strip().split("\n")

CHATML = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
TEMPLATES = {
    "chatml": CHATML,
    "trl": "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}\n",
    "trl-lines": """{%- for m in messages %}
    {%- if m.role == 'assistant' %}
        {{- '<|im_start|>assistant\n' }}
        {%- generation %}
        {{- m.content + '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\n' }}
    {%- else %}
        {{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
""",
    "smollm2": "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "gemma": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}",
    "silent": "{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}",
    "phi": "{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    "llama2": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\n' + system_message + '\n<</SYS>>\n\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "deepseek": "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}{%- if message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{ '<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>' }}{%- endif %}{%- endfor -%}{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %}",
    "tools": "{%- if tools is not none %}\n{{- '<tools>' }}\n{%- for tool in tools %}\n{{- tool | tojson(indent=4) }}\n{%- for name, field in tool.function.parameters.properties.items() %}\n{{- '\\n<' ~ name ~ '>' ~ (field.type | string | trim) ~ '</' ~ name ~ '>' }}\n{%- endfor %}\n{%- endfor %}\n{{- '</tools>\\n' }}\n{%- endif %}\n" + CHATML,
    "granite": "{%- if messages[0]['role'] == 'system' %}\n     {%- set system_message = messages[0]['content'] %}\n     {%- set loop_messages = messages[1:] %}\n {%- else %}\n     {%- set system_message = \"Knowledge Cutoff Date: April 2024.\nYou are Granite.\" %}\n     {%- set loop_messages = messages %}\n {%- endif %}\n {{- '<|start_of_role|>system<|end_of_role|>' + system_message + '<|end_of_text|>\n' }}\n {%- for message in loop_messages %}\n     {{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + message['content'] + '<|end_of_text|>\n' }}\n     {%- if loop.last and add_generation_prompt %}\n             {{- '<|start_of_role|>assistant<|end_of_role|>' }}\n     {%- endif %}\n {%- endfor %}",
    "crlf": "{% for m in messages %}\r\n{{ m.role }}: {{ m.content }}\r\n{% endfor %}\r\n{% if add_generation_prompt %}\r\nassistant:\r\n{% endif %}\r\n",
}
CONVERSATIONS = {
    "plain": [{"role": "user", "content": " Hello \n"}],
    "system": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
    "turns": [
        {"role": "user", "content": "a < b & c"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nyes"},
        {"role": "user", "content": "why?\n"},
    ],
}


def render(template, **variables):
    variables = {"tools": None, "documents": None, "add_generation_prompt": True, **variables}
    return _compile_jinja_template(template).render(bos_token="<s>", eos_token="</s>", **variables)


def main():
    expressions = []
    for expression in EXPRESSIONS:
        # A test of its own for each part, so that one difference does not hide another.
        template = "{% set t = messages[0].content %}{% set p = tools[0].function.parameters %}" + expression
        messages = [{"role": "user", "content": TEXT}]
        text = render(template, messages=messages, tools=[TOOL])
        expressions.append({"template": template, "text": text})
    rendered = {}
    for name, template in TEMPLATES.items():
        texts = {}
        for about, messages in CONVERSATIONS.items():
            try:
                texts[about] = render(template, messages=messages, tools=[TOOL] if name == "tools" else None)
            except Exception as why:
                print(f"{name}, {about}: {why}")
        rendered[name] = {"template": template, "texts": texts}
    golden = {
        "content": TEXT,
        "tool": TOOL,
        "conversations": CONVERSATIONS,
        "expressions": expressions,
        "templates": rendered,
    }
    OUT.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")


main()
