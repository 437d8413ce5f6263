"""Whether the weights that were loaded are those of the encoder that a folder's config.json describes.

`transformers` only logs what it found no place for, and leaves at random values what it found no weights for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dmmsa_cli.errors import EncoderUnavailable

POOLER = "pooler."


def check_weights(folder: Path, backbone: Any, loaded: Mapping[str, Any]) -> None:  # noqa: ANN401  (untyped here)
    """See that every tensor of an encoder but its pooler's was read, and that every tensor of its layers has a place.

    What else there is belongs to heads, which are not used: `cls`, `lm_head`, `classifier` and such.

    Args:
        folder: where it was read from, for the message.
        backbone: the encoder.
        loaded: what `from_pretrained(..., output_loading_info=True, ignore_mismatched_sizes=True)` says of it.

    Raises:
        EncoderUnavailable: with three tensors of each fault.
    """
    missing = _without_pooler(loaded["missing_keys"])
    shapes = {name: f"{name} {_shape(found)} for {_shape(own)}" for name, found, own in loaded["mismatched_keys"]}
    other = [shapes[name] for name in _without_pooler(shapes)]
    parts = {name for name, _ in backbone.named_children()}
    unplaced = [key for key in _without_pooler(loaded["unexpected_keys"]) if _part(key, backbone) in parts]
    prefix = _prefix(missing, loaded["unexpected_keys"])
    faults = [
        *_listed(f"of {len(backbone.state_dict())} tensors, {{}} missing", missing),
        *([f"names begin with `{prefix}`"] if prefix else []),
        *_listed("{} of another shape", other),
        *_listed("{} more than there are places for", unplaced),
        *map(str, loaded["error_msgs"] or ()),
    ]
    if faults:
        raise EncoderUnavailable(
            f"The weights in {folder} are not those of the encoder in its config.json: {'; '.join(faults)}.",
            "Untrained ones would take their place. Give a folder as `save_pretrained` of transformers writes it: "
            "the encoder's tensors under its own names, beside its own config.json.",
        )


def has_pooler(backbone: Any, loaded: Mapping[str, Any]) -> bool:  # noqa: ANN401
    """Return whether an encoder has a trained pooler, whose output stands for the whole text."""
    faulty = {*loaded["missing_keys"], *(name for name, *_ in loaded["mismatched_keys"])}
    return getattr(backbone, "pooler", None) is not None and not any(name.startswith(POOLER) for name in faulty)


def _without_pooler(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not name.startswith(POOLER))


def _part(name: str, backbone: Any) -> str:  # noqa: ANN401
    """The encoder's part that a tensor of a file is named for; the file of a whole model names the encoder first."""
    return name.removeprefix(f"{backbone.base_model_prefix}.").partition(".")[0]


def _prefix(missing: list[str], found: Iterable[str]) -> str:
    """What stands before the names of a file, where they are those of the encoder but for that."""
    prefixed = (name for name in sorted(found) for own in missing[:1] if name.endswith(f".{own}"))
    return next(prefixed, "").removesuffix(missing[0] if missing else "")


def _listed(what: str, names: list[str], most: int = 3) -> list[str]:
    if not names:
        return []
    count = f"{len(names)} {'is' if len(names) == 1 else 'are'}"
    return [f"{what.format(count)} ({', '.join(names[:most])}{', ...' if len(names) > most else ''})"]


def _shape(size: Iterable[int]) -> str:
    return "x".join(map(str, size))
