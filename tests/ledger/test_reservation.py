import json

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


def test_what_a_full_disk_has_cut_short_is_left_out(tmp_path):
    for name in ("one", "two"):
        with Reservation(tmp_path, name, "mine", "generation", "cpu", 1):
            pass
    file, whole, told = tmp_path / "reservations" / "one.json", tmp_path / "reservations" / "two.json", []
    other = json.dumps({**json.loads(whole.read_text()), "idle_seconds": 3.0})
    for content in (json.dumps({"study": "mine"})[:9], "[]", "null", '{"study": "mine"}', other, "\ud800"):
        file.write_bytes(content.encode(errors="surrogatepass"))
        assert [one["reservation"] for one in reservations(tmp_path, "mine", told.append)] == ["two"]
    assert len(told) == 6 and all(problem.startswith(f"{file}: no reservation") for problem in told)
