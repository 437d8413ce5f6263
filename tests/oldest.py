"""Prints the oldest version of each dependency that pyproject.toml allows, as pip's constraints.

python -m tests.oldest > oldest.txt
"""

import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def oldest(dependencies):
    """Return a line a dependency, `name==version`.

    Example:
        >>> oldest(["pooch[progress]>=1.8", "torch>=2.6"])
        ['pooch==1.8', 'torch==2.6']
    """
    found = [re.fullmatch(r"([\w-]+)(?:\[[\w,-]+\])?>=([\d.]+)", dependency) for dependency in dependencies]
    lacking = [one for one, match in zip(dependencies, found, strict=True) if not match]
    assert not lacking, f"no oldest version: {', '.join(lacking)}"
    return [f"{match[1]}=={match[2]}" for match in found if match]


if __name__ == "__main__":
    print("\n".join(oldest(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["dependencies"])))
