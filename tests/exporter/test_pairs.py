"""Answers of both models to the same requests: which are pairs, and what they say."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configuration.model import Labels
from events.inference import Instance
from exporter.showing.agreement import agreement
from exporter.windows.answers import fingerprint, identity, said
from exporter.windows.measured import measured_models
from exporter.windows.models import ModelState
from exporter.windows.shadowed import Shadowed
from reference.columns import column_of
from reference.profile import Binning, Profile
from tests.exporter.logs_of_three import enter, logs, through_bytes
from tests.exporter.making import event, model, profile

ROW = {"amount": 1.0, "country": "DE"}


def state_of(prediction=(0.0, 1.0), size=100, tenants=(), **settings):
    """A model whose reference predicts numbers evenly between two, or these categories, or has no prediction."""
    column = None
    if isinstance(prediction, tuple):
        column = column_of(np.linspace(*prediction, 1001).tolist(), Binning())
    elif prediction is not None:
        column = column_of([name for name in prediction for _ in range(50)], Binning())
    known = Profile(1, 1000, Binning(), profile().features, column)
    (measured,) = measured_models([model(size=size, tenants=tenants, **settings)], [known])
    return ModelState(measured)


def answer(state, number, ours, theirs, **fields):
    """Both models answer a request of one instance."""
    state.take(event(ROW, id=f"r{number}", sampled=True, prediction=ours, **fields))
    state.take(event(ROW, id=f"r{number}", role="shadow", version="v1", prediction=theirs, **fields))


def test_an_answer_of_both_models_is_a_pair():
    """Of a request that was sampled, in whatever order the two come."""
    state = state_of()
    answer(state, 1, 0.5, 0.5)
    state.take(event(ROW, id="r2", role="shadow", version="v1"))
    state.take(event(ROW, id="r2", sampled=True))
    state.take(event(ROW, id="r3", sampled=True))
    state.take(event(ROW, id="r4"))
    found = agreement(state)
    assert (found.pairs, found.sampled, found.completeness) == (2, 3, 2 / 3)


@pytest.mark.parametrize("outcome", ["error", "timeout", "truncated", "client_closed", "fallback", "log_only"])
def test_only_ok_answers_are_paired(outcome):
    """What the shadow did not answer stays in the denominator."""
    state = state_of()
    state.take(event(ROW, id="a", sampled=True))
    state.take(event(ROW, id="a", role="shadow", version="v1", outcome=outcome))
    state.take(event(ROW, id="b", sampled=True, outcome=outcome))
    state.take(event(ROW, id="b", role="shadow", version="v1"))
    found = agreement(state)
    assert (found.pairs, found.sampled) == (0, 1)


DISAGREEMENTS = {
    "numbers within one per cent of the range": ((0.0, 10.0), 1.0, 1.089, False),
    "numbers beyond it": ((0.0, 10.0), 1.0, 1.091, True),
    "texts": (["a", "b"], "a", "b", True),
    "the same text": (["a", "b"], "a", "a", False),
    "a text that the reference lacks": (["a", "b"], "a", "#0123456789abcdef", True),
    "booleans": ([True, False], True, False, True),
    "the same boolean": ([True, False], False, False, False),
    "categories that are numbers": ([1, 2, 3], 1, 2, True),
    "3 and 3.0": ([1, 2, 3], 3, 3.0, False),
    "true and 1": ([1, 2, 3], 1, True, True),
    "the same likeliest class": ([0, 1, 2], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1], False),
    "another likeliest class": ([0, 1, 2], [0.2, 0.5, 0.3], [0.6, 0.3, 0.1], True),
    "the first among equals": ([0, 1, 2], [0.5, 0.5], [0.6, 0.4], False),
    "whole numbers without a reference": (None, 1, 2, True),
    "equal whole numbers without a reference": (None, 2, 2, False),
}


@pytest.mark.parametrize(("prediction", "ours", "theirs", "disagree"), DISAGREEMENTS.values(), ids=DISAGREEMENTS)
def test_when_two_answers_disagree(prediction, ours, theirs, disagree):
    """Classes that differ, numbers beyond the tolerance, another likeliest class."""
    state = state_of(prediction)
    answer(state, 1, ours, theirs)
    (found,) = agreement(state).disagreement
    assert (found.tenant, found.pairs, found.ratio) == ("_all", 1, float(disagree))


def test_without_a_reference_nobody_knows_how_far_is_far():
    """The pair counts, the difference is shown, and no disagreement is made up."""
    state = state_of(None)
    answer(state, 1, 0.5, 0.6)
    found = agreement(state)
    assert (found.pairs, found.disagreement) == (1, ())
    assert found.delta["0.5"] == pytest.approx(0.1)


@pytest.mark.parametrize("nothing", [None, [], 10**400])
def test_a_pair_in_which_one_says_nothing_usable_neither_agrees_nor_disagrees(nothing):
    """It is a pair all the same."""
    state = state_of()
    answer(state, 1, 0.5, nothing)
    answer(state, 2, 0.5, 0.9)
    found = agreement(state)
    assert found.pairs == 2
    assert [(each.pairs, each.ratio) for each in found.disagreement] == [(1, 1.0)]


def test_the_figures_are_those_of_the_formulas():
    """Quantiles and sign test of shadow - production; ratio and Wilson's interval."""
    state, chance = state_of(), np.random.default_rng(3)
    ours = chance.random(60)
    theirs = np.where(chance.random(60) < 0.5, ours, ours + chance.normal(0.05, 0.1, 60))
    for number, pair in enumerate(zip(ours.tolist(), theirs.tolist(), strict=True)):
        answer(state, number, *pair)
    found, delta = agreement(state), theirs - ours
    assert list(found.delta) == ["0.05", "0.5", "0.95"]
    assert list(found.delta.values()) == pytest.approx(np.quantile(delta, [0.05, 0.5, 0.95]).tolist(), abs=1e-15)
    column = state.measured.prediction
    share = float((abs(delta) > 0.01 * (column.high - column.low)).mean())
    (whole,) = found.disagreement
    assert (whole.ratio, whole.pairs) == (share, 60)
    assert whole.lower < share < whole.upper
    assert 0 < found.sign_pvalue <= 1


