import pytest

from breakeven.work.slots import PackTimes, Slots


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_all_the_time_of_all_slots_is_somewhere():
    clock = Clock()
    slots = Slots(3, 1.0, clock)
    slots.came_back(PackTimes("a", began=103.0, ended=108.0, waited=0.0, lasted=5.0, used=4.5))
    slots.came_back(PackTimes("b", began=104.0, ended=106.0, waited=0.0, lasted=2.0, used=2.0))
    slots.came_back(PackTimes("a", began=109.0, ended=111.0, waited=1.0, lasted=2.0, used=2.0))
    clock.now = 112.0  # the third never began
    idle = slots.idle()
    assert idle == pytest.approx({"starting": 7.0, "waiting": 1.0, "stalled": 0.5, "lost": 0.0, "ending": 1 + 6 + 12})
    assert sum(idle.values()) + 4.5 + 2.0 + 2.0 == pytest.approx(3 * 12.0)


def test_a_worker_that_dies_leaves_its_slot_to_the_next():
    clock = Clock()
    slots = Slots(1, 0.5, clock)
    slots.came_back(PackTimes("a", began=101.0, ended=103.0, waited=0.0, lasted=2.0, used=1.0))
    clock.now = 110.0
    slots.died(handed_out=104.0, accounted=2.0)  # of its 6 seconds on half a device, 2 of 3 device-seconds are known
    slots.came_back(PackTimes("b", began=112.0, ended=116.0, waited=0.0, lasted=4.0, used=2.0))
    clock.now = 116.0
    idle = slots.idle()
    assert idle == pytest.approx({"starting": 1.5, "waiting": 0.5, "stalled": 0.0, "lost": 1.0, "ending": 0.0})
    assert sum(idle.values()) + 1.0 + 2.0 + 2.0 == pytest.approx(0.5 * 16.0)


def test_the_worker_that_died_is_the_one_that_is_named():
    clock = Clock()
    slots = Slots(2, 1.0, clock)
    slots.came_back(PackTimes("a", began=100.0, ended=102.0, waited=0.0, lasted=2.0, used=2.0))
    slots.came_back(PackTimes("b", began=100.0, ended=105.0, waited=0.0, lasted=5.0, used=5.0))
    clock.now = 108.0
    slots.died(handed_out=106.0, accounted=1.5, worker="b")  # not "a", which has been at work since 103
    slots.came_back(PackTimes("c", began=109.0, ended=110.0, waited=0.0, lasted=1.0, used=1.0))
    slots.came_back(PackTimes("a", began=103.0, ended=110.0, waited=1.0, lasted=7.0, used=7.0))
    clock.now = 110.0
    idle = slots.idle()
    assert idle == pytest.approx({"starting": 1.0, "waiting": 2.0, "stalled": 0.0, "lost": 0.5, "ending": 0.0})
    assert sum(idle.values()) + 2.0 + 5.0 + 1.5 + 1.0 + 7.0 == pytest.approx(2 * 10.0)


def test_a_pack_in_flight_is_not_idle():
    clock = Clock()
    slots = Slots(2, 0.5, clock)
    clock.now = 101.0
    slots.handed_out(1, ["x", "y"])
    clock.now = 104.0
    assert slots.measured()["in_flight"] == [{"pack": 1, "trials": ["x", "y"], "seconds": 1.5}]
    assert slots.idle()["ending"] == pytest.approx(0.5 * (1.0 + 4.0))  # before it was handed out, and the other slot
    slots.taken_back(1)
    slots.came_back(PackTimes("a", began=101.5, ended=103.0, waited=0.0, lasted=1.5, used=0.7))
    assert slots.measured()["in_flight"] == [] and sum(slots.idle().values()) + 0.7 == pytest.approx(2 * 0.5 * 4.0)


def test_slots_come_and_go_with_nodes():
    clock = Clock()
    slots = Slots(2, 1.0, clock)
    slots.came_back(PackTimes("a", began=100.0, ended=110.0, waited=0.0, lasted=10.0, used=10.0), 100.0)
    slots.came_back(PackTimes("b", began=100.0, ended=110.0, waited=0.0, lasted=10.0, used=10.0), 100.0)
    clock.now = 120.0
    slots.resize(1)
    assert slots.workers == 1 and slots.idle()["ending"] == 20.0  # it is not known yet whose node was lost
    slots.died(handed_out=110.0, accounted=4.0, worker="b")  # 6 of its 10 seconds, and the slot is gone
    clock.now = 130.0
    assert slots.idle() == {"starting": 0.0, "waiting": 0.0, "stalled": 0.0, "lost": 6.0, "ending": 20.0}
    slots.resize(3)
    clock.now = 131.0
    assert slots.idle()["ending"] == 21.0 + 2 * 1.0
    slots.left("a")
    slots.came_back(PackTimes("c", began=133.0, ended=134.0, waited=0.0, lasted=1.0, used=1.0), 133.0)
    clock.now = 134.0
    assert slots.idle()["starting"] == 3.0  # a new slot, free since 130


def test_a_worker_that_nobody_names_is_the_one_that_was_free_last():
    clock = Clock()
    slots = Slots(2, 1.0, clock)
    slots.came_back(
        PackTimes("a", began=100.0, ended=101.0, waited=0.0, lasted=1.0, used=1.0), 100.0
    )  # then a long pack
    slots.came_back(PackTimes("b", began=100.0, ended=150.0, waited=0.0, lasted=50.0, used=50.0), 100.0)
    clock.now = 155.0
    slots.died(handed_out=150.0, accounted=0.0)  # before it could claim a trial: not "a", which is at work since 101
    slots.came_back(PackTimes("c", began=158.0, ended=160.0, waited=0.0, lasted=2.0, used=2.0), 155.0)
    slots.came_back(PackTimes("a", began=101.0, ended=160.0, waited=0.0, lasted=59.0, used=59.0), 101.0)
    clock.now = 160.0
    idle = slots.idle()
    assert idle == pytest.approx({"starting": 3.0, "waiting": 0.0, "stalled": 0.0, "lost": 5.0, "ending": 0.0})
    assert sum(idle.values()) + 1.0 + 50.0 + 2.0 + 59.0 == pytest.approx(2 * 60.0)


def test_a_try_that_came_to_nothing_is_kept_by_trial():
    slots = Slots(1, 1.0, Clock())
    slots.lost("x", 3.0)
    slots.lost("x", 1.0)
    assert slots.measured()["losses"] == {"x": 4.0} and set(slots.measured()) == {"idle_seconds", "in_flight", "losses"}
