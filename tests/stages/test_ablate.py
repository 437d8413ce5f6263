"""Studies end to end on the cut corpus: what is planned, shared, skipped, resumed, and what a failure leaves."""

import json
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from dmmsa_cli.data.specs import SPECS
from dmmsa_cli.errors import EncoderUnavailable, Interrupted, InvalidInput, InvalidRecipe
from dmmsa_cli.experiments.recipes import find_recipe, load_recipe, name_of, recipes_folder
from dmmsa_cli.experiments.studies import Study, Variant, load_study, study_names
from dmmsa_cli.models import MODELS
from dmmsa_cli.stages.ablate import Place, plan
from dmmsa_cli.stages.engines import Outcome, SideBySide, Slot, Step, attempt
from dmmsa_cli.stages.engines.side_by_side import start_method
from dmmsa_cli.stages.runs import carry_out
from tests.conftest import MICRO_RECIPE
from tests.training_runs import open_mini, prepare_mini, run_fuse, weights

TWO_SLOTS = [Slot(threads=1)] * 2
SHORT = {"fusion.epochs": 1}
TWO = Study(
    title="two",
    variants=(Variant(name="full"), Variant(name="no-cl", label="w/o CL", set={"objective.cl.enabled": False})),
)


@pytest.fixture(scope="module")
def micro(tmp_path_factory):
    """The recipe that trains in seconds, of two epochs."""
    return recipe_of(tmp_path_factory.mktemp("brief"), epochs=2)


def recipe_of(folder, epochs, name="micro"):
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(MICRO_RECIPE | {"fusion": MICRO_RECIPE["fusion"] | {"epochs": epochs}}))
    return path


class Ear:
    def __init__(self):
        self.steps, self.outcomes = [], []

    def __call__(self, event):
        (self.steps if isinstance(event, Step) else self.outcomes).append(event)

    def states(self):
        return {(o.job.variant, o.job.seed): o.state for o in self.outcomes}


@pytest.fixture
def place(prepared, tmp_path):
    return Place("mini", prepared, tmp_path, "cpu")


@pytest.fixture(scope="module")
def done(prepared, micro, tmp_path_factory):
    """The study, run once with two seeds."""
    ear, place = Ear(), Place("mini", prepared, tmp_path_factory.mktemp("study"), "cpu")
    runs = plan(TWO, place, recipe=str(micro), seeds=(1, 12))
    carry_out(runs.jobs, tell=ear)
    return place, ear


def planned(runs):
    return [(job.variant, job.seed) for job in runs.jobs]


# --- studies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", study_names())
@pytest.mark.parametrize("dataset", ["mosi", "mosei", "sims", "toy"])
def test_every_shipped_study_fits_every_datasets_recipe(name, dataset):
    for variant in load_study(name).variants:
        if variant.metrics in (None, SPECS[dataset].metrics):
            load_recipe(find_recipe(variant.recipe_beside("dmmsa"), dataset), changes=variant.set)


def test_the_issues_studies_are_shipped():
    papers = {"objectives", "data", "gdwg", "msc", "modalities", "comparison", "systems"}
    sisters = {"mmiln", "mmiln-layers", "sequential-mtl", "mmolre", "mmolre-ranks", "mmolre-active"}
    assert papers | sisters | {"weighting", "weighting-many", "context", "missing"} == set(study_names())
    assert [v.label for v in load_study("data").variants] == ["1.0", "0.8", "0.6", "0.4", "0.2", "0.1"]
    taus = [v.set.get("objective.weighting.temperature") for v in load_study("gdwg").variants]
    assert taus == [0.1, 0.5, None, 2, None]
    assert [v.set.get("objective.msc.classes") for v in load_study("msc").variants] == [2, None, 5, 7]
    gaps = [v.set.get("data.missing.rate") for v in load_study("missing").variants]
    assert gaps == [None, "uniform", "uniform", 0.3, 0.6]
    networks = [
        load_recipe(find_recipe(v.recipe_beside("dmmsa"), "mosi")).model.name for v in load_study("systems").variants
    ]
    assert set(networks) == set(MODELS) and len(networks) == 14
    layers = [
        load_recipe(find_recipe(v.recipe_beside("dmmsa"), "mosi"), changes=v.set).model.options.layers
        for v in load_study("mmiln-layers").variants
    ]
    assert layers == [1, 2, 3, 4, 5, 6]


