"""The loop on a small synthetic regression: it learns, keeps the right epoch, and goes on bit for bit after a stop."""

import gc
import json
import os
import signal
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dmmsa_cli.data.options import Capabilities
from dmmsa_cli.data.sequences import Tokens
from dmmsa_cli.data.views import View
from dmmsa_cli.errors import Interrupted, RunMismatch, TrainingDiverged
from dmmsa_cli.models.base import Outputs
from dmmsa_cli.models.feature_decomposition import FeatureDecomposition
from dmmsa_cli.models.unimodal import Unimodal
from dmmsa_cli.objectives.auxiliary import Enabled
from dmmsa_cli.objectives.dmmsa import Dmmsa, DmmsaOptions, UnimodalOptions
from dmmsa_cli.objectives.regression import Regression, RegressionOptions
from dmmsa_cli.objectives.weighting import WEIGHTINGS
from dmmsa_cli.recipe import Choice
from dmmsa_cli.training.fit import Progress, fit
from dmmsa_cli.training.inference import Survey, predict
from dmmsa_cli.training.loop import EpochEnd, StepEnd, Training, train
from dmmsa_cli.training.run import RunFolder, save_tensors
from dmmsa_cli.training.schedule import Schedule, TextPretraining

CPU = torch.device("cpu")
ROWS, SIZE, STEPS = 26, 8, 4  # the last batch of an epoch is smaller
ALL = Capabilities(("t", "v", "a"), 3.0, "mosi")


def view():
    """Embeddings of three modalities from which the labels follow."""
    generator = torch.Generator().manual_seed(0)
    inputs = {m: torch.randn(ROWS, 16, generator=generator) for m in "tva"}
    labels = {m: x[:, 0] for m, x in inputs.items()}
    labels["y"] = (labels["t"] + 0.5 * labels["v"]).clamp(-3, 3)
    return View(inputs, labels, np.arange(ROWS))


def schedule(**more):
    return Schedule(**{"learning_rate": 3e-3, "batch_size": SIZE, "epochs": 4, "weight_averaging": 0.9} | more)


def dmmsa(plan, seed=1, dropout=0.3, options=None):
    """DMMSA's network with dropout, and its objective, with GDWG by default."""
    torch.manual_seed(seed)
    objective = Dmmsa(ALL, options or DmmsaOptions())
    model = FeatureDecomposition({}, dict.fromkeys("tva", 16), objective.heads, width=16, projector_dropout=dropout)
    return Training(model, objective, plan, device=CPU, precision="float32")


def batches(epoch):
    return view().shuffled(SIZE, seed=1, epoch=epoch, window=2)


def mae(model):
    said = predict(model, view(), batch_size=64, device=CPU, precision="float32").scores
    return {"mae": float(np.abs(said - view().labels["y"].numpy()).mean())}


def nothing(event, progress):
    pass


def run_fit(state, folder, identity="r", watch=nothing, evaluate=mae, **more):
    return fit(state, RunFolder(folder), identity=identity, batches=batches, evaluate=evaluate, watch=watch, **more)


def scores(*values):
    """An evaluation that says these, epoch by epoch."""
    left = iter(values)
    return lambda model: {"mae": next(left)}


# --- learning --------------------------------------------------------------------------------------------------------


def test_the_loss_falls_and_the_best_weights_are_kept(tmp_path):
    state = dmmsa(schedule(epochs=20, learning_rate=1e-2, weight_averaging=None), dropout=0.0)
    before = mae(state.model)["mae"]
    summary = run_fit(state, tmp_path)
    log = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert log[-1]["losses"]["msr"] < 0.5 * log[0]["losses"]["msr"]
    assert summary["validation"]["mae"] < 0.6 * before
    assert summary["validation"]["mae"] == min(line["validation"]["mae"] for line in log)
    best = dmmsa(schedule())
    RunFolder(tmp_path).load_weights(best.model)
    assert mae(best.model) == summary["validation"]
    assert not (tmp_path / "checkpoint.safetensors").exists()
    assert RunFolder(tmp_path).finished


