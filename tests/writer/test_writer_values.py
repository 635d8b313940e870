"""Strangers' objects in config, summary, log and every other call: whatever they do when they are looked
at, the training goes on."""

import argparse
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import itertools
import json
import pathlib
import subprocess
import sys
import time
import types
import typing
import uuid
from unittest import mock

import numpy as np
import pytest
from later import Later
from one_process import begin, quiet  # noqa: F401 (fixtures)
from scripts import rows, small, train

import runicorn
from runicorn import layout
from runicorn.errors import RunicornError, UsageError
from runicorn.writer import values

pd, torch = Later("pandas"), Later("torch")


def config(run):
    return small(run.dir, "meta")["config"]


# -- a zoo ---------------------------------------------------------------------------------------------------

def refuse(*args, **more):
    raise RuntimeError("not now")


def endless(*args):
    return (str(number) for number in itertools.count())


class Missing:
    """Has keys; reading one without a value raises."""

    def __init__(self, **fields):
        self.fields = fields

    def keys(self):
        return self.fields.keys()

    def __getitem__(self, key):
        if self.fields[key] is None:
            raise RuntimeError("no value: " + key)
        return self.fields[key]


def kind(name, base=object, **members):
    return type(name, (base,), members)


class Meta(type):
    __name__ = property(refuse)
    __getattr__ = __instancecheck__ = refuse


@dataclasses.dataclass
class Fields:
    lr: float = 0.1
    child: typing.Any = None


ZOO = {
    "keys": lambda: kind("Keys", keys=refuse, __getitem__=refuse)(),
    "keys that end in an error": lambda: kind("Ending", keys=lambda self: (1 / (2 - n) for n in range(4)),
                                              __getitem__=lambda self, key: 1)(),
    "a missing value": lambda: Missing(lr=1, path=None),
    "to_dict": lambda: kind("ToDict", to_dict=refuse)(),
    "to_dict of no dict": lambda: kind("ToList", to_dict=lambda self: [1])(),
    "attributes": lambda: kind("Lazy", __getattr__=refuse)(),
    "all attributes": lambda: kind("Lazier", __getattribute__=refuse)(),
    "class": lambda: kind("Classless", __class__=property(refuse))(),
    "metaclass": lambda: Meta("Named", (), {})(),
    "a class of it": lambda: Meta("Named", (), {}),
    "str": lambda: kind("Str", __str__=refuse, __repr__=refuse, __format__=refuse)(),
    "str of no text": lambda: kind("NoText", __str__=lambda self: 5)(),
    "a text that is none": lambda: kind("Text", str, __str__=refuse, __len__=refuse, __getitem__=refuse,
                                        __format__=refuse, __bool__=refuse)("t"),
    "an int that is none": lambda: kind("Int", int, __str__=refuse, __int__=refuse, __index__=refuse,
                                        __bool__=refuse)(3),
    "iter": lambda: kind("Iter", list, __iter__=refuse)([1]),
    "items": lambda: kind("Items", dict, items=refuse, keys=refuse, __iter__=refuse)(a=1),
    "len": lambda: kind("Len", collections.abc.Sequence, __len__=refuse, __getitem__=refuse)(),
    "hash": lambda: kind("Hash", __hash__=refuse, __eq__=refuse, __bool__=refuse)(),
    "item": lambda: kind("Item", item=refuse, numpy=refuse)(),
    "item for ever": lambda: kind("Items", item=lambda self: self)(),
    "shape": lambda: kind("Shape", shape=property(refuse), dtype=property(refuse), __len__=refuse)(),
    "a lying shape": lambda: kind("Shape", shape=(10**9, 10**9), __len__=lambda self: 3)(),
    "dataclass": lambda: Fields(child=kind("Inner", __getattribute__=refuse)()),
    "deleted fields": lambda: kind("Cleared", __dataclass_fields__={"a": 1})(),
    "endless keys": lambda: kind("Endless", keys=endless, __getitem__=lambda self, key: self)(),
    "endless items": lambda: kind("EndlessItems", dict, items=lambda self: zip(endless(), endless()))(a=1),
    "endless list": lambda: kind("EndlessList", list, __iter__=endless)(),
    "endless sequence": lambda: kind("EndlessSequence", collections.abc.Sequence, __len__=lambda self: 2**62,
                                     __getitem__=lambda self, n: n)(),
    "endless generator": itertools.count,
    "always another": lambda: kind("Another", keys=lambda self: ["a", "b"],
                                   __getitem__=lambda self, key: type(self)())(),
    "endless attributes": lambda: kind("Chain", __getattr__=lambda self, name: type(self)())(),
    "mock": mock.MagicMock,
    "mock of a dict": lambda: mock.MagicMock(spec=dict),
    "mock of a number": lambda: mock.MagicMock(spec=float),
    "a circle": lambda: (lambda circle: circle.update(a=circle, b=circle) or circle)({}),
    "a large array": lambda: np.zeros(1_000_000),
    "a large tensor": lambda: torch.zeros(1_000_000),
    "a tensor without values": lambda: torch.zeros(3, device="meta"),
    "a large int": lambda: 10**5000,
    "bytes": lambda: b"\xff" * 10_000_000,
    "half a character": lambda: "\ud800",
    "nothing": lambda: None,
    "a function": lambda: len,
    "a module": lambda: sys,
    "a lambda": lambda: lambda: 0,
    "deep": lambda: functools.reduce(lambda inner, _: [inner], range(100_000), []),
}

