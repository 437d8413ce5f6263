"""Every rule that weighs tasks against the formulas of its paper, written out slowly."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmmsa_cli.errors import InvalidRecipe
from dmmsa_cli.models.base import Outputs
from dmmsa_cli.objectives.weighted import WeightedTasks
from dmmsa_cli.objectives.weighting import WEIGHTINGS
from dmmsa_cli.objectives.weighting.base import Task
from dmmsa_cli.objectives.weighting.by_gradient import gramian, jacobian
from dmmsa_cli.recipe import Choice

TASKS = ("uni", "cl")
HISTORY = [(0.8, 1.4), (0.5, 1.3), (0.4, 0.9), (0.45, 0.3), (0.1, 0.2), (0.0, 0.1)]
LOSSES = st.floats(0.0, 1e3).filter(lambda loss: loss == 0 or loss > 1e-3)
SOLVED = ("upgrad", "pcgrad", "mgda", "cagrad")
BY_GRADIENT = ("gradnorm", *SOLVED)
TRAINED = ("uw", "imtl_l", "gradnorm")


def make(name, tasks=TASKS, classes=(), **options):
    chosen = Choice(name, WEIGHTINGS[name].Options(**options))
    return WeightedTasks([Task(task, classes=task in classes) for task in tasks], chosen)


def features_of(batch=5, seed=0):
    """What a model gives; each of three losses below looks at both features, and they conflict."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(batch, 3, generator=generator).requires_grad_() for name in ("T_s", "A_d")}


def losses_of(features, tasks=TASKS):
    """Losses above 0 that depend on the features, some of them on one only."""
    first, second = features.values()
    made = [
        (first - 1).square().mean() + 0.3,
        (first + 2).square().mean() + second.square().mean(),
        second.exp().mean(),
    ]
    return dict(zip(tasks, made, strict=False))


def step(weighted, features, tasks=TASKS):
    """A step's total."""
    weighted.look_at(Outputs(torch.zeros(1), features))
    return weighted.total(losses_of(features, tasks))


def gradients(features, tasks=TASKS):
    """Each task's gradient at all features, one after the other, (K, n), by central differences."""
    flat = torch.cat([x.detach().flatten() for x in features.values()]).double()
    shapes = [x.shape for x in features.values()]

    def value(vector, task):
        parts = vector.split([shape.numel() for shape in shapes])
        return losses_of(dict(zip(features, map(torch.reshape, parts, shapes), strict=True)), tasks)[task].item()

    rows = []
    for task in tasks:
        steps = 1e-5 * torch.eye(len(flat), dtype=torch.float64)
        rows.append([(value(flat + one, task) - value(flat - one, task)) / 2e-5 for one in steps])
    return np.array(rows)


# --- rules that look at epochs ---------------------------------------------------------------------------------------


def slow_gdwg(history, temperature):
    """Weights of every epoch 1 .. len(history) + 1."""
    tasks = len(history[0])
    weights = [[1 / tasks] * tasks]
    for epoch in range(2, len(history) + 2):
        last, first = history[epoch - 2], history[0]
        ratios = [1.0 if b == 0 else a / b for a, b in zip(last, first, strict=True)]
        raised = [math.exp(ratio / temperature) for ratio in ratios]
        weights.append([value / sum(raised) for value in raised])
    return weights


def slow_dwa(history, temperature):
    tasks = len(history[0])
    weights = [[1.0] * tasks] * 2
    for epoch in range(3, len(history) + 2):
        last, before = history[epoch - 2], history[epoch - 3]
        ratios = [1.0 if b == 0 else a / b for a, b in zip(last, before, strict=True)]
        raised = [math.exp(ratio / temperature) for ratio in ratios]
        weights.append([tasks * value / sum(raised) for value in raised])
    return weights


