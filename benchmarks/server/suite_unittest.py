"""Any project whose tests unittest finds."""

import os
import sys
import unittest
import warnings

import fresh

PATTERNS = ("test*.py", "*_test.py")


class Suite:
    by_label = False
    tools = ()

    def __init__(self, root):
        self.root = root.rstrip("/")
        self.source = self.root + "/"

    def group(self, test):
        """The module of a test."""
        return self.module(test)

    def base(self):
        """What every group needs: where modules are."""
        fresh.begin(self.root, "unittest")
        self.tops = fresh.import_roots(self.root)
        # Folders of tests that are no packages are a path of their own.
        loose = [os.path.join(self.root, name) for name in ("tests", "test")]
        self.tops += [path for path in loose
                      if os.path.isdir(path) and not os.path.exists(os.path.join(path, "__init__.py"))]
        sys.path[:] = list(dict.fromkeys([*self.tops, *sys.path]))

    def load(self, tests, checks=True):
        """The modules of these tests, or all that there are."""
        self.base()
        suite = self.discover() if tests is None else self.named(tests)
        self.by_id = {test.id(): test for test in suite}

    def discover(self):
        for pattern in PATTERNS:
            found = []
            for top in self.tops:
                loader = unittest.TestLoader()
                found += flat(loader.discover(top, pattern, top_level_dir=top))
            if found:
                return found
        return []

    def named(self, tests):
        return list(flat(unittest.TestLoader().loadTestsFromNames(sorted({self.module(test) for test in tests}))))

    def module(self, test):
        """The module in a test's id: the classes after it may be nested."""
        parts = test.split(".")
        for end in range(len(parts) - 2, 0, -1):
            place = os.path.join(*parts[:end])
            if any(os.path.isfile(os.path.join(top, place + kind)) for top in self.tops
                   for kind in (".py", "/__init__.py")):
                return ".".join(parts[:end])
        return test.rsplit(".", 2)[0]

    def groups(self):
        """The tests that are there, by module; and why others are not."""
        groups, broken = {}, []
        for name, test in self.by_id.items():
            if is_skipped(test):
                continue
            if is_broken(name):
                why = str(getattr(test, "_exception", "")).strip() or "it cannot be imported"
                broken.append([name.split("_FailedTest.", 1)[-1], why.splitlines()[-1]])
                continue
            module = sys.modules.get(type(test).__module__)
            group = groups.setdefault(self.module(name), {"file": "", "tests": []})
            group["file"] = (getattr(module, "__file__", None) or "").removeprefix(self.source)
            group["tests"].append(name)
        return groups, broken

    def counted(self, tests, skip):
        """What the census of these tests runs."""
        return tests

    def descriptors(self):
        """The descriptors that the framework holds."""
        return {}

    def turn(self):
        """Lets the tests run in the reverse order."""
        self.by_id = dict(reversed(self.by_id.items()))

    def off(self):
        """Plug-ins of the framework that are installed and turned off."""
        return []

    def run(self, tests, recorder, canary):
        wanted = None if tests is None else set(tests)
        chosen = [test for name, test in self.by_id.items() if wanted is None or name in wanted or is_broken(name)]
        if canary is not None:
            canary.watch({kind for test in chosen for kind in type(test).__mro__})
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # as unittest's own runner does
            unittest.TestSuite([*chosen, *([canary] if canary else [])]).run(recorder)


def is_skipped(test):
    """Whether it stands for a module that raised `SkipTest` when it was imported."""
    return type(test).__name__ == "ModuleSkipped"


def is_broken(name):
    return name.startswith("unittest.loader.")


def flat(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flat(item)
        else:
            yield item