def test_identical_models_agree_and_no_sign_is_seen():
    """Ties are left out of the sign test."""
    state = state_of()
    for number in range(10):
        answer(state, number, 0.3, 0.3)
    found = agreement(state)
    assert found.disagreement[0].ratio == 0
    assert found.delta == {"0.05": 0.0, "0.5": 0.0, "0.95": 0.0}
    assert found.sign_pvalue == 1.0


def test_tenants_are_told_apart():
    """One that has no name of its own counts with the others; none counts in the whole alone."""
    state = state_of(["a", "b"], tenants=("acme", "initech"))
    for number, (tenant, theirs) in enumerate([("acme", "b"), ("acme", "a"), ("evil", "b"), (None, "a")]):
        answer(state, number, "a", theirs, tenant=tenant)
    found = {each.tenant: (each.pairs, each.ratio) for each in agreement(state).disagreement}
    assert found == {"_all": (4, 0.5), "acme": (2, 0.5), "_other": (1, 1.0)}
    assert next(iter(found)) == "_all"


def test_the_rings_hold_the_last_instances_of_each_log():
    """A pair goes when either of its answers has left."""
    state = state_of(size=10)
    for number in range(25):
        answer(state, number, 0.5, 0.5)
    assert agreement(state).pairs == 10
    for number in range(4):
        state.take(event(ROW, id=f"more{number}", sampled=True))
    assert (agreement(state).pairs, agreement(state).sampled) == (6, 10)
    for number in range(7):
        state.take(event(ROW, id=f"yet{number}", role="shadow", version="v1"))
    assert agreement(state).pairs == 3


