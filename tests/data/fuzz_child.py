"""What is done with one pickle, in a process of its own: it is read, looked at whole, checked and repaired.

It ends in a value or in an error of ours. Anything else is reported: another exception or a warning, an event that
Python's audit knows (a module imported, a file written, code compiled, a process started), an attribute of our modules
that has changed, too much memory or time, a crash.
"""

import faulthandler
import os
import reprlib
import resource
import signal
import sys
import types
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np

from dmmsa_cli.data import memory, repair, validation
from dmmsa_cli.data.specs import DatasetSpec
from dmmsa_cli.errors import DmmsaError

MOST_BYTES = 2**29  # that reading a pickle of some kilobytes may add
MOST_SECONDS = 20  # of CPU
READERS = ("dmmsa_cli.data.unpickling", "dmmsa_cli_reader", "tests.data.live_reader")
SPEC = DatasetSpec(name="mine", score_range=3.0, unimodal_labels=True)

VALUE, REFUSED, WRONG = 0, 1, 2
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_EVENTS = (
    *("import", "exec", "compile", "code.__new__", "marshal.", "object.__setattr__", "object.__delattr__", "cpython."),
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.kill", "os.remove", "os.rename", "os.mkdir"),
    *(
        "os.rmdir",
        "os.link",
        "os.symlink",
        "os.truncate",
        "os.chmod",
        "os.putenv",
        "shutil.",
        "tempfile.",
        "subprocess.",
    ),
    *("socket.", "ctypes.", "urllib.", "ftplib.", "builtins.input", "builtins.breakpoint", "signal.", "pty.", "mmap."),
)


def run(reader, written, before):
    """Fork, read a pickle there, and return how it ended and, where that is wrong, what was wrong.

    Args:
        reader: from a path to a value.
        written: the pickle.
        before: what `attributes` gave.
    """
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        os._exit(_guarded(reader, written, before, sink))
    os.close(sink)
    with os.fdopen(source, "rb") as pipe:
        message = pipe.read().decode("utf-8", "replace")
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return WRONG, f"ended by {signal.Signals(os.WTERMSIG(status)).name}"
    return os.WEXITSTATUS(status), message


def _guarded(reader, written, before, sink):
    """In the child: return how it ended, after writing what was wrong to `sink`."""
    try:
        return _read(
            reader, written, before, lambda message: os.write(sink, message.encode("utf-8", "backslashreplace"))
        )
    except BaseException as error:
        os.write(sink, f"{type(error).__name__}: {error}".encode("utf-8", "backslashreplace")[:2000])
        return WRONG


def _read(reader, written, before, report):
    held = memory.resident()  # by the child: what the parent has mapped from files is not in it after a fork
    file = os.memfd_create("pickle")
    os.write(file, written)
    _limit()
    events = _watch()
    ended = REFUSED
    with suppress(DmmsaError), warnings.catch_warnings(action="error"):
        content = reader(Path(f"/proc/self/fd/{file}"))
        ended = VALUE
        _use(content)
        del content
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - held
    if events:
        report(f"event {events[0]}")
    elif taken > MOST_BYTES:
        report(f"took {taken // 2**20} MiB")
    elif attributes() != before:
        report(f"changed {_changed(before)}")
    else:
        return ended
    return WRONG


def _limit():
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 2 * MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, 2 * MOST_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(20 * MOST_SECONDS)
    faulthandler.disable()  # pytest's
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _watch():
    """Collect what is done that reading data never does; the list can't be reached by what is read."""
    events = []

    def hook(event, arguments):
        if event == "open":
            _, mode, flags = arguments
            if flags & _WRITING if mode is None else set(mode) & set("wax+"):
                events.append(f"{event} {arguments!r}")
        elif event.startswith(_EVENTS):
            events.append(f"{event} {arguments!r:.200}")

    sys.addaudithook(hook)
    return events


def _use(content):
    """Look at all that was read, and do with it what `prepare` and `predict` do."""
    _look(content)
    whole = {"all": content} if isinstance(content, dict) and not _has_splits(content) else content
    for raw, all_splits in ((content, True), (whole, False)):
        with suppress(DmmsaError):
            layout = validation.check(raw, SPEC, whole=all_splits)
            for name in layout.rows:
                for chunk in repair.clean(raw[name], layout, Counter()):
                    "".join(chunk.ids + chunk.texts).encode()


def _look(content):
    """Look at everything once, however often it stands there: its value in words, and all that arrays hold."""
    seen, left = {}, [content]
    while left:
        one = left.pop()
        if id(one) not in seen:
            seen[id(one)] = one
            reprlib.repr(one)
            if isinstance(one, np.ndarray):
                repr(one), hash(one.tobytes())
                left += one.ravel().tolist() if one.dtype.hasobject else []
            elif isinstance(one, dict):
                left += [*one, *one.values()]
            elif isinstance(one, list | tuple | set | frozenset):
                left += one
            else:
                repr(one)


def _has_splits(content):
    return all(isinstance(split, dict) for split in content.values())


# --- what must not change ---------------------------------------------------------------------------------------------


def attributes():
    """The identity of every attribute of the reader's modules, of its functions and classes, and of builtins."""
    found = {}
    for module in _modules():
        for key, owned in vars(module).items():
            if key != "__builtins__":  # every module has them
                found[module.__name__, key] = _identity(owned)
    return found


def _modules():
    ours = [module for dotted, module in sys.modules.items() if dotted.startswith(READERS)]
    return [*ours, *(sys.modules[dotted] for dotted in ("dmmsa_cli.errors", "builtins", "collections", "_codecs"))]


def _identity(owned):
    if isinstance(owned, types.FunctionType):
        state = (owned.__code__, owned.__defaults__, owned.__kwdefaults__, owned.__doc__, sorted(vars(owned)))
        return id(owned), *(id(part) if not isinstance(part, list) else str(part) for part in state)
    if isinstance(owned, type) and owned.__module__.startswith(READERS):
        return id(owned), *((key, id(part)) for key, part in vars(owned).items() if not key.startswith("_abc_"))
    if isinstance(owned, dict | list | set) and len(owned) < 1000:
        return id(owned), len(owned), tuple(map(id, owned.values() if isinstance(owned, dict) else owned))
    slots = getattr(type(owned), "__slots__", ())
    if isinstance(slots, tuple) and type(owned).__module__.startswith(READERS):
        return id(owned), *(id(getattr(owned, slot, None)) for slot in slots)
    return (id(owned),)


def _changed(before):
    now = attributes()
    return sorted(key for key in now.keys() | before.keys() if now.get(key) != before.get(key))[:3]
