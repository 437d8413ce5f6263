"""What came of a sample, in words."""

from collections import Counter, defaultdict

COLUMNS = ("drawn", "equivalent", "counted", "killed", "by assertion", "timeout", "survived", "unreached")


def counts(mutants, verdicts, equivalent):
    """Count by package; a timeout is a kill, and a mutant that no test reaches has survived."""
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
        row["by assertion"] += verdict["failure"] in {"AssertionError", "Failed"}
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
    counted = [mutant for mutant in mutants if mutant.name not in equivalent]
    by_verdict = defaultdict(list)
    for mutant in sorted(counted, key=lambda mutant: (mutant.file, mutant.line)):
        by_verdict[verdicts[mutant.key]["verdict"]].append(mutant)
    parts = []
    for verdict, title in (
        ("survived", "Survivors"),
        ("unreached", "Survivors that no test reaches"),
        ("timeout", "Killed for running out of time"),
    ):
        if by_verdict[verdict]:
            parts += [f"{title}:", *(describe(mutant, verdicts[mutant.key]) for mutant in by_verdict[verdict])]
    unsound = sorted({test for mutant in counted for test in verdicts[mutant.key]["unsound"]})
    if unsound:
        parts.append("\n".join(["Left out, for they fail alone without any mutant:", *unsound]))
    beyond = sum(verdicts[mutant.key]["rounds"] > 2 for mutant in counted)
    if beyond:
        parts.append(f"{beyond} mutants outlived the capped rounds and were tried with every test that reaches them.")
    return "\n\n".join([*parts, table_of(counts(mutants, verdicts, equivalent))])
