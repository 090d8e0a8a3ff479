"""A reward for TRL's GRPOTrainer: 1 if the tests confirm a method, 0 if not, None if unknown."""

import json
from subprocess import PIPE, Popen
from threading import Thread


class FixflyReward:
    def __init__(self, benchmark, *flags):
        command = ["fixfly", "judge", benchmark, "--stdio", "--ordered", *flags]
        self.judge = Popen(command, stdin=PIPE, stdout=PIPE, encoding="utf-8")

    def __call__(self, completions, task, **columns):
        texts = [text if isinstance(text, str) else text[-1]["content"] for text in completions]
        lines = [json.dumps({"task": id, "candidate": text}) + "\n" for id, text in zip(task, texts)]
        # fixfly takes lines only as fast as its answers are read.
        Thread(target=self.send, args=[lines]).start()
        answers = [json.loads(self.judge.stdout.readline()) for _ in lines]
        for answer in answers:
            if "error" in answer:
                raise ValueError(answer["error"])
        return [None if answer["solved"] is None else float(answer["solved"]) for answer in answers]

    def send(self, lines):
        self.judge.stdin.writelines(lines)
        self.judge.stdin.flush()
