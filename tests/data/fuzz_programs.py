"""Pickles that no pickler writes: made from the opcodes themselves, and from real ones by damage; by a seed.

An expression leaves one thing on the stack. What it is made of is drawn anew at every place: a constant, one of each
kind of thing that a reader may have to hold, something recalled from the memo, a container, a call of an allowed name
(or of another), an array whose parts are in order or are not, and a write into any of them.
"""

import pickle
import pickletools
import random
import struct
from functools import cache

import numpy as np

from tests.data.conftest import make_raw
from tests.data.opcodes import EMPTY, POP, THINGS, build, call, dtype, name, several, value

NUMBERS = (0, 1, -1, 2, 3, 255, 256, 65535, 2**31 - 1, -(2**31), 2**32 - 1, 2**61 - 1, 2**63, 2**64 - 1, 2**80)
ALLOWED = (
    *(f"numpy.{core}.{one}" for core in ("core", "_core") for one in ("multiarray._reconstruct", "multiarray.scalar")),
    *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
    *(f"{module}.{kind}" for module in ("builtins", "__builtin__") for kind in ("set", "frozenset", "complex")),
    *(f"{module}.{kind}" for module in ("builtins", "__builtin__") for kind in ("bytes", "bytearray")),
    *("numpy.ndarray", "numpy.dtype", "collections.OrderedDict", "_codecs.encode"),
)
FORBIDDEN = (
    *("os.system", "posix.system", "builtins.eval", "builtins.exec", "builtins.getattr", "builtins.__import__"),
    *("subprocess.Popen", "importlib.import_module", "numpy.load", "numpy.core.multiarray._set_typeDict"),
    *("dmmsa_cli.files.write_text", "functools.partial", "operator.attrgetter", "codecs.open", "builtins.open"),
    *("copyreg._reconstructor", "copyreg.add_extension", "numpy.ndarray.tofile", "types.CodeType"),
)
KINDS = (
    "u1",
    "i8",
    "f4",
    "f8",
    "b1",
    "O",
    "O8",
    "U1",
    "U3",
    "S1",
    "S0",
    "U0",
    "c8",
    "f2",
    "V8",
    "M8",
    "i3",
    "|",
    "?",
    "",
)
SHAPES = ((), (0,), (1,), (2,), (3,), (2, 2), (1, 3), (2, 3, 2), (0, 5), (6, 0, 3), (10**12,), (2**33, 2**33), (-1,))
WORDS = ("", "a", "id", "latin1", "latin-1", "punycode", "idna", "C", "F", "K", "é", "\ud800", "__class__", "x" * 300)
SLOT = 1000  # places in the memo from here on are ours; picklers use those below
SLOTS = 6
DEEPEST = 5


def pickle_of(seed: int, number: int) -> tuple[str, bytes]:
    """The name of the way in which one pickle is made, and the pickle."""
    rng = random.Random(f"{seed} {number}")
    way = rng.choices(list(WAYS), weights=[weight for weight, _ in WAYS.values()])[0]
    return way, WAYS[way][1](rng)


# --- from the opcodes -------------------------------------------------------------------------------------------------


def program(rng):
    """Some expressions, with writes and noise between them, all of which end up in one tuple."""
    parts = [statement(rng) for _ in range(rng.choice((1, 1, 2, 3, 6)))]
    return header(rng) + remembered(rng) + b"(" + b"".join(parts) + b"t."


def remembered(rng):
    """Something in each place of the memo that may be recalled."""
    return b"".join(
        rng.choice((thing, constant))(rng, 0) + b"r" + struct.pack("<I", SLOT + slot) + POP for slot in range(SLOTS)
    )


def header(rng):
    return rng.choice((b"", b"\x80\x02", b"\x80\x04", b"\x80\x05", b"\x80\x04\x95" + struct.pack("<Q", 30)))


def statement(rng):
    draw = rng.random()
    if draw < 0.7:
        return expression(rng, 0)
    if draw < 0.93:
        return write(rng, 0) + rng.choice((b"", POP))
    return noise(rng)


def expression(rng, depth):
    ways = LEAVES if depth >= DEEPEST else LEAVES + BRANCHES
    made = rng.choice(ways)(rng, depth + 1)
    return made + put(rng) if rng.random() < 0.3 else made


def put(rng):
    return b"r" + struct.pack("<I", SLOT + rng.randrange(SLOTS))


