"""Usage errors that help: the nearest name, what others call a thing and how it is written here, plain words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

# Of click, or of typer's own copy of it, whichever this typer stands on.
UsageError: type[Exception] = typer.BadParameter.mro()[1]

# What the field's other programs call it, and how it is written here.
COMMANDS = {
    "dmmsa fuse": ("train", "fit", "finetune", "fine-tune", "run", "start", "main", "resume"),
    "dmmsa evaluate": ("test", "eval", "validate", "score", "metrics"),
    "dmmsa predict": ("infer", "inference", "classify", "demo"),
    "dmmsa prepare": ("download", "fetch", "data", "preprocess", "convert", "load"),
    "dmmsa pretrain-unimodal": ("pretrain", "unimodal", "encoders"),
    "dmmsa ablate": ("ablation", "study", "sweep", "grid", "compare"),
    "dmmsa tune": ("hpo", "optimise", "optimize", "optuna", "search", "tuning", "hyperparameters"),
    "dmmsa report": ("tables", "table", "figures", "plot", "summary", "results"),
    "dmmsa list": ("ls", "show", "datasets", "recipes", "runs", "info"),
    "dmmsa export": ("save", "pack", "share", "push"),
    "dmmsa --help": ("help",),
    "dmmsa --version": ("version",),
}
OPTIONS = {
    "--learning-rate": ("--lr", "--learning_rate", "--rate"),
    "--batch-size": ("--bs", "--batch", "--batch_size", "--batchsize", "--train_batch_size"),
    "--epochs": ("--epoch", "--num_epochs", "--num-epochs", "--n_epochs", "--max_epochs", "--max-epochs"),
    "--seed": ("--seeds", "--random-seed", "--random_seed"),
    "--dataset": ("--data", "--dataset-name", "--dataset_name", "--datasetname"),
    "--data-dir": ("--data_dir", "--data-path", "--data_path", "--dataset_dir"),
    "--recipe": ("--model", "--model_name", "--model-name", "--config", "--cfg", "--config-file"),
    "--out": ("--output", "--output-file", "--save", "--save-to"),
    "--runs-dir": (
        "--runs_dir",
        "--output-dir",
        "--output_dir",
        "--save-dir",
        "--save_dir",
        "--log-dir",
        "--res-save-dir",
    ),
    "--from": ("--input", "--file", "--features", "--source", "--pickle", "--path"),
    "--jobs": ("--gpus", "--num-gpus", "--num_gpus", "--n-gpu", "--n_gpu", "--n-jobs", "--n_jobs", "--parallel"),
    "--engine ray": ("--ray", "--cluster", "--distributed"),
    "--address": ("--ray-address", "--ray_address"),
    "--trials": ("--n-trials", "--n_trials", "--num-samples", "--num_samples"),
    "--device cuda": ("--gpu", "--gpus", "--gpu-ids", "--gpu_ids", "--cuda", "--use-cuda"),
    "--device cpu": ("--cpu", "--no-cuda", "--no-gpu"),
    "--precision bf16": ("--amp", "--fp16", "--bf16", "--mixed-precision", "--half"),
    "--threads": ("--workers", "--num-workers", "--num_workers", "--cpus", "--num-threads"),
    "--force": ("--overwrite", "--replace", "--restart", "--clean"),
    "--resume": ("--continue", "--resume-from", "--restore"),
    "--folds": ("--cv", "--kfold", "--k-fold", "--cross-validation"),
    "--modality": ("--modalities", "--mode", "--feature"),
    "--set data.modalities=[t,a]": ("--modalities", "--modality"),
    "--json": ("--output-json", "--to-json"),
}
VALUES = {
    "gpu": "cuda",
    "fp32": "float32",
    "float": "float32",
    "bfloat16": "bf16",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "training": "train",
    "md": "markdown",
    "tex": "latex",
}

# How typer, or pydantic below it, says what is wrong with a value; and how we do.
_PHRASES = (
    (r"^Value error, ", ""),
    (r"^Input should be a valid integer.*", "it is no whole number."),
    (r"^Input should be a valid number.*", "it is no number."),
    (r"^Input should be greater than or equal to (\S+)$", r"it has to be at least \1."),
    (r"^Input should be less than or equal to (\S+)$", r"it may be \1 at most."),
    (r"^Input should be greater than (\S+)$", r"it has to be above \1."),
    (r"^Input should be less than (\S+)$", r"it has to be below \1."),
)


class HintingGroup(TyperGroup):
    """The group of commands, whose usage errors carry hints. Their exit status stays typer's."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  (click's or typer's context)
        """Read the options before the command."""
        with self._hinting():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Find the command, read its options, and run it."""
        with self._hinting():
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Find the command."""
        try:
            return super().resolve_command(ctx, args)
        except UsageError as error:
            shown = [name for name, command in self.commands.items() if not command.hidden]
            vars(error)["message"] = f"No such command {args[0]!r}.{_command_hint(args[0], shown)}"
            raise

    @contextmanager
    def _hinting(self) -> Iterator[None]:
        try:
            yield
        except UsageError as error:
            self._add_hint(error)
            raise

    def _add_hint(self, error: Any) -> None:  # noqa: ANN401
        if hasattr(error, "possibilities"):  # no such option
            hint = _option_hint(error.option_name, _options(error.ctx.command)) or self._elsewhere(error.option_name)
            error.message, error.possibilities = f"{error.message.rstrip('.')}.{hint}", None
        elif getattr(error, "param", None) is not None:
            error.message = plain_words(error.message)

    def _elsewhere(self, option: str) -> str:
        having = [f"dmmsa {name}" for name, one in self.commands.items() if not one.hidden and option in _options(one)]
        return f" It belongs to {', '.join(having)}." if having else ""


def plain_words(message: str) -> str:
    """Say what is wrong with a value as this program does, with the nearest of the values that there are.

    Example:
        >>> plain_words("Value error, 'gpu' is not one of 'auto', 'cpu', 'cuda', 'mps'.")
        "'gpu' is not one of 'auto', 'cpu', 'cuda', 'mps'. Did you mean cuda?"
        >>> plain_words("Input should be greater than or equal to 1")
        'it has to be at least 1.'
    """
    for pattern, ours in _PHRASES:
        message = re.sub(pattern, ours, message, flags=re.DOTALL)
    choice = re.match(r"'(.*)' is not one of (.*)\.$", message)
    if choice is None:
        return message
    values = re.findall(r"'([^']*)'", choice[2])
    known = VALUES.get(choice[1].lower())
    return message + (f" Did you mean {known}?" if known in values else _nearest(choice[1], values))


def _command_hint(name: str, commands: Iterable[str]) -> str:
    known = _known_as(name.lower(), COMMANDS)
    return f" Here it is: {known[0]}." if known else _nearest(name, commands) or f" There are {', '.join(commands)}."


def _option_hint(name: str, options: Iterable[str]) -> str:
    """Say how an option is written here that a command does not have; nothing where it has none like it."""
    known = [way for way in _known_as(name.lower(), OPTIONS) if way.split()[0] in options]
    if known:
        return f" Here it is {known[0]}."
    key = " A key of the recipe: --set KEY=VALUE." if "--set" in options else ""
    return _nearest(name, options) or key


def _known_as(name: str, table: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [ours for ours, theirs in table.items() if name in theirs]


def _nearest(name: str, names: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    return f" Did you mean {found[0]}?" if found else ""


def _options(command: Any) -> list[str]:  # noqa: ANN401
    return [name for parameter in command.params for name in parameter.opts if name.startswith("--")]
