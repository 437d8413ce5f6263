"""Commands that are killed at random moments end as if nobody had; and a fault on purpose is noticed."""

import time

import pytest

from tests.kills.campaign import Campaign
from tests.kills.cases import KILLS
from tests.kills.conftest import TOLD
from tests.kills.warm import Warm

PART = 25  # kills of one test: on Ray that takes minutes
A_FEW = 5
PARTS = [(name, part) for name, kills in KILLS.items() for part in range(kills // PART)]


def test_they_are_a_thousand():
    assert sum(KILLS.values()) == PART * len(PARTS) == 1000


@pytest.fixture(scope="session")
def campaigns():
    """By name, each with its undisturbed run: it is the same for all parts."""
    return {}


@pytest.fixture
def campaign(campaigns, known_cases, warm, tmp_path_factory, request):
    name = request.param
    if name not in campaigns:
        campaigns[name] = Campaign(known_cases[name], warm, tmp_path_factory.mktemp(name))
    return campaigns[name]


@pytest.mark.slow
@pytest.mark.parametrize(("campaign", "part"), PARTS, indirect=["campaign"])
def test_killed_at_random_moments_everything_ends_as_if_undisturbed(campaign, part, record_property, request):
    begun = time.monotonic()
    told = campaign.run(PART, seed=request.node.callspec.id)
    record_property(TOLD, f"{request.node.callspec.id}: {told}, {time.monotonic() - begun:.0f} s")


@pytest.mark.parametrize("campaign", ["prepare", "fuse"], indirect=True)
def test_killed_a_few_times_too(campaign):
    assert campaign.run(A_FEW, seed=1).kills.total() == A_FEW


# --- a fault on purpose ---------------------------------------------------------------------------------------------

IN_PLACE = """
from contextlib import contextmanager
from dmmsa_cli import files
@contextmanager
def atomic_path(target):
    target.parent.mkdir(parents=True, exist_ok=True)
    yield target
files.atomic_path = atomic_path
"""


@pytest.mark.parametrize(
    ("case", "preamble", "noticed"),
    [
        ("prepare-over", IN_PLACE, "is damaged"),
        ("prepare-download", "import shutil; shutil.rmtree = lambda *_, **__: None", "files: .*pooch"),
    ],
    ids=["written in place", "left behind"],
)
def test_a_fault_on_purpose_is_noticed(known_cases, tmp_path, case, preamble, noticed):
    broken = Warm(preamble)
    try:
        with pytest.raises(AssertionError, match=noticed):
            Campaign(known_cases[case], broken, tmp_path).run(200, seed=1)
    finally:
        broken.close()
