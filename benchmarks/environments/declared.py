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
from urllib.parse import quote

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


def installable(source, built):
    """A pyproject.toml that only configures tools makes no package, nor does one
    that says so itself; what such a project needs is installed without it."""
    has_setup = os.path.exists(os.path.join(source, "setup.py"))
    has_pyproject = os.path.exists(os.path.join(source, "pyproject.toml"))
    said = pyproject(source)
    if said is None:  # pip says best what is wrong with a file that cannot be read
        return {"installable": has_setup or has_pyproject, "why": "the project has no pyproject.toml or setup.py"}
    project, tool = said.get("project", {}), said.get("tool", {})
    poetry = tool.get("poetry", {})
    is_backed = has_setup or "build-system" in said
    declared = is_backed or "project" in said or has_metadata(source)
    why = "the project's pyproject.toml has neither [project] nor [build-system], and there is no setup.py"
    if tool.get("uv", {}).get("package") is False or poetry.get("package-mode") is False:
        declared, why = False, "the project's pyproject.toml says that it is no package"
    elif not is_backed and is_virtual(source):
        declared, why = False, "the project's uv.lock says that it is no package"
    needs = list(project.get("dependencies", []))
    if not needs and not declared:
        needs = of_poetry(poetry.get("dependencies", {}), source, built)
    return {"installable": declared, "why": why, "needs": needs, "backed": is_backed}


def is_virtual(source):
    """Whether uv locked the project as one that is never built."""
    try:
        with open(os.path.join(source, "uv.lock"), "rb") as file:
            packages = tomllib.load(file).get("package", [])
    except (OSError, ValueError):
        return False
    return any(one.get("source", {}).get("virtual") == "." for one in packages)


def of_poetry(dependencies, source, built, optional=None):
    """PEP 508 requirements from a table of Poetry's: those that are not optional,
    or the optional ones of these names."""
    found = []
    for name, said in dependencies.items():
        if plain(name) == "python":
            continue
        for one in said if isinstance(said, list) else [said]:
            one = {"version": one} if isinstance(one, str) else one
            if plain(name) in optional if optional is not None else not one.get("optional"):
                found.append(of_poetry_one(name, one, source, built))
    return found


def of_poetry_one(name, said, source, built):
    extras = ",".join(said.get("extras", []))
    name = f"{name}[{extras}]" if extras else name
    address, part = None, said.get("subdirectory")
    if "git" in said:
        git = re.sub(r"^([^/:@]+@[^/:]+):", r"ssh://\1/", said["git"])
        at = said.get("rev") or said.get("tag") or said.get("branch")
        address = "git+" * (not git.startswith("git+")) + git + (f"@{at}" if at else "")
    elif "url" in said:
        address = said["url"]
    elif path := said.get("path", said.get("file")):
        address = "file://" + quote(seen(os.path.normpath(os.path.join(source, path)), source, built))
    if address:
        line = f"{name} @ {address}" + (f"#subdirectory={part}" if part else "")
    else:
        line = name + limits(said.get("version", "*"))
    markers = [f"({said['markers']})"] if said.get("markers") else []
    if said.get("python", "*") != "*":
        markers.append(of_python(said["python"]))
    if platform := said.get("platform"):
        sign, platform = ("!=", platform[2:]) if platform.startswith("!=") else ("==", platform)
        markers.append(f'sys_platform {sign} "{platform.strip()}"')
    return line + (" ; " + " and ".join(markers) if markers else "")


def seen(path, source, built):
    """A path of the source in the copy that builds may leave files in."""
    if not path.startswith(source + os.sep):
        return path
    if not os.path.exists(built):
        shutil.copytree(source, built, symlinks=True)
    return built + path[len(source):]


def limits(text):
    """PEP 440's specifiers for a constraint of Poetry's. Of alternatives (`^1 || ^2`)
    the last is taken: PEP 440 has none."""
    return ",".join(specifiers(text.split("|")[-1]))


def specifiers(text):
    text = re.sub(r"([\^~=!<>])\s+", r"\1", text.strip())
    return [one for part in re.split(r"[\s,]+", text) if part for one in specifier(part)]