CALLS = {
    "init(config)": lambda run, odd, again: again(config={"lr": 0.1, "odd": odd}),
    "init(all)": lambda run, odd, again: again(config=odd, tags=odd, notes=odd, group=odd, job_type=odd,
                                               name=odd),
    "init(tags)": lambda run, odd, again: again(tags=[odd, "a"], odd=odd),
    "config[]": lambda run, odd, again: run.config.__setitem__("odd", odd),
    "config[odd]": lambda run, odd, again: run.config.__setitem__(odd, 1),
    "config.x": lambda run, odd, again: setattr(run.config, "odd", odd),
    "config.update": lambda run, odd, again: run.config.update(odd),
    "config.update(x=)": lambda run, odd, again: run.config.update({"a": [odd]}, x={"b": odd},
                                                                   allow_val_change=odd),
    "summary[]": lambda run, odd, again: run.summary.__setitem__("odd", odd),
    "summary[odd]": lambda run, odd, again: run.summary.__setitem__(odd, odd),
    "summary()": lambda run, odd, again: run.summary(odd),
    "summary(x=)": lambda run, odd, again: run.summary(odd, x=odd),
    "summary.update": lambda run, odd, again: run.summary.update({"a": {"b": odd}}),
    "tags": lambda run, odd, again: setattr(run, "tags", odd),
    "notes": lambda run, odd, again: setattr(run, "notes", odd),
    "define_metric(odd)": lambda run, odd, again: run.define_metric(odd, odd),
    "define_metric(x=odd)": lambda run, odd, again: run.define_metric("loss", summary=odd, goal=odd,
                                                                      step_metric=odd, step_sync=odd,
                                                                     hidden=odd, overwrite=odd, more=odd),
    "watch": lambda run, odd, again: run.watch(odd, log=odd),
    "log": lambda run, odd, again: run.log(odd),
    "log(x)": lambda run, odd, again: run.log({"odd": odd, "deep": {"er": odd}, "list": [1, odd],
                                               "loss": 1.0}),
    "log(step)": lambda run, odd, again: run.log({"loss": 1.0}, step=odd, commit=odd, sync=odd),
    "Image": lambda run, odd, again: run.log({"image": runicorn.Image(odd, caption=odd, mode=odd),
                                              "images": [runicorn.Image(odd)] * 2}),
    "finish": lambda run, odd, again: run.finish(odd, quiet=odd),
}


