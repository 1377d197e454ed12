"""Modules: the tree, weights in and out, and calling a network on arrays."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, ops
from tinygraph.errors import ModelFormatError, ShapeError, UsageError
from tinygraph.nn.init import Constant, KaimingUniform, Seeded
from tinygraph.nn.module import Variable


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.bn = nn.BatchNorm2d(2)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32, 3))

    def forward(self, x: Any) -> Any:
        return self.head(ops.relu(self.bn(self.conv(x))))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2, bias=False)
        self.second = nn.Linear(2, 2, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x))


X = np.random.default_rng(0).standard_normal((2, 1, 4, 4)).astype(np.float32)

NAMES = [
    "conv.weight",
    "conv.bias",
    "bn.weight",
    "bn.bias",
    "bn.running_mean",
    "bn.running_var",
    "bn.num_batches_tracked",
    "head.1.weight",
    "head.1.bias",
]


def numbers(net: nn.Module, seed: int = 1) -> dict[str, Any]:
    """Random weights for a network, variances positive."""
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(0.5, 1.5, v.shape).astype(v.type.dtype) for name, v in net.named_variables()}


# ---- the tree ----------------------------------------------------------------------------------


def test_names_of_the_tree() -> None:
    net = Net()
    assert [name for name, _ in net.named_modules()] == ["", "conv", "bn", "head", "head.0", "head.1"]
    assert [name for name, _ in net.named_variables()] == NAMES
    assert [name for name, _ in net.named_parameters()] == [n for n in NAMES if "running" not in n and "num_" not in n]


def test_attributes_replace_one_another() -> None:
    net = Net()
    net.conv = nn.Parameter((2,))
    assert [name for name, _ in net.named_variables() if name.startswith("conv")] == ["conv"]
    net.conv = 3
    assert net.conv == 3
    assert not any(name.startswith("conv") for name, _ in net.named_variables())
    del net.conv, net.bn
    assert [name for name, _ in net.named_modules()] == ["", "head", "head.0", "head.1"]
    with pytest.raises(AttributeError, match="Net has no attribute 'bn'"):
        _ = net.bn
    with pytest.raises(AttributeError, match="Net has no attribute 'bn'"):
        del net.bn


def test_super_init_must_be_called_first() -> None:
    class Hasty(nn.Module):
        def __init__(self) -> None:
            self.conv = nn.Conv2d(1, 1, 1)

    with pytest.raises(UsageError, match=r"Hasty: call super\(\).__init__\(\) before assigning 'conv'"):
        Hasty()


def test_a_module_needs_a_forward() -> None:
    with pytest.raises(UsageError, match=r"Module does not define forward\(\)"):
        nn.Module()(X)


def test_a_shared_module_is_walked_once_but_named_everywhere() -> None:
    shared = nn.Linear(2, 2, bias=False)
    net = nn.Sequential(shared, shared)
    assert [name for name, _ in net.named_modules()] == ["", "0"]
    assert [name for name, _ in net.named_variables()] == ["0.weight", "1.weight"]
    assert [name for name, _ in net.named_parameters()] == ["0.weight"]


def test_a_deep_tree_needs_no_recursion() -> None:
    net: nn.Module = nn.Linear(2, 2)
    for _ in range(3000):
        outer = nn.Module()
        outer.inner = net
        net = outer
    assert len(list(net.named_modules())) == 3001
    assert [name.count(".") for name, _ in net.named_parameters()] == [3000, 3000]


# ---- numbers -----------------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_numbers() -> None:
    first, second = Net(), Net()
    assert not np.array_equal(first.conv.weight.array(), second.conv.weight.array())
    first.reseed(7)
    second.reseed(7)
    for name, array in first.state_dict().items():
        np.testing.assert_array_equal(array, second.state_dict()[name])
    second.reseed(8)
    assert not np.array_equal(first.conv.weight.array(), second.conv.weight.array())


def test_numbers_depend_on_seed_and_name_not_on_the_order_of_making() -> None:
    class Reversed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            nn.Linear(5, 5)  # one that nobody keeps
            self.b = nn.Linear(3, 3)
            self.a = nn.Linear(3, 3)

    class Forward(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 3)
            self.b = nn.Linear(3, 3)

    one, other = Forward(), Reversed()
    one.reseed(0)
    other.reseed(0)
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, array in one.state_dict().items():
        np.testing.assert_array_equal(array, other.state_dict()[name])
    assert not np.array_equal(one.a.weight.array(), one.b.weight.array())


def test_numbers_do_not_depend_on_who_asks_first() -> None:
    one, other = Net(), Net()
    one.reseed(0)
    other.reseed(0)
    forwards = {name: v.array() for name, v in one.named_variables()}
    backwards = {name: v.array() for name, v in reversed(list(other.named_variables()))}
    for name, array in forwards.items():
        np.testing.assert_array_equal(array, backwards[name])


def test_reseeding_leaves_loaded_numbers_alone() -> None:
    net = Net()
    loaded = numbers(net)
    net.load_state_dict(loaded)
    net.reseed(3)
    np.testing.assert_array_equal(net.conv.weight.array(), loaded["conv.weight"])


def test_two_layers_never_start_alike() -> None:
    a, b = nn.Linear(3, 3), nn.Linear(3, 3)
    assert not np.array_equal(a.weight.array(), b.weight.array())


def test_tied_weights_stay_tied_when_reseeded() -> None:
    net = Tied()
    net.reseed(1)
    state = net.state_dict()
    assert state["first.weight"] is state["second.weight"]


def test_numbers_are_read_only_and_made_once() -> None:
    weight = nn.Linear(3, 3).weight
    assert weight.array() is weight.array()
    with pytest.raises(ValueError, match="read-only"):
        weight.array()[0] = 1


def test_nothing_is_allocated_before_numbers_are_needed() -> None:
    tg.trace(nn.Linear(1, 1), tg.Spec((1, 1)))  # whatever is imported late is imported now
    gc.collect()
    tracemalloc.start()
    try:
        net = nn.Sequential(nn.Conv2d(512, 512, 3), nn.BatchNorm2d(512), nn.Linear(4096, 4096))
        net.reseed(0)
        graph = tg.trace(net, tg.Spec((1, 512, 6, 4098)))
        tg.verify(graph)
        text = str(graph)
        tg.parse(text)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert sum(v.type.nbytes for v in graph.data) > 70_000_000


def test_a_variable_takes_numbers_of_its_shape() -> None:
    variable = nn.Parameter((2, 3), Constant(1.5))
    assert repr(variable) == "Parameter(f32[2,3])"
    np.testing.assert_array_equal(variable.array(), np.full((2, 3), 1.5, np.float32))
    given = np.ones((2, 3))
    variable.set(given)
    given[0] = 9
    assert variable.array().dtype == np.float32
    np.testing.assert_array_equal(variable.array(), np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"got shape \(3, 2\), want \(2, 3\)"):
        variable.set(np.ones((3, 2)))


def test_kinds_of_variables() -> None:
    kinds = [v.kind for v in (nn.Parameter((1,)), nn.Parameter((1,), trainable=False), nn.Buffer((1,)))]
    assert kinds == ["param", "frozen", "buffer"]
    assert isinstance(nn.Buffer((1,)), Variable)


# ---- weights in and out ------------------------------------------------------------------------


def test_weights_go_out_and_come_back() -> None:
    net, other = Net(), Net()
    net.load_state_dict(numbers(net))
    other.load_state_dict(net.state_dict())
    assert list(other.state_dict()) == NAMES
    np.testing.assert_array_equal(net(X), other(X))


def test_loaded_arrays_may_change_afterwards() -> None:
    net = Net()
    given = numbers(net)
    net.load_state_dict(given)
    kept = net.conv.weight.array().copy()
    given["conv.weight"][...] = 0
    np.testing.assert_array_equal(net.conv.weight.array(), kept)


def test_all_that_does_not_fit_is_listed_and_nothing_is_loaded() -> None:
    net = Net()
    before = net.state_dict()
    state = numbers(net)
    del state["conv.bias"], state["bn.running_mean"]
    state |= {"extra.weight": np.ones(1), "head.1.bias": np.ones(4, np.float32), "bn.weight": np.float32(1)}
    with pytest.raises(UsageError) as caught:
        net.load_state_dict(state)
    assert str(caught.value) == (
        "these weights do not fit Net: missing: conv.bias, bn.running_mean; unexpected: extra.weight; "
        "of another shape: bn.weight is (), want (2,), head.1.bias is (4,), want (3,)"
    )
    assert all(array is before[name] for name, array in net.state_dict().items())


def test_long_lists_are_cut() -> None:
    net = nn.Sequential(*(nn.Linear(1, 1) for _ in range(10)))
    with pytest.raises(UsageError, match=r"missing: 0\.weight, 0\.bias, 1\.weight, 1\.bias, 2\.weight and 15 more$"):
        net.load_state_dict({})


def test_prefixes_and_counters_of_pytorch() -> None:
    net = Net()
    state = numbers(net)
    del state["bn.num_batches_tracked"]
    net.load_state_dict({f"module.{name}": array for name, array in state.items()})
    np.testing.assert_array_equal(net.conv.weight.array(), state["conv.weight"])
    assert net.bn.num_batches_tracked.array() == 0


def test_tied_weights_load_under_one_name() -> None:
    net = Tied()
    array = np.array([[1, 2], [3, 4]], np.float32)
    for name in ("first.weight", "second.weight"):
        net.load_state_dict({name: array})
        assert net.first.weight is net.second.weight
        np.testing.assert_array_equal(net(np.eye(2, dtype=np.float32)), (array @ array).T)
    with pytest.raises(UsageError, match=r"missing: first\.weight, second\.weight"):
        net.load_state_dict({})


def test_safetensors(tmp_path: Path) -> None:
    net, other = Net(), Net()
    net.load_state_dict(numbers(net))
    net.save(tmp_path / "net.safetensors")
    other.load(tmp_path / "net.safetensors")
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, other.state_dict()[name])
        assert array.dtype == other.state_dict()[name].dtype
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_safetensors_of_tied_weights(tmp_path: Path) -> None:
    net, other = Tied(), Tied()
    net.save(tmp_path / "tied.safetensors")
    other.load(str(tmp_path / "tied.safetensors"))
    np.testing.assert_array_equal(net.first.weight.array(), other.second.weight.array())


def test_what_is_no_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    with pytest.raises(UsageError, match="no such file"):
        Net().load(path)
    Net().save(path)
    whole = path.read_bytes()
    for end in (0, 7, 8, 100, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelFormatError, match=r"net\.safetensors"):
            Net().load(path)


# ---- calling -----------------------------------------------------------------------------------


def test_a_network_is_called_with_arrays() -> None:
    net = Net()
    y = net(X)
    assert type(y) is np.ndarray
    np.testing.assert_allclose(y, tg.compile(net, tg.Spec(X.shape), passes="none")(X), rtol=1e-4, atol=1e-6)


def sessions(net: nn.Module) -> list[Any]:
    return [session for session, _ in net._sessions.values()]


def test_the_session_is_kept_for_the_next_call() -> None:
    net = Net()
    first = net(X)
    (session,) = sessions(net)
    np.testing.assert_array_equal(net(X), first)
    assert sessions(net) == [session]
    net(X[:1])
    assert len(sessions(net)) == 2


def test_only_the_latest_sessions_are_kept() -> None:
    net = nn.ReLU()
    for n in range(1, 20):
        net(np.ones(n, np.float32))
    assert [types[0].shape for types in net._sessions] == [(n,) for n in range(12, 20)]


def test_new_weights_are_seen() -> None:
    net = Net()
    net(X)
    net.load_state_dict(numbers(net, 1))
    one = net(X)
    net.load_state_dict(numbers(net, 2))
    other = net(X)
    assert not np.allclose(one, other)
    assert len(sessions(net)) == 1
    net.bn.bias.set(np.array([100, 100], np.float32))
    assert not np.allclose(net(X), other)
    fresh = Net()
    fresh.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(net(X), fresh(X))


def test_reseeding_is_seen() -> None:
    net = Net()
    net.reseed(1)
    one = net(X)
    net.reseed(2)
    assert not np.allclose(net(X), one)


def test_changes_of_the_tree_are_seen() -> None:
    class Act(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.ReLU())
            self.scale = 1

        def forward(self, x: Any) -> Any:
            return self.inner(x) * self.scale

    net = Act()
    x = np.array([-1, 2], np.float32)
    np.testing.assert_array_equal(net(x), [0, 2])
    net.scale = 3
    np.testing.assert_array_equal(net(x), [0, 6])
    setattr(net.inner, "0", nn.Identity())
    np.testing.assert_array_equal(net(x), [-3, 6])
    del net.scale
    with pytest.raises(AttributeError, match="no attribute 'scale'"):
        net(x)


def test_weights_of_another_dtype_are_another_session() -> None:
    net = nn.ReLU()
    assert net(np.array([-1.0, 2.0])).dtype == np.float64
    assert net(np.array([-1.0, 2.0], np.float32)).dtype == np.float32
    assert len(sessions(net)) == 2


def test_several_threads_call_one_network() -> None:
    net = Net()
    net.load_state_dict(numbers(net))
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal((n % 10 + 1, 1, 4, 4)).astype(np.float32) for n in range(40)]
    other = Net()
    other.load_state_dict(numbers(other))
    want = [other(x) for x in xs]
    barrier = threading.Barrier(4)

    def work(k: int) -> None:
        barrier.wait(10)
        for i in range(k, 40, 4):
            np.testing.assert_allclose(net(xs[i]), want[i], rtol=1e-5, atol=1e-6)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert len(sessions(net)) <= 8


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"])
def test_a_copy_has_weights_of_its_own(clone: Any) -> None:
    net = Net()
    before = net(X)
    twin = clone(net)
    np.testing.assert_array_equal(twin(X), before)
    twin.load_state_dict(numbers(twin))
    assert not np.allclose(twin(X), before)
    np.testing.assert_array_equal(net(X), before)


def test_recipes_are_values() -> None:
    type = tg.TensorType((3, 3))
    assert Seeded(type, KaimingUniform(), 1, "a") == Seeded(type, KaimingUniform(), 1, "a")
    assert Seeded(type, KaimingUniform()) != Seeded(type, KaimingUniform())


def test_weights_without_room_are_refused_when_they_are_needed() -> None:
    net = nn.Linear(32, 10**17)
    assert tg.analyze(tg.trace(net, tg.Spec((1, 32)))).totals.params == 33 * 10**17
    with pytest.raises(tg.BudgetError, match="no room for f32"):
        net.state_dict()
