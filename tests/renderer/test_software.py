"""The software renderer."""

from spatia.renderer.software import SoftwareRenderer
from spatia.tests.contracts.renderer_contract import RendererContract


class TestSoftwareRendererContract(RendererContract):
    """The software renderer keeps the contract."""

    def make(self):
        return SoftwareRenderer()