def run(history, name="gdwg", tasks=TASKS, **options):
    weighted = make(name, tasks, **options)
    weights = [list(weighted.current().values())]
    for losses in history:
        weighted.epoch_end(dict(zip(tasks, losses, strict=True)))
        weights.append(list(weighted.current().values()))
    return weights


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_every_epochs_weights(temperature):
    for said, slow in zip(run(HISTORY, temperature=temperature), slow_gdwg(HISTORY, temperature), strict=True):
        assert said == pytest.approx(slow, abs=1e-6)


@given(history=st.lists(st.tuples(LOSSES, LOSSES, LOSSES), min_size=5, max_size=8))
def test_any_history_of_three_tasks(history):
    bounds = [50 * first or math.inf for first in history[0]]  # what math.exp can raise
    history = [tuple(map(min, row, bounds)) for row in history]
    for said, slow in zip(run(history, tasks=("a", "b", "c")), slow_gdwg(history, 1.0), strict=True):
        assert said == pytest.approx(slow, abs=1e-4)
        assert sum(said) == pytest.approx(1)


def test_the_first_unequal_weights_are_the_third_epochs():
    weights = run(HISTORY)
    assert weights[0] == weights[1] == [0.5, 0.5]
    assert weights[2][0] != weights[2][1]
    assert weights[2][1] > weights[2][0]  # contrast has come down less, and so weighs more


def test_a_first_loss_of_zero_weighs_as_if_nothing_had_changed():
    weights = run([(0.0, 1.0), (0.7, 0.5), (0.0, 2.0)])
    e = math.e
    assert weights[2] == pytest.approx([e / (e + math.exp(0.5)), math.exp(0.5) / (e + math.exp(0.5))], abs=1e-6)
    assert weights[3] == pytest.approx([e / (e + e**2), e**2 / (e + e**2)], abs=1e-6)
    assert all(math.isfinite(value) for name in ("gdwg", "dwa") for row in run([(0.0, 0.0)] * 4, name) for value in row)


def test_a_first_loss_that_is_tiny_is_still_what_counts():
    history = [(1e-6, 1.0), (2e-6, 0.5)]
    assert run(history)[2] == pytest.approx(slow_gdwg(history, 1.0)[2], abs=1e-6)


def test_one_task_always_weighs_one():
    assert run([(0.3,), (0.1,), (5.0,)], tasks=("uni",)) == [[1.0]] * 4


@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("total", [None, 1.0, 3.0])
def test_dwa_looks_at_the_last_two_epochs(temperature, total):
    said = run(HISTORY, "dwa", temperature=temperature, sum=total)
    for weights, slow in zip(said, slow_dwa(HISTORY, temperature), strict=True):
        scale = 1 if total is None else total / 2
        assert weights == pytest.approx([scale * value for value in slow], abs=1e-6)


@pytest.mark.parametrize("tasks", [("uni",), ("uni", "cl"), ("a", "b", "c")])
def test_equal_weights_stay(tasks):
    history = [tuple(0.1 * (epoch + place + 1) for place in range(len(tasks))) for epoch in range(5)]
    assert run(history, "equal", tasks) == [pytest.approx([1 / len(tasks)] * len(tasks))] * 6
    assert run(history, "equal", tasks, sum=None) == [[1.0] * len(tasks)] * 6
    assert run(history, "equal", tasks, sum=3.0) == [pytest.approx([3 / len(tasks)] * len(tasks))] * 6


def test_fixed_weights_are_the_recipes_and_what_it_does_not_name_weighs_one():
    given = {"cl": 0.1, "absent": 5.0}
    assert run(HISTORY, "fixed", weights=given) == [pytest.approx([1.0, 0.1])] * 7
    assert run(HISTORY, "fixed", weights=given, sum=1.0) == [pytest.approx([1 / 1.1, 0.1 / 1.1])] * 7


