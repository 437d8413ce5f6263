"""Read many pickles that no pickler writes, each in a process of its own, and tell what ends otherwise than in words.

python -m tests.data.fuzz_pickles --count 1000000 --seed 7            # nights
python -m tests.data.fuzz_pickles --seed 7 --only 1234                # one of them again, opcode by opcode

Number n of a seed is the same pickle everywhere, so several of these share a count: --start 0 --count 500000 beside
--start 500000 --count 500000.
"""

import argparse
import gc
import importlib
import pickletools
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dmmsa_cli.data import unpickling
from dmmsa_cli.errors import DmmsaError
from tests.data import fuzz_child
from tests.data.fuzz_programs import pickle_of, real_pickles

ENDINGS = {fuzz_child.VALUE: "a value", fuzz_child.REFUSED: "an error in words", fuzz_child.WRONG: "otherwise"}


@dataclass
class Result:
    """How many pickles ended how, and those that ended otherwise than they may."""

    endings: Counter = field(default_factory=Counter)
    wrong: list = field(default_factory=list)

    def __str__(self):
        counts = ", ".join(f"{count:,} {ending}" for ending, count in sorted(self.endings.items()))
        shown = [f"  number {number} ({way}): {message}" for number, way, message in self.wrong]
        return "\n".join([f"{self.endings.total():,} pickles: {counts}", *shown])


def fuzz(count, seed, *, start=0, reader=unpickling.load, most_wrong=20, progress=None):
    """Read `count` pickles; stop where `most_wrong` ended otherwise than in a value or in words."""
    _warm_up(reader)
    before, result = fuzz_child.attributes(), Result()
    gc.collect()
    gc.freeze()  # a child's collector would touch, and so copy, all that is there
    for number in range(start, start + count):
        way, written = pickle_of(seed, number)
        ending, message = fuzz_child.run(reader, written, before)
        result.endings[f"{way}: {ENDINGS[ending]}"] += 1
        if ending == fuzz_child.WRONG:
            result.wrong.append((number, way, message))
            if len(result.wrong) == most_wrong:
                break
        if progress is not None and (number - start) % 5000 == 4999:
            progress(number - start + 1, result)
    gc.unfreeze()
    return result


def _warm_up(reader):
    """Import here what reading imports at first use, so that no child has to."""
    for encoding in ("utf-16-le", "raw-unicode-escape", "unicode-escape", "latin-1", "punycode", "idna", "ascii"):
        "".encode(encoding)
        b"".decode(encoding)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.pkl"
        for written, _ in real_pickles():
            path.write_bytes(written)
            with suppress(DmmsaError):
                fuzz_child._use(reader(path))


def _reader(named):
    """`package.module:function`, or the path of a Python file that has a function `load`."""
    if named.endswith(".py"):
        spec = importlib.util.spec_from_file_location("dmmsa_cli_reader", named)
        module = importlib.util.module_from_spec(spec)
        sys.modules["dmmsa_cli_reader"] = module
        spec.loader.exec_module(module)
        return module.load
    module, function = named.split(":")
    return getattr(importlib.import_module(module), function)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--most-wrong", type=int, default=20)
    parser.add_argument("--reader", default="dmmsa_cli.data.unpickling:load")
    options = parser.parse_args()
    if options.only is not None:
        way, written = pickle_of(options.seed, options.only)
        print(way, len(written), written)
        with suppress(ValueError):
            pickletools.dis(written)
    first, count = (options.start, options.count) if options.only is None else (options.only, 1)
    began = time.monotonic()

    def progress(done, result):
        print(f"{done:,} in {time.monotonic() - began:,.0f} s, {len(result.wrong)} wrong", flush=True)

    result = fuzz(
        count,
        options.seed,
        start=first,
        reader=_reader(options.reader),
        most_wrong=options.most_wrong,
        progress=progress,
    )
    print(f"seed {options.seed}, from number {first}, {time.monotonic() - began:,.0f} s")
    print(result)
    sys.exit(bool(result.wrong))


if __name__ == "__main__":
    main()
