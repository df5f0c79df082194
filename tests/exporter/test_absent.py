"""What the reference lacks, as a family."""

import msgspec

from exporter.showing.absent import absent_families
from reference.columns import column_of
from reference.profile import Binning
from tests.exporter.making import Desk, model, profile


def test_the_share_that_a_reference_lacks_is_shown_by_column() -> None:
    """Missing and invalid rows, of all: here 10 and 15 of 100; nothing of a model without a profile."""
    column = column_of([*range(75), *[None] * 10, *["x"] * 15], Binning(), "numeric")
    assert column is not None
    made = msgspec.structs.replace(profile(rows=100), features={"amount": column})
    desk = Desk(model(), model("churn"), profiles=[made, None])
    (family,) = absent_families(list(desk.intake.owned.values()))
    shares = dict(family.samples)
    assert shares == {
        (("model", "fraud"), ("feature", "amount")): 0.25,
        (("model", "fraud"), ("feature", "prediction")): 0.0,
    }
