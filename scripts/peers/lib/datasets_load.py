"""Loads datasets of fixfly with the trainers' own code and compares what they would learn.

python datasets_load.py TOKENIZER.json DATASET...
"""

import contextlib
import importlib.machinery
import io
import json
import sys
import types
from pathlib import Path

# PyPI's torchaudio may be built for another CUDA than its torch, and is needed for no text.
audio = types.ModuleType("torchaudio")
audio.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
sys.modules["torchaudio"] = audio

from datasets import load_dataset
from llamafactory.data.loader import get_dataset
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams import DataArguments, ModelArguments
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, Seq2SeqTrainingArguments
from trl import SFTConfig, SFTTrainer

END, NO_THOUGHT = "<|im_end|>", "<think>\n\n</think>\n\n"
# ChatML that marks the model's own text, as TRL requires of a template for `assistant_only_loss`.
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def student(file):
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=file, eos_token=END, pad_token="<|endoftext|>")
    tokenizer.chat_template = CHATML
    return tokenizer


def spans(ids, labels):
    """The spans of tokens that carry loss."""
    found, span = [], []
    for id, label in zip(ids, labels):
        if label != -100:
            span.append(id)
        elif span:
            found.append(span)
            span = []
    return [span for span in found + [span] if span]


def settings(folder):
    """What fixfly wrote beside the data."""
    lines = (folder / "sharegpt/llamafactory.yaml").read_text().splitlines()
    pairs = (line.split("#")[0].split(": ") for line in lines if not line.startswith("#"))
    return {pair[0].strip(): pair[1].strip() for pair in pairs}


def llama_factory(folder, rows, file):
    """Its loader and its Qwen3 template. Gives the tokens and labels of each row."""
    dataset_settings = settings(folder)
    arguments = DataArguments(
        dataset_dir=str(folder / "sharegpt"),
        dataset=dataset_settings["dataset"],
        template=dataset_settings["template"],
        enable_thinking={"true": True, "false": False, "null": None}[dataset_settings["enable_thinking"]],
        mask_history=dataset_settings["mask_history"] == "true",
        cutoff_len=10_000_000,
        overwrite_cache=True,
    )
    tokenizer = student(file)
    template = get_template_and_fix_tokenizer(tokenizer, arguments)
    training = Seq2SeqTrainingArguments(output_dir=str(folder / "out"), do_train=True, use_cpu=True)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints an example
        parts = get_dataset(
            template, ModelArguments(model_name_or_path="none"), arguments, training, stage="sft", tokenizer=tokenizer
        )
    loaded = parts["train_dataset"]
    assert len(loaded) == len(rows), f"{len(rows) - len(loaded)} of {len(rows)} rows were skipped"
    for row, example in zip(rows, loaded):
        learned = [tokenizer.decode(span) for span in spans(example["input_ids"], example["labels"])]
        expected = [m["content"] + END + "\n" for m in row["messages"] if m["loss"]]
        assert learned == expected, (row["id"], learned, expected)
        text = tokenizer.decode(example["input_ids"])
        assert all(message["content"] in text for message in row["messages"]), row["id"]
    return loaded


def agree(folder, rows, loaded, file):
    """What fixfly's own tokens have in common with LLaMA-Factory's, and all that they do not."""
    tokenizer = student(file)
    newline, empty = tokenizer.encode("\n"), tokenizer.encode(NO_THOUGHT)
    own = [json.loads(line) for line in open(folder / "tokens/rows.jsonl")]
    assert len({line["row"] for line in own}) == len(own)
    whole = {line["row"]: line for line in own if "@" not in line["row"]}
    assert list(whole) == [row["id"] for row in rows]
    same = 0
    for row, example in zip(rows, loaded):
        line = whole[row["id"]]
        ours = line["tokens"]
        [(start, end)] = line["loss"][-1:]
        theirs, labels = list(example["input_ids"]), list(example["labels"])
        # They learn the line break after a turn too, which no model has to write.
        assert labels[-len(newline) :] == newline and end == len(ours)
        theirs = theirs[: -len(newline)]
        answer = spans(example["input_ids"], labels)[-1][: -len(newline)]
        assert ours[start:end] == answer, row["id"]
        same += ours == theirs
        if ours != theirs:
            # They set the block of no thought into history too, where Qwen3's template has none.
            assert len(row["messages"]) > 3, row["id"]
            text = tokenizer.decode(theirs)
            for message in row["messages"][:-1]:
                if message["role"] == "assistant":
                    text = text.replace(NO_THOUGHT + message["content"], message["content"], 1)
            assert text == tokenizer.decode(ours), row["id"]
    tokens = json.loads((folder / "tokens/tokens.json").read_text())
    assert tokens["count"] == len(own) and tokens["tokens"] == sum(len(line["tokens"]) for line in own)
    assert tokens["supervised_tokens"] == sum(end - start for line in own for start, end in line["loss"])
    alone = len(own) - len(whole)
    return f"{same} of {len(rows)} sequences equal, the others but for history; {alone} attempts apart"


