"""What a run is: everything that decides what it computes. Nothing else decides whether two runs are the same.

`fuse` asks it whether a run is there already, may go on, or is another; `evaluate` and `report` which runs differ in
their seed alone, and in what the others differ.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmmsa_cli.data.specs import ALIGNED, MODALITIES, MODALITY_NAMES
from dmmsa_cli.errors import InvalidRecipe, RunMismatch
from dmmsa_cli.experiments.base_text import base_text
from dmmsa_cli.experiments.experiment import Experiment, as_before, digest
from dmmsa_cli.experiments.recipes import from_values
from dmmsa_cli.layers.pretrained import fingerprint
from dmmsa_cli.layers.text import ContextOptions
from dmmsa_cli.recipe import flat, to_dict
from dmmsa_cli.training.run import RunFolder, trains_again

SHORT = 12  # characters of a hash that are shown

BASE_TEXT = "the base text encoder"
THE_EMOTIONS = "the emotions of its clips"


def encoder_name(modality: str) -> str:
    """Return what a message calls the pretrained encoder of a modality."""
    return f"the {MODALITY_NAMES[modality]} encoder"


_ENCODERS = {encoder_name(modality) for modality in MODALITY_NAMES}


@dataclass(frozen=True)
class Identity:
    """Everything that decides what a run computes."""

    dataset: str
    synthetic: bool
    """Whether its clips are made up."""
    data_hash: str
    """Of the content of its splits."""
    recipe: Mapping[str, Any]
    """Resolved, as plain values; without `seeds`, which only say what is run where none is named."""
    modalities: tuple[str, ...]
    from_scratch: bool
    """Whether it began with untrained encoders."""
    precision: str
    """Settled: `float32` or `bf16`."""
    text_encoder: str | None
    """Name of the text encoder; none where there is none, or where an older dmmsa did not keep it."""
    base_text: str | None
    """Hash of the text encoder's content before any training here; none where there is none."""
    encoders: Mapping[str, str]
    """Hashes of the weights of the pretrained encoders, by modality."""
    seed: int
    emotions: str | None = None
    """Hash of the emotions of its clips, where its objective learns some."""

    def facts(self) -> dict[str, Any]:
        """Return what environment.json keeps of it; the recipe lies in recipe.yaml."""
        return {
            "dataset": self.dataset,
            "synthetic": self.synthetic,
            "data_hash": self.data_hash,
            "modalities": list(self.modalities),
            "from_scratch": self.from_scratch,
            "precision": self.precision,
            "text_encoder": self.text_encoder,
            "base_text": self.base_text,
            "encoder_hashes": dict(self.encoders),
            "seed": self.seed,
            "emotions": self.emotions,
        }

    @property
    def key(self) -> str:
        """Stands for all of it."""
        return digest(self._compared())

    @property
    def system(self) -> str:
        """Stands for what runs share that differ in their seed alone."""
        return digest({key: value for key, value in self._compared().items() if key not in self.by_seed()})

    @property
    def across_folds(self) -> str:
        """Stands for what runs share that differ in the fold of a dataset, and in their seed, alone."""
        left_out = self.by_seed() | _ENCODERS | {"dataset", "data"}
        left_out |= {BASE_TEXT} if self.recipe["text"]["source"] == "tiny" else set()  # whose words are the fold's
        return digest({key: value for key, value in self._compared().items() if key not in left_out})

    @property
    def setting(self) -> str:
        """Stands for what systems share that differ in their objective, and in what their encoders are, alone."""
        left_out = self.by_seed() | _ENCODERS | {THE_EMOTIONS}  # which follow from what the objective learns
        facts = {key: value for key, value in self._compared().items() if key not in left_out}
        return digest({key: value for key, value in facts.items() if not key.startswith("objective.")})

    @property
    def protocol(self) -> str:
        """Stands for what systems share that are trained on the same terms: clips, text encoder, rows, precision.

        Not for their frames: data aligned to the words have the clips of those that are not.
        """
        text, data = self.recipe["text"], self.recipe["data"]
        return digest(
            {
                "clips": self.dataset.removesuffix(ALIGNED),
                "SYNTHETIC": self.synthetic,
                "modalities": list(self.modalities),
                "--from-scratch": self.from_scratch,
                "precision": self.precision,
                BASE_TEXT: self.base_text,
                **{key: text[key] for key in ("source", "max_tokens")},
                **as_before(text["context"]),
                **as_before({key: data[key] for key in ("standardise", "fraction", "padded", "missing")}),
            }
        )

    def _compared(self) -> dict[str, Any]:
        """Every single fact that decides, under the name that a message gives it."""
        encoders = {encoder_name(m): value for m, value in self.encoders.items()}
        return {
            **as_before(flat(self.recipe)),
            "dataset": self.dataset,
            "SYNTHETIC": self.synthetic,
            "data": self.data_hash,
            "modalities": list(self.modalities),
            "--from-scratch": self.from_scratch,
            "settled precision": self.precision,
            BASE_TEXT: self.base_text,
            **encoders,
            "seed": self.seed,
            **({} if self.emotions is None else {THE_EMOTIONS: self.emotions}),
        }

    @property
    def context(self) -> str:
        """The clips around one that the text encoder reads with it, `2 clips before`; nothing where there are none."""
        return ContextOptions(**self.recipe["text"]["context"]).in_words() if "t" in self.modalities else ""

    @property
    def trained_with_gaps(self) -> str:
        """What has to be said of a run whose training clips lacked tokens and frames; empty where they were complete.

        Example: `trained with missing data (uniform)`.
        """
        missing = self.recipe["data"]["missing"]
        if missing is None:
            return ""
        whole = f", {100 * missing['whole']:g} % whole" if missing["whole"] else ""
        return f"trained with missing data ({missing['rate']}{whole})"

    @property
    def per_seed(self) -> bool:
        """Whether each seed has pretrained encoders of its own."""
        pretraining = self.recipe["pretraining"]
        return pretraining is not None and bool(pretraining["per_seed"])

    def by_seed(self) -> set[str]:
        """Names of the facts that follow from the seed."""
        if not self.per_seed:
            return {"seed"}
        made = {BASE_TEXT} if self.recipe["text"]["source"] == "tiny" else set()
        return {"seed", *_ENCODERS, *made}

    def difference(self, other: Identity, *, ignoring: Iterable[str] = ()) -> dict[str, tuple[Any, Any]]:
        """Return in what another run differs: name of the fact -> this one's value and the other's."""
        mine, others = self._compared(), other._compared()
        names = [name for name in dict.fromkeys((*mine, *others)) if name not in set(ignoring)]
        differing = {name: (mine.get(name), others.get(name)) for name in names if mine.get(name) != others.get(name)}
        if BASE_TEXT in differing and self.text_encoder and other.text_encoder:
            differing[BASE_TEXT] = self._base_text_in_words(), other._base_text_in_words()
        return differing

    def _base_text_in_words(self) -> str:
        return f"{self.text_encoder} ({short(self.base_text)})"


