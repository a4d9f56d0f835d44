"""The generators that come along, and the example of one's own, keep the contract of all generators."""

import importlib.util
from pathlib import Path

from spatia.generator.none import NoneGenerator
from spatia.generator.registry import generator_class
from spatia.generator.requests import Generator
from spatia.tests.contracts.generator_contract import GeneratorContract
from spatia.tests.fakes import InstantGenerator

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_generator.py"


class TestNone(GeneratorContract):
    def make(self) -> Generator:
        return NoneGenerator()


class TestInstant(GeneratorContract):
    def make(self) -> Generator:
        return InstantGenerator()


class TestOutpaint(GeneratorContract):
    def make(self) -> Generator:
        return generator_class("outpaint")()


class TestExample(GeneratorContract):
    def make(self) -> Generator:
        spec = importlib.util.spec_from_file_location("own_generator", EXAMPLE)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.Dome()
