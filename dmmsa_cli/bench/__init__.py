"""`dmmsa bench`: what each part of the work costs on this machine, in seconds and in memory.

    benchmark.py    which measures there are, and their order
    place.py        where data, store and caches of a benchmark lie
    process.py      a measure alone in a process of its own, and its peak memory
    storing.py      unpickling, preparing, opening
    text.py         encoding transcripts
    start.py        from a fresh interpreter to the first step
    epoch.py        one epoch of fusion, its parts apart
    watching.py     listening to the loop while it runs
    flops.py        work on real frames, and what this machine's matrix products reach

A module imports no more than its measure needs, since that would count as the measure's own.
"""