@pytest.mark.parametrize("name", ["gdwg", "dwa"])
@pytest.mark.parametrize("known", range(4))
def test_the_state_goes_through_a_checkpoint(name, known):
    """Wherever it is taken, what follows is as if nothing had happened."""
    rule, again = (make(name) for _ in range(2))
    for losses in HISTORY[:known]:
        rule.epoch_end(dict(zip(TASKS, losses, strict=True)))
    again.load_state_dict({key: value.clone() for key, value in rule.state_dict().items()})
    for losses in HISTORY[known:]:
        for either in (rule, again):
            either.epoch_end(dict(zip(TASKS, losses, strict=True)))
        assert again.current() == rule.current()
    assert again.current() == dict(zip(TASKS, run(HISTORY, name)[-1], strict=True))


# --- all rules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tasks", [("a",), ("a", "b"), ("a", "b", "c")], ids=len)
@pytest.mark.parametrize("total", [0.5, 1.0])
@pytest.mark.parametrize("name", WEIGHTINGS)
def test_weights_add_up_to_the_sum_at_every_step(name, total, tasks):
    torch.manual_seed(0)
    weighted, features = make(name, tasks, sum=total), features_of()
    for epoch in range(4):
        weighted.epoch_end({task: 1 + epoch * place for place, task in enumerate(tasks)})
        step(weighted, features, tasks)
        weights = list(weighted.current().values())
        assert sum(weights) == pytest.approx(total, abs=1e-5)
        assert all(weight >= 0 for weight in weights)


