"""What became of a record's device time, told once."""

import pandas as pd
import pytest

from breakeven.ledger.charge import Spent, charge_of, charges_of

CASES = [
    ({"outcome": "finished", "phase": "confirm"}, Spent(useful=5.0, wasted=2.0)),
    ({"outcome": "finished", "phase": "search"}, Spent(search=5.0, wasted=2.0)),
    ({"outcome": "stopped", "phase": "search"}, Spent(stopped=5.0, wasted=2.0)),
    ({"outcome": "failed", "phase": "confirm"}, Spent(wasted=7.0)),
    ({"outcome": "failed", "phase": "search"}, Spent(wasted=7.0)),
    ({"outcome": "finished", "phase": None}, Spent(useful=5.0, wasted=2.0)),
]


@pytest.mark.parametrize(("facts", "charge"), CASES)
def test_a_record_is_charged_once(facts, charge):
    record = {**facts, "device_seconds": 5.0, "wasted_seconds": 2.0}
    assert charge_of(record) == charge
    assert charge_of(record, lost=3.0) == charge + Spent(wasted=1.0)
    assert charge.worked + charge.wasted == 7.0


def test_a_frame_is_charged_as_its_records_are():
    rows = [{**facts, "device_seconds": 5.0, "wasted_seconds": 2.0} for facts, _ in CASES]
    table = charges_of(pd.DataFrame(rows, index=range(10, 16)))
    charges = [charge for _, charge in CASES]
    for name in ("useful", "search", "stopped", "wasted", "searched", "worked"):
        assert table[name].to_dict() == {10 + i: getattr(one, name) for i, one in enumerate(charges)}
    assert charges_of(pd.DataFrame(rows)[:0]).sum().sum() == 0.0


def test_events_have_no_phase():
    assert charge_of({"device_seconds": 9.0, "outcome": "finished"}) == Spent(useful=9.0)
