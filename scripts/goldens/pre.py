"""Makes `runtime/src/gguf/pre.json` from llama.cpp's source: how it splits words.

`python pre.py LLAMA_CPP` (a checkout, or the copy in the crate llama-cpp-sys-2). Needs
`pip install tokenizers`. Of names with the same rule it takes the first of `ORDER`, or else the
first; the others are its aliases. Then it checks that published pre-tokenizers and these rules cut a text into the same words.
"""

import ast
import json
import pathlib
import re
import sys

from tokenizers import Regex, pre_tokenizers

SOURCE = (pathlib.Path(sys.argv[1]) / "src/llama-vocab.cpp").read_text()
ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "train/students/src/export"
ORDER = ["gpt-2", "smollm", "qwen2", "llama-bpe", "smaug-bpe", "tekken", "gpt-4o", "deepseek-llm", "deepseek-v3", "bloom"]
# llama.cpp names these rules for patterns that it cannot write: its own cut words with combining marks
# or accented capitals otherwise. A tokenizer is compared with the pattern that is meant.
MEANT = {"tekken": ["TEKKEN"], "gpt-4o": ["GPT4O"], "granite-embed-multi-97m": ["GPT4O"]}
# llama.cpp replaces these properties by code, or by all letters.
OTHERWISE = ("\\p{Han}", "\\p{AFMoE", "\\p{Lu}")
# By these names llama.cpp also removes the spaces before a token `<mask>`.
STRIPPED = ("jina-v2-de", "jina-v2-es")


def rules():
    start = SOURCE.index("switch (vocab.get_pre_type())")
    body = SOURCE[start : SOURCE.index("default:", start)]
    splits, raw = {}, set()
    for kinds, text in re.findall(r"((?:\s*case LLAMA_VOCAB_PRE_TYPE_\w+:)+)(.*?)break;", body, re.S):
        kinds = re.findall(r"PRE_TYPE_(\w+)", kinds)
        lines = [line for line in text.split("\n") if not line.strip().startswith("//")]
        strings = re.findall(r'^\s*("(?:[^"\\]|\\.)*"),', "\n".join(lines), re.M)
        for kind in kinds:
            splits[kind] = [ast.literal_eval(string) for string in strings]
            if "byte_encode = false" in text:
                raw.add(kind)
    found = []
    start = SOURCE.index('tokenizer_pre == "default"')
    for names, body in re.findall(r"if \(([^{]*?)\) \{(.*?)\} else", SOURCE[start:], re.S):
        names, kind = re.findall(r'tokenizer_pre == "([^"]+)"', names), re.search(r"PRE_TYPE_(\w+)", body)
        names = [name for name in names if name not in STRIPPED]
        if not names or not kind or kind[1] in raw or "add_sep = true" in body:
            continue
        patterns = splits.get(kind[1], [])
        if patterns and not any(word in pattern for word in OTHERWISE for pattern in patterns):
            found += [(name, patterns, "ignore_merges = true" in body, "add_bos = true" in body) for name in names]
    found.sort(key=lambda rule: ORDER.index(rule[0]) if rule[0] in ORDER else len(ORDER))
    distinct = {}
    for name, patterns, ignore_merges, adds_bos in found:
        distinct.setdefault((tuple(patterns), ignore_merges), []).append((name, adds_bos))
    return [
        {
            "name": names[0][0],
            "splits": [globals()[one] for one in MEANT[names[0][0]]] if names[0][0] in MEANT else list(patterns),
            "ignore_merges": ignore_merges,
            "aliases": [name for name, _ in names[1:]],
            "adds_bos": [name for name, adds_bos in names if adds_bos],
        }
        for (patterns, ignore_merges), names in distinct.items()
    ]


