"""Puts the functions of a candidate's whole file into a process that imported the
original, where that provably comes to the same as importing the candidate's file.

Both files are compiled as an import does it. Their code must be equal, line numbers
apart, but for the candidate's function, and that one must not have run and not have been
read. All that the import executed is then equal too, and so is all that came of it.
Anything else raises `Unsure`, and the candidate takes the cold path.
"""

import linecache
import sys
import types
import warnings

from live import Unsure, is_kept_elsewhere, the_one

SAME = ("co_name", "co_qualname", "co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_flags",
        "co_freevars")
EXECUTED = ("co_code", "co_names", "co_varnames", "co_cellvars", "co_nlocals", "co_stacksize", "co_exceptiontable")


def original(watch, path, names):
    """The code of the file as it was imported; None if it was not imported."""
    if watch.started:
        raise Unsure(f"a process was started before the first test ({watch.started})")
    name = the_one(names) if names else None
    if not watch.is_unread(path, imported=bool(names)):
        raise Unsure("its file was read before the first test")
    if name is None:
        return None
    return sys.modules[name].__spec__.loader.get_code(name)


def did_not_run(watch, found, path, content, method):
    """Spares the fork of a candidate of which that is known before."""
    name = ".".join([*method["classes"], method["name"]])
    live = [f.__code__ for f in found.get(path, {}).get(name, ()) if f.__code__.co_firstlineno == method["first_line"]]
    if any(map(watch.has_run, live)):
        with open(path, "rb") as file:
            if file.read() != content:
                raise Unsure("it ran before the first test")


def take_over(watch, found, old, path, name, content, method):
    """Gives every live function of the file `path` the code that it has in the candidate's."""
    made = compiled(path, content)
    pairs = Pairs(method)
    pairs.take(old, made)
    file = found.pop(path, {})
    linecache.cache.pop(path, None)
    changed = []
    for functions in file.values():
        for function in functions:
            if function.__code__ not in pairs.all:
                raise Unsure("a function of its file was made in another way")
            if function.__code__ in pairs.new:
                changed.append(function)
    if not pairs.new:
        return
    if pairs.hole is not None:
        untouched(watch, [f for f in changed if f.__code__ == pairs.hole])
    if method["lines"] and "__warningregistry__" in sys.modules[name].__dict__:
        raise Unsure("a line of its file gave a warning")
    if is_kept_elsewhere(changed):
        raise Unsure("the code of a function is used elsewhere")
    for function in changed:
        function.__code__ = pairs.new[function.__code__]


def compiled(path, content):
    """As an import compiles it, and without a word."""
    said = []
    show, warnings._showwarnmsg = warnings._showwarnmsg, said.append
    try:
        made = compile(content, path, "exec", dont_inherit=True)
    except MemoryError:
        raise
    except Exception as error:
        raise Unsure(f"its file raises {type(error).__name__}") from None
    finally:
        warnings._showwarnmsg = show
    if said:
        raise Unsure("its file gives a warning")
    return made


def untouched(watch, live):
    if not live:
        raise Unsure("no live function")
    for function in live:
        if watch.has_run(function.__code__):
            raise Unsure("it ran before the first test")
        if id(function) in watch.read:
            raise Unsure("its code was read before the first test")


class Pairs:
    """The code objects of two files, one by one."""

    def __init__(self, method):
        self.qualname, self.line = ".".join([*method["classes"], method["name"]]), method["first_line"]
        self.all, self.new, self.hole = set(), {}, None

    def take(self, old, new):
        """Both run when the file is imported, or hold what does."""
        if old == new:
            self.keep(old)
            return
        self.same(old, new, SAME)
        if old.co_qualname == self.qualname and old.co_firstlineno == new.co_firstlineno == self.line:
            self.take_hole(old, new)
            return
        self.same(old, new, EXECUTED)
        self.all.add(old)
        self.new[old] = new
        self.take_all(old.co_consts, new.co_consts)

    def take_hole(self, old, new):
        """The candidate's function: equal in all that may be read of it without its code."""
        count = old.co_argcount + old.co_kwonlyargcount + bool(old.co_flags & 4) + bool(old.co_flags & 8)
        if old.co_varnames[:count] != new.co_varnames[:count]:
            raise Unsure("another signature or kind")
        if docstring(old) != docstring(new):
            raise Unsure("another docstring")
        if self.hole is not None:
            raise Unsure("more than one function of that name")
        self.hole = old
        self.all.add(old)
        self.new[old] = new

    def keep(self, code):
        self.all.add(code)
        for part in code.co_consts:
            if type(part) is types.CodeType:
                self.keep(part)

    def same(self, old, new, names):
        if any(getattr(old, name) != getattr(new, name) for name in names):
            raise Unsure("another signature or kind" if old.co_qualname == self.qualname else "other code around it")

    def take_all(self, olds, news):
        if len(olds) != len(news):
            raise Unsure("other constants around it")
        for old, new in zip(olds, news):
            if type(old) is types.CodeType and type(new) is types.CodeType:
                self.take(old, new)
            elif not is_equal(old, new):
                raise Unsure("other constants around it")


def docstring(code):
    first = code.co_consts[0] if code.co_consts else None
    return first if type(first) is str else None


def is_equal(old, new):
    if type(old) is not type(new):
        return False
    if type(old) in (tuple, frozenset):
        # In a set of constants equal numbers of different types cannot stand beside each other.
        parts = (old, new) if type(old) is tuple else (sorted(old, key=repr), sorted(new, key=repr))
        return len(old) == len(new) and all(map(is_equal, *parts))
    return repr(old) == repr(new) if type(old) in (float, complex) else old == new
