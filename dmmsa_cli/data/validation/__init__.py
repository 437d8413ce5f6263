"""Is an unpickled file what it should be? All faults are told at once.

    layout.py      the field's keys, and what a checked file holds
    check.py       the way through a file: its splits, then what is in them
    strings.py     ids and transcripts
    sequences.py   features, their lengths, the mask of text
    labels.py      scores
    emotions.py    which emotions are present
    remarks.py     what is no fault, and should be known
    values.py      what a stranger's value is: an array, a list of lists, numbers
    faults.py      what is collected on the way, and the table of it

Faults are looked for over the whole file, without reading the values of features in arrays; those are repaired while
rows stream by (`data/repair.py`).
"""

from dmmsa_cli.data.validation.check import check
from dmmsa_cli.data.validation.faults import Fault
from dmmsa_cli.data.validation.layout import EMOTIONS, FEATURES, LABELS, Layout

__all__ = ["EMOTIONS", "FEATURES", "LABELS", "Fault", "Layout", "check"]
