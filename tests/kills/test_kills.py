"""Commands that are killed at random moments end as if nobody had; and a fault on purpose is noticed."""

import time

import pytest

from tests.kills.campaign import Campaign
from tests.kills.cases import KILLS

TOLD = "kills"
PART = 25  # kills of one test
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
    told = campaign.run(PART, seed=request.node.name)
    record_property(TOLD, f"{request.node.callspec.id}: {told}, {time.monotonic() - begun:.0f} s")
