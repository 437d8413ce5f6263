"""How the clips around one stand behind its tokens, for a text encoder to look at.

    [CLS] clip [SEP] before_n [SEP] ... [SEP] before_1 [SEP] after_1 [SEP] ... [SEP] after_m [SEP]

Behind the clip as it stands alone comes its context in the order of time, as the tokenizer's own pairs have a second
text: a further `</s>` before it where RoBERTa's or MPNet's have one, the second token type where BERT's have it. One
[SEP] stands between the clips of the context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from dmmsa_cli.data.videos import Around

Ids = Sequence[int]


@dataclass(frozen=True)
class PairForm:
    """How a tokenizer puts a second text behind a first."""

    middle: Ids
    """Between the first as it stands alone and the second: nothing for BERT, `</s>` for RoBERTa."""
    between: int
    """Between the clips of the second: [SEP], `</s>`."""
    end: Ids
    """Behind the second."""
    segment: int
    """The token type of the second; 0 where the encoder knows one type only."""


def pair_form(tokenizer: Any, config: Any) -> PairForm:  # noqa: ANN401  (transformers is untyped here)
    """Learn from an example how a tokenizer puts a second text behind a first.

    Args:
        tokenizer: of `transformers`. One that has no form for pairs, as that of our tiny encoder, is given BERT's.
        config: of its encoder.

    Raises:
        ValueError: it has no token to set texts apart, or its pairs do not begin with the first text as it is alone.
    """
    if tokenizer.sep_token_id is None:
        raise ValueError("it has no token that sets texts apart, which text.context needs")
    first, second = ("a", "b")
    alone = tokenizer(first)["input_ids"]
    bare = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (first, second)]
    pair = tokenizer(first, second, return_token_type_ids=True)
    ids, types = pair["input_ids"], pair["token_type_ids"]
    two_types = (getattr(config, "type_vocab_size", None) or 0) > 1
    if ids == bare[0] + bare[1]:
        return PairForm((), tokenizer.sep_token_id, (tokenizer.sep_token_id,), int(two_types))
    rest = ids[len(alone) :]
    places = [at for at in range(len(rest)) if rest[at : at + len(bare[1])] == bare[1]]
    if ids[: len(alone)] != alone or not places:
        raise ValueError("its pairs do not begin with the first text as it is alone, which text.context needs")
    at = places[0]
    segment = types[len(alone) + at] if two_types else 0
    return PairForm(rest[:at], tokenizer.sep_token_id, rest[at + len(bare[1]) :], segment)


def in_context(alone: Ids, texts: Sequence[Ids], around: Around, form: PairForm, limit: int) -> list[int]:
    """Return the tokens of a clip with its context behind them.

    Args:
        alone: the clip's tokens, [CLS] and [SEP] included, at most `limit`; never cut here.
        texts: the tokens of every clip of the split, without special ones.
        around: which of them are the context.
        form: how they are put together.
        limit: tokens in all.
    """
    room = limit - len(alone) - len(form.middle) - len(form.end)
    context = _nearest(texts, around, form.between, room)
    return [*alone, *form.middle, *context, *form.end] if context else list(alone)


def _nearest(texts: Sequence[Ids], around: Around, between: int, room: int) -> list[int]:
    """Return what is nearest in time of a context, in the order of time, `room` tokens at most.

    Clips are taken by their distance, of two at the same distance the earlier first; the last that there is room for is
    cut at its far side.
    """
    found: list[int] = []
    for row, earlier in _by_distance(around):
        left = room - len(found) - bool(found)
        if left < 1:
            break
        text = list(texts[row])
        if not text:
            continue
        apart = [between] if found else []
        found = [*text[-left:], *apart, *found] if earlier else [*found, *apart, *text[:left]]
        if len(text) > left:
            break
    return found


def _by_distance(around: Around) -> Iterator[tuple[int, bool]]:
    """Yield the clips around one from the nearest on, each with whether it is an earlier one."""
    for before, after in zip_longest(reversed(around.before), around.after):
        if before is not None:
            yield before, True
        if after is not None:
            yield after, False
