"""A pickle is a program. This package runs it on a machine that knows arrays, plain containers, strings and numbers.

    reader.py      opens a file, and tells in words what is wrong with it
    kinds.py       what is no pickle at all, by its first bytes
    stream.py      its bytes, a window at a time
    machine.py     the opcodes: a stack, a memo, containers
    literals.py    opcodes that are a value by themselves
    runs.py        numbers side by side, as lists of features are
    names.py       what may stand behind a name, and what a call of it makes
    keys.py        what dicts may have for keys
    notes.py       arrays, noted down while the program runs
    settling.py    notes turned into arrays after its last opcode, and the whole held to a bound

Python's own unpickler isn't used, restricted or not. It hands live objects to the program, which may then write into
them, and it believes what the program says of sizes. Here nothing that the program can reach can be called, written
to beyond what a pickler writes, or made larger than the file warrants.
"""

from dmmsa_cli.data.unpickling.reader import is_folder, load

__all__ = ["is_folder", "load"]