@pytest.mark.parametrize("total", [None, 1.0])
@pytest.mark.parametrize("name", WEIGHTINGS)
def test_the_network_gets_the_gradient_of_the_sum_under_detached_weights(name, total):
    torch.manual_seed(3)
    tasks = ("a", "b", "c")
    weighted, features = make(name, tasks, sum=total), features_of()
    for epoch in range(3):  # by then those that look at epochs have unequal weights
        weighted.epoch_end(dict(zip(tasks, (1.0, 1.0 - 0.3 * epoch, 2.0), strict=True)))
    step(weighted, features, tasks).backward()
    weights = weighted.current()
    plain = features_of()
    sum(weights[task] * loss for task, loss in losses_of(plain, tasks).items()).backward()
    for name_of, x in features.items():
        torch.testing.assert_close(x.grad, plain[name_of].grad, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_a_task_that_is_not_weighed_weighs_one(name):
    weighted, features = make(name), features_of()
    main = torch.tensor(7.0, requires_grad=True)
    losses = losses_of(features)
    weighted.look_at(Outputs(torch.zeros(1), features))
    weighted.total({"msr": main} | losses).backward()
    assert main.grad.item() == 1.0


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_without_a_task_there_is_nothing_to_weigh(name):
    weighted = make(name, ())
    weighted.epoch_end({"msr": 1.0})
    weighted.check()
    assert weighted.current() == {}
    assert weighted.learning_rate == 0
    assert weighted.total({"msr": torch.tensor(2.0), "msc": torch.tensor(1.0)}).item() == 3.0


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_only_what_is_trained_has_parameters_and_a_rate(name):
    weighted = make(name)
    assert bool(list(weighted.parameters())) == (name in TRAINED)
    assert weighted.learning_rate == (0.025 if name in TRAINED else 0)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_the_log_of_weights_that_change_at_every_step_is_their_mean_over_the_epoch(name):
    if not WEIGHTINGS[name].changes or name in ("gdwg", "dwa"):
        return
    torch.manual_seed(0)
    weighted, seen = make(name), []
    for seed in range(4):
        before = weighted.rule.sums.clone()
        step(weighted, features_of(seed=seed))
        seen.append((weighted.rule.sums - before).tolist())
        for parameter in weighted.parameters():
            parameter.data += torch.randn(len(TASKS))
        if seed == 2:
            assert list(weighted.current().values()) == pytest.approx(np.mean(seen, axis=0), abs=1e-6)
            weighted.epoch_end({"uni": 1.0, "cl": 1.0})
    assert list(weighted.current().values()) == pytest.approx(seen[-1], abs=1e-6)  # a new epoch, a new mean
    assert len({round(weights[0], 4) for weights in seen}) > 1


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_features_are_kept_only_from_the_losses_to_the_total_and_only_where_they_are_needed(name):
    weighted, features = make(name), features_of()
    weighted.look_at(Outputs(torch.zeros(1), features))
    assert len(weighted._features) == (2 if name in BY_GRADIENT else 0)
    weighted.total(losses_of(features))
    held = [value for module in weighted.modules() for value in vars(module).values()]
    tensors = [x for value in held for x in (value if isinstance(value, tuple) else (value,))]
    assert not [x for x in tensors if isinstance(x, torch.Tensor)]
    assert not [buffer for buffer in weighted.buffers() if buffer.requires_grad]


# --- rules that look at a step ----------------------------------------------------------------------------------------


def test_random_weights_are_the_softmax_of_the_generators_normal_numbers():
    torch.manual_seed(5)
    drawn = torch.randn(2, 2).double()
    expected = (drawn.exp() / drawn.exp().sum(1, keepdim=True)).mean(0)
    torch.manual_seed(5)
    weighted, features = make("rlw", sum=None), features_of()
    for _ in range(2):
        step(weighted, features)
    assert list(weighted.current().values()) == pytest.approx(expected.tolist(), abs=1e-6)


def test_the_geometric_mean_has_its_own_gradient():
    """That of (prod L)^(1/K), which autograd takes of the definition."""
    tasks = ("a", "b", "c")
    features, plain = features_of(), features_of()
    step(make("gls", tasks, sum=None), features, tasks).backward()
    (math.prod(losses_of(plain, tasks).values()) ** (1 / 3)).backward()
    for name in features:
        torch.testing.assert_close(features[name].grad, plain[name].grad)


def test_a_loss_of_zero_has_a_geometric_mean():
    losses = {"uni": torch.tensor(0.0, requires_grad=True), "cl": torch.tensor(1.0, requires_grad=True)}
    total = make("gls").total(losses)
    total.backward()
    assert all(torch.isfinite(loss.grad) for loss in losses.values())


def joint(name, losses, parameters, classes):
    """What the paper minimises by network and weights together."""
    if name == "imtl_l":
        return sum(s.exp() * loss - s for loss, s in zip(losses, parameters, strict=True))
    total = 0.0
    for loss, eta, task in zip(losses, parameters, ("a", "b", "c"), strict=True):
        sigma = (eta / 2).exp()
        total = total + loss / (sigma**2 if task in classes else 2 * sigma**2) + sigma.log()
    return total


@pytest.mark.parametrize("name", ["uw", "imtl_l"])
def test_trained_weights_and_the_network_get_the_gradients_of_the_papers_sum(name):
    """Without a fixed sum, over steps of plain descent."""
    tasks, classes = ("a", "b", "c"), ("b",)
    weighted, features, plain = make(name, tasks, classes, sum=None), features_of(), features_of()
    (own,) = weighted.parameters()
    expected = torch.zeros(3, requires_grad=True)
    for _ in range(4):
        own.grad = expected.grad = None
        for x in (*features.values(), *plain.values()):
            x.grad = None
        step(weighted, features, tasks).backward()
        joint(name, list(losses_of(plain, tasks).values()), expected, classes).backward()
        torch.testing.assert_close(own.grad, expected.grad)
        for key in features:
            torch.testing.assert_close(features[key].grad, plain[key].grad)
        with torch.no_grad():
            own -= 0.3 * own.grad
            expected -= 0.3 * expected.grad
    assert own.abs().min() > 0.01


@pytest.mark.parametrize("name", TRAINED)
def test_a_fixed_sum_leaves_the_rules_own_gradient_alone(name):
    found = []
    for total in (None, 1.0, 0.1):
        weighted, features = make(name, ("a", "b", "c"), ("b",), sum=total), features_of()
        step(weighted, features, ("a", "b", "c")).backward()
        (own,) = weighted.parameters()
        found.append(own.grad)
    assert found[0].abs().max() > 0
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])


# --- rules that look at gradients -------------------------------------------------------------------------------------