def test_every_step_and_every_epoch_is_told(tmp_path):
    told = []
    run_fit(dmmsa(schedule(epochs=2)), tmp_path, watch=lambda event, progress: told.append(event))
    steps = [(event.epoch, event.step, event.steps) for event in told if isinstance(event, StepEnd)]
    assert steps == [(epoch, step, STEPS) for epoch in (1, 2) for step in range(1, STEPS + 1)]
    assert [event.epoch for event in told if isinstance(event, EpochEnd)] == [1, 2]


def test_an_epochs_loss_is_the_mean_over_its_rows():
    """Not over its batches, of which the last is smaller."""
    state = dmmsa(schedule(epochs=1, learning_rate=1e-12), dropout=0.0)
    objective, model = state.objective, state.model
    (epoch,) = [event for event in train(state, batches=batches, evaluate=mae) if isinstance(event, EpochEnd)]
    with torch.no_grad():
        batch = view().batch(np.arange(ROWS))
        whole = objective(model.eval()(batch), batch)
    assert epoch.losses == pytest.approx({task: loss.item() for task, loss in whole.items()}, rel=1e-5)


def test_the_weights_in_the_log_are_those_in_force_during_the_epoch():
    state = dmmsa(schedule(epochs=4))
    epochs = [event for event in train(state, batches=batches, evaluate=mae) if isinstance(event, EpochEnd)]
    assert epochs[0].weights == epochs[1].weights == {"uni": 0.5, "cl": 0.5}
    ratios = {task: epochs[1].losses[task] / epochs[0].losses[task] for task in ("uni", "cl")}
    raised = {task: np.exp(ratio) for task, ratio in ratios.items()}
    expected = {task: value / sum(raised.values()) for task, value in raised.items()}
    assert epochs[2].weights == pytest.approx(expected, abs=1e-6)
    assert epochs[2].weights["uni"] != epochs[2].weights["cl"]


def test_the_same_seed_gives_the_same_weights_and_another_one_does_not(tmp_path):
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        run_fit(dmmsa(schedule(epochs=2), seed=seed), tmp_path / name)
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("one", "two", "three")]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_what_is_validated_is_the_average_of_the_weights():
    state = dmmsa(schedule(epochs=1, weight_averaging=0.5), dropout=0.0)
    names = dict(state.model.named_parameters())
    average, steps = None, 0
    for event in train(state, batches=batches, evaluate=mae):
        if isinstance(event, StepEnd):
            now, steps = {name: p.detach().clone() for name, p in names.items()}, steps + 1
            average = now if average is None else {n: 0.5 * average[n] + 0.5 * now[n] for n in now}
    assert steps == STEPS
    for name, parameter in state.evaluated.named_parameters():
        torch.testing.assert_close(parameter.detach(), average[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("decay", [0.9, 0.3])
def test_an_average_that_warms_up_forgets_its_beginning(decay):
    state = dmmsa(schedule(epochs=2, weight_averaging=decay, averaging_warmup=True), dropout=0.0)
    names = dict(state.model.named_parameters())
    average, steps = None, 0
    for event in train(state, batches=batches, evaluate=mae):
        if isinstance(event, StepEnd):
            now = {name: p.detach().clone() for name, p in names.items()}
            share = min(decay, (1 + steps) / (10 + steps))
            average = now if average is None else {n: share * average[n] + (1 - share) * now[n] for n in now}
            steps += 1
    for name, parameter in state.evaluated.named_parameters():
        torch.testing.assert_close(parameter.detach(), average[name], atol=1e-6, rtol=0)


# --- the best epoch --------------------------------------------------------------------------------------------------


def test_a_tie_goes_to_the_earlier_epoch(tmp_path):
    summary = run_fit(dmmsa(schedule(epochs=5)), tmp_path, evaluate=scores(0.9, 0.7, 0.7, 0.8, 0.7))
    assert summary["best_epoch"] == 2
    log = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["best"] for line in log] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("patience", "said", "epochs", "best"),
    [
        (1, (0.9, 0.8, 0.8, 0.1), 3, 2),
        (2, (0.9, 0.8, 0.85, 0.81, 0.1), 4, 2),
        (2, (0.9, 0.8, 0.85, 0.7, 0.9, 0.9), 6, 4),
        (None, (0.1, 0.8, 0.8, 0.8, 0.8, 0.8), 6, 1),
    ],
)
def test_patience_counts_epochs_without_a_better_one(tmp_path, patience, said, epochs, best):
    plan = schedule(epochs=6, patience=patience)
    summary = run_fit(dmmsa(plan), tmp_path, evaluate=scores(*said))
    assert (summary["epochs"], summary["best_epoch"]) == (epochs, best)


