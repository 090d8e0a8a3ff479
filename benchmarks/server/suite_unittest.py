"""Any project whose tests unittest finds."""

import os
import sys
import unittest

from suite_django import flat


class Suite:
    hot = False

    def __init__(self, root):
        self.root = self.source = root.rstrip("/") + "/"

    def group(self, test):
        return test.rsplit(".", 2)[0]

    def boot(self):
        os.chdir(self.root)
        extra = os.path.join(self.root, "src")
        sys.path[:0] = [self.root] + ([extra] if os.path.isdir(extra) else [])

    def load(self, tests, checks=True):
        self.boot()
        if tests is None:
            suite = unittest.defaultTestLoader.discover(self.start(), top_level_dir=self.root)
        else:
            suite = unittest.defaultTestLoader.loadTestsFromNames(sorted({t.rsplit(".", 2)[0] for t in tests}))
        self.by_id = {test.id(): test for test in flat(suite)}

    def start(self):
        for name in ("tests", "test"):
            if os.path.isfile(os.path.join(self.root, name, "__init__.py")):
                return os.path.join(self.root, name)
        return self.root

    def run(self, tests, recorder, canary):
        chosen = self.by_id.values() if tests is None else [self.by_id[t] for t in tests if t in self.by_id]
        broken = [t for name, t in self.by_id.items() if name.startswith("unittest.loader.")] if tests else []
        unittest.TestSuite([*broken, *chosen, *([canary] if canary else [])]).run(recorder)

    def census_tests(self):
        return list(self.by_id)