def split(regex, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
GPT2 = {**BYTES, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
TEKKEN = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT4O = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
V3 = [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"]
CODER = ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"]


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


# Published pre-tokenizers: name of llama.cpp's rule (None if it has none), `ignore_merges`, and the JSON.
PUBLISHED = [
    ("gpt-2", False, GPT2),
    ("smollm", False, sequence(DIGITS, GPT2)),
    ("smollm", False, sequence({**DIGITS}, {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False})),
    ("smollm", False, sequence(split(r"\p{N}"), GPT2)),
    ("qwen2", False, sequence(split(QWEN2), BYTES)),
    ("qwen2", False, sequence(split(QWEN2, "Removed", True), BYTES)),
    ("llama-bpe", True, sequence(split(LLAMA3), BYTES)),
    ("smaug-bpe", False, sequence(split(LLAMA3), BYTES)),
    ("tekken", True, sequence(split(TEKKEN), BYTES)),
    ("gpt-4o", False, sequence(split(GPT4O), BYTES)),
    ("deepseek-v3", False, sequence(*[split(one) for one in V3], BYTES)),
    ("deepseek-coder", False, sequence(*[split(one) for one in CODER], DIGITS, BYTES)),
    (None, False, {**GPT2, "add_prefix_space": True}),
    (None, False, sequence({"type": "Digits", "individual_digits": False}, GPT2)),
    (None, False, sequence({"type": "Punctuation", "behavior": "Isolated"}, GPT2)),
    (None, False, sequence({"type": "WhitespaceSplit"}, GPT2)),
    (None, False, BYTES),
    (None, False, sequence(split(QWEN2.replace(r"|\p{N}|", r"|\p{N}+|")), BYTES)),
    (None, False, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}),
    (None, False, {"type": "Whitespace"}),
    (None, False, split(QWEN2)),
]
# llama.cpp's own text for comparing tokenizers, without its words of mixed case that llama.cpp
# knowingly cuts otherwise; then code, line ends, spaces of other kinds, and digits.
PROBE = (
    "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n🚀 (normal) 😶‍🌫️ (multiple emojis concatenated) ✅ "
    "🦙🦙 3 33 333 3333 33333 333333 3333333 33333333 3.3 3..3 3...3 កាន់តែពិសេសអាច😁 ?我想在apple工作1314151天～ "
    "------======= нещо на Български ''''''```````\"\"\"\"......!!!!!!?????? I've been 'told he's there, 'RE you "
    "sure? 'M not sure I'll make it, 'D you like some tea? We'Ve a'lL"
    "\ndef f(self, x_1=12345, *a):\r\n\treturn self.x[10:2]  # 3 'lines'\n\n    a  1\n  HTMLParser camelCase x = 1234\n"
    "a \n b/\n\n/c ²³½ ١٢٣ é é €5 café naïve\u00a0x\u3000y\u2028z <b>&amp;</b> http://x.y/z?q=1#f \\n $a `b` a^b|c~d rock'n'roll o'Tell\n'tis\n   "
)


def main():
    all_rules = rules()
    (ROOT / "runtime/src/gguf/pre.json").write_text(json.dumps(all_rules, indent=1, ensure_ascii=False) + "\n")
    (FOLDER / "probe.txt").write_text(PROBE)

    def words(described):
        tokenizer = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": described,
                     "post_processor": None, "decoder": None, "truncation": None, "padding": None,
                     "model": {"type": "BPE", "vocab": {}, "merges": []}}
        from tokenizers import Tokenizer
        own = Tokenizer.from_str(json.dumps(tokenizer)).pre_tokenizer
        return [word for word, _ in own.pre_tokenize_str(PROBE)]

    cut = {rule["name"]: words(sequence(*[split(one) for one in rule["splits"]], BYTES)) for rule in all_rules}
    published = []
    for name, ignore_merges, described in PUBLISHED:
        found = [rule["name"] for rule in all_rules if cut[rule["name"]] == words(described)]
        print(name, found)
        published.append({"name": name, "ignore_merges": ignore_merges, "pre_tokenizer": described})
    (FOLDER.parent / "goldens/pre_tokenizers.json").write_text(json.dumps(published, indent=1, ensure_ascii=False) + "\n")
    same = {}
    for name, cuts in cut.items():
        same.setdefault(tuple(cuts), []).append(name)
    print(*same.values(), sep="\n")


main()