def test_no_epoch_before_the_first_candidate_is_the_best_or_uses_up_patience(tmp_path):
    said = (0.1, 0.2, 0.3, 0.9, 0.8, 0.85, 0.86, 0.1)
    summary = run_fit(dmmsa(schedule(epochs=8, patience=2)), tmp_path, evaluate=scores(*said), first_candidate=4)
    assert (summary["best_epoch"], summary["epochs"]) == (5, 7)


def test_progress_counts_from_where_candidates_begin():
    assert Progress().waited(first_candidate=4) <= 0


# --- resuming --------------------------------------------------------------------------------------------------------


def stop_at(epoch, step=None):
    """Ask to stop, as Ctrl-C does: after a step, or after an epoch."""

    def watch(event, progress):
        there = isinstance(event, EpochEnd) if step is None else isinstance(event, StepEnd) and event.step == step
        if there and event.epoch == epoch:
            os.kill(os.getpid(), signal.SIGTERM)

    return watch


def result(folder):
    """All that a run leaves, but for the time that it took."""
    log = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((folder / "summary.json").read_text())
    return (
        (folder / "weights.safetensors").read_bytes(),
        [{key: value for key, value in line.items() if key != "seconds"} for line in log],
        {key: value for key, value in summary.items() if key != "seconds"},
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    state = dmmsa(schedule())
    run_fit(state, folder)
    return result(folder), state.tensors()


STOPS = [(epoch, step) for epoch in (1, 2, 4) for step in (1, 2, STEPS, None)]


@pytest.mark.parametrize(("epoch", "step"), STOPS)
def test_a_run_that_was_stopped_ends_where_the_uninterrupted_one_ends(tmp_path, uninterrupted, epoch, step):
    with pytest.raises(Interrupted, match=f"epoch {epoch} of 4"):
        run_fit(dmmsa(schedule()), tmp_path, watch=stop_at(epoch, step))
    torch.manual_seed(999)  # a new process has other random numbers in its generators
    state = dmmsa(schedule(), seed=7)
    run_fit(state, tmp_path)
    assert result(tmp_path) == uninterrupted[0]
    assert state.tensors().keys() == uninterrupted[1].keys()
    assert all(torch.equal(value, uninterrupted[1][name]) for name, value in state.tensors().items())


def test_a_run_can_be_stopped_again_and_again(tmp_path, uninterrupted):
    stops = [(1, 1), (1, 3), (2, None), (3, 2), (3, STEPS), (4, 1)]
    for number, (epoch, step) in enumerate(stops, start=1):
        with pytest.raises(Interrupted):
            run_fit(dmmsa(schedule(), seed=number), tmp_path, watch=stop_at(epoch, step))
    run_fit(dmmsa(schedule(), seed=99), tmp_path)
    assert result(tmp_path) == uninterrupted[0]


def test_without_averaging_too(tmp_path):
    plan = schedule(weight_averaging=None)
    run_fit(dmmsa(plan), tmp_path / "one")
    with pytest.raises(Interrupted):
        run_fit(dmmsa(plan), tmp_path / "two", watch=stop_at(2, 2))
    run_fit(dmmsa(plan, seed=3), tmp_path / "two")
    assert result(tmp_path / "two") == result(tmp_path / "one")


def test_what_counts_the_steps_stays_where_the_optimiser_counts_them():
    """An optimiser that is not fused counts on the CPU, wherever its moments lie."""
    model = torch.nn.Linear(2, 1, bias=False).to("meta")
    state = Training(
        model,
        Regression(ALL, RegressionOptions()),
        schedule(weight_averaging=None),
        device=torch.device("meta"),
        precision="float32",
    )
    state._load_optimiser({"0/step": torch.tensor(3.0), "0/exp_avg": torch.zeros(1, 2)}, {})
    (found,) = state.optimiser.state.values()
    assert {key: value.device.type for key, value in found.items()} == {"step": "cpu", "exp_avg": "meta"}
    assert found["step"] == 3


class Killed(Exception):
    """Stands in for a kill: nothing is saved after it."""


def killed_after(epoch, step):
    def watch(event, progress):
        if isinstance(event, StepEnd) and (event.epoch, event.step) == (epoch, step):
            raise Killed

    return watch


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_run_that_was_killed_ends_where_the_uninterrupted_one_ends(tmp_path, uninterrupted, epoch):
    with pytest.raises(Killed):
        run_fit(dmmsa(schedule()), tmp_path, watch=killed_after(epoch, 2))
    assert (tmp_path / "checkpoint.safetensors").exists() == (epoch > 1)
    # Without a checkpoint a run begins anew, from its own seed; with one, whatever the generators held is replaced.
    run_fit(dmmsa(schedule(), seed=1 if epoch == 1 else 7), tmp_path)
    assert result(tmp_path) == uninterrupted[0]


def test_a_checkpoint_is_written_where_it_is_worth_its_cost(tmp_path, monkeypatch):
    """A clock of our own: an epoch takes fifteen seconds, writing its state two."""
    now, written = [0.0], []

    def write(run, tensors, facts):
        written.append(facts["counters"]["epoch"])
        now[0] += 2

    def epoch(model):
        now[0] += 15
        return {"mae": 1.0}

    monkeypatch.setattr("dmmsa_cli.training.fit.time.monotonic", lambda: now[0])
    monkeypatch.setattr(RunFolder, "save_checkpoint", write)
    run_fit(dmmsa(schedule(epochs=8)), tmp_path, evaluate=epoch)
    assert written == [1, 4, 7]  # then after forty seconds; after the last epoch nobody would read it
    written.clear()
    with pytest.raises(Interrupted):
        run_fit(dmmsa(schedule(epochs=8)), tmp_path / "stopped", evaluate=epoch, watch=stop_at(3))
    assert written == [1, 3]  # whoever is asked to stop loses nothing


def test_best_weights_and_checkpoint_are_of_one_moment(tmp_path, monkeypatch):
    """A run that goes on with other bits may never be as good again as it was after its checkpoint."""
    now = [0.0]

    def slow(run, tensors, facts):
        now[0] += 2
        save(run, tensors, facts)

    def epoch(model):
        now[0] += 15
        return {"mae": 1 - now[0] / 1000}

    save = RunFolder.save_checkpoint
    monkeypatch.setattr("dmmsa_cli.training.fit.time.monotonic", lambda: now[0])
    monkeypatch.setattr(RunFolder, "save_checkpoint", slow)
    with pytest.raises(Killed):
        run_fit(dmmsa(schedule(epochs=8)), tmp_path, evaluate=epoch, watch=killed_after(3, 2))
    weights = load_file(tmp_path / "weights.safetensors")
    checkpoint = load_file(tmp_path / "checkpoint.safetensors")
    assert all(weights[name].equal(checkpoint[f"average/module.{name}"]) for name in weights)
    run_fit(dmmsa(schedule(epochs=8)), tmp_path, evaluate=scores(*[1.0] * 7))
    assert json.loads((tmp_path / "summary.json").read_text())["best_epoch"] == 1
    assert all(weights[name].equal(value) for name, value in load_file(tmp_path / "weights.safetensors").items())


def test_a_run_killed_after_its_patience_ended_does_not_go_on(tmp_path):
    plan = schedule(epochs=6, patience=1)
    with pytest.raises(Interrupted):
        run_fit(dmmsa(plan), tmp_path, evaluate=scores(0.5, 0.6), watch=stop_at(2))
    summary = run_fit(dmmsa(plan), tmp_path, evaluate=scores())
    assert (summary["best_epoch"], summary["epochs"]) == (1, 2)


def test_a_log_ahead_of_its_checkpoint_is_cut_back(tmp_path, uninterrupted):
    with pytest.raises(Interrupted):
        run_fit(dmmsa(schedule()), tmp_path, watch=stop_at(2))
    checkpoint = (tmp_path / "checkpoint.safetensors").read_bytes()
    with pytest.raises(Interrupted):
        run_fit(dmmsa(schedule()), tmp_path, watch=stop_at(3))
    (tmp_path / "checkpoint.safetensors").write_bytes(checkpoint)
    run_fit(dmmsa(schedule()), tmp_path)
    assert result(tmp_path) == uninterrupted[0]


def test_the_signals_handlers_come_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted):
        run_fit(dmmsa(schedule()), tmp_path, watch=stop_at(1, 1))
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.parametrize("accumulate", [2, 3])
@pytest.mark.parametrize("leftover", ["step", "drop"])
@pytest.mark.parametrize("step", [1, 2, 3, STEPS])
def test_gradients_that_wait_for_a_step_are_kept(tmp_path, accumulate, leftover, step):
    more = {"accumulate": accumulate, "leftover": leftover, "clip_value": 0.1, "optimiser": "adam"}
    plan = schedule(**more, decay="plateau", plateau_patience=1)
    bad = (0.5, 0.6, 0.7, 0.8)
    run_fit(dmmsa(plan), tmp_path / "one", evaluate=scores(*bad))
    with pytest.raises(Interrupted):
        run_fit(dmmsa(plan), tmp_path / "two", evaluate=scores(*bad), watch=stop_at(4, step))
    run_fit(dmmsa(plan, seed=3), tmp_path / "two", evaluate=scores(bad[-1]))
    assert result(tmp_path / "two") == result(tmp_path / "one")