# Each object with every twelfth call or so, other calls for the next object; with all of them in the long
# rows.
@pytest.mark.parametrize("objects", ["some", pytest.param("all", marks=pytest.mark.long)])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "disabled"])
def test_no_call_raises_with_any_object(begin, capsys, call, recorded, objects):
    """Only init may, and only UsageError. Afterwards the run goes on, and every file is strict JSON."""
    mode = None if recorded else "disabled"
    first, apart = (0, 1) if objects == "all" else (list(CALLS).index(call) % 12, 12)
    for name, odd in itertools.islice(ZOO.items(), first, None, apart):
        run = begin(reinit="create_new", mode=mode)
        began = time.monotonic()
        made = run
        try:
            made = CALLS[call](run, odd(), lambda **more: begin(reinit="create_new", mode=mode, **more))
            made = made if hasattr(made, "config") else run
        except UsageError:
            assert call == "init(all)", f"{call} with {name}"
        except Exception as error:
            raise AssertionError(f"{call} with {name}: {type(error).__name__}") from error
        assert time.monotonic() - began < 20, f"{call} with {name}"
        made.config["after"] = 1
        made.log({"after": 1.0})
        for one in {run, made}:
            one.finish()
            if recorded:
                assert small(one.dir,
                             "meta")["id"] == one.id and isinstance(small(one.dir, "summary"), dict), name
                assert all(isinstance(row["data"], dict) for row in rows(one.dir))
        if recorded:
            assert call == "finish" or config(made)["after"] == 1 and rows(made.dir)[-1]["data"] == {
                "after": 1.0}, name
    assert "Traceback" not in capsys.readouterr().err
    assert len(ZOO) > 40


@pytest.mark.parametrize("call",
                         [call for call in CALLS
                          if call not in ("watch", "Image", "init(all)", "config[odd]")])
def test_an_interrupt_goes_through(begin, call):
    """Ctrl+C while a stranger's code runs in one of our calls is the training's."""
    def interrupt(*args):
        raise KeyboardInterrupt
    odd = kind("Interrupting", keys=interrupt, __getitem__=interrupt, __str__=interrupt, item=interrupt,
               __iter__=interrupt)()
    run = begin(reinit="create_new")
    with pytest.raises(KeyboardInterrupt):
        CALLS[call](run, odd, lambda **more: begin(reinit="create_new", **more))
    run.log({"after": 1})
    run.finish()
    assert rows(run.dir)[-1]["data"] == {"after": 1} or call == "finish"


@pytest.mark.parametrize("odd", [5, 2.5, "text", ["a", "b"], [1], b"bytes", len], ids=repr)
def test_init_refuses_a_config_that_can_not_mean_anything(begin, odd):
    with pytest.raises(UsageError, match=r"init\(config="):
        begin(config=odd)


@pytest.mark.parametrize("odd", [
    np.arange(3), kind("Equal", __eq__=refuse)(), kind("Repr", __repr__=refuse, __str__=refuse)()],
                         ids=["array", "eq", "repr"])
@pytest.mark.parametrize("name", ["mode", "resume", "reinit", "capture"])
def test_init_refuses_odd_choices_in_a_sentence(begin, name, odd):
    with pytest.raises(RunicornError, match=rf"init\({name}="):
        begin(**{name: odd})


# -- what can't be read --------------------------------------------------------------------------------------

def test_what_can_be_read_is_kept_and_the_rest_is_text_and_said_once(begin, capsys):
    run = begin(config={"data": Missing(lr=0.1, path=None, url=None, folder=None, file=None), "n": 3})
    assert config(run)["n"] == 3 and config(run)["data"]["lr"] == 0.1
    assert config(run)["data"]["path"] == "<Missing: RuntimeError: no value: path>"
    for _ in range(3):
        run.config.update({"data": Missing(lr=0.1, path=None, url=None, folder=None, file=None)})
    said = [line for line in capsys.readouterr().err.splitlines() if "can't be read" in line]
    assert said == ["runicorn: config: data.path, data.url, data.folder and 1 more can't be read "
                    "(RuntimeError: no value: path); "
                    "kept as text"]


