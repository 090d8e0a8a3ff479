"""What a project declares for its tests, and its installed copy put to rest.

    python declared.py installable SOURCE BUILT    whether pip can install it, and what it needs if not
    python declared.py wanted SOURCE BUILT NAME…   requirements by where they are declared
    python declared.py settle SOURCE BUILT ROOT    leaves only SOURCE, seen at ROOT, to import

BUILT is the folder that pip installed the project from. Run by the
environment's own Python; prints JSON.
"""

import configparser
import importlib.metadata
import json
import os
import re
import shutil
import sys
import sysconfig
import tomllib

PACKAGES = sysconfig.get_path("purelib")
FOR_TESTS = ("test", "tests", "testing", "unittest", "unittests", "pytest")
FOR_WORK = ("dev", "develop", "development")
ASIDE = ("tests", "test", "docs", "doc", "examples", "build", "dist", "node_modules")


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(built):
    """The project's own distribution, if it is one that pip could install."""
    for one in importlib.metadata.distributions():
        origin = one.read_text("direct_url.json")
        if origin and os.path.basename(json.loads(origin).get("url", "")) == os.path.basename(built):
            return one
    return None


def of_extra(project, extra, seen=()):
    """The requirements an extra adds, those of extras it names included."""
    from pip._vendor.packaging.requirements import Requirement
    found = []
    for line in project.requires or []:
        one = Requirement(line)
        adds = one.marker and one.marker.evaluate({"extra": extra}) and not one.marker.evaluate({"extra": ""})
        if adds and plain(one.name) == plain(project.name):
            inner = [name for name in sorted(one.extras) if name not in (*seen, extra)]
            found += [line for name in inner for line in of_extra(project, name, (*seen, extra))]
        elif adds:
            one.marker = None
            found.append(str(one))
    return found


def of_group(groups, name, seen=()):
    found = []
    for entry in groups.get(name, []):
        if isinstance(entry, str):
            found.append(entry)
        elif (inner := plain(entry.get("include-group", ""))) not in seen:
            found += of_group(groups, inner, (*seen, inner))
    return found


def pyproject(source):
    """What pyproject.toml says; None where there is none, or none that can be read."""
    try:
        with open(os.path.join(source, "pyproject.toml"), "rb") as file:
            return tomllib.load(file)
    except (OSError, ValueError):
        return None


def installable(source):
    """A pyproject.toml that only configures tools makes no package, nor does one
    that says so itself; what such a project needs is installed without it."""
    has_setup = os.path.exists(os.path.join(source, "setup.py"))
    has_pyproject = os.path.exists(os.path.join(source, "pyproject.toml"))
    said = pyproject(source)
    if said is None:  # pip says best what is wrong with a file that cannot be read
        return {"installable": has_setup or has_pyproject, "why": "the project has no pyproject.toml or setup.py"}
    project, tool = said.get("project", {}), said.get("tool", {})
    poetry = tool.get("poetry", {})
    needs = list(project.get("dependencies", []))
    needs = needs or [name for name in poetry.get("dependencies", {}) if name != "python"]
    if tool.get("uv", {}).get("package") is False or poetry.get("package-mode") is False:
        return {"installable": False, "why": "the project's pyproject.toml says that it is no package", "needs": needs}
    declared = has_setup or "project" in said or "build-system" in said or has_metadata(source)
    why = "the project's pyproject.toml has neither [project] nor [build-system], and there is no setup.py"
    return {"installable": declared, "why": why, "needs": needs}


def has_metadata(source):
    parser = configparser.RawConfigParser()
    try:
        parser.read(os.path.join(source, "setup.cfg"))
    except (configparser.Error, ValueError):
        return False
    return parser.has_section("metadata") or parser.has_section("options")


def groups_of(source):
    """PEP 735 dependency groups, and Poetry's by name only: its ranges are its own."""
    said = pyproject(source) or {}
    poetry = said.get("tool", {}).get("poetry", {})
    groups = {name: list(group.get("dependencies", {})) for name, group in poetry.get("group", {}).items()}
    groups.setdefault("dev", list(poetry.get("dev-dependencies", {})))
    return {plain(name): group for name, group in {**groups, **said.get("dependency-groups", {})}.items()}


def wanted(source, built, names):
    project, groups = installed(built), groups_of(source)
    extras = project.metadata.get_all("Provides-Extra") or [] if project else []
    declared = {f"group {name}": of_group(groups, name, (name,)) for name in groups}
    declared |= {f"extra {plain(name)}": of_extra(project, name) for name in extras}
    if project is None:
        optional = (pyproject(source) or {}).get("project", {}).get("optional-dependencies", {})
        declared |= {f"extra {plain(name)}": lines for name, lines in optional.items()}
    declared = {label: lines for label, lines in declared.items() if lines}
    unknown = [name for name in names if plain(name) not in map(name_of, declared)]
    if unknown:
        return {"unknown": unknown[0], "known": sorted(set(map(name_of, declared)))}
    for likely in [[plain(name) for name in names]] if names else [FOR_TESTS, FOR_WORK]:
        chosen = {label: lines for label, lines in declared.items() if name_of(label) in likely}
        if chosen:
            return {"wanted": chosen}
    return {"wanted": {}}


def name_of(label):
    return label.split(" ", 1)[1]


def settle(source, built, root):
    project = installed(built)
    if project is None:
        roots = [source] + [path for path in [os.path.join(source, "src")] if os.path.isdir(path)]
        copied = []
    else:
        roots, copied = put_to_rest(project, source)
    with open(os.path.join(PACKAGES, "fixfly_project.pth"), "w") as file:
        file.writelines(root + path[len(source):] + "\n" for path in roots)
    return {"copied": copied}


def put_to_rest(project, source):
    """Removes the installed modules. What only the installation has, as files
    made by the build, goes to the source; its metadata stays, for `version()`."""
    files = [str(file) for file in project.files or []]
    modules = [file for file in files if not file.startswith("..") and ".dist-info/" not in file
               and "__pycache__" not in file]
    roots, copied = {}, []
    for top in sorted({file.split("/", 1)[0] for file in modules}):
        mine = [file for file in modules if file.split("/", 1)[0] == top]
        roots[top] = import_root(source, mine)
        for file in mine:
            target = os.path.join(roots[top], file)
            if not os.path.exists(target):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copyfile(os.path.join(PACKAGES, file), target)
                copied.append(os.path.relpath(target, source))
    for file in files:
        path = os.path.normpath(os.path.join(PACKAGES, file))
        if ".dist-info/" not in file and os.path.exists(path):
            os.unlink(path)
            drop_empty(os.path.dirname(path))
    return sorted(set(roots.values()) | {source}), copied


def drop_empty(folder):
    while folder.startswith(PACKAGES + os.sep):
        shutil.rmtree(os.path.join(folder, "__pycache__"), ignore_errors=True)
        if os.listdir(folder):
            return
        os.rmdir(folder)
        folder = os.path.dirname(folder)


def import_root(source, files):
    """The folder of the source in which most of these installed files lie."""
    best, most = source, 0
    for folder, folders, _ in os.walk(source):
        depth = folder[len(source):].count(os.sep)
        folders[:] = [] if depth > 3 else sorted(f for f in folders if f not in ASIDE and not f.startswith("."))
        found = sum(os.path.exists(os.path.join(folder, file)) for file in files)
        if found > most:
            best, most = folder, found
    return best


if __name__ == "__main__":
    command, source, built, *rest = sys.argv[1:]
    said = (installable(source) if command == "installable" else wanted(source, built, rest) if command == "wanted"
            else settle(source, built, rest[0]))
    print(json.dumps(said))