def constant(rng, depth):
    kind = rng.randrange(6)
    if kind == 5:
        return rng.choice(
            (b"S'a\\xff\\n'\n", b"U\x02\xff\xfe", b"T\x03\0\0\0\xc3\xbcx", b"\x8b\xff\xff\0\0", b"F1.5\n", b"I01\n")
        )
    if kind == 0:
        return value(rng.choice(NUMBERS))
    if kind == 1:
        return value(rng.choice(WORDS))
    if kind == 2:
        return value(rng.randbytes(rng.choice((0, 1, 3, 8, 16, 100))))
    if kind == 3:
        return value(rng.choice(SHAPES))
    return value(rng.choice((0.0, 1.5, float("nan"), float("inf"), None, True, False)))


def thing(rng, depth):
    return rng.choice(list(THINGS.values()))


def recalled(rng, depth):
    return b"j" + struct.pack("<I", SLOT + rng.randrange(SLOTS))


def named(rng, depth):
    return name(rng.choice(ALLOWED if rng.random() < 0.97 else FORBIDDEN))


def container(rng, depth):
    inside = b"".join(expression(rng, depth) for _ in range(rng.choice((0, 1, 2, 2, 4))))
    pair = expression(rng, depth) + expression(rng, depth)
    return rng.choice(
        (
            b"(" + inside + b"t",
            b"(" + inside + b"l",
            b"](" + inside + b"e",
            b"(" + pair + b"d",
            b"}(" + value(rng.choice(WORDS)) + expression(rng, depth) + b"u",
            b"\x8f(" + inside + b"\x90",
            b"(" + inside + b"\x91",
            expression(rng, depth) + b"\x85",
            pair + b"\x86",
        )
    )


def called(rng, depth):
    """A call of an allowed name with arguments as they should be, or with any."""
    proper = rng.choice(
        (
            lambda: array_from_buffer(rng, depth),
            lambda: call("numpy.core.multiarray.scalar", dtype_of(rng, depth), content(rng, depth)),
            lambda: call("numpy.dtype", value(rng.choice(KINDS)), value(False), value(True)),
            lambda: call("_codecs.encode", value(rng.choice(WORDS)), value(rng.choice(WORDS))),
            lambda: call(
                "builtins.bytes", value([rng.choice(NUMBERS) for _ in range(3)] if rng.random() < 0.5 else [0, 255])
            ),
            lambda: call("collections.OrderedDict", b"](" + b"](" + constant(rng, 0) + thing(rng, 0) + b"ee"),
            lambda: call(rng.choice(ALLOWED), *(expression(rng, depth) for _ in range(rng.randrange(4)))),
            lambda: named(rng, depth) + expression(rng, depth) + b"R",
            lambda: expression(rng, depth) + several(expression(rng, depth)) + b"R",
            lambda: named(rng, depth) + several(expression(rng, depth)) + rng.choice((b"\x81", b"b", b"}\x92")),
        )
    )
    return proper()


def sound(rng, depth, kind="u1", shape=(3,), content=b"abc"):
    """A part of an array: what it should be, or now and then anything."""
    return tuple(value(part) if rng.random() < 0.92 else expression(rng, depth) for part in (kind, shape, content))


def array(rng, depth):
    """An array as numpy's pickles spell it, of which a part may be anything."""
    kind = rng.choice(("u1", "u1", "f4", "i8", "O", "b1", "U1", rng.choice(KINDS)))
    shape = rng.choice(((3,), (1,), (2, 2), rng.choice(SHAPES)))
    made_kind, made_shape, made_content = sound(rng, depth, kind, shape, fitting(rng, kind, shape))
    ordered = build(call("numpy.dtype", made_kind, value(False), value(True)), dtype_state(rng, depth))
    if rng.random() < 0.1:
        ordered = expression(rng, depth)
    if kind.startswith("O") and rng.random() < 0.7:
        made_content = b"](" + b"".join(expression(rng, depth) for _ in range(rng.randrange(5))) + b"e"
    parts = (value(1), made_shape, ordered, value(rng.random() < 0.3), made_content)
    start = EMPTY if rng.random() < 0.95 else expression(rng, depth)
    return build(start + put(rng), several(*parts[: 5 if rng.random() < 0.97 else 4]))


def fitting(rng, kind, shape):
    """Content that an array may really have; for a shape or kind that is none, a few bytes."""
    try:
        size = np.dtype(kind or "u1").itemsize * int(np.prod(shape, dtype=object))
    except TypeError:
        size = 3
    size = size if 0 <= size < 1000 else 3
    return bytes(rng.choices((0, 1, 2, 65, 255), k=size)) if rng.random() < 0.7 else bytes(size + rng.choice((0, 0, 1)))


def dtype_of(rng, depth):
    return dtype(rng.choice(KINDS), rng.choice("<>|=")) if rng.random() < 0.9 else expression(rng, depth)


def dtype_state(rng, depth):
    if rng.random() < 0.9:
        rest = (None, None, None, rng.choice((-1, 1, 8, 2**40)), -1, rng.choice((0, 1, 63, 255)))
        return value((3, rng.choice("<>|="), *rest))
    return expression(rng, depth)