def test_omegaconf_with_missing_values_and_interpolations(begin):
    import omegaconf
    cfg = omegaconf.OmegaConf.create({
        "lr": 0.1, "twice": "${lr}",
        "data": {"path": "???", "n": 3, "list": [1, "???", "${lr}", "${nothing}"]}, "broken": "${nothing}",
        "resolver": "${unknown:x}", "node": "${data.none}", "circle": "${circle}"})
    right = {"lr": 0.1, "twice": 0.1, "data": {"path": "???", "n": 3, "list": [1, "???", 0.1, "${nothing}"]},
             "broken": "${nothing}", "resolver": "${unknown:x}", "node": "${data.none}",
             "circle": "${circle}"}
    assert config(begin(config=cfg)) == right
    run = begin()
    run.config.update(cfg)
    run.config["whole"] = cfg
    run.summary.update(cfg)
    run.finish()
    assert config(run) == {**right, "whole": right} and small(run.dir, "summary") == right
    structured = omegaconf.OmegaConf.structured(Fields())
    assert config(begin(config={"s": structured})) == {"s": {"lr": 0.1, "child": None}}


@pytest.mark.frameworks
def test_lightning_takes_a_config_with_missing_values(begin):
    import omegaconf

    from runicorn.integrations.lightning import RunicornLogger
    run = begin()
    RunicornLogger(run=run).log_hyperparams(omegaconf.OmegaConf.create({"lr": 0.1, "path": "???"}))
    run.finish()
    assert config(run) == {"lr": 0.1, "path": "???"}


def test_objects_and_classes_are_their_attributes(begin):
    class Settings:
        lr, act = 0.1, torch.nn.ReLU
        _hidden = 1

        def __init__(self):
            self.layers = 3

        def method(self):
            """Not a setting."""

        @property
        def computed(self):
            return refuse()
    assert (config(begin(config=Settings)) == {"lr": 0.1, "act": "torch.nn.modules.activation.ReLU"}
            or sys.version_info < (3, 8))
    run = begin(config=Settings())
    assert config(run)["lr"] == 0.1 and config(run)["layers"] == 3
    assert not {"_hidden", "method", "computed"} & set(config(run))
    other = begin()
    other.config.update(Settings())
    other.config.update([("pair", 1)])
    other.config.update(iter([("more", 2)]), kw=3)
    other.finish()
    assert config(other) == {**config(run), "pair": 1, "more": 2, "kw": 3}


def test_a_call_without_a_dict_is_said_once_and_its_keywords_count(begin, capsys):
    run = begin()
    for _ in range(2):
        run.summary(None, a=1)
        run.config.update(5, b=2)
    run.finish()
    assert small(run.dir, "summary") == {"a": 1} and config(run) == {"b": 2}
    err = capsys.readouterr().err
    assert err.count("summary takes a dict, not NoneType") == err.count("config takes a dict, not int") == 1


# -- shared, circular, large ---------------------------------------------------------------------------------

def test_circles_and_shared_parts(begin):
    tree = argparse.Namespace(name="parent")
    tree.children = [argparse.Namespace(name=str(number), parent=tree) for number in range(6)]
    loop = []
    loop.append(loop)
    shared, part = {"a": 1}, {"x": 1}
    for _ in range(40):
        shared = {"l": shared, "r": shared}
    run = begin(config={"lr": 0.1, "tree": tree, "loop": loop, "shared": shared, "twice": [part, part],
                        "view": {"a": 1}.values()})
    kept = config(run)
    assert kept["tree"] == {"name": "parent",
                            "children": [{"name": str(number), "parent": "…"} for number in range(6)]}
    assert kept["loop"] == ["…"] and kept["twice"] == [{"x": 1}, {"x": 1}] and kept["view"] == [1]
    assert kept["lr"] == 0.1
    assert (run.dir / "meta.json").stat().st_size < 2_000_000


