"""Low-rank experts against the same written one expert, one clip and one position at a time."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dmmsa_cli.data.ragged import Padded
from dmmsa_cli.layers.experts import ExpertBlock

WIDTH, TASKS, RANKS = 8, ("one", "two"), (2, 3, 5, 1)


def block(active=len(RANKS), ranks=RANKS, seed=0, **more):
    torch.manual_seed(seed)
    made = ExpertBlock(WIDTH, TASKS, ranks=ranks, task_rank=3, active=active, **more)
    for parameter in made.parameters():  # biases too: a block new has none
        nn.init.normal_(parameter, std=0.5)
    return made.double().eval()


def sequence(lengths=(5, 2, 1), extra=0, seed=1):
    """Blocks (B, T, w) of clips, 0 behind the end of each, and their mask."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(len(lengths), max(lengths), WIDTH, generator=generator, dtype=torch.float64)
    block = Padded(F.pad(values, (0, 0, 0, extra)), torch.tensor(lengths))
    return block.values * block.mask().unsqueeze(-1), block.mask()


def expert(made, number):
    """The two kernels of a shared expert, as convolutions have them: (r, d, 3), (r,), (d, r), (d,)."""
    start, rank = sum(made.ranks[:number]), made.ranks[number]
    part = slice(start, start + rank)
    return kernel(made.down.weight[part]), made.down.bias[part], made.up[:, part], made.bias[number]


def kernel(weight):
    """Of a product with neighbours side by side, (r, 3 d), the kernel of the convolution that it is, (r, d, 3)."""
    return weight.unflatten(1, (3, WIDTH)).mT


def slow_expert(x, kernel, bias, back, last):
    """Of one clip (d, T), position by position: what lies outside is 0."""
    outside = torch.zeros(WIDTH, 1, dtype=x.dtype)
    padded = torch.cat([outside, x, outside], dim=1)
    hidden = [
        torch.stack([(kernel[r] * padded[:, t : t + 3]).sum() + bias[r] for r in range(len(kernel))])
        for t in range(x.shape[1])
    ]
    return torch.stack([back @ h + last for h in hidden], dim=1)


def slow_gates(router, x):
    """Of one clip (d, T), over its real positions."""
    values = []
    for position in x.T:
        hidden = router.first.weight @ position + router.first.bias
        hidden = F.gelu(F.layer_norm(hidden, hidden.shape, router.norm.weight, router.norm.bias, router.norm.eps))
        values.append(router.second.weight @ hidden + router.second.bias)
    mean = torch.stack(values).mean(0)
    exponents = (router.out.weight @ mean + router.out.bias).float().exp()
    return exponents / exponents.sum()


def slow(made, task, x, active):
    """Equation 1 for one clip (d, T)."""
    gates = slow_gates(made.routers[task], x)
    chosen = sorted(range(len(gates)), key=lambda n: -gates[n])[:active]
    shared = sum(gates[n] * slow_expert(x, *expert(made, n)) for n in chosen)
    first, second = made.own[task]
    return shared + slow_expert(x, kernel(first.weight), first.bias, second.weight, second.bias)


@pytest.mark.parametrize("active", [1, 2, 4])
def test_equation_1(active):
    made, (one, mask), (two, _) = block(active), sequence(), sequence(seed=2)
    found = made({"one": one, "two": two}, mask)
    for task, x in (("one", one), ("two", two)):
        for row, length in enumerate(mask.sum(1).tolist()):
            expected = slow(made, task, x[row, :length].T, active).T
            torch.testing.assert_close(found[task][row, :length], expected, rtol=1e-6, atol=1e-6)
            assert not found[task][row, length:].any()


def test_more_padding_changes_nothing():
    made = block(active=2)
    (x, mask), (longer, more) = sequence(), sequence(extra=3)
    found, again = made(dict.fromkeys(TASKS, x), mask), made(dict.fromkeys(TASKS, longer), more)
    for task in TASKS:
        torch.testing.assert_close(again[task][:, : x.shape[1]], found[task])


def test_an_expert_is_one_convolution_with_the_product_of_its_two_kernels():
    made, (x, mask) = block(ranks=(3,), active=1), sequence(lengths=(5,))
    weight, bias, back, last = expert(made, 0)
    whole, columns = torch.einsum("or,rdk->odk", back, weight), x.mT
    first, second = made.own["one"]
    own = F.conv1d(columns, torch.einsum("or,rdk->odk", second.weight, kernel(first.weight)), padding=1)
    own = own + (second.weight @ first.bias + second.bias)[None, :, None]
    expected = (F.conv1d(columns, whole, padding=1) + (back @ bias + last)[None, :, None] + own).mT
    torch.testing.assert_close(made({"one": x, "two": x}, mask)["one"], expected)


def test_with_equal_gates_and_all_active_it_is_the_mean_of_experts_as_wide_as_the_input():
    made, (x, mask) = block(ranks=(WIDTH,) * 3, active=3), sequence(lengths=(4,))
    for router in made.routers.values():
        nn.init.zeros_(router.out.weight)
        nn.init.zeros_(router.out.bias)
    for parameter in made.own.parameters():
        nn.init.zeros_(parameter)
    mean = torch.stack([slow_expert(x[0].T, *expert(made, n)) for n in range(3)]).mean(0).T
    torch.testing.assert_close(made({"one": x, "two": x}, mask)["one"][0], mean, rtol=1e-6, atol=1e-6)