def short(value: Any) -> str:  # noqa: ANN401  (whatever a fact is)
    """Print a fact: a hash by its beginning, nothing as `nothing`."""
    if value is None:
        return "nothing"
    text = str(value)
    return text[:SHORT] if len(text) == 64 and set(text) <= set("0123456789abcdef") else text


# --- of what is about to be run, and of what lies in a folder -------------------------------------------------------


def identity_of(
    experiment: Experiment, seed: int, *, from_scratch: bool, encoders: Mapping[str, RunFolder]
) -> Identity:
    """Say what a run would be.

    Args:
        experiment: dataset, recipe and place.
        seed: of the run.
        from_scratch: whether it begins with untrained encoders.
        encoders: the pretrained encoders that it stands on, by modality; none from scratch.
    """
    recipe = to_dict(experiment.recipe)
    text = fingerprint(base_text(experiment, seed)) if experiment.has_text_encoder else None
    return Identity(
        dataset=experiment.dataset,
        synthetic=experiment.store.spec.synthetic,
        data_hash=experiment.store.manifest.data_hash,
        recipe={key: value for key, value in recipe.items() if key != "seeds"},
        modalities=experiment.modalities,
        from_scratch=from_scratch,
        precision=experiment.precision,
        text_encoder=experiment.text_encoder,
        base_text=text,
        encoders={modality: folder.weights_hash() for modality, folder in encoders.items()},
        seed=seed,
        emotions=experiment.emotions_hash,
    )


