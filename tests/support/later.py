"""A large module that is imported where a test first uses it, not by each process that collects the tests:
`torch = Later("torch")`."""

import importlib


class Later:
    """Stands for the module `name` (str) in the bodies of tests and in lambdas; a table's values that
    need it at once import it."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, attribute):
        if attribute.startswith("_"):       # pytest looks whether it is a test
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)
