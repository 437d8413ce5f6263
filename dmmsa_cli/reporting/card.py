"""The card of an exported model, in the form that the Hugging Face hub reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dmmsa_cli import __version__
from dmmsa_cli.data.specs import MODALITY_NAMES
from dmmsa_cli.experiments.build import Fused
from dmmsa_cli.metrics import Metrics
from dmmsa_cli.plain import read_json
from dmmsa_cli.reporting.results import COLUMNS, LEGEND, metric_name, printed
from dmmsa_cli.training.run import MADE_FROM

TEST = "test"
TEMPLATE = Path(__file__).with_name("card.md.j2")


def card(fused: Fused) -> str:
    """Return the card of a run: what it predicts, from what, how well on which data, and whose terms hold."""
    from jinja2 import Environment, StrictUndefined

    pages = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    return pages.from_string(TEMPLATE.read_text(encoding="utf-8")).render(_facts(fused))


def _facts(fused: Fused) -> dict[str, Any]:
    experiment, facts = fused.experiment, fused.encoders.run.environment
    manifest, spec, metrics = experiment.store.manifest, experiment.store.spec, _metrics(fused)
    reads_words = experiment.has_text_encoder
    published = "published" if manifest.source.get("published") else "not the field's published file"
    data = "SYNTHETIC" if spec.synthetic else published if spec.source else "of one's own"
    return {
        "front_matter": yaml.safe_dump(_front_matter(fused, metrics), sort_keys=False, allow_unicode=True),
        "version": __version__,
        "recipe": experiment.name,
        "dataset": spec.name,
        "inputs": _listed([MODALITY_NAMES[m] for m in experiment.modalities]),
        "score_range": f"{spec.score_range:g}",
        "network": experiment.recipe.model.name,
        "objective": experiment.recipe.objective.name,
        "synthetic": spec.synthetic,
        "words_alone": experiment.modalities == ("t",) and reads_words,
        "needs": [_need(fused, modality) for modality in experiment.modalities],
        "metrics": [(c.title, printed(c, metrics)) for c in COLUMNS[spec.metrics]] if metrics else [],
        "rows": f"{manifest.rows[TEST]:,}",
        "data_hash": manifest.data_hash[:12],
        "data": data,
        "seed": fused.encoders.seed,
        "legend": LEGEND[spec.metrics],
        "variant": facts["variant"],
        "precision": experiment.precision,
        "packages": ", ".join(f"{name} {version}" for name, version in facts.get("packages", {}).items() if version),
        "encoders": _listed([f"{MODALITY_NAMES[m]} (`{f.path.name}`)" for m, f in fused.encoders.pretrained.items()]),
        "derived": _origin(fused),
    }


def _metrics(fused: Fused) -> Metrics:
    """Those of the test split; empty where the run has not been evaluated with the weights and data that it has."""
    run = fused.encoders.run
    now = {"weights": run.weights_hash(), "data": fused.experiment.store.manifest.data_hash}
    try:
        found = read_json(run.path / "metrics.json")
        if found[MADE_FROM][TEST] != now:
            return {}
        return {name: float(value) for name, value in found[TEST]["fused"].items() if value is not None}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _front_matter(fused: Fused, metrics: Metrics) -> dict[str, Any]:
    """What the hub reads; made-up data give no results there."""
    experiment, spec = fused.experiment, fused.experiment.store.spec
    tags = ["multimodal-sentiment-analysis", "sentiment-analysis", *(MODALITY_NAMES[m] for m in experiment.modalities)]
    values = {"library_name": "dmmsa", "license": "other", "tags": tags, "datasets": [spec.name]}
    if not metrics or spec.synthetic:
        return values
    names = [name for column in COLUMNS[spec.metrics] for name in column.metrics if name in metrics]
    result = {
        "task": {"type": "sentiment-analysis", "name": "Multimodal sentiment analysis"},
        "dataset": {"type": spec.name, "name": spec.name, "split": TEST},
        "metrics": [{"type": name, "name": metric_name(name), "value": round(metrics[name], 4)} for name in names],
    }
    return values | {"model-index": [{"name": experiment.name, "results": [result]}]}


def _need(fused: Fused, modality: str) -> str:
    """Say what a file to predict holds of a modality."""
    experiment, manifest = fused.experiment, fused.experiment.store.manifest
    if modality == "t" and experiment.has_text_encoder:
        return "`raw_text`: transcripts, N"
    key = {"t": "text", "v": "vision", "a": "audio"}[modality]
    shape = f"(N, T, {manifest.widths[modality]})"
    if modality == "t":
        return (
            f"`text`: features {shape}, made as those of {experiment.store.spec.name} were; and `text_bert` (N, 3, T), "
            "whose second row is the mask"
        )
    return (
        f"`{key}`: features {shape}, made as those of {experiment.store.spec.name} were, of which the first "
        f"{max(1, manifest.longest[modality])} frames count; and `{key}_lengths`, N"
    )


def _origin(fused: Fused) -> str:
    """Name the text encoder whose weights, or what training made of them, are in the folder; empty without one."""
    experiment = fused.experiment
    if not experiment.has_text_encoder or experiment.recipe.text.source != "encoder":
        return ""
    name = experiment.recipe.text.encoder or experiment.store.spec.text_encoder
    return Path(name).name if Path(name).is_absolute() else name


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