def test_instances_are_paired_by_their_place():
    """And a request that the models saw as different numbers of instances is counted, and left out."""
    state = state_of(["a", "b"])
    for role in ("production", "shadow"):
        made = event(ROW, ROW, ROW, id="a", role=role, version=role, sampled=True, prediction="a")
        made.instances[1].prediction = "b" if role == "shadow" else "a"
        state.take(made)
        state.take(event(*[ROW] * (2 if role == "shadow" else 3), id="b", role=role, version=role, sampled=True))
    found = agreement(state)
    assert (found.pairs, found.sampled) == (3, 6)
    assert found.disagreement[0].ratio == pytest.approx(1 / 3)
    assert state.pairs.unequal == 1


def test_features_that_differ_are_a_fault_of_the_pipeline():
    """Values, names, and what is invalid; not their order."""
    state = state_of()
    others = [{"b": 2.0, "a": 1}, {"a": 1, "b": 3.0}, {"a": 1}, {"a": 1, "b": None}, {"a": 10**30, "b": 2}]
    for number, features in enumerate(others):
        state.take(event({"a": 1, "b": 2.0}, id=f"{number}", sampled=True))
        state.take(event(features, id=f"{number}", role="shadow", version="v1"))
    assert (state.pairs.mismatched, agreement(state).mismatched) == (4, 4)
    assert fingerprint(Instance({"a": None})) != fingerprint(Instance({"a": None}, invalid=["a"]))


def test_hashes_under_different_keys_cannot_be_compared():
    """A key that was changed between the two events is no fault of the pipeline."""
    state = state_of()
    state.take(event({"a": "#0123456789abcdef"}, id="a", sampled=True, key_id="k1"))
    state.take(event({"a": "#fedcba9876543210"}, id="a", role="shadow", version="v1", key_id="k2"))
    assert (agreement(state).pairs, state.pairs.mismatched) == (1, 0)


def test_pairs_start_again_at_a_switch_of_either_version():
    """They are always of one version each."""
    state = state_of()
    for number in range(5):
        answer(state, number, 0.5, 0.5)
    state.take(event(ROW, id="x", sampled=True, version="v3"))
    assert (agreement(state).pairs, agreement(state).sampled) == (0, 1)
    assert state.shadowed.version("production") == "v3"
    state.take(event(ROW, id="x", role="shadow", version="v1"))
    assert agreement(state).pairs == 1
    state.take(event(ROW, id="y", role="shadow", version="v4"))
    assert (agreement(state).pairs, agreement(state).sampled) == (0, 1)


def test_a_version_that_is_not_cloned_ends_the_pairs_when_it_has_taken_over():
    """As when the shadow's own version serves; a canary's few requests between end nothing."""
    state = state_of(size=10)
    for number in range(10):
        answer(state, number, 0.5, 0.5)
        state.take(event(ROW, version="v1"))
    for _ in range(8):
        state.take(event(ROW, version="v1"))
    state.take(event(ROW, version="v2"))
    assert agreement(state).pairs == 10
    for _ in range(10):
        state.take(event(ROW, version="v1"))
    assert (agreement(state).pairs, agreement(state).sampled) == (0, 0)
    assert state.shadowed.version("production") is None


def test_an_id_that_comes_again_later_than_duplicates_are_told_counts_once():
    """Sampled answers reach further back than the ids of all."""
    state = state_of(size=10)
    answer(state, 1, 0.5, 0.5)
    for _ in range(60):
        state.take(event(ROW))
    state.take(event(ROW, id="r1", sampled=True))
    assert agreement(state).sampled == 1


def shadowed_of(size, *tenants):
    """Pairs and labels without windows."""
    return Shadowed(size, ("_all", *(tenants or ("acme",))), Labels(0))