@pytest.mark.long
def test_a_row_with_circles_and_shared_parts(begin, capsys):
    run, twice, shared = begin(), {"loss": 1.0}, {"a": 1}
    twice.update(x=twice, y={"deep": twice, "acc": 0.5})
    run.log(twice)
    for _ in range(20):
        shared = {"l": shared, "r": shared}
    run.log({"v": 1.0, **shared})
    run.log({"after": 1})
    assert rows(run.dir)[0]["data"] == {"loss": 1.0, "y/acc": 0.5}
    assert rows(run.dir)[1]["data"]["v"] == 1.0 and rows(run.dir)[2]["data"] == {"after": 1}
    assert len(capsys.readouterr().err.splitlines()) < 10


def counted(run):
    """Return how many characters of config stand in meta.json."""
    return len(json.dumps(config(run)))


LARGE = {
    "frame": lambda: pd.DataFrame(np.zeros((100_000, 5)), columns=list("abcde")),
    "series": lambda: pd.Series(np.zeros(1_000_000)),
    "numpy": lambda: np.zeros((1000, 1000)), "torch": lambda: torch.zeros(1_000_000),
    "list": lambda: list(range(1_000_000)), "set": lambda: set(range(1_000_000)),
    "dict": lambda: dict.fromkeys(range(1_000_000)),
    "deque": lambda: collections.deque(range(1_000_000)), "text": lambda: "x" * 10_000_000,
    "bytes": lambda: b"x" * 10_000_000, "generator": lambda: (n for n in itertools.count()),
    "count": itertools.count, "range": lambda: range(10**12),
    "nested": lambda: {"nested": [list(range(1000))] * 1000}, "texts": lambda: [["x" * 90_000] * 1000] * 3,
}


@pytest.mark.few("frame", "torch", "generator", "text", "nested")
@pytest.mark.parametrize("large", LARGE.values(), ids=LARGE)
def test_large_values_cost_little_and_keep_the_rest(begin, large):
    run = begin(config={"large": large(), "later": {"lr": 0.1, "deep": {"er": 2}}})
    assert config(run)["later"] == {"lr": 0.1, "deep": {"er": 2}}
    assert counted(run) < 2_500_000
    began = time.process_time()
    for number in range(20):
        run.config["n"] = number
        run.summary["n"] = number
    assert time.process_time() - began < 2
    run.summary["large"] = large()
    run.summary.update({"large": large(), "best": 1})
    run.finish()
    assert small(run.dir, "summary")["best"] == 1 and config(run)["n"] == 19


def test_small_arrays_and_tables_are_kept(begin):
    run = begin(config={"mean": np.array([0.5, 0.25]), "weights": torch.ones(2, 2),
                        "frame": pd.DataFrame({"a": [1, 2]}), "one": np.array([3.0])})
    assert config(run) == {"mean": [0.5, 0.25], "weights": [[1.0, 1.0], [1.0, 1.0]],
                           "frame": {"a": {"0": 1, "1": 2}}, "one": 3.0}


def test_a_generator_in_a_config_is_not_used_up(begin):
    numbers = iter([1, 2])
    begin(config={"data": numbers})
    assert list(numbers) == [1, 2]


def test_config_that_changes_in_another_thread(begin):
    import threading
    shared, stop = {str(number): number for number in range(500)}, threading.Event()

    def change():
        number = 0
        while not stop.is_set():
            shared[f"more{number % 100}"] = number
            shared.pop(f"more{(number - 50) % 100}", None)
            number += 1
    thread = threading.Thread(target=change)
    thread.start()
    try:
        run = begin()
        for _ in range(50):
            run.config["shared"] = shared
            run.log(dict.fromkeys("ab", 1.0))
    finally:
        stop.set()
        thread.join()
    run.finish()
    assert config(run)["shared"]["499"] == 499 and len(rows(run.dir)) == 50


# -- the same text in every process --------------------------------------------------------------------------