def by_rule(name, weighted="auxiliary"):
    """DMMSA's objective with more to weigh, by any rule."""
    rule = Choice(name, WEIGHTINGS[name].Options())
    return DmmsaOptions(weighting=rule, weighted=weighted, polarity=Enabled(), uni=UnimodalOptions(each=True))


@pytest.mark.parametrize(("epoch", "step"), [(1, 2), (2, None), (3, 3)])
@pytest.mark.parametrize("name", WEIGHTINGS)
def test_a_run_under_any_rule_goes_on_bit_for_bit(tmp_path, name, epoch, step):
    """Random draws, histories, trained weights and what the optimiser knows of them travel in the checkpoint."""
    plan, options = schedule(accumulate=3, clip_value=0.01), by_rule(name, "all")
    whole = dmmsa(plan, options=options)
    run_fit(whole, tmp_path / "one")
    with pytest.raises(Interrupted):
        run_fit(dmmsa(plan, options=options), tmp_path / "two", watch=stop_at(epoch, step))
    torch.manual_seed(999)
    state = dmmsa(plan, seed=7, options=options)
    run_fit(state, tmp_path / "two")
    assert result(tmp_path / "two") == result(tmp_path / "one")
    expected = whole.tensors()
    assert state.tensors().keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in state.tensors().items())
    log = [json.loads(line) for line in (tmp_path / "one" / "metrics.jsonl").read_text().splitlines()]
    weights = [list(line["weights"].values()) for line in log]
    total = len(weights[0]) if name == "fixed" else 1.0
    assert [sum(row) for row in weights] == pytest.approx([total] * 4, abs=1e-5)
    assert (weights[0] != weights[3]) == WEIGHTINGS[name].changes