def test_the_jacobian_is_each_losses_gradient_at_all_features():
    tasks = ("a", "b", "c")
    features = features_of()
    losses = torch.stack(list(losses_of(features, tasks).values()))
    found = jacobian(losses, tuple(features.values()))
    assert found.dtype == torch.float32
    assert found.numpy() == pytest.approx(gradients(features, tasks), abs=1e-4)
    assert not found.requires_grad
    losses.sum().backward()  # the graph is still there


def test_a_loss_that_does_not_look_at_a_feature_has_no_gradient_there():
    features = features_of()
    only = torch.stack([features["T_s"].sum(), features["A_d"].sum()])
    found = jacobian(only, tuple(features.values()))
    assert found.tolist() == [[1.0] * 15 + [0.0] * 15, [0.0] * 15 + [1.0] * 15]


def test_features_in_bfloat16_have_a_jacobian_in_float32():
    x = torch.randn(4, 3).bfloat16().requires_grad_()
    assert jacobian((x.float() * 2).sum().unsqueeze(0), (x,)).dtype == torch.float32


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.5])
def test_gradnorm_trains_its_weights_on_the_papers_loss(alpha):
    """By central differences of equation 2 over s, its targets held fixed, in the first step and a later one."""
    tasks = ("a", "b", "c")
    weighted = make("gradnorm", tasks, alpha=alpha, sum=None)
    (own,) = weighted.parameters()
    first = [loss.item() for loss in losses_of(features_of(), tasks).values()]

    def paper(s, norms, losses, fixed):
        shares = np.exp(s) / np.exp(s).sum()
        sizes = 3 * shares * norms
        ratios = np.array([now / before for now, before in zip(losses, first, strict=True)])
        targets = sizes.mean() * (ratios / ratios.mean()) ** alpha
        return np.abs(sizes - (targets if fixed is None else fixed)).sum(), targets

    for seed in (0, 1, 2):
        features, own.grad = features_of(seed=seed), None
        losses = [loss.item() for loss in losses_of(features, tasks).values()]
        norms = np.linalg.norm(gradients(features, tasks), axis=1)
        step(weighted, features, tasks).backward()
        s = own.detach().double().numpy()
        _, fixed = paper(s, norms, losses, None)
        slope = [
            (paper(s + d, norms, losses, fixed)[0] - paper(s - d, norms, losses, fixed)[0]) / 2e-5
            for d in 1e-5 * np.eye(3)
        ]
        assert own.grad.tolist() == pytest.approx(slope, rel=1e-3, abs=1e-4)
        with torch.no_grad():
            own -= 0.5 * own.grad
    assert own.abs().max() > 0.01


def test_gradnorm_gives_equal_gradients_where_all_learn_alike():
    """With alpha 0, weights go to where all w_k ||grad L_k|| are the same."""
    tasks = ("a", "b", "c")
    weighted, features = make("gradnorm", tasks, alpha=0.0, sum=None), features_of()
    optimiser = torch.optim.SGD(weighted.parameters(), lr=0.01)
    norms = np.linalg.norm(gradients(features, tasks), axis=1)
    for _ in range(2000):
        optimiser.zero_grad()
        step(weighted, features, tasks).backward()
        optimiser.step()
    weighted.epoch_end(dict.fromkeys(tasks, 1.0))
    step(weighted, features, tasks)
    weights = np.array(list(weighted.current().values()))
    assert weights * norms == pytest.approx([(weights * norms).mean()] * 3, rel=0.05)
    assert weights.sum() == pytest.approx(3)


def linear(name, rows, tasks=("a", "b", "c"), scale=1.0, **options):
    """The weights that a rule gives to losses with these gradients, at its own scale."""
    rows = torch.tensor(rows, dtype=torch.float32)
    x = torch.zeros(1, rows.shape[1], requires_grad=True)
    tasks = tasks[: len(rows)]
    weighted = make(name, tasks, sum=None, **options)
    weighted.look_at(Outputs(torch.zeros(1), {"x": x}))
    weighted.total({task: 1.0 + scale * (row * x).sum() for task, row in zip(tasks, rows, strict=True)})
    return np.array(list(weighted.current().values()))


