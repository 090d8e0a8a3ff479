#!/usr/bin/env python3
"""Makes benchmarks/src/metrics/goldens.json: what the reference packages say.

    python3.11 -m venv /tmp/goldens
    /tmp/goldens/bin/pip install codebleu==0.7.0 tree-sitter-python==0.21.0 \\
        rouge-score==0.1.2 scikit-learn==1.9.1 scipy==1.17.1
    /tmp/goldens/bin/python scripts/goldens/metrics.py

Python 3.11, because CodeBLEU removes docstrings with the standard `tokenize`,
and from 3.12 on that one takes f-strings apart. tree-sitter-python 0.21.0,
because it is the only release that codebleu 0.7.0 loads.

Two things are changed in the package before it runs:

- `list(set(...))`, whose order differs from process to process, becomes
  `list(dict.fromkeys(...))`: the order in which names were first seen. The
  `stock` scores are those of the unchanged package under four hash seeds.
- For CodeXGLUE's variant (Code-Code/code-to-code-trans/evaluator/CodeBLEU),
  which is no package, the four documented differences are set: comments are
  removed by Java's rules in `syntax_match` and `dataflow_match`; the keywords
  lack `match`, `case` and `type`; no data flow counts 0, not 1.
"""

import importlib
import json
import math
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
OUT = HERE.parent.parent / "report/src/metrics/goldens.json"
SEEDS = ["0", "1", "2", "3"]
NOT_IN_CODEXGLUE = {"match", "case", "type"}


def stock(pairs):
    from codebleu import calc_codebleu

    return [calc_codebleu([reference], [prediction], "python") for reference, prediction in pairs]


def stock_by_seed(seed):
    code = (
        "import sys, json, logging; logging.disable(); sys.path.insert(0, sys.argv[1]); import metrics; "
        "json.dump(metrics.stock(json.load(sys.stdin)), sys.stdout)"
    )
    command = [sys.executable, "-c", code, str(HERE)]
    pairs = json.dumps(code_pairs())
    done = subprocess.run(command, input=pairs, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed})
    return json.loads(done.stdout)


def code_pairs():
    import methods

    return methods.code_pairs(seed=5, each=7)


def ordered(module):
    """The module with sets merged in the order first seen."""
    file = pathlib.Path(module.__file__)
    source = file.read_text().replace("list(set(", "list(dict.fromkeys(")
    exec(compile(source, str(file), "exec"), module.__dict__)


def without_java_comments(utils):
    def remove(source, lang):
        return utils.remove_comments_and_docstrings(source, "java")

    return remove


def codebleu(pairs, variant):
    from codebleu import codebleu, dataflow_match, syntax_match
    from codebleu.parser import DFG, utils

    ordered(DFG)
    ordered(dataflow_match)
    dataflow_match.dfg_function["python"] = DFG.DFG_python
    importlib.reload(syntax_match)
    keywords = codebleu.PACKAGE_DIR / "keywords"
    if variant == "codexglue":
        syntax_match.remove_comments_and_docstrings = without_java_comments(utils)
        dataflow_match.remove_comments_and_docstrings = without_java_comments(utils)
        keywords = pathlib.Path("/tmp/goldens-keywords")
        keywords.mkdir(exist_ok=True)
        words = (codebleu.PACKAGE_DIR / "keywords/python.txt").read_text().split()
        (keywords / "python.txt").write_text("\n".join(w for w in words if w not in NOT_IN_CODEXGLUE) + "\n")

    def score(references, predictions):
        found = codebleu.calc_codebleu(references, predictions, "python", keywords_dir=keywords)
        if variant == "codexglue" and found["dataflow_match_score"] == 0:
            found["codebleu"] -= 0.25
        return {name.replace("_match_score", ""): value for name, value in found.items()}

    items = [score([reference], [prediction]) for reference, prediction in pairs]
    corpus = score([reference for reference, _ in pairs], [prediction for _, prediction in pairs])
    return items, corpus


def words(text):
    return text.split()


def grams(units, n=4):
    if not units:
        return set()
    return {tuple(units[at : at + n]) for at in range(max(1, len(units) - n + 1))}


def jaccard(one, other):
    from sklearn.metrics import jaccard_score

    every = sorted(one | other)
    if not every:
        return 0.0
    return float(jaccard_score([g in one for g in every], [g in other for g in every], zero_division=0))


def texts(pairs):
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    for one, other in pairs:
        rouge = scorer.score(one, other)["rougeL"]
        yield {
            "one": one,
            "other": other,
            "rouge_l": [float(rouge.precision), float(rouge.recall), float(rouge.fmeasure)],
            "words": jaccard(grams(words(one)), grams(words(other))),
            "characters": jaccard(grams(list(one)), grams(list(other))),
        }


def mcnemar():
    from scipy.stats import binomtest

    cells = [(0, 0), (1, 0), (0, 5), (3, 4), (10, 2), (25, 40), (60, 61), (200, 130)]
    return [[b, c, 1.0 if b + c == 0 else float(binomtest(min(b, c), b + c).pvalue)] for b, c in cells]


def main():
    import logging

    import methods

    logging.disable()
    pairs = code_pairs()
    unchanged = [stock_by_seed(seed) for seed in SEEDS]
    package, package_corpus = codebleu(pairs, "package")
    codexglue, codexglue_corpus = codebleu(pairs, "codexglue")
    items = []
    for at, (reference, prediction) in enumerate(pairs):
        seen = [run[at]["codebleu"] for run in unchanged]
        stable = max(seen) - min(seen) < 1e-12
        items.append({
            "reference": reference,
            "prediction": prediction,
            "package": package[at],
            "codexglue": codexglue[at],
            "stock": seen[0] if stable else None,
        })
    golden = {
        "made_by": "scripts/goldens/metrics.py",
        "code": items,
        "corpus": {"package": package_corpus, "codexglue": codexglue_corpus},
        "texts": list(texts(methods.prose_pairs(seed=7, count=60) + pairs[::3])),
        "mcnemar": mcnemar(),
    }
    for item in items:
        assert all(math.isfinite(value) for value in item["package"].values())
    OUT.write_text(json.dumps(golden, ensure_ascii=False, indent=0) + "\n")
    differing = sum(item["stock"] is None for item in items)
    moved = sum(i["stock"] is not None and abs(i["stock"] - i["package"]["codebleu"]) > 1e-12 for i in items)
    print(f"{len(items)} pairs of code, {len(golden['texts'])} of texts; {OUT.stat().st_size} bytes")
    print(f"the unchanged package differs with the hash seed on {differing} pairs, and from first-seen order on {moved} others")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main()
