"""Writes the bytecode that pytest makes of test modules, so that no candidate waits for it.

Arguments: the project's folder here, its path in the sandbox, files in it. Nothing of the
project runs: its tests are parsed and compiled. pytest reads such a file only if it belongs
to the test's present text. Whatever fails here costs time only: pytest then makes the
bytecode for each candidate.
"""

import ast
import os
import pathlib
import sys

from _pytest.assertion.rewrite import PYC_TAIL, _rewrite_test, _write_pyc_fp, rewrite_asserts

SETTINGS = ["pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg"]


def has_hook(root):
    """Whether pytest compiles assertions in another way, by a setting that bytecode does not show."""
    paths = [pathlib.Path(root, name) for name in SETTINGS]
    return any(b"enable_assertion_pass_hook" in path.read_bytes() for path in paths if path.is_file())


def write(path, shown):
    stamp, _ = _rewrite_test(path, None)  # a hash of the text or its time, by pytest's version
    source = path.read_bytes()
    tree = ast.parse(source, filename=shown)
    rewrite_asserts(tree, source, shown)
    code = compile(tree, shown, "exec", dont_inherit=True)
    cache = path.parent / "__pycache__"
    cache.mkdir(exist_ok=True)
    with open(cache / (path.name.removesuffix(".py") + PYC_TAIL), "wb") as file:
        _write_pyc_fp(file, stamp, code)


def main():
    root, seen_as, *files = sys.argv[1:]
    for file in [] if has_hook(root) else files:
        try:
            write(pathlib.Path(root, file), f"{seen_as}/{file}")
        except Exception as error:
            print(f"{file}: {error}", file=sys.stderr)


main()
