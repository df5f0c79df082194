"""The truth, when it comes: which labels join, and what they say of both models."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configuration.model import Labels
from events.labels import LabelsEvent
from exporter.showing.label_families import labels_of
from exporter.statistics.intervals import mcnemar
from exporter.windows.scores import Scores, score
from exporter.windows.shadowed import Shadowed
from tests.exporter.logs_of_three import enter, identity_of, logs, through_bytes
from tests.exporter.making import event
from tests.exporter.test_pairs import ROW, answer, state_of


def label(key, *values):
    """The truth about a request."""
    return LabelsEvent(id=key, model="fraud", time=1.0, labels=list(values))


def told(labelled, *events):
    """Take label events; what became of them."""
    for each in events:
        labelled.labels.take_labels(each)
    return dict(labelled.labels.flush())


def memory(keep=1000, size=100, entries=None):
    """Pairs and labels without windows."""
    return Shadowed(size, ("_all",), Labels(keep), entries)


def both(labelled, key, ours=0.5, theirs=0.5, **fields):
    """Both models answer."""
    enter(labelled, event(ROW, id=key, sampled=True, prediction=ours, **fields))
    enter(labelled, event(ROW, id=key, role="shadow", version="v1", prediction=theirs, **fields))


def test_a_label_joins_the_answers_of_its_request():
    """By id, one for each instance."""
    labelled = memory()
    both(labelled, "a")
    assert told(labelled, label("a", 1)) == {"events": 1, "joined": 1}
    assert labelled.labels.measures(None).labelled == 1


@pytest.mark.parametrize("first", ["production", "shadow"])
def test_a_label_that_comes_before_its_pair_waits(first):
    """For either answer, whichever comes last."""
    labelled, roles = memory(), {"production": "shadow", "shadow": "production"}
    assert told(labelled, label("a", 1)) == {"events": 1, "waiting": 1}
    enter(labelled, event(ROW, id="a", role=first, sampled=True))
    assert labelled.labels.flush() == {}
    enter(labelled, event(ROW, id="a", role=roles[first], sampled=True))
    assert labelled.labels.flush() == {"joined": 1}


def test_the_same_label_again_is_a_duplicate_and_another_one_is_ambiguous():
    """The first stands; 1, 1.0 and true are the same."""
    labelled = memory()
    both(labelled, "a", 1, 0)
    assert told(labelled, label("a", 1), label("a", 1.0), label("a", 0)) == {
        "events": 2, "joined": 1, "duplicate": 1, "ambiguous": 1,
    }  # fmt: skip
    assert told(labelled, label("a", True), label("a", None)) == {"events": 1, "duplicate": 1, "ambiguous": 1}
    found = labelled.labels.measures(None)
    assert (found.labelled, found.production.accuracy, found.shadow.accuracy) == (1, 1.0, 0.0)


def test_labels_that_are_not_as_many_as_the_instances_are_ambiguous():
    """Whether they find the answers or wait for them; and where the models answered different numbers."""
    labelled = memory()
    both(labelled, "a")
    assert told(labelled, label("a", 1, 0)) == {"events": 1, "ambiguous": 1}
    assert told(labelled, label("b"))["waiting"] == 1
    both(labelled, "b")
    assert labelled.labels.flush() == {"ambiguous": 1}
    enter(labelled, event(ROW, ROW, id="c", sampled=True))
    enter(labelled, event(ROW, id="c", role="shadow"))
    assert told(labelled, label("c", 1)) == {"events": 1, "ambiguous": 1}
    assert labelled.labels.measures(None).labelled == 0


def test_an_unknown_truth_of_one_instance_leaves_the_others():
    """A null."""
    labelled = memory()
    for role in ("production", "shadow"):
        enter(labelled, event(ROW, ROW, ROW, id="a", role=role, sampled=True, prediction=1))
    assert told(labelled, label("a", 1, None, 0))["joined"] == 1
    assert labelled.labels.measures(None).labelled == 2


@pytest.mark.parametrize("entries", [2, 7, 30, 4096])
def test_every_label_within_keep_joins_and_every_later_one_is_counted(entries):
    """However the memory is cut into chunks, with ids that tell their time and such that do not."""
    labelled = memory(keep=20, entries=entries)
    for number in range(50):
        both(labelled, identity_of(number))
    found = [told(labelled, label(identity_of(number), 1)) for number in range(50)]
    assert found == [{"events": 1, "late": 1}] * 30 + [{"events": 1, "joined": 1}] * 20
    assert told(labelled, label(identity_of(100), 1)) == {"events": 1, "waiting": 1}
    assert told(labelled, label("nobody's", 1)) == {"events": 1, "late": 1}


def test_labels_wait_in_a_memory_of_the_same_size():
    """The oldest go."""
    labelled = memory(keep=20)
    told(labelled, *(label(f"{number}", 1) for number in range(30)))
    for number in range(30):
        both(labelled, f"{number}")
    assert labelled.labels.flush() == {"joined": 20}


def test_nothing_is_remembered_where_nothing_is_to_be_kept():
    """`labels.keep: 0`."""
    labelled = memory(keep=0)
    assert told(labelled, label("a", 1)) == {"events": 1, "waiting": 1}
    both(labelled, "a")
    assert told(labelled, label("a", 1)) == {"events": 1, "late": 1}


def test_what_was_joined_stays_when_its_answers_have_gone():
    """The measures are over the last W labelled instances, however long ago they were answered."""
    labelled = memory(keep=10, size=10)
    both(labelled, "a")
    told(labelled, label("a", 1))
    for number in range(100):
        both(labelled, f"{number}")
    assert labelled.labels.measures(None).labelled == 1


def test_measures_are_over_the_last_labels_in_their_own_order():
    """A label whose pair comes late takes its place among the others."""
    labelled = memory(size=10)
    told(labelled, label("first", 1))
    for number in range(12):
        both(labelled, f"{number}", number, number)
        told(labelled, label(f"{number}", 0))
    both(labelled, "first", 1000, 1000)
    labelled.labels.flush()
    found = labelled.labels.measures(None)
    assert (found.labelled, found.production.absolute_error) == (10, np.mean(range(2, 12)))


def test_measures_start_again_at_a_switch_of_either_version():
    """Answers of a former version may still get their label, and say nothing any more."""
    labelled = memory()
    both(labelled, "a")
    both(labelled, "b")
    told(labelled, label("a", 1))
    enter(labelled, event(ROW, id="c", sampled=True, version="v3"))
    assert labelled.labels.measures(None).labelled == 0
    assert told(labelled, label("b", 1)) == {"events": 1, "joined": 1}
    assert labelled.labels.measures(None).labelled == 0
    enter(labelled, event(ROW, id="c", role="shadow", version="v1"))
    assert told(labelled, label("c", 1))["joined"] == 1
    assert labelled.labels.measures(None).labelled == 1
    enter(labelled, event(ROW, id="d", role="shadow", version="v4"))
    assert labelled.labels.measures(None).labelled == 0


SCORES = {
    "a text": ("DE", "DE", 1.0),
    "another text": ("DE", "FR", 0.0),
    "a text that is a number": ("3", 3.0, 1.0),
    "a text that is a boolean": ("true", True, 1.0),
    "a hashed text and a name": ("#0123456789abcdef", "FR", None),
    "two hashed texts": ("#0123456789abcdef", "#0123456789abcdef", 1.0),
    "a boolean": (True, True, 1.0),
    "a boolean and 1": (True, 1, 1.0),
    "a boolean and 0.0": (True, 0.0, 0.0),
    "a boolean and 2": (True, 2, None),
    "a boolean and a text": (True, "true", None),
    "probabilities": ([0.2, 0.5, 0.3], 1, 1.0),
    "probabilities and another class": ([0.2, 0.5, 0.3], 0, 0.0),
    "probabilities and the class as a text": ([0.2, 0.8], "1", 1.0),
    "probabilities and a name": ([0.2, 0.8], "fraud", None),
    "probabilities and no class of theirs": ([0.2, 0.8], 2, None),
    "probabilities and a half": ([0.2, 0.8], 0.5, None),
    "no probabilities": ([], 0, None),
    "a number and a text": (0.5, "1", None),
    "no prediction": (None, 1, None),
    "no label": (0.5, None, None),
}


@pytest.mark.parametrize(("prediction", "truth", "right"), SCORES.values(), ids=SCORES)
def test_whether_a_class_is_right(prediction, truth, right):
    """None where prediction and label cannot be compared."""
    found = score(prediction, truth)
    assert (None if found is None else found.value) == right


def test_probabilities_have_the_score_of_brier():
    """Two classes as one probability has it, which is also what scikit-learn makes of both."""
    assert score([0.3, 0.7], 1).brier == pytest.approx(0.09)
    assert score([0.2, 0.5, 0.3], 0).brier == pytest.approx(0.64 + 0.25 + 0.09)


def measured(values, column=None):
    """The measures over rows of (production, shadow, truth)."""
    scores = Scores(100)
    for number, (ours, theirs, truth) in enumerate(values):
        scores.add(number, 0, (1, 2), score(ours, truth), score(theirs, truth))
        scores.add(number, 0, (1, 3), score(theirs, truth), score(ours, truth))
    return scores.measures(column, (1, 2))


def test_numbers_are_probabilities_where_all_of_them_can_be():
    """Between 0 and 1, with labels 0 and 1."""
    found = measured([(0.9, 0.4, 1), (0.2, 0.1, False), (0.5, 0.6, 0), (0.7, 0.8, True)])
    assert found.production == (0.75, pytest.approx(1.1 / 4), pytest.approx((0.01 + 0.04 + 0.25 + 0.09) / 4))
    assert found.shadow == (0.5, pytest.approx(1.5 / 4), pytest.approx((0.36 + 0.01 + 0.36 + 0.04) / 4))
    assert (found.only_production_right, found.only_shadow_right) == (1, 0)


def test_other_numbers_have_an_error_and_no_accuracy():
    """One beyond 1, or one label between, and it is a regression."""
    found = measured([(0.9, 0.4, 1), (1.5, 0.5, 1)])
    assert found.production == (None, pytest.approx(0.3), None)
    assert measured([(0.9, 0.4, 0.5)]).shadow == (None, pytest.approx(0.1), None)


def test_whole_numbers_are_what_the_reference_says():
    """Classes, or numbers; without a reference nobody knows."""
    categories, numbers = (state_of(kind).measured.prediction for kind in ([1, 2, 3], (0.0, 9.0)))
    rows = [(1, 2, 1), (3, 3, 2)]
    assert measured(rows, categories).production == (0.5, None, None)
    assert measured(rows, numbers).production == (None, 0.5, None)
    assert measured(rows).production == (0.5, 0.5, None)
    assert measured([(0, 1, 1)], categories).shadow == (1.0, None, None)


def test_nothing_is_measured_without_a_label():
    """Null, never a made-up number."""
    assert measured([]) == (0, (None, None, None), (None, None, None), 0, 0)


def test_the_evidence_tells_of_both_models_and_of_mcnemar():
    """On the same requests."""
    state = state_of(["a", "b"])
    for number in range(12):
        answer(state, number, "a", "a" if number < 3 else "b")
        state.labels.take_labels(label(f"r{number}", "a" if number < 11 else "b"))
    state.labels.flush()
    found = labels_of(state)
    assert (found.labelled, found.size) == (12, 100)
    assert (found.production.accuracy, found.shadow.accuracy) == (11 / 12, 4 / 12)
    assert (found.only_production_right, found.only_shadow_right) == (8, 1)
    assert found.accuracy_pvalue == mcnemar(8, 1)


PREDICTIONS = st.sampled_from((0.25, 0.75, 1, 0, True, "x", "y", None))


@settings(deadline=None, max_examples=60)
@given(logs(predictions=PREDICTIONS), st.integers(1, 9), st.sampled_from((2, 5, 4096)))
def test_labels_are_a_function_of_the_three_logs(made, size, entries):
    """Any interleaving and any cut gives the same measures, and joins the same labels."""
    found = []
    for order in (made.order, made.other_order):
        labelled, counts = memory(size=size, entries=entries), {}
        made.read(order, taking(labelled), lambda: add(counts, labelled.labels.flush()))  # noqa: B023
        found.append(
            (
                labelled.labels.measures(None),
                labelled.labels._scores.kept(),
                counts.get("joined"),
                counts.get("duplicate"),
            )
        )
    assert found[0] == found[1]


@settings(deadline=None, max_examples=60)
@given(logs(predictions=PREDICTIONS), st.integers(1, 9), st.integers(0, 12), st.sampled_from((2, 5, 4096)))
def test_where_the_reading_is_cut_changes_nothing(made, size, keep, entries):
    """Also where memories overflow: message by message is as good as all of a topic at once."""
    whole, parts, counts = memory(keep, size, entries), memory(keep, size, entries), [{}, {}]
    made.read(made.order, taking(whole), lambda: add(counts[0], whole.labels.flush()))
    singly = [(topic, True) for topic, _ in made.order]
    made.read(singly, taking(parts), lambda: add(counts[1], parts.labels.flush()))
    assert whole.labels.measures(None) == parts.labels.measures(None)
    assert counts[0] == counts[1]
    assert whole.kept() == parts.kept()


@settings(deadline=None, max_examples=60)
@given(
    logs(predictions=PREDICTIONS), st.integers(1, 9), st.integers(0, 12), st.sampled_from((2, 5, 4096)), st.integers(0)
)
def test_labels_that_were_restored_go_on_as_if_nothing_had_been(made, size, keep, entries, at):
    """At any point of the logs, through bytes; the sealed parts are the same objects each time."""
    whole, parts = memory(keep, size, entries), [memory(keep, size, entries)]
    counts, flushes = [{}, {}], []

    def flush():
        add(counts[0], whole.labels.flush())
        add(counts[1], parts[-1].labels.flush())
        flushes.append(None)
        if len(flushes) == 1 + at % 30:
            kept, again = parts[-1].kept(), parts[-1].kept()
            sealed = [name for name in kept["parts"] if name.rpartition(".")[2].isdigit()]
            assert all(kept["parts"][name] is again["parts"][name] for name in sealed)
            parts.append(memory(keep, size, entries))
            parts[-1].restore(through_bytes(kept))

    made.read(made.order, lambda each: (taking(whole)(each), taking(parts[-1])(each)), flush)
    assert whole.labels.measures(None) == parts[-1].labels.measures(None)
    assert counts[0] == counts[1]
    assert through_bytes(whole.kept()) == through_bytes(parts[-1].kept())


def taking(shadowed):
    """Answers and labels to where they belong."""
    return lambda each: enter(shadowed, each)


def add(counts, more):
    """Count up."""
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count


def test_labels_of_another_memory_are_refused():
    """Whoever keeps them drops them then; and a part that is missing is noticed."""
    with pytest.raises(ValueError, match=r"labels\.keep"):
        memory(keep=100).restore(memory(keep=1000).kept())
    full = memory(keep=1000, entries=5)
    for number in range(20):
        both(full, f"{number}")
    kept = full.kept()
    del kept["parts"]["production.5"]
    with pytest.raises(ValueError, match="not there"):
        memory(keep=1000, entries=5).restore(kept)


def test_what_is_remembered_is_bounded_in_bytes_too():
    """Long lists of probabilities: the oldest pairs are forgotten earlier, and told as late."""
    labelled = memory(keep=1_000)
    certain = [0.001] * 1_000
    for number in range(0, 12_000, 2):
        enter(labelled, event(ROW, id=identity_of(number), sampled=True, prediction=certain))
        if number == 1_000:
            before = dict(labelled.labels._answers["production"].find([]))
    assert before == {}
    held = sum(len(chunk.kept["said"]) for chunk in labelled.labels._answers["production"]._sealed)
    assert held <= 32 * 2**20 + 64 * 1_000


def test_a_long_name_of_a_class_is_kept_short_and_compared_all_the_same():
    """By its hash."""
    labelled = memory()
    both(labelled, "a", "x" * 10_000, "y" * 10_000)
    told(labelled, label("a", "x" * 10_000))
    found = labelled.labels.measures(None)
    assert (found.production.accuracy, found.shadow.accuracy) == (1.0, 0.0)
    assert sum(len(part.get("said", b"")) for part in labelled.kept()["parts"].values()) < 200


def test_a_number_that_no_float_holds_says_nothing():
    """As an answer or as a label."""
    labelled = memory()
    both(labelled, "a", 10**400, 0.5)
    both(labelled, "b", 0.5, 0.5)
    told(labelled, label("a", 1), label("b", 10**400))
    assert labelled.labels.measures(None).labelled == 0
    assert math.isfinite(score(float(2**53), 1).value)