def test_the_order_of_the_experts_does_not_matter():
    made, (x, mask) = block(active=2, ranks=(2,) * 4), sequence()
    found, order = made(dict.fromkeys(TASKS, x), mask), torch.tensor([2, 0, 3, 1])
    rows = (2 * order.unsqueeze(1) + torch.arange(2)).flatten()
    with torch.no_grad():
        made.down.weight.copy_(made.down.weight[rows])
        made.down.bias.copy_(made.down.bias[rows])
        made.up.copy_(made.up[:, rows])
        made.bias.copy_(made.bias[order])
        for router in made.routers.values():
            router.out.weight.copy_(router.out.weight[order])
            router.out.bias.copy_(router.out.bias[order])
    again = made(dict.fromkeys(TASKS, x), mask)
    for task in TASKS:
        torch.testing.assert_close(again[task], found[task], rtol=1e-6, atol=1e-6)


def test_all_active_is_no_choice_at_all():
    (x, mask), every, more = sequence(), block(active=4), block(active=5)
    for task in TASKS:
        torch.testing.assert_close(*(made(dict.fromkeys(TASKS, x), mask)[task] for made in (every, more)))


def test_the_gates_of_the_others_are_not_scaled_up():
    made, (x, mask) = block(active=2), sequence()
    gates = made.routers["one"](x, mask, 0.0)
    kept = made.kept(gates)
    assert ((kept > 0).sum(1) == 2).all()
    assert (kept.sum(1) < 1).all()
    torch.testing.assert_close(kept.amax(1), gates.amax(1))


def test_gradient_reaches_just_the_active_experts_of_a_clip_and_only_the_task_s_own_parts():
    made, (x, mask) = block(active=2), sequence(lengths=(5,))
    made(dict.fromkeys(TASKS, x), mask)["one"].square().sum().backward()
    chosen = set(made.routers["one"](x, mask, 0.0)[0].topk(2).indices.tolist())
    reached = {n for n, gradient in enumerate(made.bias.grad) if gradient.any()}
    assert reached == chosen
    starts = [sum(RANKS[:n]) for n in range(len(RANKS))]
    for n, (start, rank) in enumerate(zip(starts, RANKS, strict=True)):
        part = slice(start, start + rank)
        assert [bool(made.down.weight.grad[part].any()), bool(made.up.grad[:, part].any())] == [n in chosen] * 2
    for kind in (made.own, made.routers):
        assert all(parameter.grad.any() for parameter in kind["one"].parameters())
        assert all(parameter.grad is None for parameter in kind["two"].parameters())


def test_both_tasks_reach_the_shared_experts():
    made, (x, mask) = block(), sequence()
    gradients = {}
    for task in TASKS:
        made.zero_grad()
        made(dict.fromkeys(TASKS, x), mask)[task].square().sum().backward()
        gradients[task] = made.up.grad.clone()
    assert all(gradient.any() for gradient in gradients.values())
    assert not torch.equal(*gradients.values())


@pytest.mark.parametrize(("rank", "counted"), [(64, 4_125_022), (128, 7_075_102)])
def test_parameters_of_a_block_of_the_paper_s_size(rank, counted):
    with torch.device("meta"):
        made = ExpertBlock(768, TASKS, ranks=(rank,) * 15, task_rank=128, active=11)
    norms = sum(p.numel() for router in made.routers.values() for p in router.norm.parameters())
    assert norms == 2 * 384
    assert sum(p.numel() for p in made.parameters()) == counted + norms


def test_what_low_ranks_save_is_what_the_paper_says():
    """5.7 times fewer parameters and 5.9 times fewer operations than experts 768 -> 768 -> 768 (section III-B)."""
    with torch.device("meta"):
        low, standard = (ExpertBlock(768, TASKS, ranks=(rank,) * 15, task_rank=rank, active=15) for rank in (128, 768))
    counts = [sum(p.numel() for p in made.parameters()) for made in (low, standard)]
    assert round(counts[1] / counts[0], 1) == 5.7
    # Of the products of a position: either task passes all experts and its own, as in the paper's second block.
    assert round(operations(standard) / operations(low), 1) == 5.9


def operations(made):
    """Multiplications with weights of a block whose tasks have inputs of their own, a position."""
    kernels = [made.down.weight.numel(), made.up.numel()]
    shared = len(TASKS) * sum(kernels)
    own = sum(p.numel() for p in made.own.parameters() if p.ndim > 1)
    routers = sum(r.first.weight.numel() + r.second.weight.numel() for r in made.routers.values())
    return shared + own + routers


def test_noise_moves_a_router_in_training_alone():
    made, (x, mask) = block(active=2, noise=5.0), sequence()
    inputs = dict.fromkeys(TASKS, x)
    assert torch.equal(made(inputs, mask)["one"], made(inputs, mask)["one"])
    made.train()
    assert not torch.equal(made(inputs, mask)["one"], made(inputs, mask)["one"])
    quiet = block(active=2).train()
    assert torch.equal(quiet(inputs, mask)["one"], quiet(inputs, mask)["one"])


def test_an_input_that_tasks_share_passes_the_shared_experts_once():
    made, (x, mask) = block(), sequence()
    passed = []
    made.down.register_forward_hook(lambda *_: passed.append(1))
    alike = made(dict.fromkeys(TASKS, x), mask)
    assert len(passed) == 1
    apart = made({"one": x, "two": x.clone()}, mask)
    assert len(passed) == 3
    for task in TASKS:
        torch.testing.assert_close(alike[task], apart[task])
