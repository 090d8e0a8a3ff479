"""Swaps the code of methods and functions in modules that are imported already.

Sound for what did not run before the fork. Anything it is not sure of raises
`Unsure`, and the candidate takes the cold path instead.
"""

import ast
import inspect
import linecache
import sys
import types

from live import Unsure, is_kept_elsewhere

META, SAME = "_fixfly_meta_", "_fixfly_same_"
KINDS = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE | \
    inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE
PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))


def swap(found, path, module, methods):
    """Each of `methods`: classes, name, first_line, line (of the def), source (as it
    stands in the candidate's file, indented), lines (added to the file)."""
    # Taken out, so that nothing keeps the original; the rest is not touched,
    # as every page touched is a page copied.
    file = found.pop(path, {})
    # The last one first: those above are still at the original's lines, and move what is below.
    for method in sorted(methods, key=lambda method: method["first_line"], reverse=True):
        swap_one(file, path, module, method)


def swap_one(file, path, module, method):
    qualname = ".".join([*method["classes"], method["name"]])
    live = [f for f in file.get(qualname, []) if f.__code__.co_firstlineno == method["first_line"]]
    if not live:
        raise Unsure("no live function")
    old = live[0]
    cells = old.__code__.co_freevars
    if any(f.__code__.co_freevars != cells for f in live) or set(cells) - {"__class__"}:
        raise Unsure("a closure")
    if module not in sys.modules:
        raise Unsure("not imported")
    if is_kept_elsewhere(live):
        raise Unsure("its code is used elsewhere")
    if any(not same_defaults(old, f) for f in live):
        raise Unsure("copies with other defaults")
    namespace = sys.modules[module].__dict__
    owner = find_class(namespace, method["classes"]) if method["classes"] else None
    is_decorated = method["first_line"] < method["line"]
    made = compiled(path, namespace, owner, method, bool(cells), is_decorated)
    if made.__code__.co_freevars != cells:
        raise Unsure("other cells")
    if shape(made) != shape(old):
        raise Unsure("another signature or kind")
    # A decorator has seen both when the module was imported.
    if is_decorated and not (same_defaults(made, old) and same_annotations(made, old)):
        raise Unsure("other defaults or annotations below a decorator")
    linecache.cache.pop(path, None)
    shift(file, method["first_line"], method["lines"], live)
    for function in live:
        function.__code__ = made.__code__
        function.__defaults__ = made.__defaults__
        function.__kwdefaults__ = made.__kwdefaults__
        function.__doc__ = made.__doc__


def shape(function):
    """What of a function may have been read when its module was imported."""
    code = function.__code__
    count = code.co_argcount + code.co_kwonlyargcount + sum(
        bool(code.co_flags & flag) for flag in (inspect.CO_VARARGS, inspect.CO_VARKEYWORDS))
    return (code.co_argcount, code.co_posonlyargcount, code.co_varnames[:count], code.co_flags & KINDS,
            len(function.__defaults__ or ()), sorted(function.__kwdefaults__ or ()))


def same_defaults(one, other):
    one, other = ((f.__defaults__ or (), tuple(sorted((f.__kwdefaults__ or {}).items()))) for f in (one, other))
    return is_same(one, other)


def is_same(one, other):
    if one is other:
        return True
    if type(one) is tuple and type(other) is tuple:
        return len(one) == len(other) and all(map(is_same, one, other))
    return type(one) is type(other) and type(one) in PLAIN and one == other


def same_annotations(one, other):
    try:
        return one.__annotations__ == other.__annotations__
    except Exception:
        return False


def find_class(namespace, classes):
    owner = namespace.get(classes[0])
    for name in classes[1:]:
        owner = getattr(owner, "__dict__", {}).get(name)
    if not isinstance(owner, type):
        raise Unsure("no such class")
    return owner


def compiled(path, namespace, owner, method, wants_cell, annotated):
    """The candidate's function, compiled at its own lines within its own classes."""
    try:
        return made_from(path, namespace, owner, method, wants_cell, annotated)
    except (Unsure, MemoryError):
        raise
    except Exception as error:
        raise Unsure(f"its definition raises {type(error).__name__}") from None