def test_the_pair_of_the_papers_claim_differs_in_its_objective_alone():
    for dataset, base, other in [(d, "dmmsa", "confede") for d in SPECS] + [
        ("mosi", "minilm", "minilm-confede"),
        ("mosi", "mpnet", "mpnet-confede"),
        ("default", "minilm", "minilm-confede"),
    ]:
        ours, theirs = (vars(load_recipe(find_recipe(name, dataset))) for name in (base, other))
        assert [key for key in ours if ours[key] != theirs[key]] == ["objective"]
        assert theirs["objective"].name == "confede"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"title": "x"}, "variants: missing"),
        ({"title": "x", "variants": []}, "none"),
        ({"title": "x", "variants": [{"name": "a"}, {"name": "a"}]}, "a is named twice"),
        ({"title": "x", "variants": [{"name": "a"}, {"name": "a", "recipe": "confede"}]}, "a is named twice"),
        (
            {"title": "x", "variants": [{"name": "a", "label": "c"}, {"name": "b", "label": "c"}]},
            "c is named twice",
        ),
        ({"title": "x", "variants": [{"name": "a/b"}]}, "folder"),
        ({"title": "x", "variants": [{"name": "a", "sett": {}}]}, "did you mean set"),
        ({"title": "x", "variants": [{"name": "a", "set": 3}]}, "keys and values"),
        ({"title": "x", "variants": [{"name": "a", "recipe": {"dmmsa": 3}}]}, "recipe"),
    ],
)
def test_a_study_with_errors_says_which(tmp_path, values, words):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(InvalidRecipe, match=words):
        load_study(str(tmp_path / "mine.yaml"))


def test_an_unknown_study_lists_those_there_are():
    with pytest.raises(InvalidRecipe, match="no study nothing") as error:
        load_study("nothing")
    assert "objectives" in error.value.remedy


# --- plans ----------------------------------------------------------------------------------------------------------


def test_the_first_seed_of_all_comes_before_the_second_of_any(place, micro):
    runs = plan(TWO, place, recipe=str(micro))  # the recipe's seeds
    assert planned(runs) == [("full", 1), ("no-cl", 1), ("full", 12), ("no-cl", 12)]


def test_what_makes_no_sense_on_a_dataset_is_left_out_with_its_reason(place, micro):
    variants = (
        Variant(name="full"),
        Variant(name="tva", set={"data.modalities": ["a", "v", "t"]}),
        Variant(name="classes", metrics="sims"),
        Variant(name="t", set={"data.modalities": ["t"]}),
    )
    runs = plan(Study(title="x", variants=variants), place, recipe=str(micro), seeds=(1,))
    assert planned(runs) == [("full", 1), ("t", 1)]
    assert runs.left_out == {"tva": "mini has no more than that: it is the whole", "classes": "mini has other classes"}
    with pytest.raises(InvalidInput, match="No variant"):
        plan(Study(title="x", variants=variants[2:3]), place, recipe=str(micro))


def test_a_system_that_means_nothing_on_a_dataset_is_left_out_with_its_reason(place, micro):
    mag = {"model": {"name": "mag_bert", "frames": "spread"}, "objective": "regression", "pretraining": None}
    mag |= {"text": {**MICRO_RECIPE["text"], "train_in_fusion": True}}
    for name, more in (("mag", {}), ("words", {"data": {"aligned": True}})):
        micro.with_name(f"{name}.yaml").write_text(yaml.safe_dump(MICRO_RECIPE | mag | more))
    variants = (
        Variant(name="full"),
        *(Variant(name=n, recipe=str(micro.with_name(f"{n}.yaml"))) for n in ("mag", "words")),
    )
    runs = plan(Study(title="x", variants=variants), place, recipe=str(micro), seeds=(1,))
    assert planned(runs) == [("full", 1), ("mag", 1)]
    assert runs.left_out == {"words": "mag_bert goes word by word (data.aligned), and mini is not aligned to the words"}
    alone = (replace(variants[1], set={"data.modalities": ["t"]}),)
    with pytest.raises(InvalidInput, match="No variant"):
        plan(Study(title="x", variants=alone), place, recipe=str(micro), seeds=(1,))


