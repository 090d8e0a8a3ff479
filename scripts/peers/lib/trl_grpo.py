"""Trains a tiny model by TRL's GRPOTrainer, with fixfly's verdicts as rewards."""

import json
import sys
from pathlib import Path

import torch
import trl
from datasets import Dataset
from fixfly_reward import FixflyReward
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

work = Path(sys.argv[1])


def recorded(policy):
    """The tasks of a run, and the method that each episode submitted."""
    episodes = [json.loads(line) for line in open(work / policy / "episodes.jsonl")]
    return {e["task"]["id"]: (e["task"]["statement"], e["turns"][0]["observation"]["candidate"]) for e in episodes}


class Recorded(FixflyReward):
    """The reward, with what it returned. The first one is made unknown, as after a failed sandbox."""

    returned = []

    def __call__(self, **columns):
        rewards = super().__call__(**columns)
        if not self.returned:
            rewards[0] = None
        self.returned.extend(rewards)
        return rewards


oracle, null = recorded("oracle"), recorded("null")
tasks = list(oracle)
assert len(tasks) == 4, tasks
reward = Recorded("django", "--split", "train")
originals, stubs = ([run[task][1] for task in tasks] for run in (oracle, null))
judge = super(Recorded, reward).__call__
assert judge(completions=originals, task=tasks) == [1.0] * 4, "originals"
assert judge(completions=stubs, task=tasks) == [0.0] * 4, "stubs"

texts = [f"{oracle[task][0]['declaration']}\n    # {oracle[task][0]['description']}\n" for task in tasks]
raw = Tokenizer(models.BPE())
raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
raw.decoder = decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
raw.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=400, special_tokens=["<end>"], initial_alphabet=alphabet))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>", pad_token="<end>")
torch.manual_seed(7)
config = Qwen2Config(
    vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
)
trainer = trl.GRPOTrainer(
    model=Qwen2ForCausalLM(config),
    reward_funcs=reward,
    train_dataset=Dataset.from_dict({"prompt": texts, "task": tasks}),
    processing_class=tokenizer,
    args=trl.GRPOConfig(
        output_dir=str(work / "trained"), max_steps=2, per_device_train_batch_size=8, num_generations=2,
        steps_per_generation=1, max_completion_length=24, logging_steps=1, save_strategy="no", report_to="none",
        use_cpu=True, bf16=False, disable_tqdm=True,
    ),
)
trainer.train()

returned = reward.returned
assert trainer.state.global_step == 2, trainer.state.global_step
assert len(returned) == 16 and returned.count(None) == 1, returned
logged = [line["rewards/Recorded/mean"] for line in trainer.state.log_history if "rewards/Recorded/mean" in line]
assert len(logged) == 2, trainer.state.log_history
reward.judge.stdin.close()
assert reward.judge.wait() == 0
print(
    f"TRL {trl.__version__}: 2 steps of GRPOTrainer, {len(returned)} rewards of fixfly ({returned.count(1.0)} solved, "
    f"{returned.count(None)} unknown), logged means {logged}; 4 originals are 1, 4 stubs are 0"
)