def identity_in(run: RunFolder) -> Identity:
    """Read what the run in a folder is; a key that an older dmmsa did not have takes its default.

    Raises:
        RunMissing: there is none.
        RunMismatch: its recipe or environment.json is damaged.
    """
    facts = run.environment
    _check_kinds(run.path, facts)
    try:
        recipe = to_dict(from_values(run.recipe, str(run.path / "recipe.yaml")))
    except InvalidRecipe as error:
        raise RunMismatch(error.what, trains_again(run.path)) from error
    return Identity(
        dataset=facts["dataset"],
        synthetic=facts.get("synthetic", False),
        data_hash=facts["data_hash"],
        recipe={key: value for key, value in recipe.items() if key != "seeds"},
        modalities=tuple(facts["modalities"]),
        from_scratch=facts["from_scratch"],
        precision=facts["precision"],
        text_encoder=facts.get("text_encoder"),
        base_text=facts["base_text"],
        encoders=facts["encoder_hashes"],
        seed=facts["seed"],
        emotions=facts.get("emotions"),
    )


_KINDS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("dataset", "data_hash", "recipe", "variant", "precision"), str),
    **dict.fromkeys(("base_text", "text_encoder", "emotions", "pseudo_emotions"), (str, type(None))),
    **dict.fromkeys(("encoders", "encoder_hashes"), dict),
    **{"modalities": list, "from_scratch": bool, "synthetic": bool, "seed": int, "source": dict},
}


def _check_kinds(folder: Path, facts: Mapping[str, Any]) -> None:
    wrong = [name for name, kind in _KINDS.items() if name in facts and not isinstance(facts[name], kind)]
    by_modality = [name for name in ("modalities", "encoders", "encoder_hashes") if name not in wrong]
    wrong += [name for name in by_modality if not _is_by_modality(facts[name])]
    if wrong:
        raise RunMismatch(f"{folder / 'environment.json'} is damaged: see {', '.join(wrong)}.", trains_again(folder))


def _is_by_modality(value: list[Any] | dict[str, Any]) -> bool:
    """Whether a list holds modalities, or a dict a text for each of some."""
    texts = value.values() if isinstance(value, dict) else ()
    return all(modality in MODALITIES for modality in value) and all(isinstance(text, str) for text in texts)


def check_place(run: RunFolder) -> None:
    """See that a run lies where it was trained: a copy beside it must not pass for a run of its own.

    Raises:
        RunMismatch: its folder's names are not those in its environment.json.
    """
    # Not resolved: a folder of runs may be a link to a disk where it is called otherwise.
    *_, dataset, recipe, variant, seed = Path(os.path.abspath(run.path)).parts[-4:]  # noqa: PTH100  ('..' goes, links stay)
    names = {"dataset": dataset, "recipe": recipe, "variant": variant, "seed": seed.removeprefix("seed-")}
    facts = run.environment
    for name, value in names.items():
        if str(facts[name]) != value:
            raise RunMismatch(
                f"{run.path} lies where {name} is {value}, but its environment.json says {facts[name]}.",
                "Move a copy out of the folder of runs; a damaged run is to be trained again.",
            )
