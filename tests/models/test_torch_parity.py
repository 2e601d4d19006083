# SPDX-License-Identifier: Apache-2.0
"""Every network against stored results of an independent engine, forward and backward.

`python -m benchmarks.torch_reference.parity --store` wrote them, by PyTorch in float64; without
`--store` it compares live, full widths included. Parameters and inputs follow from names.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # the benchmarks are no package of lipjax's
from benchmarks.torch_reference import cases as shared  # noqa: E402
from benchmarks.torch_reference.case_list import cases  # noqa: E402
from benchmarks.torch_reference.noise import noise  # noqa: E402

STORED = Path(__file__).parent / "torch_parity"
LIMIT = 1e-4
PINNED = np.array([-0.8907090425491333, -0.7971998453140259, -0.1317908763885498], np.float32)


CASES = {case.name: case for case in cases(small=True)}


def _stored(case) -> dict[str, np.ndarray]:
    with np.load(STORED / f"{shared.file_name(case)}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", CASES)
def test_a_network_computes_what_pytorch_computes(name):
    case = CASES[name]
    found = shared.ours(case, quick_to_compile=True)
    found = {name: shared.summary(name, x) for name, x in found.items()}
    told = shared.errors(case, found, _stored(case))
    assert any(name.startswith("params/") for name in told)
    assert {name: value for name, value in told.items() if not value < LIMIT} == {}


def test_a_wrong_network_is_told_apart():
    case = CASES["phi_s"]
    reference = _stored(case)
    found = dict(reference)
    wrong = found["params/layer_2/kernel"].copy()
    wrong[3] += 1e-2 * np.linalg.norm(wrong)
    found["params/layer_2/kernel"] = wrong
    told = shared.errors(case, found, reference)
    assert [name for name, value in told.items() if value >= LIMIT] == ["params/layer_2/kernel"]
    with pytest.raises(ValueError, match="only on one side"):
        shared.errors(case, {**found, "params/more": wrong}, reference)


def test_one_changed_entry_of_a_large_array_shows_in_its_summary():
    array = noise("array", (40, 50))
    changed = array.copy()
    changed[17, 33] += 1.0  # not among the samples
    difference = shared.summary("array", changed) - shared.summary("array", array)
    assert not difference[: shared.KEPT].any() and np.abs(difference[shared.KEPT :]).min() > 0.2


def test_noise_is_the_same_everywhere_and_even():
    values = noise("name", (100, 100))
    # The first numbers, written down once; a change makes every stored array useless.
    np.testing.assert_array_equal(values.ravel()[:3], PINNED)
    assert abs(values.mean()) < 0.02 and abs(values.std() - 1 / np.sqrt(3)) < 0.01
    assert -1 <= values.min() < -0.99 and 0.99 < values.max() < 1
