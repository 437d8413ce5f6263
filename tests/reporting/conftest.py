"""Folders of runs, written by hand: what `fuse` and `evaluate` leave behind, without training anything."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from dmmsa_cli.data.folds import whole_of
from dmmsa_cli.data.prediction_table import write_predictions
from dmmsa_cli.experiments.recipes import find_recipe, load_recipe
from dmmsa_cli.experiments.variants import PARTS
from dmmsa_cli.metrics import score, without_nan
from dmmsa_cli.recipe import dump_yaml

CLIPS, VIDEOS, EPOCHS = 120, 12, 5
WEIGHTS = "ef" * 32
FEATURES = {"t": ("T_s", "T_d"), "v": ("V_s", "V_d"), "a": ("A_s", "A_d")}


def write_run(
    runs_dir,
    dataset="mosi",
    recipe="dmmsa",
    variant="full",
    seed=1,
    *,
    changes=None,
    error=0.8,
    modalities=("t", "v", "a"),
    data_hash="c0ffee" * 10,
    published=True,
    facts=None,
    called=None,
):
    """Write one finished, evaluated run whose predictions miss the labels by about `error`; return its folder.

    Labels depend on the dataset alone, so that runs of one dataset can be compared clip by clip. A copy of the recipe
    may be `called` otherwise.
    """
    whole = whole_of(dataset)
    family = whole if whole in ("mosi", "mosei", "sims", "toy") else "default"
    resolved = load_recipe(find_recipe(recipe, family), changes=changes)
    recipe = called or recipe
    metrics, limit = ("sims", 1.0) if dataset == "sims" else ("mosi", 3.0)
    folder = runs_dir / dataset / recipe / variant / f"seed-{seed}"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(dump_yaml(resolved))
    _write_facts(folder, dataset, recipe, variant, seed, list(modalities), data_hash, published, facts or {})
    labels = np.clip(np.random.default_rng(7).normal(0, limit / 2, CLIPS), -limit, limit).astype(np.float32)
    noise = np.random.default_rng([seed, len(variant), round(1000 * error)]).normal(0, error * limit / 3, CLIPS)
    predictions = (labels + noise).astype(np.float32)
    found = score(labels, predictions, metrics=metrics, score_range=limit)
    alone = score(labels, labels / 2, metrics=metrics, score_range=limit)  # an encoder alone is another system
    ids = [f"video{i % VIDEOS}$_${i // VIDEOS}" for i in range(CLIPS)]
    texts = [f'clip {i}, "quoted", <b>bold</b> & 情感' for i in range(CLIPS)]
    table = pd.DataFrame({"id": ids, "text": texts, "y_true": labels, "y_pred": predictions})
    measured(folder, table, {"fused": without_nan(found), "text": without_nan(alone)})
    names = [FEATURES[m][kind] for kind in (0, 1) for m in modalities]
    cosine = np.random.default_rng(seed).uniform(-1, 1, (len(names), len(names)))
    _json(folder / "features.json", {"test": {"names": names, "cosine": ((cosine + cosine.T) / 2).tolist()}})
    _write_log(folder, seed, error)
    return folder


def measured(folder, table, metrics):
    """Give a run these predictions and metrics, as if it had been evaluated with its weights and data.

    It predicts the same on the validation split.
    """
    data = json.loads((folder / "environment.json").read_text())["data_hash"]
    made_from = {"weights": WEIGHTS, "data": data}
    _json(folder / "metrics.json", {"test": metrics, "made_from": {"test": made_from}})
    write_predictions(folder / "predictions.csv", table.assign(**made_from))
    validated = table.assign(id=[f"valid-{one}" for one in table["id"]], **made_from)
    write_predictions(folder / "predictions-valid.csv", validated)


def _write_facts(folder, dataset, recipe, variant, seed, modalities, data_hash, published, more):
    encoders = {m: f"{m}-0123456789ab" for m in modalities}
    facts = {
        "dataset": dataset,
        "synthetic": dataset == "toy",
        "data_hash": data_hash,
        "source": {"path": f"{dataset}.pkl", "published": published},
        "modalities": modalities,
        "recipe": recipe,
        "variant": variant,
        "seed": seed,
        "from_scratch": False,
        "encoders": encoders,
        "encoder_hashes": {m: "ab" * 32 for m in modalities},
        "base_text": "cd" * 32,
        "text_encoder": None,
        "remarks": [],
        "dmmsa": "0.1.0",
        "python": "3.11.7",
        "packages": {"torch": "2.13.0"},
        "system": "Linux x86_64",
        "device": "cpu",
        "precision": "float32",
        "threads": 2,
        "git_revision": "0" * 40,
        "command": f"dmmsa fuse --dataset {dataset}",
    }
    _json(folder / "environment.json", facts | more)


def _write_log(folder, seed, error):
    draw = np.random.default_rng(seed)
    lines = []
    for epoch in range(1, EPOCHS + 1):
        losses = {task: float(1 / epoch + draw.uniform(0, 0.1)) for task in ("msr", "msc", "uni", "cl")}
        weights = {"uni": 0.5 + 0.01 * (epoch > 2) * epoch, "cl": 0.5 - 0.01 * (epoch > 2) * epoch}
        validation = {"mae": error + 0.2 / epoch + float(draw.uniform(0, 0.05)), "corr": 0.7}
        line = {"epoch": epoch, "losses": losses, "weights": weights, "validation": validation}
        lines.append(line | {"learning_rate": 1e-4, "seconds": 1.5, "best": epoch == EPOCHS})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    best = {
        "weights": WEIGHTS,
        "best_epoch": EPOCHS,
        "epochs": EPOCHS,
        "seconds": 7.5,
        "validation": lines[-1]["validation"],
    }
    _json(folder / "summary.json", best)


def _json(path, value):
    path.write_text(json.dumps(value))


DROPPED = {"no-msc": "msc", "no-cl": "cl", "no-gdwg": "gdwg"}


@pytest.fixture
def runs_dir(tmp_path):
    """DMMSA and three ablations on MOSI (three seeds each), DMMSA on CH-SIMS, two runs on synthetic data."""
    folder = tmp_path / "runs"
    for seed in (1, 12, 123):
        write_run(folder, seed=seed)
        for place, (variant, task) in enumerate(DROPPED.items()):
            changes = PARTS[task]
            write_run(folder, variant=variant, seed=seed, changes=changes, error=0.85 + 0.1 * place)
        write_run(folder, dataset="sims", seed=seed)
    for variant in ("full", "no-msc"):
        changes = {"objective.msc.enabled": False} if variant == "no-msc" else None
        write_run(folder, dataset="toy", variant=variant, changes=changes)
    return folder


@pytest.fixture
def resolved():
    """The recipe of a run folder, as plain values."""
    return lambda folder: yaml.safe_load((folder / "recipe.yaml").read_text())


def write_tuning(runs_dir, dataset="mosi", name="minilm", recipe="minilm", *, ended=True, trials=8):
    """Write a tuning of a few trials, as `tune` leaves it; return its folder."""
    import optuna

    from dmmsa_cli.stages.tuning.journal import open_journal

    folder = runs_dir / dataset / "tuning" / name
    study = open_journal(folder)
    of = {
        "fusion.learning_rate": optuna.distributions.FloatDistribution(1e-5, 1e-3, log=True),
        "objective.weighting.temperature": optuna.distributions.FloatDistribution(0.1, 5, log=True),
        "fusion.epochs": optuna.distributions.IntDistribution(2, 6),
        "objective.msc.classes": optuna.distributions.CategoricalDistribution(["2", "3", "[2, 3]"]),
    }
    draw = np.random.default_rng(3)
    for place in range(trials):
        params = {
            "fusion.learning_rate": float(10 ** draw.uniform(-5, -3)),
            "objective.weighting.temperature": float(draw.uniform(0.1, 5)),
            "fusion.epochs": int(draw.integers(2, 7)),
            "objective.msc.classes": ["2", "3", "[2, 3]"][place % 3],
        }
        state = optuna.trial.TrialState.PRUNED if place == 5 else optuna.trial.TrialState.COMPLETE
        value = 0.8 + float(draw.uniform(0, 0.1))
        study.add_trial(optuna.trial.create_trial(state=state, value=value, params=params, distributions=of))
    _json(
        folder / "tuning.json",
        {
            "tuning": {"dataset": dataset, "data": "c0ffee" * 10, "seeds": [1, 12, 123], "folds": None},
            "made": {"recipe": recipe, "synthetic": dataset == "toy", "data_dir": str(runs_dir / "data")},
        },
    )
    if ended:
        luck = {"own": [0.8, 0.81], "start_own": [0.83, 0.84], "fresh": [0.82, 0.83], "start_fresh": [0.83, 0.82]}
        counts = {"scored": trials - 1, "stopped early": 1}
        found = {"number": 3, "params": {}, "counts": counts, "luck": luck, "fresh_seeds": [2, 3]}
        _json(folder / "result.json", found | {"recipe_file": str(folder / f"{name}-tuned.yaml")})
    return folder