def slow_pcgrad(rows, orders):
    """Algorithm 1, on the vectors themselves: the sum of the projected gradients."""
    total = np.zeros(rows.shape[1])
    for i, order in enumerate(orders):
        own = rows[i].astype(float)
        for j in order:
            if j != i and own @ rows[j] < 0:
                own = own - (own @ rows[j]) / (rows[j] @ rows[j]) * rows[j]
        total += own
    return total


def slow_upgrad(rows):
    """The mean of the gradients' projections onto {u: rows u >= 0}, each found over all sets of active conditions."""

    def project(vector):
        best = None
        for size in range(len(rows) + 1):
            for active in map(list, itertools.combinations(range(len(rows)), size)):
                a = rows[active]
                found = vector - a.T @ np.linalg.pinv(a @ a.T) @ (a @ vector) if active else vector
                distance = np.linalg.norm(found - vector)
                if (rows @ found >= -1e-9).all() and (best is None or distance < best[0]):
                    best = distance, found
        return best[1]

    return np.mean([project(row.astype(float)) for row in rows], axis=0)


def grid(count, steps):
    """All points of the simplex on a grid."""
    ends = itertools.product(range(steps + 1), repeat=count - 1)
    return np.array([[*end, steps - sum(end)] for end in ends if sum(end) <= steps]) / steps


CONFLICT = [[1.0, 0.0], [-1.0, 1.0]]
THREE = [[1.0, 0.2, 0.0], [-0.8, 1.0, 0.3], [0.1, -0.9, 1.0]]
AGREEING = [[1.0, 0.5], [0.5, 1.0]]


@pytest.mark.parametrize("rows", [CONFLICT, THREE, AGREEING])
def test_upgrad_projects_each_gradient_onto_what_no_task_opposes(rows):
    weights, rows = linear("upgrad", rows), np.array(rows)
    assert weights @ rows == pytest.approx(slow_upgrad(rows), abs=2e-3)  # the solver adds 1e-4 to the diagonal
    assert (rows @ (weights @ rows) > -1e-3).all()


def test_upgrad_of_two_that_conflict_is_known():
    """g1 = (1, 0) loses what opposes g2 = (-1, 1): (1/2, 1/2); g2 likewise: (0, 1); their mean is (1/4, 3/4)."""
    assert linear("upgrad", CONFLICT) @ np.array(CONFLICT) == pytest.approx([0.25, 0.75], abs=1e-3)
    assert linear("upgrad", AGREEING) == pytest.approx([0.5, 0.5], abs=1e-3)


@pytest.mark.parametrize("rows", [CONFLICT, THREE, AGREEING])
def test_pcgrad_takes_from_each_gradient_what_opposes_another(rows):
    torch.manual_seed(4)
    orders = [torch.randperm(len(rows)).tolist() for _ in rows]
    torch.manual_seed(4)
    weights, rows = linear("pcgrad", rows), np.array(rows)
    assert weights @ rows == pytest.approx(slow_pcgrad(rows, orders), abs=1e-5)


def test_pcgrad_of_two_that_conflict_is_known():
    assert linear("pcgrad", CONFLICT) @ np.array(CONFLICT) == pytest.approx([0.5, 1.5], abs=1e-5)
    assert linear("pcgrad", AGREEING) == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("rows", [CONFLICT, THREE, AGREEING])
def test_mgda_is_the_shortest_vector_of_the_hull(rows):
    weights, rows = linear("mgda", rows), np.array(rows)
    shortest = np.linalg.norm(grid(len(rows), 200) @ rows, axis=1).min()
    assert np.linalg.norm(weights @ rows) == pytest.approx(shortest, rel=0.02)
    assert weights.sum() == pytest.approx(1)


def test_mgda_of_two_that_conflict_is_known():
    """|w g1 + (1 - w) g2| is least at w = g2.(g2 - g1) / |g1 - g2|^2 = 3/5."""
    assert linear("mgda", CONFLICT) == pytest.approx([0.6, 0.4], abs=1e-4)


