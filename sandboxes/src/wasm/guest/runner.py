"""CPython as a component: runs one Python program in an instance made for it.

All of this module is executed once, when the component is made, and the memory
it leaves is what every instance begins with. Where `ready.json` lies beside it,
a project's code is kept too, and a script of the project's has imported it.
"""

import importlib.abc
import importlib.util
import json
import marshal
import os
import random
import sys
import sysconfig
import types

import wit_world

PLACE = sysconfig.get_path("stdlib")
SKIPPED = {"test", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data", "curses", "venv",
           "msilib", "turtle", "antigravity", "this", "__phello__", "site-packages"}


class Kept(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Modules kept as code, so that an instance neither reads nor compiles them."""

    def __init__(self):
        self.kept = {}

    def keep(self, folder, place, package="", skipped=()):
        """The modules in `folder`, as if they lay in `place`."""
        for entry in sorted(os.listdir(folder)):
            path = os.path.join(folder, entry)
            stem, kind = os.path.splitext(entry)
            if stem in skipped or entry.startswith((".", "__pycache__")):
                continue
            if os.path.isdir(path):
                if os.path.exists(os.path.join(path, "__init__.py")):
                    self.keep(path, f"{place}/{entry}", f"{package}{entry}.")
            elif kind == ".py":
                with open(path, "rb") as file:
                    source = file.read()
                try:
                    code = compile(source, f"{place}/{entry}", "exec", dont_inherit=True)
                except (SyntaxError, ValueError):
                    continue
                name = package[:-1] if stem == "__init__" else package + stem
                self.kept[name] = marshal.dumps(code), stem == "__init__", f"{place}/{entry}"

    def forget(self, place):
        for name, (_, _, kept) in list(self.kept.items()):
            if kept == place:
                del self.kept[name]

    def find_spec(self, name, path=None, target=None):
        if name not in self.kept:
            return None
        _, package, place = self.kept[name]
        spec = importlib.util.spec_from_loader(name, self, origin=place, is_package=package)
        spec.has_location = True
        if package:
            spec.submodule_search_locations = [os.path.dirname(place)]
        return spec

    def is_package(self, name):
        return self.kept[name][1]

    def get_code(self, name):
        return marshal.loads(self.kept[name][0])

    def get_source(self, name):
        return None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(self.get_code(module.__name__), module.__dict__)


LIBRARY, PROJECT = Kept(), Kept()
for folder in list(sys.path):
    if os.path.exists(os.path.join(folder, "unittest", "__init__.py")):
        LIBRARY.keep(folder, PLACE, skipped=SKIPPED)
sys.meta_path.append(LIBRARY)
sys.meta_path.insert(0, PROJECT)

import argparse, ast, asyncio, base64, collections, contextlib, copy, dataclasses, datetime, decimal, difflib, enum, \
    fractions, functools, hashlib, heapq, html, inspect, io, itertools, linecache, locale, logging, operator, pathlib, \
    pickle, re, secrets, shutil, signal, statistics, string, struct, tempfile, textwrap, threading, time, tokenize, \
    traceback, typing, unicodedata, unittest, unittest.mock, urllib.parse, uuid, warnings, weakref, zoneinfo


def make_ready(wanted):
    """Keeps the code of packages and runs the script that imports them."""
    for name, place in wanted["packages"].items():
        folder = next(path for path in sys.path if os.path.isdir(os.path.join(path, name)))
        PROJECT.keep(os.path.join(folder, name), place, f"{name}.")
    before = list(sys.path)
    importlib.import_module(wanted["script"])
    sys.path[:] = before


READY = os.path.join(os.path.dirname(__file__), "ready.json")
if os.path.exists(READY):
    with open(READY) as file:
        make_ready(json.load(file))


class WitWorld(wit_world.WitWorld):
    def main(self, argv, env, folder):
        return begin(argv, dict(env), folder)


def begin(argv, env, folder):
    os.environ.clear()
    os.environ.update(env)
    random.seed()
    os.chdir(folder)
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    try:
        execute(argv, main.__dict__)
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 0 if left.code is None else said(left.code)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass
    return code & 0xFF


def said(why):
    print(why, file=sys.stderr)
    return 1


def execute(argv, namespace):
    words = list(argv[1:])
    while words and words[0] in ("-B", "-I", "-u", "-s", "-E", "-S"):
        words.pop(0)
    if words[:1] == ["-c"]:
        sys.argv[:] = ["-c", *words[2:]]
        sys.path[:0] = [""]
        source, name = words[1], "<string>"
    elif words and not words[0].startswith("-"):
        sys.argv[:] = words
        sys.path[:0] = [os.path.dirname(os.path.abspath(words[0]))]
        with open(words[0], "rb") as file:
            source, name = file.read(), os.path.abspath(words[0])
        namespace["__file__"] = name
    else:
        raise SystemExit(f"python: this Python runs a file, or -c CODE; not {' '.join(words)}")
    exec(compile(source, name, "exec", dont_inherit=True), namespace)
