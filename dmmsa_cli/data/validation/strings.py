"""Ids and transcripts: a text for every row, ids once only, and no half characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from dmmsa_cli.data.validation.faults import Findings, counted, some
from dmmsa_cli.data.validation.values import check_count, size_of
from dmmsa_cli.data.words import kind_of, printable

Splits = Mapping[str, Mapping[str, Any]]


def is_encodable(text: str) -> bool:
    """Whether a text can be written to any file: it holds no half of a character (a lone surrogate)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def whole_characters(text: str) -> str:
    """Return a text with halves that follow each other joined, and single ones replaced by U+FFFD."""
    if is_encodable(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def check_strings(findings: Findings, splits: Splits, rows: Mapping[str, int]) -> None:
    """Look at ids and transcripts, row by row; a transcript that can be repaired is a warning."""
    for name, split in splits.items():
        if "id" not in split:
            findings.add(name, "id", "is missing")
        elif _are_strings(findings, name, "id", split, rows[name]):
            _check_ids(findings, name, split["id"])
        if "raw_text" in split and _are_strings(findings, name, "raw_text", split, rows[name]):
            _warn_of_halves(findings, name, split["raw_text"])
    _check_unique(findings, splits)


def _are_strings(findings: Findings, name: str, key: str, split: Mapping[str, Any], rows: int) -> bool:
    report = findings.at(name, key)
    if not check_count(split[key], rows, report):
        return False
    bad = next((row for row, value in enumerate(split[key]) if not isinstance(value, str)), None)
    if bad is not None:
        report(f"row {bad} is {kind_of(split[key][bad])} where a string should be")
    return bad is None


def _halves(texts: Any) -> list[int]:  # noqa: ANN401
    """Rows whose text holds half of a character."""
    return [row for row, text in enumerate(texts) if not is_encodable(text)]


def _check_ids(findings: Findings, name: str, ids: Any) -> None:  # noqa: ANN401
    halves = _halves(ids)
    if halves:
        detail = f"with half of a character, the first in row {halves[0]}: {printable(ids[halves[0]])}"
        findings.add(name, "id", f"{counted(len(halves), 'id')} {detail}")


def _warn_of_halves(findings: Findings, name: str, texts: Any) -> None:  # noqa: ANN401
    halves = _halves(texts)
    if halves:
        count = f"{len(halves):,} transcript{'s' * (len(halves) > 1)} in {name}"
        findings.warnings.append(
            f"raw_text: half of a character in {count}, the first in row {halves[0]}: replaced by U+FFFD."
        )


def _check_unique(findings: Findings, splits: Splits) -> None:
    """Ids that stand twice in a split, or in two splits."""
    owner: dict[str, str] = {}
    for name, split in splits.items():
        ids = Counter(one for one in _listed(split.get("id")) if isinstance(one, str))
        twice = [one for one, count in ids.items() if count > 1]
        if twice:
            findings.add(name, "id", f"{counted(len(twice), 'id')} more than once: {some(twice)}")
        shared: dict[str, list[str]] = {}
        for one in ids:
            if one in owner:
                shared.setdefault(owner[one], []).append(one)
        for other, found in shared.items():
            findings.add(name, "id", f"{counted(len(found), 'id')} also in {other}: {some(found)}")
        for one in ids:
            owner.setdefault(one, name)


def _listed(values: Any) -> Any:  # noqa: ANN401
    return values if size_of(values) is not None else ()