def made_from(path, namespace, owner, method, wants_cell, annotated):
    depth = len(method["classes"])
    heads = [
        " " * level + f"class {name}" + (f"(metaclass={META})" if level == depth - 1 else "") + ":\n"
        for level, name in enumerate(method["classes"])
    ]
    indent = len(method["source"]) - len(method["source"].lstrip(" \t"))
    if not heads and indent:  # below an `if` or a `try`
        depth, heads = 1, ["if 1:\n"]
    padding = method["first_line"] - 1 - depth
    if padding < 0 or indent < depth:
        raise Unsure("no room above the method")
    # Code begins at the first decorator: one that does nothing stands for all.
    above = method["line"] - method["first_line"]
    decorator = method["source"][:indent] + "@" + SAME + "\n" * above if above else ""
    tree = ast.parse("\n" * padding + "".join(heads) + decorator + method["source"])
    body = tree.body
    for _ in heads:
        body = body[0].body
    function = body[0]
    if len(body) != 1 or not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) or \
            len(function.decorator_list) != bool(above):
        raise Unsure("not one plain method")
    if not annotated:
        strip_annotations(function)
    if wants_cell:
        keep_class_cell(function)
    future = [ast.ImportFrom("__future__", [ast.alias(name)], 0, lineno=1, col_offset=0)
              for name in future_names(namespace)]
    code = compile(ast.fix_missing_locations(ast.Module(future + tree.body, [])), path, "exec", dont_inherit=True)
    if owner is None:
        scope = {**namespace, SAME: same}
        exec(code, scope)
        return scope.pop(function.name)  # nothing else may hold its code
    return run(code, namespace, owner, function.name)


def same(function):
    return function


def future_names(namespace):
    import __future__
    return [name for name in __future__.all_feature_names
            if name == "annotations" and namespace.get(name) is getattr(__future__, name)]


def strip_annotations(function):
    function.returns = None
    spec = function.args
    for arg in [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg]:
        if arg is not None:
            arg.annotation = None


def keep_class_cell(function):
    """The live function has a cell for `super()`; so must its successor, used or not."""
    start = 1 if ast.get_docstring(function, clean=False) is not None and len(function.body) > 1 else 0
    reference = ast.parse("if 0: __class__").body[0]
    for node in ast.walk(reference):
        if hasattr(node, "lineno"):
            node.lineno = node.end_lineno = function.body[start].lineno
            node.col_offset = node.end_col_offset = 0
    function.body.insert(start, reference)


def run(code, namespace, owner, name):
    """Executes the class statement with the real class's names in reach, as
    defaults may use them, and takes the function out."""
    taken = {}

    class Meta(type):
        @classmethod
        def __prepare__(cls, *args, **kwargs):
            return {k: v for k, v in owner.__dict__.items() if not (k.startswith("__") and k.endswith("__"))}

        def __new__(cls, class_name, bases, body, **kwargs):
            mangled = "_" + class_name.lstrip("_") + name
            private = name.startswith("__") and not name.endswith("__") and class_name.strip("_")
            taken["function"] = body[mangled if private else name]
            cell = {"__classcell__": body["__classcell__"]} if "__classcell__" in body else {}
            return type(class_name, (), cell)

    scope = {**namespace, META: Meta, SAME: same}
    exec(code, scope)
    return taken.pop("function")


def shift(file, after, lines, but):
    """Later functions of the file stand `lines` lower in the candidate's file:
    tracebacks must show the lines the candidate's author sees."""
    if not lines:
        return
    moved = {}

    def lower(code):
        consts = tuple(lower(c) if isinstance(c, types.CodeType) else c for c in code.co_consts)
        return code.replace(co_firstlineno=code.co_firstlineno + lines, co_consts=consts)

    for functions in file.values():
        later = [f for f in functions if f.__code__.co_firstlineno > after and f not in but]
        if is_kept_elsewhere(later):
            raise Unsure("the code of a later function is used elsewhere")
        for function in later:
            code = function.__code__
            if code not in moved:
                moved[code] = lower(code)
            function.__code__ = moved[code]