def by_definition(log, size, enters):
    """What is shown of the last W instances, by the words of the definition."""
    ring, shown, row, silent, periods = [], None, [], 0, 0
    for each in log:
        if each.outcome not in ("ok", "log_only") or not each.instances:
            continue
        mine = next((period for period, *_ in ring[-size:] if period[0] == each.version), None)
        if shown is not None and shown[0] == each.version:
            mine, row, silent = shown, [], 0
        else:
            row = [*row, each.version] if each.version in row[-1:] else [each.version]
            silent += len(each.instances)
            if mine is None and enters(each):
                periods += 1
                mine = shown = (each.version, periods)
                row, silent = [], 0
            elif mine is not None and (len(row) >= FEW or silent >= size):
                shown, row, silent = mine, [], 0
            elif silent >= size:
                ring, shown, row, silent = [], None, [], 0
        if enters(each):
            count = len(each.instances)
            ring += [(mine, each.id, index, count, one) for index, one in enumerate(each.instances)]
    held = [rest for period, *rest in ring[-size:] if period == shown]
    return {(key, index, count): one for key, index, count, one in held}, len(held)


FEW = 3
"""Answers in a row that bring a version back, in short logs."""


@settings(deadline=None, max_examples=60)
@given(logs(), st.integers(1, 12))
def test_pairs_are_a_function_of_the_two_logs(made, size):
    """Any interleaving gives those of the definition, with their features' mismatches."""
    for order in (made.order, made.other_order):
        pairs = shadowed_of(size)
        with patch("exporter.windows.leading.IN_A_ROW", FEW):
            made.read(order, lambda each: enter(pairs, each), lambda: None)  # noqa: B023
        ours, sampled = by_definition(made.production, size, lambda each: each.outcome == "ok" and each.sampled)
        theirs, _ = by_definition(made.shadow, size, lambda each: each.outcome == "ok")
        both = [key for key in ours if key in theirs]
        found = pairs.pairs.held()
        assert found.sampled == sampled
        assert found.numbers[0].tolist() == [said(ours[key].prediction).number for key in both]
        assert found.numbers[1].tolist() == [said(theirs[key].prediction).number for key in both]
        assert found.mismatched == sum(ours[key].features != theirs[key].features for key in both)


@settings(deadline=None, max_examples=60)
@given(logs(), st.integers(1, 12), st.integers(0, 28))
def test_pairs_that_were_restored_go_on_as_if_nothing_had_been(made, size, at):
    """At any point of the logs."""
    answers = [order for order in made.order if order[0] != "labels"]
    whole, parts = shadowed_of(size), [shadowed_of(size)]
    taken = []

    def take(each):
        enter(whole, each)
        enter(parts[-1], each)
        taken.append(each)
        if len(taken) == at:
            kept = through_bytes(parts[-1].kept())
            parts.append(shadowed_of(size))
            parts[-1].restore(kept)

    made.read(answers, take, lambda: None)
    for ours, theirs in zip(whole.pairs.held(), parts[-1].pairs.held(), strict=True):
        assert np.array_equal(np.array(ours), np.array(theirs))
    assert through_bytes(whole.kept()) == through_bytes(parts[-1].kept())


def test_pairs_come_back_under_other_tenants():
    """A changed configuration is no reason to lose them."""
    before, after = (shadowed_of(10, *names, "_other") for names in (("acme", "initech"), ("globex", "acme")))
    for number, tenant in enumerate(["acme", "initech", None, "evil"]):
        enter(before, event(ROW, id=f"{number}", sampled=True, tenant=tenant))
        enter(before, event(ROW, id=f"{number}", role="shadow", tenant=tenant))
    after.restore(through_bytes(before.kept()))
    assert after.pairs.held().tenants.tolist() == [2, 3, -1, 3]


def test_pairs_of_another_window_are_refused():
    """Whoever keeps them drops them then."""
    with pytest.raises(ValueError, match="another window"):
        shadowed_of(10).restore(shadowed_of(11).kept())


def test_every_id_has_an_identity_of_its_own():
    """UUIDs their own 16 bytes, other texts a hash; letters in another case are another id."""
    uuid = "01932c0f-8a53-7b3e-9a4e-0f6d2f1c7a55"
    found = {identity(text) for text in (uuid, uuid.upper(), uuid.replace("-", ""), "", "a", "ä" * 256)}
    assert len(found) == 6
    assert {len(key) for key in found} == {16}
    assert identity(uuid).hex() == uuid.replace("-", "")
