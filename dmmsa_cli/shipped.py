"""Where the shipped recipes and studies lie; nothing here is heavy, since completion asks."""

from __future__ import annotations

from pathlib import Path

STUDIES = "studies"  # the folder that holds studies, beside those of each dataset's recipes
DEFAULT = "default"  # the folder of recipes for datasets that have none of their own


def recipes_folder() -> Path:
    """Return the folder of the shipped recipes: inside an installed package, or beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "_recipes"
    return installed if installed.is_dir() else package.parent / "recipes"
