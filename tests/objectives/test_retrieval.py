"""Rankings small enough to check by hand, and a plain loop over every row beside the vectorised search."""

import pytest
import torch

from dmmsa_cli.objectives.retrieval import Pools, draw, retrieve

ANGLES = torch.tensor([0.0, 10.0, 25.0, 60.0, 100.0, 170.0]).deg2rad()
SIX = torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)  # cosine falls with the angle between two rows
LABELS = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, -1.0])


def kept(pools, row):
    """The three pools of a row, without what fills them up."""
    return [pools.rows[row, kind, : pools.sizes[row, kind]].tolist() for kind in range(3)]


def test_by_hand():
    pools = retrieve(SIX, LABELS, searched=1.0, pool=10)
    # From 0 degrees: 1 (10), 2 (25), 3 (60), 4 (100), 5 (170).
    assert kept(pools, 0) == [[1, 3], [5, 4, 2], [2, 4, 5]]
    # From 60 degrees: 2 (35), 4 (40), 1 (50), 0 (60), 5 (110).
    assert kept(pools, 3) == [[1, 0], [5, 4, 2], [2, 4, 5]]


def test_the_published_codes_ranks_by_hand():
    pools = retrieve(SIX, LABELS, searched=1.0, pool=10, as_released=True)
    # The ranking of row 0, itself included: 0 1 2 3 4 5; labels 1 1 0 1 0 -1. Rank 0 equals the row's index and is
    # left out. The far end is read from rank -1 to rank -5; a rank k is kept as the row k.
    assert kept(pools, 0) == [[1, 3], [5, 4, 2], [2, 4, 5]]
    # Row 3 ranks 3 2 4 1 0 5; labels 1 0 0 1 1 -1. Rank 3 equals the row's index, although it stands for row 1, and
    # rank 0, the row itself, counts as a neighbour of the same label. Far: ranks -1 -4 -5 are rows 5 2 1.
    assert kept(pools, 3) == [[0, 4], [5, 2, 1], [1, 2, 5]]


def test_only_the_searched_ends_are_taken():
    pools = retrieve(SIX, LABELS, searched=0.5, pool=10)  # three rows at each end
    assert kept(pools, 0) == [[1, 3], [5, 4], [2]]
    assert kept(pools, 3) == [[1], [5], [2, 4]]


def test_the_pool_keeps_the_first():
    assert kept(retrieve(SIX, LABELS, searched=1.0, pool=2), 0) == [[1, 3], [5, 4], [2, 4]]


def test_where_an_end_has_none_the_rest_of_the_ranking_follows_and_then_any_label():
    pools = retrieve(SIX, LABELS, searched=1 / 6, pool=10)  # one row at each end
    # The nearest of row 3 has another label: its like stand further off. The farthest of row 5 is 0, of another label.
    assert kept(pools, 3) == [[1, 0], [5], [2]]
    # Nobody has the label of row 5: the nearest, whatever their label.
    assert kept(pools, 5)[0] == [4, 3, 2, 1, 0]


def test_too_few_candidates_are_counted():
    # Rows 2 and 4 have one row of their label each, row 5 has none.
    assert retrieve(SIX, LABELS, searched=1.0, pool=10).shortages.tolist() == [2, 1]


def by_loop(embeddings, labels, searched, pool, as_released):
    """What the published code does, told as a loop; and what it means to do."""
    unit = torch.nn.functional.normalize(embeddings, dim=-1)
    total, found = len(unit), []
    window = int(total * searched)
    for i in range(total):
        ranking = (unit @ unit[i]).argsort(descending=True).tolist()
        if as_released:
            near = [(rank, ranking[rank]) for rank in range(window) if rank != i]
            far = [(total - rank, ranking[-rank]) for rank in range(1, window)]
        else:
            others = [row for row in ranking if row != i]
            near, far = ([(row, row) for row in end[:window]] for end in (others, others[::-1]))
        same = {True: lambda row, i=i: labels[row] == labels[i], False: lambda row, i=i: labels[row] != labels[i]}
        kinds = [(near, True), (far, False), (near, False)]
        found.append([[index for index, row in end if same[like](row)][:pool] for end, like in kinds])
    return found


@pytest.mark.parametrize("as_released", [False, True])
@pytest.mark.parametrize("searched", [1.0, 0.5])
def test_as_a_loop_over_the_rows_finds_them(as_released, searched):
    generator = torch.Generator().manual_seed(3)
    embeddings = torch.randn(90, 7, generator=generator, dtype=torch.float64).float()
    labels = torch.randint(-3, 4, (90,), generator=generator).float()
    pools = retrieve(embeddings, labels, searched=searched, pool=10, as_released=as_released, chunk=32)
    wanted = by_loop(embeddings, labels, searched, 10, as_released)
    assert all(len(part) for row in wanted for part in row)
    assert [kept(pools, row) for row in range(90)] == wanted


def test_neighbours_of_the_same_label_have_it_and_the_published_codes_do_not():
    generator = torch.Generator().manual_seed(5)
    embeddings, labels = torch.randn(300, 8, generator=generator), torch.randint(-3, 4, (300,), generator=generator)
    share = {}
    for as_released in (False, True):
        like = retrieve(embeddings, labels, searched=1.0, pool=10, as_released=as_released).rows[:, 0]
        share[as_released] = float((labels[like] == labels.unsqueeze(1)).float().mean())
    assert share[False] == 1.0
    assert share[True] < 0.3  # one in seven is chance


def test_chunks_change_nothing():
    generator = torch.Generator().manual_seed(1)
    embeddings, labels = torch.randn(70, 5, generator=generator), torch.randint(0, 3, (70,), generator=generator)
    whole, pieces = (retrieve(embeddings, labels, searched=0.3, pool=4, chunk=chunk) for chunk in (70, 16))
    assert whole.rows.equal(pieces.rows)
    assert whole.sizes.equal(pieces.sizes)
    assert whole.shortages.equal(pieces.shortages)


def test_two_different_rows_are_drawn_where_there_are_two():
    rows = torch.arange(12).view(1, 3, 4).repeat(500, 1, 1)
    rows[:, 2] = rows[:, 2, :1]
    pools = Pools(rows, torch.tensor([4, 2, 1]).repeat(500, 1), torch.zeros(2))
    drawn = draw(pools).view(500, 3, 2)
    assert (drawn[:, :2, 0] != drawn[:, :2, 1]).all()
    assert set(drawn[:, 0].flatten().tolist()) == {0, 1, 2, 3}
    assert set(drawn[:, 1].flatten().tolist()) == {4, 5}
    assert set(drawn[:, 2].flatten().tolist()) == {8}


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("as_released", [False, True])
def test_the_smallest_splits_have_companions_too(rows, as_released):
    pools = retrieve(torch.randn(rows, 4), torch.arange(rows), searched=0.1, pool=5, as_released=as_released)
    drawn = draw(pools)
    assert drawn.shape == (rows, 6)
    assert drawn.min() >= 0 and drawn.max() < rows
