import json

import pytest

from breakeven.ledger import reservation
from breakeven.ledger.reservation import Reservation, reservations


def test_it_says_what_was_held_even_before_it_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(reservation, "BEAT_SECONDS", 0.01)
    with Reservation(tmp_path, "driver-finetuning", "mine", "finetuning", "cuda", 2.5) as held:
        held.measured = lambda: {"idle_seconds": {"starting": 1.0}}
        while not (ours := reservations(tmp_path, "mine")) or not ours[0]["idle_seconds"]:
            pass
        held.used_seconds = 7.0
    last = reservations(tmp_path, "mine")[0]
    assert last["used_seconds"] == 7.0 and last["devices"] == 2.5 and last["idle_seconds"] == {"starting": 1.0}
    assert last["reserved_seconds"] >= ours[0]["reserved_seconds"] > 0
    assert last["closed"] and not ours[0]["closed"], "a killed driver does not close it"
    assert reservations(tmp_path, "another") == []


WHOLE = {
    "reservation": "one", "study": "mine", "stage": "finetuning", "device": "cpu", "devices": 1, "started": "a", "ended": "b",
    "reserved_seconds": 9.0, "used_seconds": 0.0, "idle_seconds": {"stalled": -1e-9},
    "in_flight": [{"pack": 1, "trials": ["t"], "seconds": 2}], "losses": {"t": 0.5},
}  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        "[]", "null", '{"study": "mine', '{"study": "mine"}', "[" * 100_000, "\ud800",
        {"stage": "fientuning"}, {"stage": []}, {"devices": True}, {"reserved_seconds": float("nan")}, {"reserved_seconds": -1e9},
        {"used_seconds": 10**400}, {"idle_seconds": 3.0}, {"idle_seconds": {"waiting": "5"}},
        {"idle_seconds": {"waiting": float("inf")}}, {"losses": [1]}, {"losses": {"t": None}},
        {"in_flight": 5}, {"in_flight": [5]}, {"in_flight": [{"pack": 1}]},
        {"in_flight": [{"pack": 1, "trials": [[]], "seconds": 2}]}, {"in_flight": [{"pack": 1, "trials": ["t"], "seconds": "2"}]},
    ],
    ids=lambda content: str(content)[:40],
)  # fmt: skip
def test_what_is_damaged_is_told_and_left_out(tmp_path, content):
    folder, told = tmp_path / "reservations", []
    folder.mkdir()
    (folder / "one.json").write_text(json.dumps(WHOLE))
    text = content if isinstance(content, str) else json.dumps({**WHOLE, **content})
    (folder / "two.json").write_bytes(text.encode(errors="surrogatepass"))
    assert [one["reservation"] for one in reservations(tmp_path, "mine", told.append)] == ["one"]
    assert len(told) == 1 and told[0].startswith(f"{folder / 'two.json'}: no reservation")
