"""What options of networks have in common."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Sizes:
    """Options that are widths or counts, at least 1, and dropouts, in [0, 1); a field's name says which."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("dropout"):
                if not 0 <= value < 1:
                    raise ValueError(f"{field.name}: {value} is not in [0, 1)")
            elif type(value) is int and value < 1:
                raise ValueError(f"{field.name}: {value} is below 1")
