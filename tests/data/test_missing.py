"""Gaps: which tokens and frames are missing is decided by the key and the clip alone."""

import numpy as np
import pytest

from dmmsa_cli.data.missing import Gaps, MissingOptions, with_unknown, with_zeros
from dmmsa_cli.data.sequences import Frames, Tokens
from dmmsa_cli.errors import Inapplicable
from tests.data.splits import sequences_of, split_of

PAD, UNK, CLS, SEP, MASK = range(5)
FIRST = {"t": [0, 2, 5, 7, 10, 11], "a": [2, 7]}  # of twelve, for a key and two clips
LENGTHS = (3, 0, 40, 7, 1, 900)


def transcripts(lengths=(40, 2, 900, 3)):
    words = np.random.default_rng(0)
    ids = [np.array([CLS, *words.integers(5, 99, length), SEP]) for length in lengths]
    return Tokens(ids, PAD, unknown=UNK, special=frozenset({PAD, CLS, SEP, MASK}))


def frames(**more):
    return Frames(split_of(LENGTHS), "a", 3, **more)


def gaps(rate=0.4, key="mosi/test/1", modalities="tva", whole=0.0):
    return Gaps(key, modalities, rate, whole)


def rows(source, order, size):
    """Each row as a batch has it, whatever the others in it are."""
    found = {}
    for start in range(0, len(order), size):
        some = np.array(order[start : start + size])
        found |= {int(row): one.tolist() for row, one in zip(some, sequences_of(source.collate(some)), strict=True)}
    return found


# --- how many -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", "tva")
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_about_as_many_are_missing_as_the_rate_says(modality, rate):
    found = gaps(rate).of(modality, 7, 40_000)
    assert found.mean() == pytest.approx(rate, abs=0.01)
    pairs = (found[1:] & found[:-1]).mean()
    assert pairs == pytest.approx(rate**2, abs=0.015)  # each for itself


@pytest.mark.parametrize("modality", "tva")
def test_at_0_nothing_is_missing_and_at_1_everything(modality):
    assert not gaps(0.0).of(modality, 3, 1000).any()
    assert gaps(1.0).of(modality, 3, 1000).all()


def test_what_is_missing_at_a_lower_rate_is_missing_at_a_higher_one():
    for low, high in ((0.0, 0.1), (0.1, 0.4), (0.4, 0.9), (0.9, 1.0)):
        assert (gaps(low).of("a", 2, 500) <= gaps(high).of("a", 2, 500)).all()


def test_uniform_gives_each_clip_and_modality_a_rate_of_its_own():
    shares = np.array([[gaps("uniform").of(m, row, 500).mean() for m in "tva"] for row in range(400)])
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert np.quantile(shares, [0.1, 0.9]) == pytest.approx([0.1, 0.9], abs=0.04)
    assert np.abs(np.corrcoef(shares.T) - np.eye(3)).max() < 0.15


def test_a_share_of_the_clips_stays_whole_in_each_modality():
    whole = np.array([[not gaps(0.9, whole=0.3).of(m, row, 200).any() for m in "tva"] for row in range(1000)])
    assert whole.mean(axis=0) == pytest.approx([0.3] * 3, abs=0.05)
    assert whole.all(axis=1).mean() == pytest.approx(0.3**3, abs=0.03)


def test_another_key_clip_or_modality_has_other_gaps():
    found = {
        gaps(0.5, key).of(modality, row, 64).tobytes()
        for key in ("mosi/test/1", "mosi/test/2", "mosi/valid/1", "mosei/test/1")
        for modality in "tva"
        for row in (0, 1)
    }
    assert len(found) == 4 * 3 * 2


def test_the_numbers_are_the_same_on_every_machine_and_in_every_version():
    """Whatever was measured once can be measured again."""
    assert np.flatnonzero(gaps().of("t", 0, 12)).tolist() == FIRST["t"]
    assert np.flatnonzero(gaps().of("a", 5, 12)).tolist() == FIRST["a"]


# --- in text --------------------------------------------------------------------------------------------------------


