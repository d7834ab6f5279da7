"""What a site's processes inherit lets equal rows of a product have equal bits, in whatever they import first."""

import os
import subprocess
import sys
from pathlib import Path

from almoner.flare.processes.environment import site_environment

PRODUCT = """
import torch
layer, row = torch.nn.Linear(3969, 10), torch.randn(1, 3969)
found = layer(row.expand(256, 3969).clone())
assert torch.equal(found, found[:1].expand_as(found))
"""


def test_equal_records_have_equal_outputs_in_a_process_of_a_site(tmp_path: Path) -> None:
    environment = site_environment(tmp_path, dict(os.environ))
    assert environment["MKL_CBWR"] == os.environ["MKL_CBWR"]
    subprocess.run([sys.executable, "-c", PRODUCT], env=environment, check=True)