def test_a_variant_that_needs_emotions_is_left_out_where_there_are_none(place, micro, corpus, tmp_path):
    needs = Variant(name="felt", emotions=True, set={"objective.emotions.enabled": True})
    study = Study(title="With or without", variants=(Variant(name="full"), needs))
    assert planned(plan(study, place, recipe=str(micro), seeds=(1,))) == [("full", 1), ("felt", 1)]
    bare = {name: {k: v for k, v in split.items() if k != "emotions"} for name, split in corpus.items()}
    without = replace(place, data_dir=prepare_mini(bare, tmp_path))
    runs = plan(study, without, recipe=str(micro), seeds=(1,))
    assert planned(runs) == [("full", 1)]
    assert runs.left_out == {"felt": "mini has no emotions"}


def test_what_has_no_partner_beside_a_recipe_is_left_out_with_its_reason(place, micro):
    runs = plan(load_study("comparison"), place, recipe=str(micro), seeds=(1,))
    assert planned(runs) == [("full", 1)]
    assert runs.left_out == {"ConFEDE": f"The study names no recipe beside {micro}"}


def test_a_variant_may_have_a_recipe_of_its_own():
    variant = Variant(name="full", recipe={"dmmsa": "confede"})
    assert variant.recipe_beside("dmmsa") == "confede"
    with pytest.raises(InvalidRecipe, match="no recipe beside minilm"):
        variant.recipe_beside("minilm")


def test_what_changes_more_than_the_modalities_is_not_the_whole(place, micro):
    everything = {"data.modalities": ["t", "v", "a"]}
    variants = Variant(name="all", set=everything), Variant(name="short", set=everything | SHORT)
    assert planned(plan(Study(title="x", variants=variants), place, recipe=str(micro), seeds=(1,))) == [("short", 1)]


@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
def test_a_recipe_that_is_a_file_has_its_partner_beside_it_and_a_study_its_files(tmp_path, suffix):
    variant = Variant(name="full", recipe={"dmmsa": "confede"})
    assert variant.recipe_beside(f"mine/dmmsa{suffix}") == f"mine/confede{suffix}"
    assert find_recipe(f"dmmsa{suffix}", "mosi") == Path(f"dmmsa{suffix}")
    assert find_recipe("mine/dmmsa", "mosi") == Path("mine/dmmsa")
    assert find_recipe("toy/dmmsa", "mosi") == recipes_folder() / "toy" / "dmmsa.yaml"

    study = tmp_path / f"study{suffix}"
    study.write_text(yaml.safe_dump({"title": "x", "variants": [{"name": "full", "recipe": f"wide{suffix}"}]}))
    assert load_study(str(study)).variants[0].recipe == str(tmp_path / f"wide{suffix}")


@pytest.mark.parametrize(
    ("recipe", "family", "name"),
    [
        ("dmmsa", "mosi", "dmmsa"),
        ("mosi/dmmsa", "mosi", "dmmsa"),
        ("toy/dmmsa", "mosi", "toy-dmmsa"),
        ("default/tiny", "mosi", "default-tiny"),
        ("default-tiny", "mosi", "default-tiny"),  # as a run of it is called
        ("default/tiny", "mine", "tiny"),  # whose recipes are the default ones
        ("mine/dmmsa.yaml", "mosi", "dmmsa"),
    ],
)
def test_runs_of_another_datasets_recipe_are_called_after_both(recipe, family, name):
    assert name_of(find_recipe(recipe, family), family) == name


def test_a_partner_lies_beside_the_recipe_wherever_that_is():
    (confede,) = [variant for variant in load_study("comparison").variants if variant.title == "ConFEDE"]
    beside = [confede.recipe_beside(base) for base in ("dmmsa", "toy/dmmsa", "toy-dmmsa", "my/dmmsa.yaml")]
    assert beside == ["confede", "toy/confede", "toy-confede", "my/confede.yaml"]


def test_a_partner_that_is_not_shipped_for_a_dataset_stops_no_other(prepared, tmp_path):
    runs = plan(load_study("systems"), Place("mini", prepared, tmp_path, "cpu"), recipe="minilm")
    assert runs.jobs
    assert "There is no recipe minilm-lf-dnn for data of one's own" in runs.left_out["LF-DNN"]


