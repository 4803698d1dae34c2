"""Proposals in a relational database: the same as in a journal, and clear words where there is none."""

import pytest

from breakeven.search import RatioSearch, StorageUnavailable, open_database, open_storage
from breakeven.search.ratio import Outcome
from breakeven.study.spec import Search


def proposals(storage, n=6):
    search = RatioSearch.begin(storage, "ab12", Search(trials=6))
    for _ in range(n):
        number, ratio = search.ask()
        search.tell(number, Outcome((ratio - 0.3) ** 2))
    return [ratio for _, ratio, _ in search.proposals()], search.best()


@pytest.mark.parametrize("name", [f"{n:02x}" for n in range(20)])
def test_two_ratios_after_the_published_one_lie_in_different_halves_whatever_kills_a_driver(tmp_path, name):
    storage, space = open_storage(tmp_path / "optuna.journal"), Search(trials=3, low=0.01, high=1.0)
    search = RatioSearch.begin(storage, name, space)
    for k in range(3):
        number, ratio = RatioSearch.begin(storage, name, space).ask() if k == 1 else search.ask()
        search.tell(number, Outcome(ratio))
    published, *others = [ratio for _, ratio, _ in search.proposals()]
    assert published == space.published and sorted(ratio > 0.1 for ratio in others) == [False, True]
    again = RatioSearch.begin(open_storage(None), name, space)  # a driver that remembers nothing
    for _ in range(3):
        number, ratio = again.ask()
        again.tell(number, Outcome(ratio))
    assert again.proposals() == search.proposals()


def test_a_database_proposes_what_a_journal_does_and_remembers_it(tmp_path):
    url = f"sqlite:///{tmp_path / 'ratios.db'}"
    found = proposals(open_database(url))
    assert found == proposals(open_storage(tmp_path / "optuna.journal"))
    again = RatioSearch.begin(open_database(url), "ab12", Search(trials=6))
    assert again.told() == 6 and again.best() == found[1]


@pytest.mark.parametrize(
    "url", ["nonsense", "sqlite:////no/such/folder/ratios.db", "postgresql://me:secret@127.0.0.1:1/x"]
)
def test_one_that_cannot_be_reached_is_named_without_its_password(url):
    with pytest.raises(StorageUnavailable, match=r"--optuna-storage .*leave the option out") as told:
        open_database(url)
    assert "secret" not in str(told.value)