def content(rng, depth):
    return value(rng.randbytes(rng.choice((0, 1, 3, 4, 8, 16)))) if rng.random() < 0.8 else expression(rng, depth)


def array_from_buffer(rng, depth):
    kind = rng.choice(("u1", "u8", "O", "f4", rng.choice(KINDS)))
    made = b"\x96" + struct.pack("<Q", 8) + b"12345678" if rng.random() < 0.5 else expression(rng, depth)
    shape = value(rng.choice(((8,), (1,), (2,), (2, 4)))) if rng.random() < 0.9 else expression(rng, depth)
    axes = (value((1, 0)),) if rng.random() < 0.1 else ()
    order = value(rng.choice("CFK"))
    return call("numpy.core.numeric._frombuffer", made, dtype(kind, rng.choice("<>|")), shape, order, *axes)


def looped(rng, depth):
    """A container in itself, or in what it holds."""
    recall = recalled(rng, depth)
    again = rng.choice((recall, recall + b"\x85", b"](" + recall + expression(rng, depth) + b"e"))
    return rng.choice(
        (
            b"]r" + recall[1:] + again + b"a",
            b"}r" + recall[1:] + value("a") + again + b"s",
            EMPTY
            + b"r"
            + recall[1:]
            + several(value(1), value((1,)), dtype("O"), value(False), b"](" + again + b"e")
            + b"b",
        )
    )


def multiplied(rng, depth):
    """Lists of lists, all of one level the same, or many calls with one argument: more than the file warrants."""
    if rng.random() < 0.2:
        recall = recalled(rng, depth)
        text = value(rng.choice(("x" * 5000, b"y" * 5000, [1] * 3000)))
        extra = value("latin1") if rng.random() < 0.5 else b""
        return text + b"r" + recall[1:] + b"(" + call(rng.choice(ALLOWED), recall, extra) * 50 + b"t\x86"
    made = expression(rng, depth)
    for _ in range(rng.choice((1, 3, 8))):
        recall = recalled(rng, depth)
        close = rng.choice((b"l", b"t"))
        made = b"(" + made + b"r" + recall[1:] + recall * rng.choice((1, 9, 99)) + close
    return made


def stacked(rng, depth):
    """Lists, tuples, dicts or arrays within each other, deep."""
    inner, levels = expression(rng, depth), rng.choice((3, 60, 3000))
    return rng.choice(
        (
            b"]" * levels + inner + b"a" * levels,
            inner + b"\x85" * levels,
            (b"}" + value("a")) * levels + inner + b"s" * levels,
            (EMPTY + b"(" + value(1) + value((1,)) + dtype("O") + value(False) + b"](") * 60 + inner + b"etb" * 60,
        )
    )


def write(rng, depth):
    """A write into anything."""
    target, pair = expression(rng, depth), expression(rng, depth) + expression(rng, depth)
    return target + rng.choice(
        (
            pair + b"s",
            value(rng.randrange(4)) + value(rng.choice(NUMBERS)) + b"s",
            b"(" + pair + b"u",
            expression(rng, depth) + b"a",
            b"(" + pair + b"e",
            b"(" + pair + b"\x90",
            expression(rng, depth) + b"b",
            value((None, {rng.choice(("__defaults__", "text", "__class__", "content", "real", "shape")): ("x",)}))
            + b"b",
            value({rng.choice(("__dict__", "dtype", "a")): 1}) + b"b",
            several(value(1), value((1,)), dtype("u1"), value(False), value(b"z")) + b"b",
            dtype_state(rng, depth) + b"b",
        )
    )


LEAVES = (constant, thing, thing, recalled, recalled, named)
BRANCHES = (
    container,
    container,
    called,
    called,
    called,
    array,
    array,
    array,
    array,
    write,
    looped,
    multiplied,
    stacked,
)


def noise(rng):
    """Any opcode, with an argument that may be right."""
    code = rng.choice(pickletools.opcodes)
    if code.name == "STOP" and rng.random() < 0.9:
        return b"2"
    argument = b"" if code.arg is None else argument_of(rng, code.arg)
    return code.code.encode("latin-1") + argument