@pytest.mark.parametrize("leftover", ["step", "drop"])
@pytest.mark.parametrize("name", ["uw", "imtl_l", "gradnorm"])
def test_trained_weights_wait_for_their_step_with_the_model(tmp_path, name, leftover):
    """Batches that are dropped move neither; weights have their own rate, no decay, and are not clipped."""
    plan = schedule(accumulate=3, leftover=leftover, epochs=1, warmup_epochs=0, clip_norm=1e-9, decay="none")
    state = dmmsa(plan, options=by_rule(name))
    (own,) = state.objective.parameters()
    moved, gradients = [], []
    for event in train(state, batches=batches, evaluate=mae):
        if isinstance(event, StepEnd):
            moved.append(own.detach().clone())
            gradients.append(own.grad.clone())
    assert not moved[0].any() and not moved[1].any()
    assert moved[2].abs().max().item() == pytest.approx(0.025, rel=1e-3)  # AdamW's first step is the rate's length
    assert gradients[2].abs().max() > 1e-6  # longer than any gradient of the model may be
    assert torch.equal(moved[3], moved[2]) == (leftover == "drop")


def test_the_objectives_parameters_are_the_last_group_of_the_optimiser():
    state = dmmsa(schedule(weight_decay=0.1), options=by_rule("uw"))
    *model, own = state.optimiser.param_groups
    assert own["params"] == list(state.objective.parameters())
    assert (own["peak"], own["weight_decay"], own["of_model"]) == (0.025, 0.0, False)
    assert all(group["of_model"] for group in model)
    assert [group["of_model"] for group in dmmsa(schedule()).optimiser.param_groups] == [True, True]