SAME = """
import attr, collections, dataclasses, enum, functools, json, pathlib, threading, types, weakref
from runicorn.writer.values import plain
class Opt:
    def method(self): pass
def f(): yield 1
class Kind(enum.Enum):
    A = Opt()
@dataclasses.dataclass
class D:
    s: set
@attr.s
class A:
    s = attr.ib()
names = {"alpha", "beta", "gamma", "delta", "eps"}
o = Opt()
print(json.dumps(plain({
    "object": o, "set": names,
    "frozen": frozenset([frozenset(names), (1, frozenset(names)), "x", 10, 9.5, 100, None, Opt]),
    "numbers": {3, 20, 100},
    "partial": functools.partial(max, 1, default=o, key=names),
    "nested": functools.partial(functools.partial(max, o), {"a": names}),
    "generator": f(), "lambda": lambda: 0, "local": [lambda: 0], "class": Opt,
    "method": o.method, "builtin": len, "bound": [].append,
    "keys": dict.fromkeys(names).keys() & names, "enum": Kind.A, "data": D(names),
    "attr": A(names), "weak": weakref.ref(o),
    "iterator": iter([1]), "map": map(len, []),
    "keyed": {(1, o): 1, o: 2, frozenset(names): 3, Opt: 4, Kind.A: 5},
    "lock": threading.Lock(), "deque": collections.deque([o]), "proxy": types.MappingProxyType({"a": names}),
    "chain": collections.ChainMap({"a": o}), "counter": collections.Counter("abca"),
    "file": pathlib.Path("/x"),
}, "config")))
"""


def test_the_text_of_a_config_is_the_same_in_every_process(tmp_path):
    """With another hash seed and other addresses; so a requeued job finds its run."""
    only, = {train(tmp_path, f"filler = [object() for _ in range({seed} * 1000)]\n" + SAME,
                   PYTHONHASHSEED=str(seed))[0]
             for seed in range(1, 5)}
    kept = json.loads(only)
    names = '["alpha","beta","delta","eps","gamma"]'
    assert kept["keyed"][names] == 3
    assert "0x" not in only and kept["set"] == ["alpha", "beta", "delta", "eps", "gamma"]
    assert kept["numbers"] == [3, 20, 100]
    assert kept["object"] == "<__main__.Opt object>" and kept["lambda"] == "__main__.<lambda>"
    assert kept["class"] == "__main__.Opt"
    assert (kept["partial"]
            == f'functools.partial(builtins.max, 1, default=<__main__.Opt object>, key={names})')
    assert kept["enum"] == "Kind.A" and kept["data"] == kept["attr"] == {"s": kept["set"]}


def test_partials_that_hold_each_other_end(begin):
    one = functools.partial(print)
    many = [one] * 50
    two = functools.partial(max, many, key=one)
    one.__setstate__((print, (two, two, many), {"again": two}, {}))
    assert "functools.partial(builtins.max" in config(begin(config={"act": two}))["act"]


# -- what has a value of its own -----------------------------------------------------------------------------

class Opt(str, enum.Enum):
    ADAM = "adam"


class Quiet(str):
    __slots__ = ()

    def __str__(self):
        return "something else"


class Loud(float):
    __slots__ = ()

    def __repr__(self):
        return "loud"

    __str__ = __format__ = __repr__


class Odd(int):
    def __str__(self):
        return "odd"

    def __int__(self):
        return 99