def argument_of(rng, kind):
    if kind.n == pickletools.UP_TO_NEWLINE:
        return (
            rng.choice((b"1", b"01", b"-1", b"12L", b"1e9", b"x", b"'a'", b"\\u0041", b"9" * 40, b"numpy\nndarray"))
            + b"\n"
        )
    if kind.n >= 0:
        return rng.choice((bytes(kind.n), b"\xff" * kind.n, rng.randbytes(kind.n), struct.pack("<Q", SLOT)[: kind.n]))
    width = {pickletools.TAKEN_FROM_ARGUMENT1: 1, pickletools.TAKEN_FROM_ARGUMENT8U: 8}.get(kind.n, 4)
    size = rng.choice((0, 1, 3, 200))
    claimed = size if rng.random() < 0.8 else rng.choice((2**31 - 1, 2**40, 2**63, 255)) % 2 ** (8 * width)
    return claimed.to_bytes(width, "little") + rng.randbytes(size)


def opcodes(rng):
    """Nothing but noise."""
    return header(rng) + b"".join(noise(rng) for _ in range(rng.randint(1, 30))) + b"."


# --- from real pickles ------------------------------------------------------------------------------------------------


@cache
def real_pickles():
    """Small sound files in every protocol, with the places between their opcodes."""
    sizes = {"train": 3, "valid": 2, "test": 2}
    whole = make_raw(sizes, text=True)
    listed = make_raw(sizes)
    for split in listed.values():
        split["audio"] = split["audio"].tolist()
        split["id"] = np.array(split["id"])
        split["raw_text"] = np.array(split["raw_text"], object)
        split["vision"] = np.asfortranarray(split["vision"])
    scalars = {
        "a": [np.float64(1), np.str_("x"), np.bool_(True)],
        "b": np.array(3),
        "c": bytearray(b"x"),
        "d": {1},
    }
    made = [pickle.dumps(one, protocol) for one in (whole, listed, scalars) for protocol in range(6)]
    return [(one, [place for _, _, place in pickletools.genops(one)]) for one in made]


def damaged(rng):
    """A real pickle with bytes that were flipped, lost, doubled or moved."""
    written = bytearray(rng.choice(real_pickles())[0])
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at, size = rng.randrange(len(written)), rng.choice((1, 1, 2, 4, 9, 40))
        harm = rng.randrange(6)
        if harm < 3:
            written[at] = rng.choice((rng.randrange(256), written[at] ^ 1 << rng.randrange(8)))
        elif harm == 3:
            del written[at : at + size]
        elif harm == 4:
            written[at:at] = written[at : at + size]
        else:
            other = rng.randrange(len(written))
            written[other:other] = written[at : at + size]
    return bytes(written)


def large(rng):
    """A real pickle of more than the window that is read at a time, damaged."""
    written = bytearray(rng.choice(large_pickles()))
    for _ in range(rng.choice((1, 2, 3))):
        written[rng.choice((rng.randrange(len(written)), rng.randrange(400)))] = rng.randrange(256)
    return bytes(written)


@cache
def large_pickles():
    content = [np.zeros(40_000), ["x" * 999, 0.5, 3] * 300, "ü" * 150_000, [n / 3 for n in range(40_000)]]
    return [pickle.dumps({"a": content, "b": content[::-1]}, protocol) for protocol in range(6)]


def spliced(rng):
    """A real pickle into which expressions, writes and noise were put between its opcodes."""
    written, places = rng.choice(real_pickles())
    for place in sorted(rng.sample(places[1:], rng.choice((1, 1, 2, 3))), reverse=True):
        made = rng.choice((statement(rng), statement(rng) + POP, write(rng, 1)))
        inserted = rng.choice((remembered(rng) + made, noise(rng), b"b", b"R", b"s", b"e"))
        written = written[:place] + inserted + written[place:]
    return written


@cache
def fields():
    """The opcodes of each value of a sound file, by split and key."""
    raw = make_raw({"train": 3, "valid": 2, "test": 2}, text=True)
    return {split: {key: value(values) for key, values in content.items()} for split, content in raw.items()}


def dataset(rng):
    """A file in the field's layout, some of whose values are anything."""
    splits = b"".join(
        value(split)
        + b"}("
        + b"".join(value(key) + (field if rng.random() < 0.93 else junk(rng)) for key, field in content.items())
        + b"u"
        for split, content in fields().items()
        if rng.random() < 0.97
    )
    return header(rng) + remembered(rng) + b"}(" + splits + b"u."


def junk(rng):
    """Rows that are anything, as many as a split has."""
    if rng.random() < 0.3:
        return expression(rng, 1)
    rows = b"".join(
        rng.choice(
            (expression(rng, 2), value(rng.choice(WORDS)), value([[1.0, 2.0]]), value([[0.5] * 3] * 2), value(1.5))
        )
        for _ in range(rng.choice((1, 2, 3, 3)))
    )
    return b"](" + rows + b"e"


WAYS = {
    "program": (40, program),
    "opcodes": (10, opcodes),
    "damaged": (15, damaged),
    "spliced": (20, spliced),
    "dataset": (15, dataset),
    "large": (0.5, large),
}