def test_missing_tokens_are_unknown_and_nothing_else_changes():
    tokens, marked = transcripts(), with_unknown(transcripts(), gaps())
    assert marked.lengths().tolist() == tokens.lengths().tolist()
    for row, (before, after) in enumerate(zip(tokens.ids, marked.ids, strict=True)):
        missing = gaps().of("t", row, len(before))
        missing[[0, -1]] = False
        assert np.array_equal(after == UNK, missing)
        assert np.array_equal(after[~missing], before[~missing])
    assert 0.3 < np.mean(marked.ids[2] == UNK) < 0.5


@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_what_the_tokenizer_puts_around_words_is_never_touched(rate):
    two_sentences = np.array([CLS, 7, SEP, MASK, 8, 9, SEP, PAD, PAD])
    tokens = Tokens([two_sentences] * 50, PAD, unknown=UNK, special=frozenset({PAD, CLS, SEP, MASK}))
    words = np.isin(two_sentences, [7, 8, 9])
    marked = np.array(with_unknown(tokens, gaps(rate)).ids)
    assert (marked[:, ~words] == two_sentences[~words]).all()
    assert (marked[:, words] == UNK).mean() == pytest.approx(rate, abs=0.15)


def test_padding_of_a_batch_is_padding_still():
    ragged = with_unknown(transcripts(), gaps(1.0)).collate(np.array([1, 0, 3]))
    for group in ragged.groups:
        assert (group.values[~group.mask()] == PAD).all()
        assert (group.values[group.mask()] != PAD).all()


def test_how_a_batch_is_filled_stays():
    marked = with_unknown(Tokens(transcripts().ids, PAD, waste=0.3, filled=950, unknown=UNK), gaps())
    assert (marked.waste, marked.filled, marked.padding) == (0.3, 950, PAD)


def test_a_tokenizer_without_unknown_is_told():
    with pytest.raises(Inapplicable, match="no token for what is unknown"):
        with_unknown(Tokens(transcripts().ids, PAD), gaps())


# --- in frames ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", "va")
def test_missing_frames_are_zero_and_lengths_stay(modality):
    source = Frames(split_of(LENGTHS), modality, 3)
    zeroed = with_zeros(source, gaps())
    assert zeroed.lengths().tolist() == source.lengths().tolist() == list(LENGTHS)
    for row, length in enumerate(LENGTHS):
        before, after = (one.split.sequence(modality, row) for one in (source, zeroed))
        missing = gaps().of(modality, row, length)
        assert after.dtype == np.float32 and after.shape == before.shape
        assert (after[missing] == 0).all()
        assert np.array_equal(after[~missing], before[~missing])
        assert (before != 0).all()


def test_a_stored_clip_itself_is_not_changed():
    source = frames()
    before = source.split.sequence("a", 2).copy()
    with_zeros(source, gaps(1.0)).split.sequence("a", 2)
    assert np.array_equal(source.split.sequence("a", 2), before)


def test_cutting_and_filling_up_go_on_as_before():
    zeroed = with_zeros(frames(longest=20, waste=0.5, padded=True), gaps())
    assert zeroed.lengths().tolist() == [20] * len(LENGTHS)
    cut = zeroed.collate(np.array([5])).groups[0].values[0].numpy()
    assert np.array_equal((cut == 0).all(1), gaps().of("a", 5, 900)[:20])


@pytest.mark.parametrize(
    "make", [lambda: with_unknown(transcripts(LENGTHS), gaps()), lambda: with_zeros(frames(), gaps())]
)
def test_batch_size_and_order_change_nothing(make):
    source, order = make(), list(range(len(LENGTHS)))
    together = rows(source, order, len(order))
    for other, size in ((order, 1), (order[::-1], 2), ([3, 5, 0, 2, 4, 1], 4)):
        assert rows(source, other, size) == together


def test_options_say_what_they_are():
    assert MissingOptions() == MissingOptions("uniform", 0.0)
    with pytest.raises(ValueError, match=r"rate: 1.5 is neither uniform nor in \(0, 1\)"):
        MissingOptions(1.5)
    with pytest.raises(ValueError, match=r"whole: 1 is not in \[0, 1\)"):
        MissingOptions(whole=1)