@pytest.mark.parametrize("c", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("rows", [CONFLICT, THREE, AGREEING])
def test_cagrad_helps_the_worst_task_most_near_the_mean_gradient(rows, c):
    """Over a grid of the simplex: w of the dual problem, and from it the step."""
    weights, rows = linear("cagrad", rows, c=c), np.array(rows)
    mean, points = rows.mean(0), grid(len(rows), 300)
    steps = points @ rows
    costs = steps @ mean + c * np.linalg.norm(mean) * np.linalg.norm(steps, axis=1)
    worst = points[costs.argmin()] @ rows
    expected = mean + c * np.linalg.norm(mean) / np.linalg.norm(worst) * worst
    assert weights @ rows == pytest.approx(expected, abs=0.02)
    assert np.linalg.norm(weights @ rows - mean) == pytest.approx(c * np.linalg.norm(mean), abs=1e-4)


def test_cagrad_takes_no_step_where_no_direction_helps_all():
    assert linear("cagrad", [[1.0, 0.0], [-1.0, 0.0]]).tolist() == [0.0, 0.0]
    features = {"x": torch.zeros(1, 1, requires_grad=True)}
    weighted = make("cagrad")  # and its sum stays 0: nothing can be scaled to 1
    weighted.look_at(Outputs(torch.zeros(1), features))
    weighted.total({"uni": features["x"].sum(), "cl": -features["x"].sum()})
    assert list(weighted.current().values()) == [0.0, 0.0]


@pytest.mark.parametrize("name", SOLVED)
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_scale_of_gradients_does_not_matter(name, scale):
    """Solvers take what is smaller than their epsilon for nothing, and a batch's mean has small gradients."""
    torch.manual_seed(1)
    expected = linear(name, THREE)
    torch.manual_seed(1)
    assert linear(name, THREE, scale=scale) == pytest.approx(expected, rel=1e-3)


def test_the_gramian_has_a_trace_of_one_but_where_there_is_no_gradient():
    features = features_of()
    found = gramian(torch.stack(list(losses_of(features).values())), tuple(features.values()))
    rows = gradients(features)
    assert found.numpy() == pytest.approx(rows @ rows.T / np.trace(rows @ rows.T), abs=1e-5)
    nothing = torch.stack([0 * features["T_s"].sum()] * 2)
    assert gramian(nothing, tuple(features.values())).tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("name", BY_GRADIENT)
def test_where_no_task_has_a_gradient_weights_are_finite(name):
    assert np.isfinite(linear(name, [[0.0, 0.0], [0.0, 0.0]])).all()


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_without_torchjd_its_rules_say_how_to_get_it_and_the_others_do_not_need_it(name, monkeypatch):
    def nothing(module):
        raise ModuleNotFoundError(f"No module named {module!r}")

    monkeypatch.setattr("dmmsa_cli.objectives.weighting.by_gradient.import_module", nothing)
    weighted = make(name)  # a finished run is evaluated without it
    if name not in SOLVED:
        weighted.check()
        return
    with pytest.raises(
        InvalidRecipe, match=f"weighting {WEIGHTINGS[name].title} .*No module named 'torchjd"
    ) as missing:
        weighted.check()
    assert "pip install 'dmmsa[weighting]'" in missing.value.remedy


@pytest.mark.parametrize("name", SOLVED)
def test_with_torchjd_its_rules_are_ready(name):
    make(name).check()


@pytest.mark.parametrize("name", BY_GRADIENT)
def test_training_that_has_diverged_is_left_for_the_loop_to_tell(name):
    """A solver would end in an error of its own."""
    features = features_of()
    with torch.no_grad():
        features["T_s"][0, 0] = torch.nan
    assert step(make(name), features).isnan()


def test_fixed_weights_that_are_all_0_cannot_be_made_to_add_up():
    with pytest.raises(ValueError, match="sum: weights that are all 0"):
        make("fixed", weights={"uni": 0.0, "cl": 0.0}, sum=1.0)