@pytest.mark.parametrize("name", ["rlw", "gradnorm", "upgrad"])
def test_nothing_of_a_steps_graph_outlives_it(name):
    state = dmmsa(schedule(epochs=1), options=by_rule(name))
    kept = []
    look = state.objective.weighting.look_at

    def looked_at(outputs):
        kept.extend(map(weakref.ref, outputs.features.values()))
        look(outputs)

    state.objective.weighting.look_at = looked_at
    for _ in train(state, batches=batches, evaluate=mae):
        gc.collect()
        assert [ref for ref in kept if ref() is not None] == []
    assert len(kept) == 6 * STEPS


def test_generators_of_the_runs_own_device_are_put_back(tmp_path, monkeypatch):
    with pytest.raises(Interrupted):
        run_fit(dmmsa(schedule()), tmp_path, watch=stop_at(1, 2))
    told = []
    monkeypatch.setattr("dmmsa_cli.training.loop.restore_random_state", lambda state, device: told.append(device))
    state = dmmsa(schedule())
    run_fit(state, tmp_path)
    assert told == [state.device]


def test_outside_the_main_thread_signals_are_left_to_whoever_began_it(tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with ThreadPoolExecutor(1) as pool:
        summary = pool.submit(run_fit, dmmsa(schedule(epochs=1)), tmp_path).result()
    assert summary["epochs"] == 1
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


# --- checkpoints that do not fit -------------------------------------------------------------------------------------


@pytest.fixture
def stopped(tmp_path):
    with pytest.raises(Interrupted):
        run_fit(dmmsa(schedule()), tmp_path, watch=stop_at(1, 2))
    return tmp_path


def test_a_checkpoint_of_another_run_is_refused(stopped):
    before = (stopped / "checkpoint.safetensors").read_bytes()
    with pytest.raises(RunMismatch, match="is of another run") as refused:
        run_fit(dmmsa(schedule()), stopped, identity="another")
    assert "--force" in refused.value.remedy
    assert (stopped / "checkpoint.safetensors").read_bytes() == before


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b"nonsense", lambda b: b[:100], lambda b: b[:-20]])
def test_a_damaged_checkpoint_is_refused_in_words(stopped, damage):
    path = stopped / "checkpoint.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunMismatch, match=r"checkpoint\.safetensors is damaged"):
        run_fit(dmmsa(schedule()), stopped)


def test_a_file_that_is_no_checkpoint_is_refused_in_words(stopped):
    save_tensors(stopped / "checkpoint.safetensors", {"x": torch.zeros(2)}, {})
    with pytest.raises(RunMismatch):
        run_fit(dmmsa(schedule()), stopped)


@pytest.mark.parametrize("part", ["model/", "average/", "random/", "objective/"])
def test_a_checkpoint_that_lacks_a_part_is_refused_in_words(stopped, part):
    run = RunFolder(stopped)
    checkpoint = run.load_checkpoint()
    kept = {name: value for name, value in checkpoint.tensors.items() if not name.startswith(part)}
    run.save_checkpoint(kept, checkpoint.facts)
    with pytest.raises(RunMismatch, match="does not fit"):
        run_fit(dmmsa(schedule()), stopped)


def test_a_checkpoint_of_another_network_is_refused_in_words(stopped):
    objective = Regression(ALL, RegressionOptions())
    model = FeatureDecomposition({}, dict.fromkeys("tva", 16), objective.heads, width=32, projector_dropout=0.3)
    state = Training(model, objective, schedule(), device=CPU, precision="float32")
    with pytest.raises(RunMismatch, match="does not fit"):
        run_fit(state, stopped)


# --- divergence ------------------------------------------------------------------------------------------------------


class Explodes(torch.nn.Module):
    """Predicts something that is no number once `after` batches have been seen."""

    def __init__(self, after):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.left = after

    def forward(self, batch):
        self.left -= 1
        return Outputs(self.weight.expand(len(batch)) * (float("nan") if self.left < 0 else 1.0))


