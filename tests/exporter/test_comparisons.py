"""Windows compared: the numbers of the pure functions, over what the windows hold."""

import numpy as np
import pytest

from events.inference import ROLES
from exporter.showing.comparisons import Comparer, drifted_tenants
from exporter.statistics.batches import design_effect
from exporter.statistics.divergence import js_divergence, psi
from exporter.statistics.significance import critical_by_column, pvalue_by_column
from exporter.windows.measured import measured_models
from exporter.windows.models import ModelState
from tests.exporter.making import event, model, profile

TENANTS = ("acme", "initech")


def state(size=200, rows=5_000, **settings):
    """A model's state, empty."""
    (measured,) = measured_models([model(size=size, tenants=TENANTS, **settings)], [profile(rows)])
    return ModelState(measured)


def fill(of, count, *, seed=1, shift=0.0, instances=1, cloned=2, missing=0, tenant="acme", alike=False):
    """So many requests of production, of which every so many-th has a shadow's answer."""
    chance = np.random.default_rng(seed)
    for number in range(count):
        rows = []
        for _ in range(instances):
            row = {"amount": float(chance.normal() + shift), "country": str(chance.choice(["DE", "FR", "US"]))}
            rows.append(rows[0] if alike and rows else row)
        if missing and number % missing == 0:
            rows = [{**row, "amount": None} for row in rows]
        for role in ROLES[: 2 if number % cloned == 0 else 1]:
            score = float(chance.random())
            of.take(event(*rows, id=f"{seed}-{number}", role=role, tenant=tenant, prediction=score))
    of.flush()


def found(of):
    """All comparisons by tenant and side."""
    return {(each.tenant, each.against): each for each in Comparer().of(of)}


def cut(of, compared, counts, name):
    """One column's counts."""
    layout, column = of.measured.columns.layout, of.measured.columns.index[name]
    start = layout.bin_starts[column]
    return counts[start : start + layout.sizes[column]]


@pytest.mark.parametrize("against", ["reference", "shadow"])
@pytest.mark.parametrize("name", ["amount", "country", "prediction"])
def test_each_value_is_that_of_its_formula(against, name):
    """Over the column's own counts, with the instances that both windows hold."""
    of = state()
    fill(of, 150, shift=0.3, missing=5)
    compared = found(of)["acme", against]
    at = of.measured.columns.index[name]
    ours, theirs = (cut(of, compared, counts, name) for counts in (compared.production, compared.other))
    # Of 150 requests every second is cloned, and of every fifth the amount is missing.
    shared = {"amount": 60, "country": 75, "prediction": 0}[name] if against == "shadow" else 0
    assert compared.psi[at] == pytest.approx(psi(ours, theirs), abs=1e-14)
    assert compared.js[at] == pytest.approx(js_divergence(ours, theirs), abs=1e-14)
    assert (compared.instances[at], compared.other_instances[at]) == (ours.sum(), theirs.sum())
    critical = critical_by_column(ours.sum(), theirs.sum(), shared, len(ours), 1e-6)
    assert compared.critical[at] == pytest.approx(float(critical), abs=1e-14)
    starts = np.zeros(1, np.intp)
    assert compared.pvalue[at] == pytest.approx(pvalue_by_column(ours, theirs, starts, shared)[0], abs=1e-14)


def test_two_windows_of_the_same_instances_have_nothing_to_tell():
    """Every request was cloned: identical counts, and no variance that chance could have left."""
    of = state()
    fill(of, 150, cloned=1)
    compared = found(of)["_all", "shadow"]
    assert compared.shared == 150
    features = compared.columns < 2
    assert compared.psi[features].tolist() == compared.critical[features].tolist() == [0.0, 0.0]
    assert compared.pvalue[features].tolist() == [1.0, 1.0]
    assert compared.critical[~features] > 0


def test_instances_are_shared_by_request_and_place_whatever_fell_out_of_a_window():
    """Against a count by hand, with requests of three instances and a shadow that lags behind."""
    of = state(size=50)
    fill(of, 60, instances=3, cloned=4)
    ours, theirs = (
        {(int(key), int(place)) for key, place in zip(rows.requests, rows.places, strict=True)}
        for rows in (of.roles[role].windows["_all"].rows() for role in ROLES)
    )
    assert found(of)["_all", "shadow"].shared == len(ours & theirs) > 0


def test_instances_that_come_together_and_are_alike_count_for_less():
    """D of five equal instances is about 5, and the p-value that of a fifth of them."""
    of, apart = state(size=500), state(size=500)
    fill(of, 100, instances=5, alike=True)
    fill(apart, 500)
    compared, single = found(of)["_all", "reference"], found(apart)["_all", "reference"]
    assert single.effects.tolist() == [1.0, 1.0, 1.0]
    expected = design_effect(500, 5_000, 5.0)
    assert compared.effects[:2] == pytest.approx([float(expected)] * 2, rel=0.35)
    assert compared.effects[2] == pytest.approx(float(expected))  # one prediction for all five
    layout = of.measured.columns.layout
    raw = pvalue_by_column(compared.production, compared.other, layout.bin_starts)
    scaled = pvalue_by_column(compared.production, compared.other, layout.bin_starts, 0, compared.effects)
    assert compared.pvalue.tolist() == scaled.tolist()
    assert (compared.pvalue > raw).all()


def test_a_level_needs_significance_and_a_psi_above_the_tenants_threshold():
    """A dozen instances far away have a large PSI and prove nothing; a threshold of a tenant's own counts for it."""
    of = state(thresholds={"initech": {"severe": 9.0, "large": 8.0, "moderate": 7.0}})
    fill(of, 150, shift=2.0, tenant="acme")
    fill(of, 150, seed=2, shift=2.0, tenant="initech")
    fill(of, 3, seed=3, shift=0.0, tenant="_other")
    compared = found(of)
    amount = of.measured.columns.index["amount"]
    assert compared["acme", "reference"].levels[amount] == 3
    assert compared["initech", "reference"].levels[amount] == 0
    few = compared["_other", "reference"]
    assert few.psi[amount] > 0.35
    assert few.levels[amount] == 0
    assert drifted_tenants(list(compared.values())) == ["acme"]


def test_neither_all_nor_the_others_are_a_tenant_that_drifted():
    """Three red tenants are three that have a name."""
    of = state()
    fill(of, 150, shift=2.0, tenant="somebody")
    compared = Comparer().of(of)
    assert {each.tenant for each in compared if (each.levels >= 2).any()} >= {"_all", "_other"}
    assert drifted_tenants(compared) == []


def test_what_was_worked_out_is_kept_until_a_window_changes():
    """Of that tenant alone."""
    of = state()
    for number, tenant in enumerate(TENANTS):
        fill(of, 50, seed=number, tenant=tenant)
    comparer = Comparer()
    before = {(each.tenant, each.against): each for each in comparer.of(of)}
    of.take(event({"amount": 1.0}, tenant="acme", role="shadow"))
    of.flush()
    after = {(each.tenant, each.against): each for each in comparer.of(of)}
    changed = {key for key, each in after.items() if each is not before[key]}
    assert changed == {("_all", "shadow"), ("acme", "shadow")}
    assert before.keys() == after.keys()
