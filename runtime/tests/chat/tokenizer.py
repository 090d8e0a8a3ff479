"""Makes a tiny tokenizer.json in the shape of Qwen3's, from the text beside it. Run it in this folder."""

import collections
import json
import pathlib
import re

HERE = pathlib.Path(__file__).parent
TEXT = "".join((HERE / name).read_text() for name in ["conversations.json", "../../prompts/first.jinja", "tokenizer.py"])
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
THOUGHT = ["<think>", "</think>"]
WORDS = 512


def alphabet():
    """Bytes as the letters that GPT-2 writes them with."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in shown}
    for byte in range(256):
        if byte not in letters:
            letters[byte] = chr(256 + len(letters) - len(shown))
    return letters


letters = alphabet()
ascii_split = SPLIT.replace(r"\p{L}", "a-zA-Z").replace(r"\p{N}", "0-9").replace("a-zA-Z+", "[a-zA-Z]+")
ascii_split = ascii_split.replace("|0-9|", "|[0-9]|")
pieces = collections.Counter(re.findall(ascii_split, TEXT))
words = {tuple(letters[byte] for byte in piece.encode()): count for piece, count in pieces.items()}
vocabulary = sorted(letters.values())
merges = []
while len(vocabulary) + len(SPECIAL) + len(THOUGHT) < WORDS:
    pairs = collections.Counter()
    for word, count in words.items():
        for pair in zip(word, word[1:]):
            pairs[pair] += count
    best = max(pairs, key=lambda pair: (pairs[pair], pair))
    merges.append(best)
    vocabulary.append("".join(best))
    merged = {}
    for word, count in words.items():
        parts, at = [], 0
        while at < len(word):
            joined = word[at : at + 2] == best
            parts.append("".join(best) if joined else word[at])
            at += 2 if joined else 1
        merged[tuple(parts)] = merged.get(tuple(parts), 0) + count
    words = merged

added = [
    {"id": len(vocabulary) + at, "content": word, "single_word": False, "lstrip": False, "rstrip": False,
     "normalized": False, "special": word in SPECIAL}
    for at, word in enumerate(SPECIAL + THOUGHT)
]
(HERE / "tokenizer.json").write_text(json.dumps({
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
    ]},
    "post_processor": None,
    "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
              "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
              "vocab": {word: at for at, word in enumerate(vocabulary)}, "merges": [list(pair) for pair in merges]},
}, ensure_ascii=False) + "\n")
