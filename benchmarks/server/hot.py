"""Swaps the code of one method in modules that are imported already.

Sound for methods that did not run before the fork. Anything it is not sure of
raises `Unsure`, and the candidate takes the cold path instead.
"""

import ast
import gc
import sys
import types

META = "_fixfly_meta_"


class Unsure(Exception):
    pass


def index(root):
    """file -> qualified name -> live functions, through every wrapper. Made before the fork."""
    found = {}
    gc.unfreeze()  # frozen objects are not listed
    for thing in gc.get_objects():
        if type(thing) is types.FunctionType and thing.__code__.co_filename.startswith(root):
            file = found.setdefault(thing.__code__.co_filename, {})
            file.setdefault(thing.__code__.co_qualname, []).append(thing)
    return found


def swap(found, path, module, method):
    """`method`: classes, name, first_line, line (of the def), source (as it
    stands in the candidate's file, indented), lines (added to the file)."""
    qualname = ".".join([*method["classes"], method["name"]])
    # Taken out, so that nothing keeps the original; the rest is not touched,
    # as every page touched is a page copied.
    file = found.pop(path, {})
    live = [f for f in file.get(qualname, []) if f.__code__.co_firstlineno == method["first_line"]]
    if not live:
        raise Unsure("no live function")
    cells = live[0].__code__.co_freevars
    if any(f.__code__.co_freevars != cells for f in live) or set(cells) - {"__class__"}:
        raise Unsure("a closure")
    if module not in sys.modules:
        raise Unsure("not imported")
    namespace = sys.modules[module].__dict__
    owner = find_class(namespace, method["classes"])
    made = compiled(path, namespace, owner, method, bool(cells))
    if made.__code__.co_freevars != cells:
        raise Unsure("other cells")
    shift(file, method["first_line"], method["lines"], live)
    for function in live:
        function.__code__ = made.__code__
        function.__defaults__ = made.__defaults__
        function.__kwdefaults__ = made.__kwdefaults__
        function.__doc__ = made.__doc__


def find_class(namespace, classes):
    owner = namespace.get(classes[0])
    for name in classes[1:]:
        owner = getattr(owner, "__dict__", {}).get(name)
    if not isinstance(owner, type):
        raise Unsure("no such class")
    return owner


def compiled(path, namespace, owner, method, wants_cell):
    """The candidate's function, compiled at its own lines within its own classes."""
    depth = len(method["classes"])
    heads = [
        " " * level + f"class {name}" + (f"(metaclass={META})" if level == depth - 1 else "") + ":\n"
        for level, name in enumerate(method["classes"])
    ]
    padding = method["line"] - 1 - depth
    indent = len(method["source"]) - len(method["source"].lstrip(" \t"))
    if padding < 0 or indent < depth:
        raise Unsure("no room above the method")
    tree = ast.parse("\n" * padding + "".join(heads) + method["source"])
    body = tree.body
    for _ in method["classes"]:
        body = body[0].body
    function = body[0]
    if len(body) != 1 or not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) or function.decorator_list:
        raise Unsure("not one plain method")
    strip_annotations(function)
    if wants_cell:
        keep_class_cell(function)
    future = [ast.ImportFrom("__future__", [ast.alias(name)], 0, lineno=1, col_offset=0)
              for name in future_names(namespace)]
    code = compile(ast.fix_missing_locations(ast.Module(future + tree.body, [])), path, "exec", dont_inherit=True)
    return run(code, namespace, owner, function.name)


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

    scope = dict(namespace)
    scope[META] = Meta
    exec(code, scope)
    return taken["function"]


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
        for function in functions:
            code = function.__code__
            if code.co_firstlineno > after and function not in but:
                if code not in moved:
                    moved[code] = lower(code)
                function.__code__ = moved[code]
