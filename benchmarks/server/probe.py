"""Census: which test enters which function of the project, and how directly.

An import hook puts one cheap probe at the entry of every function. A hit is
`direct` where the caller's file is a test's; else `distance` counts the frames
between.
"""

import ast
import builtins
import importlib.abc
import importlib.machinery
import sys
import time

HITS, DISTANCES, KEYS = bytearray(), bytearray(), []
DIRECT, INDIRECT, FAR = 2, 1, 254


class Insert(ast.NodeTransformer):
    def __init__(self, file):
        self.file = file

    def function(self, node):
        self.generic_visit(node)
        number = len(KEYS)
        KEYS.append((self.file, node.lineno))
        HITS.append(0)
        DISTANCES.append(255)
        probe = ast.parse(f"if _fixfly_hits[{number}] != 2: _fixfly_hit({number})").body[0]
        for part in ast.walk(probe):
            if hasattr(part, "lineno"):
                part.lineno = part.end_lineno = node.body[0].lineno
                part.col_offset = part.end_col_offset = 0
        start = 1 if ast.get_docstring(node, clean=False) is not None else 0
        node.body.insert(start, probe)
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = function


class Loader(importlib.machinery.SourceFileLoader):
    root = "/"

    def get_code(self, name):
        path = self.get_filename(name)
        tree = ast.parse(self.get_data(path))
        Insert(path[len(self.root):]).visit(tree)
        return compile(tree, path, "exec", dont_inherit=True)


class Finder(importlib.abc.MetaPathFinder):
    def __init__(self, source, is_test):
        self.source, self.is_test = source, is_test

    def find_spec(self, name, path, target=None):
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        origin = spec.origin if spec else None
        if origin and origin.endswith(".py") and origin.startswith(self.source) and not self.is_test(origin):
            spec.loader = Loader(name, origin)
            return spec
        return None


def install(root, source, is_test):
    Loader.root = root

    def hit(number):
        frame = sys._getframe(2)
        if frame is not None and is_test(frame.f_code.co_filename):
            HITS[number], DISTANCES[number] = DIRECT, 0
            return
        if HITS[number]:
            return
        HITS[number], distance = INDIRECT, 0
        while frame is not None and distance < FAR:
            if is_test(frame.f_code.co_filename):
                break
            distance, frame = distance + 1, frame.f_back
        else:
            distance = FAR
        DISTANCES[number] = distance

    builtins._fixfly_hits = HITS
    builtins._fixfly_hit = hit
    sys.meta_path.insert(0, Finder(source, is_test))


def clear():
    HITS[:] = bytes(len(HITS))
    DISTANCES[:] = b"\xff" * len(DISTANCES)


def taken():
    """[file, line, direct, distance] of everything hit since `clear`."""
    return [[*KEYS[n], int(HITS[n] == DIRECT), DISTANCES[n]] for n in range(len(KEYS)) if HITS[n]]


class Census:
    """Wraps a recorder's test events with what the probe saw between them."""

    def __init__(self, recorder_class):
        outer = self

        class Probing(recorder_class):
            def startTest(self, test):
                super().startTest(test)
                clear()
                outer.start = time.process_time()

            def stopTest(self, test):
                seconds = time.process_time() - outer.start
                self.say("census", test, seconds=round(seconds, 4), hits=taken())
                clear()
                super().stopTest(test)

        self.recorder = Probing
