"""Further tasks and other rules from the recipe to a finished run: what is refused, what predictions say of heads."""

import numpy as np
import pandas as pd
import pytest

from dmmsa_cli.errors import InvalidRecipe, RunMismatch
from dmmsa_cli.stages.evaluate import evaluate, find_runs
from tests.interception import no_training
from tests.training_runs import log, open_mini, run_fuse, weights

MANY = {"objective.polarity.enabled": True, "objective.intensity.enabled": True, "objective.uni.each": True}
SHORT = {"fusion.epochs": 2}


@pytest.mark.parametrize("rule", ["upgrad", "pcgrad", "mgda", "cagrad"])
def test_a_rule_whose_package_is_missing_is_refused_before_anything_is_trained(
    prepared, micro, tmp_path, monkeypatch, rule
):
    def nothing(module):
        raise ModuleNotFoundError(f"No module named {module!r}")

    monkeypatch.setattr("dmmsa_cli.objectives.weighting.by_gradient.import_module", nothing)
    experiment = open_mini(prepared, micro, tmp_path, **{"objective.weighting.name": rule})
    with no_training() as trainings, pytest.raises(InvalidRecipe, match="No module named 'torchjd") as refused:
        run_fuse(experiment)
    assert "pip install 'dmmsa[weighting]'" in refused.value.remedy
    assert trainings.given == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_run_of_an_older_dmmsa_with_the_former_key_is_told_the_new_one(prepared, micro, tmp_path):
    experiment = open_mini(prepared, micro, tmp_path)
    with no_training(finish=True):
        path = run_fuse(experiment).folder / "recipe.yaml"
    path.write_text(path.read_text().replace("  weighting:\n    name: gdwg\n", "  gdwg:\n    enabled: true\n"))
    with (
        no_training(),
        pytest.raises(RunMismatch, match=r"objective.gdwg: unknown key; it is `weighting: \{name: gdwg"),
    ):
        run_fuse(experiment)


@pytest.fixture(scope="module")
def measured(prepared, micro, tmp_path_factory):
    """A run with nine tasks under a rule that draws at random, and one of `multitask`, evaluated."""
    folder = tmp_path_factory.mktemp("many")
    nine = open_mini(prepared, micro, folder, **MANY, **SHORT, **{"objective.weighting.name": "rlw"})
    run_fuse(nine, "nine")
    run_fuse(open_mini(prepared, micro, folder, "objective=multitask", **SHORT), "multitask")
    outcome = evaluate(find_runs([], "mini", folder), split="test", data_dir=prepared, device="cpu")
    assert outcome.left_out == []
    return folder / "mini" / "micro"


def test_heads_of_one_output_stand_in_the_predictions_as_they_are(measured):
    for variant, features in (("nine", ["T_s", "V_s", "A_s", "T_d", "V_d", "A_d"]), ("multitask", [])):
        table = pd.read_csv(measured / variant / "seed-1" / "predictions.csv")
        assert {f"uni_{name}" for name in features} == {name for name in table if name.startswith("uni_")}
        for head in ("polarity_nonnegative", "intensity"):
            assert table[head].nunique() > 1
            assert np.isfinite(table[head]).all()
        assert table["polarity_nonnegative"].between(0, 1).all()  # a probability; intensity is a score


def test_the_log_has_every_tasks_loss_and_every_weight(measured):
    (first, second) = log(measured / "nine" / "seed-1")
    assert len(first["weights"]) == 9
    assert first["losses"].keys() == first["weights"].keys() | {"msr", "msc"}
    assert first["weights"] != second["weights"]
    assert sum(first["weights"].values()) == pytest.approx(1, abs=1e-5)
    (line, _) = log(measured / "multitask" / "seed-1")
    assert line["weights"] == {"polarity": 0.5, "intensity": 0.5}
    assert list(line["losses"]) == ["msr", "polarity", "intensity"]


def test_weights_of_the_rule_are_no_part_of_the_models(prepared, micro, tmp_path):
    experiment = open_mini(prepared, micro, tmp_path, **SHORT, **{"objective.weighting.name": "uw"})
    trained = run_fuse(experiment, "uncertain")
    assert not [name for name in weights(trained.folder) if "weighting" in name or "log_variances" in name]