SCALARS = [
    (Opt.ADAM, "adam"), (enum.Enum("Plain", {"A": "adam"}).A, "adam"),
    (enum.IntEnum("Level", {"HIGH": 3}).HIGH, 3),
    (enum.IntFlag("Bits", "A B C")(5), 5), (enum.Flag("Bits", "A B")(3), 3),
    (enum.Enum("Half", {"A": 0.5}).A, 0.5), (Quiet("text"), "text"), (Loud(0.1), 0.1), (Odd(7), 7),
    (np.str_("text"), "text"), (np.float64(0.1), 0.1), (np.int8(3), 3), (np.bool_(True), True),
] + ([(enum.StrEnum("Text", {"A": "a"}).A, "a")] if sys.version_info >= (3, 11) else [])
TEXTS = [
    (pathlib.PurePosixPath("/data"), "/data"), (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (datetime.datetime(2025, 1, 2, 3), "2025-01-02 03:00:00"), (datetime.date(2025, 1, 2), "2025-01-02"),
    (datetime.timedelta(hours=1), "1:00:00"),
    (np.datetime64("2025-01-02T00:00:00.000000000"), "2025-01-02T00:00:00.000000000"),
    (decimal.Decimal("0.10"), "0.10"), (fractions.Fraction(1, 3), "1/3"),
    (1j, "1j"), (b"ab", "b'ab'"), (range(3), "range(0, 3)"),
    (np.dtype("float32"), "float32"), (slice(1), "slice(None, 1, None)"), (Ellipsis, "Ellipsis"),
]
CONTAINERS = [
    (enum.Enum("Pair", {"A": (1, 2)}).A, [1, 2]), (enum.Enum("Class", {"A": int}).A, "builtins.int"),
    (collections.namedtuple("Net", "dim act")(3, Opt.ADAM), {"dim": 3, "act": "adam"}),
    (Fields(child=Fields()), {"lr": 0.1, "child": {"lr": 0.1, "child": None}}),
    (types.SimpleNamespace(a=Opt.ADAM), {"a": "adam"}), (collections.OrderedDict(a=(1, 2)), {"a": [1, 2]}),
    ({Opt.ADAM: 1}, {"adam": 1}), ({np.float64(0.1): 1, np.str_("k"): 2, 3: 4, True: 5, None: 6, (1, "a"): 7},
                                   {"0.1": 1, "k": 2, "3": 4, "True": 5, "None": 6, "(1, 'a')": 7}),
    (kind("Model", model_dump=lambda self: {"a": 1})(), {"a": 1}), (mock.MagicMock(spec=[]), None),
]


LARGE_MODULES = {
    "tensor": (lambda: torch.tensor(2), 2), "dtype": (lambda: torch.float32, "torch.float32"),
    "device": (lambda: torch.device("cpu"), "cpu"),
    "class": (lambda: torch.nn.ReLU, "torch.nn.modules.activation.ReLU"),
    "size": (lambda: torch.Size([1, 2]), [1, 2]),
    "time": (lambda: pd.Timestamp("2025-01-02"), "2025-01-02 00:00:00"),
}


@pytest.mark.parametrize("value, kept", SCALARS + TEXTS + CONTAINERS, ids=lambda value: type(value).__name__)
def test_values_in_config_and_summary(begin, value, kept):
    check_value(begin, value, kept)


@pytest.mark.parametrize("make, kept", LARGE_MODULES.values(), ids=LARGE_MODULES)
def test_values_of_torch_and_pandas_in_config_and_summary(begin, make, kept):
    check_value(begin, make(), kept)


def check_value(begin, value, kept):
    run = begin(config={"x": value})
    run.summary["x"] = value
    run.finish()
    if kept is None:
        assert isinstance(config(run)["x"], str)
        return
    assert config(run)["x"] == small(run.dir, "summary")["x"] == kept
    assert type(config(run)["x"]) is type(kept)


@pytest.mark.parametrize("value, kept", [
    *SCALARS, (decimal.Decimal("0.5"), 0.5), (fractions.Fraction(1, 4), 0.25)],
                         ids=lambda value: type(value).__name__)
def test_the_same_values_in_a_row_and_as_its_keys(begin, value, kept):
    check_row(begin, value, kept)


def test_a_tensor_in_a_row_and_as_its_key(begin):
    check_row(begin, torch.tensor(2), 2)


def check_row(begin, value, kept):
    run = begin()
    run.log({"x": value, "list": [1, 2], "nested": {value: 1.0}})
    name = f"nested/{value if isinstance(value, (decimal.Decimal, fractions.Fraction)) else kept}"
    assert rows(run.dir)[0]["data"] == {"x": kept, "list": [1, 2], name: 1.0}


# -- tags and notes ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("tags, kept", [
    (None, []), ("one", ["one"]), (Opt.ADAM, ["adam"]), ([Opt.ADAM, 3, None], ["adam", "3", "None"]),
    (5, ["5"]), (endless(), None)], ids=["none", "text", "enum", "list", "number", "endless"])