@pytest.mark.parametrize("after", [0, STEPS - 1])
def test_a_loss_that_is_no_number_ends_the_training_in_words(tmp_path, after):
    state = Training(Explodes(after), Regression(ALL, RegressionOptions()), schedule(), device=CPU, precision="float32")
    with pytest.raises(TrainingDiverged, match="Epoch 1: the loss of regression") as diverged:
        run_fit(state, tmp_path)
    assert "learning rate" in diverged.value.remedy
    assert not (tmp_path / "weights.safetensors").exists()
    assert not RunFolder(tmp_path).finished


def test_a_divergence_in_a_later_epoch_leaves_the_best_weights_of_the_earlier_ones(tmp_path):
    state = Training(
        Explodes(2 * STEPS), Regression(ALL, RegressionOptions()), schedule(), device=CPU, precision="float32"
    )
    with pytest.raises(TrainingDiverged, match="Epoch 3"):
        run_fit(state, tmp_path, evaluate=scores(0.5, 0.6))
    assert load_file(tmp_path / "weights.safetensors")["weight"].isfinite().all()


def test_a_run_that_diverged_says_so_until_it_begins_again(tmp_path):
    run = RunFolder(tmp_path)
    state = Training(
        Explodes(2 * STEPS), Regression(ALL, RegressionOptions()), schedule(), device=CPU, precision="float32"
    )
    assert run.diverged == ""
    with pytest.raises(TrainingDiverged):
        run_fit(state, tmp_path, evaluate=scores(0.5, 0.6))
    assert json.loads((tmp_path / "diverged.json").read_text())["epoch"] == 3
    assert run.diverged.startswith("Epoch 3: the loss of regression")
    run.begin("", {})
    assert run.diverged == ""
    (tmp_path / "diverged.json").write_text("[]")
    assert "damaged" in run.diverged
    run.clear()
    assert run.diverged == ""


# --- frozen encoder --------------------------------------------------------------------------------------------------