def specifier(text):
    sign, version = re.fullmatch(r"([\^~=!<>]*)[vV]?(.*)", text).groups()
    if version in ("*", "x", "X"):
        return []
    version = re.sub(r"(\.[*xX])+$", ".*", version)
    release = re.match(r"(?:\d+!)?(\d+(?:\.\d+)*)", version)
    if sign not in ("^", "~") or release is None:
        if version.endswith(".*") and sign not in ("", "=", "==", "!="):  # `>=1.2.*`
            version = version[:-2]
        return [("==" if sign in ("", "=") else sign) + version]
    version = version.removesuffix(".*")
    numbers = [int(number) for number in release[1].split(".")]
    if sign == "~":
        last = min(1, len(numbers) - 1)
    else:
        last = next((at for at, number in enumerate(numbers) if number), len(numbers) - 1)
    epoch = version[:release.start(1)]
    above = ".".join(map(str, [*numbers[:last], numbers[last] + 1]))
    return [f">={version}", f"<{epoch}{above}"]


def of_python(text):
    """A marker for the versions of Python that a requirement is for."""
    either = []
    for alternative in re.split(r"\|+", text):
        each = []
        for one in specifiers(alternative):
            sign, version = re.fullmatch(r"([~=!<>]+)(.*)", one).groups()
            is_short = version.removesuffix(".*").count(".") < 2
            if sign in ("==", "!=") and version.endswith(".*") and version.count(".") == 2:
                version = version[:-2]
            name = "python_version" if is_short and "." in version else "python_full_version"
            each.append(f'{name} {sign} "{version}"')
        either.append(" and ".join(each) or 'python_version >= "3"')
    return "(" + " or ".join(either) + ")"


def has_metadata(source):
    parser = configparser.RawConfigParser()
    try:
        parser.read(os.path.join(source, "setup.cfg"))
    except (configparser.Error, ValueError):
        return False
    return parser.has_section("metadata") or parser.has_section("options")


def groups_of(source, built):
    """PEP 735 dependency groups, and Poetry's."""
    said = pyproject(source) or {}
    poetry = said.get("tool", {}).get("poetry", {})
    groups = {}
    for name, group in {"dev": {}, **poetry.get("group", {})}.items():
        inner = [{"include-group": one} for one in group.get("include-groups", [])]
        groups[name] = inner + of_poetry(group.get("dependencies", {}), source, built)
    groups["dev"] += of_poetry(poetry.get("dev-dependencies", {}), source, built)
    return {plain(name): group for name, group in {**groups, **said.get("dependency-groups", {})}.items()}


def extras_of(source, built):
    """The extras of a project that is not installed."""
    said = pyproject(source) or {}
    poetry = said.get("tool", {}).get("poetry", {})
    extras = {}
    for name, names in poetry.get("extras", {}).items():
        extras[name] = of_poetry(poetry.get("dependencies", {}), source, built, [plain(one) for one in names])
    project = said.get("project", {})
    extras |= project.get("optional-dependencies", {})
    return {name: of_own_extra(project.get("name", ""), extras, name) for name in extras}


def of_own_extra(project, extras, name, seen=()):
    """The requirements of an extra, those of the project's other extras it names included."""
    found = []
    for line in next((lines for one, lines in extras.items() if plain(one) == plain(name)), []):
        own = re.match(r"\s*([\w.-]+)\s*\[([^\]]*)\]", line)
        if own and plain(own[1]) == plain(project):
            inner = [one.strip() for one in own[2].split(",") if plain(one.strip()) not in (*seen, plain(name))]
            found += [line for one in inner for line in of_own_extra(project, extras, one, (*seen, plain(name)))]
        else:
            found.append(line)
    return found


def wanted(source, built, names):
    project, groups = installed(built), groups_of(source, built)
    extras = project.metadata.get_all("Provides-Extra") or [] if project else []
    declared = {f"group {name}": of_group(groups, name, (name,)) for name in groups}
    declared |= {f"extra {plain(name)}": of_extra(project, name) for name in extras}
    if project is None:
        declared |= {f"extra {plain(name)}": lines for name, lines in extras_of(source, built).items()}
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
    said = (installable(source, built) if command == "installable" else wanted(source, built, rest) if command == "wanted"
            else settle(source, built, rest[0]))
    print(json.dumps(said))
