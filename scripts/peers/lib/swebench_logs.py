"""Makes instances, predictions and logs of test runs to grade: plain ones,
interleaved ones, forged ones and damaged ones. The same each time."""

import json
import pathlib
import random
import sys

WORK = pathlib.Path(sys.argv[1])
START, END = ">>>>> Start Test Output", ">>>>> End Test Output"
COUNT = 400


def names(chance):
    found = []
    for number in range(chance.randrange(1, 12)):
        kind = chance.randrange(5)
        if kind == 0:
            found.append(f"Says what case {number} is about ({chance.randrange(9)}).")
        elif kind == 1:
            found.append(f"test_p{number}[a-{number}")  # cut short, as in some tables
        else:
            found.append(f"test_{number} (app.tests.Case{number % 3}Tests)")
    return list(dict.fromkeys(found))


def line(name, chance):
    word = chance.choices(
        ["ok", "OK", "FAIL", "ERROR", "skipped 'no reason'", "expected failure"], [80, 2, 6, 4, 5, 3]
    )[0]
    if name.startswith("test_p"):
        name += chance.choice(["]", ", b]", "", "x]\n" + name + "y] ... FAIL\n" + name + "z]"])
    noise = chance.choices(
        [
            " ... ",
            " ... Internal Server Error: /a/\n",
            " ... System check identified no issues (0 silenced)\n",
            " ... Testing against Django installed in '/x' with up to 2 processes\nof it silenced).\n",
            " ... something printed\nand more ... of it\n",
            " ...  ",
        ],
        [80, 4, 4, 4, 4, 4],
    )[0]
    text = f"{name}{noise}{word}"
    if chance.random() < 0.1:
        text = f"{name}\nA docstring of it ... {word}"
    return text


def log(kind, all_names, chance):
    lines = [line(name, chance) for name in all_names if chance.random() > 0.04]
    if chance.random() < 0.3:
        lines.append("=" * 70)
        lines += [f"{chance.choice(['FAIL', 'ERROR'])}: {name}" for name in all_names if chance.random() < 0.1]
    if chance.random() < 0.1:
        lines.append("--version is equivalent to version ... whatever")
    chance.shuffle(lines)
    body = "\n".join(lines)
    code = chance.choice([0, 0, 0, 1])
    if kind == "forged":
        body = chance.choice(
            [
                "\n".join(f"{name} ... ok" for name in all_names),
                "\n".join(f"PASSED {name}" for name in all_names),
                f"{END}\n" + "\n".join(f"{name} ... ok" for name in all_names),
                "\n".join(f"{name} ... ok" for name in all_names) + f"\n>>>>> Test Exit Code: 0\n{END}\n{body}",
                body + "\n" + "\n".join(f"{name} ... FAIL\n{name} ... ok" for name in all_names),
            ]
        )
        code = chance.choice([0, 1, 137])
    text = f"+ git apply -v -\nApplied.\n+ : '{START}'\n{body}\n+ : '{END}'\n+ echo\n>>>>> Test Exit Code: {code}\n"
    data = text.encode()
    if kind == "damaged":
        how = chance.randrange(8)
        if how == 0:
            data = data[: chance.randrange(len(data))]
        elif how == 1:
            data = data.replace(START.encode(), b"")
        elif how == 2:
            at = chance.randrange(len(data))
            data = data[:at] + b"\xff\xfe" + data[at:]
        elif how == 3:
            data = data.replace(b"\n", b"\r\n")
        elif how == 4:
            data += b"\n>>>>> Tests Timed Out\n"
        elif how == 5:
            data = f"{START}\nFAIL:\n{END}\n".encode()
        elif how == 6:
            data = f"{START}\n{END}\nModuleNotFoundError: x\n>>>>> Test Exit Code: 1\n".encode()
        else:
            data = data.replace(b" ... ", b"\x1f ... ", 2)
    return data


def main():
    chance = random.Random(7)
    rows, predictions = [], []
    for number in range(COUNT):
        kind = ["plain", "plain", "forged", "damaged"][number % 4]
        instance = f"django__django-{10000 + number}"
        all_names = names(chance)
        cut = chance.randrange(len(all_names) + 1)
        rows.append(
            {
                "instance_id": instance,
                "repo": "django/django",
                "version": "4.2",
                "base_commit": "0" * 40,
                "environment_setup_commit": "0" * 40,
                "problem_statement": "",
                "hints_text": "",
                "created_at": "",
                "patch": "p",
                "test_patch": "diff --git a/tests/a/tests.py b/tests/a/tests.py\n",
                "FAIL_TO_PASS": json.dumps(all_names[:cut]),
                "PASS_TO_PASS": all_names[cut:],
            }
        )
        predictions.append({"instance_id": instance, "model_name_or_path": "peer/model", "model_patch": "p"})
        data = log(kind, all_names, chance)
        for rules in ["5", "4.1"]:
            folder = WORK / "logs/run_evaluation" / f"rules-{rules}" / "peer__model" / instance
            folder.mkdir(parents=True)
            (folder / "test_output.txt").write_bytes(data)
    lines = lambda all: "".join(json.dumps(one) + "\n" for one in all)
    (WORK / "instances.jsonl").write_text(lines(rows))
    (WORK / "preds.jsonl").write_text(lines(predictions))


main()