class Words(torch.nn.Module):
    """A text encoder: the mean of word vectors."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(12, 16)
        self.norm = torch.nn.LayerNorm(16)

    def forward(self, tokens):
        sums = [(self.table(group.values) * group.mask().unsqueeze(-1)).sum(1) for group in tokens.groups]
        return self.norm(torch.cat(sums)[tokens.places])


@pytest.mark.parametrize("averaging", [None, 0.9])
def test_an_encoder_that_is_bypassed_stays_bit_for_bit_until_it_is_not(tmp_path, averaging):
    """Text pretraining: embeddings of the untouched encoder reach the head in the first epochs, tokens after them."""
    torch.manual_seed(0)
    encoder, frozen = Words(), 2
    rng = np.random.default_rng(0)
    tokens = Tokens([rng.integers(1, 12, n % 5 + 1) for n in range(ROWS)], padding=0)
    late = View({"t": tokens}, {"y": view().labels["y"]}, np.arange(ROWS))
    with torch.no_grad():
        early = late.with_inputs(t=encoder(tokens.collate(np.arange(ROWS))))
    model = Unimodal({"t": encoder}, {"t": 16})
    objective = Regression(Capabilities(("t",), 3.0, "mosi"), RegressionOptions())
    plan = schedule(weight_averaging=averaging)
    state = Training(model, objective, plan, device=CPU, precision="float32")
    before = {name: value.clone() for name, value in state.evaluated.state_dict().items()}

    def planned(epoch):
        return (early if epoch <= frozen else late).shuffled(SIZE, seed=1, epoch=epoch)

    epochs = []
    for event in train(state, batches=planned, evaluate=lambda model: {"mae": 1.0}):
        if isinstance(event, EpochEnd):
            epochs.append(event.epoch)
            for model in (state.model, state.evaluated):
                moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
                assert any(name.startswith("head.") for name in moved)
                assert any(name.startswith("encoders.") for name in moved) == (event.epoch > frozen)
    assert epochs == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("share", "epochs", "frozen"), [(1 / 3, 150, 50), (1 / 3, 15, 5), (0, 7, 0), (0.34, 3, 1), (1 / 3, 1, 0)]
)
def test_frozen_epochs_are_a_share_of_all(share, epochs, frozen):
    plan = TextPretraining(learning_rate=1e-3, batch_size=8, epochs=epochs, frozen_share=share)
    assert plan.frozen_epochs == frozen


@pytest.mark.parametrize("share", [0.5, 0.75, 0.99])
def test_an_epoch_is_left_to_train_the_encoder_in(share):
    """Otherwise no epoch could be the best."""
    for epochs in range(1, 12):
        plan = TextPretraining(learning_rate=1e-3, batch_size=8, epochs=epochs, frozen_share=share)
        assert plan.frozen_epochs < epochs


# --- the log, and prediction -----------------------------------------------------------------------------------------


def test_the_log_has_the_rate_of_the_epochs_last_step():
    state = dmmsa(schedule(epochs=3, warmup_epochs=1))
    epochs = [event for event in train(state, batches=batches, evaluate=mae) if isinstance(event, EpochEnd)]
    expected = [3e-3 * schedule(epochs=3).factor(epoch * STEPS - 1, STEPS) for epoch in (1, 2, 3)]
    assert [event.learning_rate for event in epochs] == pytest.approx(expected)


@pytest.mark.parametrize("averaging", [None, 0.9])
def test_every_step_is_taken_at_the_rate_of_the_schedule(averaging):
    """Not only computed and logged: it is what the optimiser has."""
    plan = schedule(epochs=3, warmup_epochs=1, weight_averaging=averaging)
    state = dmmsa(plan)
    taken = []
    step = state.optimiser.step

    def watched():
        taken.append({group["lr"] for group in state.optimiser.param_groups})
        step()

    state.optimiser.step = watched
    assert len(list(train(state, batches=batches, evaluate=mae))) == 3 * STEPS + 3
    assert taken == [{3e-3 * plan.factor(number, STEPS)} for number in range(3 * STEPS)]
    assert len({rate for rates in taken for rate in rates}) > STEPS


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_prediction_does_not_depend_on_the_size_of_its_batches(batch_size):
    model = dmmsa(schedule()).model
    whole, parts = (
        predict(model, view(), batch_size=size, device=CPU, precision="float32") for size in (ROWS, batch_size)
    )
    np.testing.assert_allclose(parts.scores, whole.scores, atol=1e-6)
    assert parts.features == ["T_s", "V_s", "A_s", "T_d", "V_d", "A_d"]
    assert parts.heads["msc_3"].shape == (ROWS, 3)
    assert parts.heads["unimodal"].shape == (ROWS, 6, 1)


def test_prediction_tells_how_alike_features_are_on_average():
    model = dmmsa(schedule()).model.eval()
    found = predict(model, view(), batch_size=7, device=CPU, precision="float32")
    with torch.no_grad():
        features = model(view().batch(np.arange(ROWS))).features
    assert found.features == list(features)
    for one, first in enumerate(features.values()):
        for other, second in enumerate(features.values()):
            expected = torch.cosine_similarity(first, second, dim=-1).mean().item()
            assert found.cosine[one, other] == pytest.approx(expected, abs=1e-5)


def test_a_model_without_features_has_no_likeness_to_tell():
    found = predict(Explodes(9), view(), batch_size=64, device=CPU, precision="float32")
    assert (found.features, found.cosine) == ([], None)


class Lengths(torch.nn.Module):
    """An encoder of sequences into twice their lengths; in training mode into what is no number."""

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, sequences):
        lengths = torch.cat([group.lengths for group in sequences.groups])[sequences.places].float()
        return self.factor * lengths.unsqueeze(1) / (0.0 if self.training else 1.0)


def test_a_survey_of_the_training_split_has_no_gradients_and_no_dropout():
    model, rows = torch.nn.Module(), np.array([3, 1, 7])
    model.encoders = torch.nn.ModuleDict({"t": Lengths()})
    tokens = Tokens([np.arange(n % 5 + 1) for n in range(ROWS)], padding=0)
    found = Survey(model.train(), View({"t": tokens}, {}, rows), CPU, "float32", batch_size=2).embeddings()
    assert not found.requires_grad
    assert found.tolist() == [[2.0 * (row % 5 + 1)] for row in rows]


def test_seconds_are_told_to_the_millisecond():
    lines = [{"seconds": seconds, "validation": {"mae": 1.0}} for seconds in (0.1234, 10.2)]
    assert Progress(best_epoch=1, log=lines).summary()["seconds"] == 10.323


def test_prediction_of_no_rows_is_no_predictions():
    empty = View(view().inputs, {}, np.arange(0))
    assert predict(dmmsa(schedule()).model, empty, batch_size=8, device=CPU, precision="float32").scores.shape == (0,)
