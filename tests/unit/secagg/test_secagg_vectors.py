"""The script that does not use the code under test still writes the vectors that the tests read."""

import runpy

from tests.unit.secagg.secagg_cases import VECTORS, vectors


def test_the_script_gives_the_stored_vectors():
    assert runpy.run_path(str(VECTORS / "make_secagg.py"))["vectors"]() == vectors()
