"""The functions and modules of a project that are in this process."""

import gc
import importlib.machinery
import os
import sys
import types


class Unsure(Exception):
    """Why a candidate takes the cold path alone."""


def index(root, before=None):
    """file -> qualified name -> live functions, through every wrapper. Made before the fork.
    `before` has those of the objects that are frozen; without it they are looked for, too."""
    found = {file: {name: list(live) for name, live in names.items()} for file, names in (before or {}).items()}
    if before is None:
        gc.unfreeze()  # frozen objects are not listed
    for thing in gc.get_objects():
        if type(thing) is types.FunctionType and thing.__code__.co_filename.startswith(root):
            file = found.setdefault(thing.__code__.co_filename, {})
            file.setdefault(thing.__code__.co_qualname, []).append(thing)
    return found


class Modules:
    """file -> names of the modules that were imported from it; links are followed."""

    def __init__(self, root):
        self.root, self.places = root, {}

    def found(self):
        files = {}
        for name, module in list(sys.modules.items()):
            place = self.place(module)
            if place is not None and name != "__main__":
                files.setdefault(place, []).append(name)
        return files

    def place(self, module):
        file = getattr(module, "__dict__", {}).get("__file__")
        if not isinstance(file, str):
            return None
        if file not in self.places:
            place = os.path.realpath(file)
            self.places[file] = place if place.startswith(self.root) else None
        return self.places[file]


def the_one(names):
    """The module among them that holds the function, imported as Python does it."""
    if len(names) != 1:
        raise Unsure("its file is not imported once")
    spec = getattr(sys.modules.get(names[0]), "__spec__", None)
    if type(getattr(spec, "loader", None)) is not importlib.machinery.SourceFileLoader:
        raise Unsure("its module has a loader of its own")
    return names[0]


ALONE = types.FunctionType(the_one.__code__.replace(), {})


def is_kept_elsewhere(live):
    """Whether anything but these functions holds their code: a generator that has not
    begun, or a name. A swap would not reach it."""
    counts = {}
    for function in live:
        counts[id(function.__code__)] = counts.get(id(function.__code__), 0) + 1
    # The code of an outer function holds that of an inner one.
    return any(references(f) - references(ALONE) > counts[id(f.__code__)] - 1 + ("<locals>" in f.__code__.co_qualname)
               for f in live)


def references(function):
    return sys.getrefcount(function.__code__)
