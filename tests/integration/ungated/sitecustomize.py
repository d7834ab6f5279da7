"""Test-only: starts FLARE's processes without the gate, to show that the attacks on it succeed then.

Takes effect only where a test puts this folder on PYTHONPATH. It lets PYTHONPATH pass the site's environment
allow-list, so that job processes have no gate either.
"""

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder


def open_gate(module):
    module.install = lambda process: None


def keep_path(module):
    allowed = module.site_environment

    def environment(home, inherited):
        return allowed(home, inherited) | {"PYTHONPATH": inherited["PYTHONPATH"]}

    module.site_environment = environment


WRAPPERS = {"almoner.flare.gate": open_gate, "almoner.flare.environment": keep_path}


class WrappingLoader(Loader):
    def __init__(self, loader, wrapper):
        self.loader, self.wrapper = loader, wrapper

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        self.wrapper(module)

    def __getattr__(self, name):
        return getattr(self.loader, name)


class Finder(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name not in WRAPPERS:
            return None
        spec = PathFinder.find_spec(name, path, target)
        spec.loader = WrappingLoader(spec.loader, WRAPPERS[name])
        return spec


sys.meta_path.insert(0, Finder())