def test_tags_of_any_kind(begin, tags, kept):
    run = begin(tags=tags)
    run.finish()
    tags = small(run.dir, "meta")["tags"]
    assert tags == kept if kept is not None else len(tags) == values.ARRAY


def test_names_and_notes_of_any_kind(begin):
    run = begin(project=Opt.ADAM, name=3, notes=Quiet("long " * 1000), group=np.str_("g"))
    run.finish()
    meta = small(run.dir, "meta")
    assert (meta["project"], meta["name"], meta["notes"], meta["group"]) == ("adam", "3", "long " * 1000, "g")


@pytest.mark.parametrize("code, right", [
    (0, 0), (np.int64(0), 0), ("2", 2), (True, 1), ("failed", 1), (object(), 1), (None, 0), (2.0, 2)],
    ids=lambda value: repr(value).split(" at 0x")[0])
def test_an_exit_code_of_any_kind(begin, code, right):
    check_exit(begin, code, right)


def test_a_tensor_as_exit_code(begin):
    check_exit(begin, torch.tensor(3), 3)


def check_exit(begin, code, right):
    run = begin()
    run.finish(code)
    status = small(run.dir, "status")
    assert status["exit_code"] == right and status["status"] == ("failed" if right else "finished")


def test_looking_imports_nothing(tmp_path):
    code = ("import sys\nfrom runicorn.writer import values\nvalues.plain({'a': object(), 'b': [1], "
            "'c': {1}}, 'config')\n"
            "print({'numpy', 'torch', 'omegaconf', 'decimal'} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True,
                          check=True, timeout=60)
    assert done.stdout == "set()\n" and done.stderr == ""


# -- what a row costs ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("c_make_encoder", [json.encoder.c_make_encoder, None, lambda: None])
def test_the_encoder_made_once_is_jsons(monkeypatch, c_make_encoder):
    """Also where Python has no encoder in C, or one that is made in another way."""
    monkeypatch.setattr(json.encoder, "c_make_encoder", c_make_encoder)
    encode = layout._fast_encoder()
    monkeypatch.undo()
    json_s = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
    row = {"损失/\n\"x\"": 0.1, "a": [1, 2.5e-300, True], "b": -(10 ** 40), "": "text \ud800 \x7f", "c": None,
           "d": {"e": 1e22}}
    assert encode(row) == json_s(row) and encode({}) == "{}"
    for odd, error in ((float("nan"), ValueError), (float("-inf"), ValueError), (object(), TypeError)):
        with pytest.raises(error):
            encode({"x": odd})


def test_a_row_of_numbers_takes_three_calls_of_python(tmp_path):
    run = runicorn.init(storage=tmp_path, capture=False, system=False, quiet=True)
    count, each = collections.Counter(), []
    for step in range(50):
        called = []
        sys.setprofile(lambda frame, event, _: event == "call" and called.append(frame.f_code.co_name))  # noqa: B023
        run.log({"a": 0.5, "b": 1, "c": True}, step=step)
        sys.setprofile(None)
        each.append(called)
        count[len(called)] += 1
    run.finish()
    assert count.most_common(1)[0][0] == 3, each[-1]


def test_a_message_about_a_value_of_many_lines_is_one_line(begin, capsys):
    run = begin()
    run.log({"loss": 1.0}, step=np.zeros((50, 50)))
    run.log({"many\nlines": object()})
    run.finish()
    lines = capsys.readouterr().err.splitlines()
    # the first says where the run is
    assert len(lines) == 3 and all(line.startswith("runicorn: ") for line in lines), lines


def test_a_text_of_megabytes_is_no_value_of_a_row(begin, capsys):
    run = begin()
    start = time.process_time()
    run.log({"sample": "x" * 10**7, "loss": 1.0, "short": "y" * 100_000})
    assert time.process_time() - start < 5
    run.finish()
    row, = rows(run.dir)
    assert set(row["data"]) == {"loss", "short"} and len(row["data"]["short"]) == 100_000
    assert "'sample' can't be logged: a text of 10000000 characters" in capsys.readouterr().err