def test_no_folder_is_planned_twice(place, micro):
    with pytest.raises(InvalidInput, match="full/seed-1 would be run twice"):
        plan(TWO, place, recipe=str(micro), seeds=(1, 1))
    variants = Variant(name="full"), Variant(name="full", label="again", recipe=str(micro))
    with pytest.raises(InvalidInput, match="would be run twice"):
        plan(Study(title="x", variants=variants), place, recipe=str(micro), seeds=(1,))


@pytest.mark.parametrize("seeds", [(), (1,)])
def test_an_impossible_variant_is_named_before_anything_is_trained(place, micro, tmp_path, seeds):
    study = Study(title="x", variants=(Variant(name="full"), Variant(name="bad", set={"msc.classes": 4})))
    with pytest.raises(InvalidRecipe, match=r"(?s)Variant bad: .*classes"):
        plan(study, place, recipe=str(micro), seeds=seeds)
    assert not list(tmp_path.rglob("recipe.yaml"))


# --- runs -----------------------------------------------------------------------------------------------------------


def test_an_encoder_that_cannot_be_had_is_told_with_its_variant(place, micro, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(
        "title: T\nvariants: [{name: full}, {name: other, set: {text.source: encoder, text.encoder: ./no}}]\n"
    )
    with pytest.raises(EncoderUnavailable, match="Variant other: There is no folder"):
        plan(load_study(str(path)), place, recipe=str(micro))


def test_every_run_is_trained_and_encoders_are_shared(done):
    place, ear = done
    assert set(ear.states().values()) == {"trained"}
    assert len(ear.outcomes) == 4
    assert len(list(place.runs_dir.glob("mini/encoders/*-*/summary.json"))) == 3
    assert {step.what for step in ear.steps} == {"fusion", "text encoder", "vision encoder", "audio encoder"}
    assert max(step.done for step in ear.steps if step.what == "fusion") == 2


def test_what_is_there_is_skipped(done, micro):
    place, _ = done
    ear = Ear()
    carry_out(plan(TWO, place, recipe=str(micro), seeds=(1, 12)).jobs, tell=ear)
    assert set(ear.states().values()) == {"was there"}
    assert not ear.steps
    assert all(o.summary["validation"]["mae"] > 0 for o in ear.outcomes)


def test_a_run_of_fuse_counts_as_the_studys(prepared, micro, place, tmp_path):
    experiment = open_mini(prepared, micro, tmp_path, **{"objective.msc.enabled": False})
    run_fuse(experiment, variant="no-msc")
    (job,) = plan(
        Study(title="x", variants=(Variant(name="no-msc", set={"objective.msc.enabled": False}),)),
        place,
        recipe=str(micro),
        seeds=(1,),
    ).jobs
    assert attempt(job, Ear()).state == "was there"


def test_a_failure_stops_no_other_run(done, micro, tmp_path, prepared):
    place = Place("mini", prepared, tmp_path, "cpu")
    before = open_mini(prepared, recipe_of(tmp_path, epochs=1), tmp_path)  # another recipe of the same name
    assert run_fuse(before).folder == tmp_path / "mini" / "micro" / "full" / "seed-1"
    ear = Ear()
    outcomes = carry_out(plan(TWO, place, recipe=str(micro), seeds=(1,)).jobs, tell=ear)
    assert ear.states() == {("full", 1): "failed", ("no-cl", 1): "trained"}
    problem = next(o.problem for o in outcomes if o.state == "failed")
    assert "`name` in the study" in problem and "--name" not in problem


class StopIn:
    """Send SIGINT once the fusion has made its first step."""

    def __init__(self):
        self.sent = False

    def __call__(self, event):
        if isinstance(event, Step) and event.what == "fusion" and not self.sent:
            self.sent = True
            os.kill(os.getpid(), signal.SIGINT)


def test_stopped_and_called_again_it_goes_on(done, place, micro):
    runs = plan(TWO, place, recipe=str(micro), seeds=(1,))
    with pytest.raises(Interrupted, match="full, seed 1"):
        carry_out(runs.jobs, tell=StopIn())
    ear = Ear()
    carry_out(runs.jobs, tell=ear)
    assert set(ear.states().values()) == {"trained"}
    assert min(step.done for step in ear.steps if step.job.variant == "full") > 1 / 3  # not from the beginning
    whole = done[0].runs_dir / "mini/micro/full/seed-1"
    assert weights(place.runs_dir / "mini/micro/full/seed-1") == weights(whole)


def test_processes_are_forked_from_a_server_where_that_is_safe():
    methods = {platform: start_method(platform) for platform in ("linux", "darwin", "win32")}
    assert methods == {"linux": "forkserver", "darwin": "spawn", "win32": "spawn"}
    assert set(methods.values()) <= {*multiprocessing.get_all_start_methods()}


def test_two_at_a_time_give_the_same_bits_as_one_after_the_other(place, micro, tmp_path, prepared):
    threads = torch.get_num_threads()
    alone = Place("mini", prepared, tmp_path / "alone", "cpu")
    try:
        torch.set_num_threads(2)
        ear = Ear()
        carry_out(plan(TWO, place, recipe=str(micro), seeds=(1,)).jobs, tell=ear, engine=SideBySide(TWO_SLOTS))
        torch.set_num_threads(1)
        carry_out(plan(TWO, alone, recipe=str(micro), seeds=(1,)).jobs, tell=Ear())
    finally:
        torch.set_num_threads(threads)
    assert set(ear.states().values()) == {"trained"}
    assert ear.steps
    for variant in ("full", "no-cl"):
        one, other = (p.runs_dir / f"mini/micro/{variant}/seed-1" for p in (place, alone))
        assert json.loads((one / "environment.json").read_text())["threads"] == 1
        assert weights(one) == weights(other)


def test_stopped_side_by_side_every_run_saves_and_goes_on(place, tmp_path, prepared):
    longer = recipe_of(tmp_path, epochs=300, name="longer")  # or else they are through before they hear of the signal
    asked = {"recipe": str(longer), "seeds": (1,)}
    with pytest.raises(Interrupted, match="seed 1"):
        carry_out(plan(TWO, place, **asked).jobs, tell=StopIn(), engine=SideBySide(TWO_SLOTS))
    assert not multiprocessing.active_children()
    assert any(place.runs_dir.glob("mini/longer/*/seed-1/checkpoint.safetensors"))
    carry_out(plan(TWO, place, **asked).jobs, tell=Ear(), engine=SideBySide(TWO_SLOTS))
    through = Place("mini", prepared, tmp_path / "through", "cpu")
    carry_out(plan(TWO, through, **asked).jobs, tell=Ear(), engine=SideBySide(TWO_SLOTS))
    for variant in ("full", "no-cl"):
        one, other = (p.runs_dir / f"mini/longer/{variant}/seed-1" for p in (place, through))
        assert weights(one) == weights(other)


def test_a_damaged_summary_is_one_failed_run(done, place, micro):
    job = plan(TWO, place, recipe=str(micro), seeds=(1,)).jobs[0]
    folder = attempt(job, Ear()).folder
    (folder / "summary.json").write_text('{"best_epoch": 1}')
    outcome = attempt(job, Ear())
    assert outcome.state == "failed"
    assert "summary.json is damaged" in outcome.problem


class KillFirst:
    """Kill the process of a task, once one has made a step of this kind."""

    def __init__(self, what):
        self.outcomes, self.killed, self.what = [], False, what

    def __call__(self, event):
        if isinstance(event, Outcome):
            self.outcomes.append(event)
        elif not self.killed and event.what == self.what:
            self.killed = True
            multiprocessing.active_children()[0].kill()


def test_a_run_whose_process_dies_has_failed_and_the_other_goes_on(done, micro, place):
    runs = plan(TWO, place, recipe=str(micro), seeds=(1,))
    killer = KillFirst("fusion")
    carry_out(runs.jobs, tell=killer, engine=SideBySide(TWO_SLOTS))
    assert sorted(outcome.state for outcome in killer.outcomes) == ["failed", "trained"]
    assert any("-9" in outcome.problem for outcome in killer.outcomes)


def test_an_encoder_whose_process_dies_is_left_to_the_runs_that_need_it(micro, place):
    killer = KillFirst("text encoder")
    carry_out(plan(TWO, place, recipe=str(micro), seeds=(1,)).jobs, tell=killer, engine=SideBySide(TWO_SLOTS))
    assert killer.killed
    assert [outcome.state for outcome in killer.outcomes] == ["trained", "trained"]
