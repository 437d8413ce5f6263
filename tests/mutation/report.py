"""What came of a sample, in words."""

from collections import Counter, defaultdict

from tests.mutation.reach import ROUNDS

COLUMNS = ("drawn", "equivalent", "counted", "killed", "crashed", "timeout", "survived", "unreached")

# What any test would notice that runs the line, whatever it looks at.
CRASHES = {"AttributeError", "ImportError", "NameError", "TypeError", "UnboundLocalError", "while collecting"}


TITLES = {
    "survived": "Survivors:",
    "unreached": "Survivors that no test reaches:",
    "timeout": "Killed for running out of time:",
}


def counts(mutants, verdicts, equivalent):
    """Count by package. A crash and a timeout are kills; a mutant that no test reaches has survived."""
    table = defaultdict(Counter)
    for mutant in mutants:
        row = table[mutant.package]
        row["drawn"] += 1
        if mutant.name in equivalent:
            row["equivalent"] += 1
            continue
        verdict = verdicts[mutant.key]
        row["counted"] += 1
        row["killed"] += verdict["verdict"] in {"killed", "timeout"}
        row["crashed"] += verdict["failure"] in CRASHES
        row["timeout"] += verdict["verdict"] == "timeout"
        row["survived"] += verdict["verdict"] in {"survived", "unreached"}
        row["unreached"] += verdict["verdict"] == "unreached"
    return dict(sorted(table.items()))


def describe(mutant, verdict):
    """Tell of one mutant, as `equivalent.txt` takes it but for the last line: where it is, how hard it was tried."""
    tried = f"{verdict['tests']} tests in {verdict['seconds']:.0f} s" if verdict["tests"] else "no test reaches it"
    return "\n".join([*mutant.name, f"  {mutant.file}:{mutant.line}, {tried}"])


def table_of(counted):
    """Lay the counts out, with the share killed of those that count."""
    total = sum(counted.values(), Counter())
    rows = [["package", *COLUMNS, "share"]]
    for name, row in [*counted.items(), ("all", total)]:
        share = f"{row['killed'] / row['counted']:.1%}" if row["counted"] else "-"
        rows.append([name, *(str(row[column]) for column in COLUMNS), share])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    )


def report(mutants, verdicts, equivalent):
    """Say what survived, what ran out of time, what went past the cap, and the share killed by package."""
    told = {mutant: verdicts[mutant.key] for mutant in mutants if mutant.name not in equivalent}
    order = sorted(told, key=lambda mutant: (mutant.file, mutant.line))
    parts = []
    for verdict, title in TITLES.items():
        listed = [describe(mutant, told[mutant]) for mutant in order if told[mutant]["verdict"] == verdict]
        parts += [title, *listed] if listed else []
    unsound = sorted({test for verdict in told.values() for test in verdict["unsound"]})
    if unsound:
        parts.append("\n".join(["Left out, for without the tests before them they fail on no mutant too:", *unsound]))
    beyond = sum(verdict["rounds"] > len(ROUNDS) for verdict in told.values())
    if beyond:
        parts.append(f"{beyond} outlived the tests under the cap, and were tried with all that reach them.")
    parts.append(table_of(counts(mutants, verdicts, equivalent)))
    parts.append("crashed: killed by a TypeError or its like, which any test notices that runs the line")
    return "\n\n".join(parts)
