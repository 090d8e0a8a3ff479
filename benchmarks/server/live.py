"""The functions and modules of a project that are in this process."""

import gc
import os
import sys
import types


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