def trl(folder, rows, file, model):
    """TRL's trainer, with the settings that fixfly wrote, up to where it would train."""
    tokenizer = student(file)
    trl_settings = json.loads((folder / "trl/sft_config.json").read_text())
    data = load_dataset("json", data_files=str(folder / "trl/train.jsonl"), split="train")
    config = SFTConfig(output_dir=str(folder / "out"), use_cpu=True, report_to=[], **trl_settings)
    trainer = SFTTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)
    loaded = trainer.train_dataset
    assert len(loaded) == len(rows), f"{len(rows) - len(loaded)} of {len(rows)} rows were skipped"
    batch = trainer.data_collator([loaded[at] for at in range(min(2, len(rows)))])
    assert "labels" in batch
    for row, example in zip(rows, loaded):
        mask = example.get("completion_mask") or example["assistant_masks"]
        labels = [id if bit else -100 for id, bit in zip(example["input_ids"], mask)]
        learned = [tokenizer.decode(span).rstrip("\n") for span in spans(example["input_ids"], labels)]
        assert learned == [m["content"] + END for m in row["messages"] if m["loss"]], (row["id"], learned)
    return f"{len(loaded)} rows, {' '.join(sorted(set(loaded.column_names) - {'id'}))}"


def openai(folder, rows):
    """The checks of OpenAI's "Data preparation and analysis for chat model fine-tuning"."""
    chats = [json.loads(line) for line in open(folder / "openai/train.jsonl")]
    assert len(chats) == len(rows)
    faults = {}

    def fault(name):
        faults[name] = faults.get(name, 0) + 1

    for row, chat in zip(rows, chats):
        if not isinstance(chat, dict):
            fault("data_type")
            continue
        messages = chat.get("messages")
        if not messages:
            fault("missing_messages_list")
            continue
        for message in messages:
            if "role" not in message or "content" not in message:
                fault("message_missing_key")
            if any(key not in ("role", "content", "name", "function_call", "weight") for key in message):
                fault("message_unrecognized_key")
            if message.get("role") not in ("system", "user", "assistant", "function"):
                fault("unrecognized_role")
            content = message.get("content")
            if not content and not message.get("function_call") or not isinstance(content, str):
                fault("missing_content")
            if "weight" in message and (message["role"] != "assistant" or message["weight"] not in (0, 1)):
                fault("weight")
        if not any(message.get("role") == "assistant" for message in messages):
            fault("example_missing_assistant_message")
        own = [message for message in messages if message["role"] == "assistant"]
        assert [m["weight"] for m in own] == [int(m["loss"]) for m in row["messages"] if m["role"] == "assistant"]
    assert not faults, faults
    return f"{len(chats)} chats, no fault"


def main():
    file, folders = sys.argv[1], [Path(name) for name in sys.argv[2:]]
    size = len(student(file))
    config = Qwen3Config(
        vocab_size=size, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=64,
    )
    model = Qwen3ForCausalLM(config)
    for folder in folders:
        rows = [json.loads(line) for line in open(folder / "rows.jsonl")]
        assert rows and all(row["part"] == "train" for row in rows)
        results = [f"OpenAI {openai(folder, rows)}"]
        if (folder / "sharegpt").is_dir():
            loaded = llama_factory(folder, rows, file)
            results.append(f"LLaMA-Factory {len(loaded)} rows, none skipped, spans as meant")
            if (folder / "tokens").is_dir():
                results.append(f"tokens: {agree(folder, rows, loaded, file)}")
        if (folder / "trl").is_dir():
            results.append(f"TRL {trl(folder, rows, file, model)}")
        print(f"{folder.name}: {'; '.join(results)}", flush=True)


main()
