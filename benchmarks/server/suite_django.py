"""Django's own test suite, set up as its `runtests.py` does."""

import gc
import os
import sys
import tempfile
import unittest

MODULES = [
    "django.test", "django.test.runner", "django.contrib.admin", "django.contrib.auth.views",
    "django.contrib.auth.admin", "django.contrib.sites.models", "django.views.generic", "django.forms",
    "django.db.migrations.executor",
]


class Suite:
    by_label = True  # its groups have names and are set up by them
    tools = ()

    def __init__(self, root):
        self.root = root
        self.tests = os.path.join(root, "tests")
        self.source = os.path.join(root, "django") + "/"

    def group(self, test):
        """The part of the suite that is set up as one."""
        return test.split(".", 1)[0]

    def base(self):
        """What every group needs: Django imported, the fixed apps loaded."""
        self.boot()
        self.runtests.setup_collect_tests(None, None, ["no_such_label"])
        for name in MODULES:
            __import__(name)

    def boot(self):
        if not hasattr(self, "runtests"):
            folder = tempfile.mkdtemp(prefix="django_")
            tempfile.tempdir = os.environ["TMPDIR"] = folder
            os.chdir(self.tests)
            sys.path[:0] = [self.tests, self.root]
            os.environ["PYTHONPATH"] = self.root
            os.environ["DJANGO_SETTINGS_MODULE"] = "test_sqlite"
            import runtests
            self.runtests = runtests

    def load(self, labels, checks=True):
        """Apps, test classes and databases of `labels`."""
        gc.disable()  # all that is made here stays
        self.boot()
        labels, _ = self.runtests.setup_run_tests(0, None, None, list(labels))
        from django.test.runner import DiscoverRunner
        self.runner = DiscoverRunner(verbosity=0, interactive=False, parallel=1)
        self.runner.setup_test_environment()
        suite = self.runner.build_suite(labels)
        self.by_id = {test.id(): test for test in flat(suite)}
        databases = self.runner.get_databases(suite)
        serialized = {alias for alias, wanted in databases.items() if wanted}
        self.runner.setup_databases(aliases=databases, serialized_aliases=serialized)
        if checks:
            self.runner.run_checks(databases)
        gc.enable()

    def pick(self, tests):
        """These tests in the order the project's own runner gives them, and
        the failures that stand for modules which did not import."""
        from django.test.runner import reorder_tests
        broken = {name: test for name, test in self.by_id.items() if name.startswith("unittest.loader.")}
        chosen = [self.by_id[test] for test in tests if test in self.by_id and test not in broken]
        return unittest.TestSuite([*broken.values(), *reorder_tests(chosen, self.runner.reorder_by)])

    def counted(self, labels, skip):
        """What the census of these labels runs."""
        return [test for test in self.by_id if test not in skip]

    def run(self, tests, recorder, canary):
        suite = self.pick(tests)
        if canary is not None:
            canary.watch({kind for test in suite for kind in type(test).__mro__})
            suite.addTest(canary)
        suite.run(recorder)


def flat(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flat(item)
        else:
            yield item
