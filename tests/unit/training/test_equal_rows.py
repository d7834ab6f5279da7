"""Equal rows of a product of matrices have equal bits, on any machine; by MKL's defaults they have not on some."""

import pytest
import torch

from almoner.training.gradient_passes import ROWS


@pytest.mark.parametrize("inner", [5, 13, 16, 243, 784, 3969])
@pytest.mark.parametrize("outputs", [1, 2, 5, 7, 10, 64])
def test_equal_records_have_equal_outputs_wherever_they_stand(inner: int, outputs: int) -> None:
    source = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(inner, outputs)
    for rows in (ROWS, 2 * ROWS, 3 * ROWS, 8 * ROWS):
        found = layer(torch.randn(1, inner, generator=source).expand(rows, inner).clone())
        assert torch.equal(found, found[:1].expand_as(found))
