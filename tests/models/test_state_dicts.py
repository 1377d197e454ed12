"""Names, shapes and order of parameters and buffers are those of the reference implementations."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from tests.models.references import BUILT_IN, state_dicts


@pytest.mark.parametrize("reference", BUILT_IN)
def test_names_shapes_and_order(reference: str) -> None:
    net = tg.models.create(BUILT_IN[reference])
    assert [(name, variable.shape) for name, variable in net.named_variables()] == state_dicts()[reference]


def test_weights_of_the_original_cifar_files_fit() -> None:
    """Their names start with `module.`, and they are older than num_batches_tracked."""
    net = tg.models.create("resnet20_cifar")
    state = {
        f"module.{name}": np.full(shape, 0.5, np.float32)
        for name, shape in state_dicts()["akamaster/resnet20"]
        if not name.endswith("num_batches_tracked")
    }
    assert len(state) == 97
    net.load_state_dict(state)
    assert net.state_dict()["layer3.2.bn2.running_var"].tolist() == [0.5] * 64
