"""A profile that changes while the exporter runs: windows begin anew, and nothing is restarted."""

import msgspec

from exporter.windows.measured import measured_models
from exporter.windows.models import ModelState
from reference.profile import save
from tests.exporter.making import Desk, event, model, profile, record
from tests.exporter.test_consume import exporter  # noqa: F401 - a fixture
from tests.support.waiting import until


def records(count, first=0):
    """So many answers with ids of their own."""
    return [record(event({"amount": 0.5, "country": "DE"}, id=f"r-{number}")) for number in range(first, first + count)]


def test_another_profile_begins_the_windows_anew_and_remembers_what_was_seen():
    """An event that comes once more is a duplicate still."""
    desk = Desk(model())
    desk.take(*records(30))
    window = desk.window()
    desk.intake.refer("fraud", profile(seed=2))
    assert desk.window().filled == 0
    assert desk.window().revision > window.revision
    assert desk.intake.owned["fraud"].measured.profile == profile(seed=2)
    desk.take(*records(40))
    assert desk.window().filled == 10
    assert desk.intake.counters.duplicate["fraud", "production"] == 30


def test_another_description_begins_nothing_anew():
    """It is for people."""
    desk = Desk(model())
    desk.take(*records(30))
    desk.intake.refer("fraud", msgspec.structs.replace(profile(), description="spring"))
    assert desk.window().filled == 30
    assert desk.intake.owned["fraud"].measured.profile.description == "spring"


def test_windows_after_a_change_are_those_of_a_model_that_began_with_it():
    """Other columns, and another number of bins, too."""
    (measured,) = measured_models([model()], [profile(seed=2, names=("amount", "origin"))])
    fresh, changed = ModelState(measured), ModelState(measured_models([model()], [profile()])[0])
    for number in range(50):
        changed.take(event({"amount": 0.5}, id=f"before-{number}"))
    changed.flush()
    changed.refer(measured)
    for state in (fresh, changed):
        for number in range(50):
            state.take(event({"amount": number / 50, "origin": "DE"}, id=f"after-{number}", time=number + 1.0))
        state.flush()
    mine, theirs = (state.roles["production"].windows["_all"] for state in (changed, fresh))
    assert mine.counts.tolist() == theirs.counts.tolist()
    assert changed.early_warning.ratios().tolist() == fresh.early_warning.ratios().tolist()


def test_a_model_that_is_not_ours_is_measured_by_it_when_it_comes():
    """Its partition may come at any time."""
    desk = Desk(model())
    partition = desk.intake.partition("fraud")
    desk.intake.disown(partition)
    desk.intake.refer("fraud", profile(seed=2))
    desk.intake.own(ModelState(desk.intake.models["fraud"]))
    assert desk.intake.owned["fraud"].measured.profile == profile(seed=2)


async def test_a_changed_file_is_in_force_without_a_restart_and_a_broken_one_is_not(exporter, tmp_path, caplog):  # noqa: F811
    """Whole or not at all; one log line, and a state that an alert can see. Kafka has no part in it."""
    path = tmp_path / "reference.json"
    running = await exporter("127.0.0.1:1", names=("fraud",))

    async def shows(state, hash_):
        async def shown():
            return await running.values("drift_reference_info", state=state, hash=hash_, source="profile") == [1]

        await until(shown, 20, f"{state} {hash_}")

    await shows("ready", profile().hash)
    changed = profile(seed=2)
    save(changed, path)
    await shows("ready", changed.hash)
    path.write_bytes(path.read_bytes()[:1000])
    await shows("refused", changed.hash)
    save(profile(seed=3), path)
    await shows("ready", profile(seed=3).hash)
    assert sum("the changed profile is refused" in line.message for line in caplog.records) == 1
