"""A short calibration on real events, and what a plan makes of it."""

from breakeven.estimate.speeds import key
from breakeven.ledger.ledger import Ledger
from breakeven.study.spec import Finetuning, Study
from breakeven.views import preview
from breakeven.work.calibration import calibrate


def test_a_plan_on_an_unknown_machine_takes_its_calibration(tmp_path):
    study = Study()
    assert not preview.price_of(study, Ledger(tmp_path).refresh()).speeds.trusted
    said = []
    found = calibrate(study, tmp_path, said.append, seconds=0.5)
    assert 20 < found["generated"] < 20_000 and 100 < found["trained"] < 10_000_000 and len(said) == 2
    speeds = preview.price_of(study, Ledger(tmp_path).refresh()).speeds
    assert speeds.trusted and speeds.trained.value == found["trained"] and "on this machine" in speeds.origin
    other = Study(finetuning=Finetuning(batch_size=64))
    assert key(other) != key(study) and not preview.price_of(other, Ledger(tmp_path).refresh()).speeds.trusted


def test_a_calibration_cut_short_by_a_full_disk_is_made_again(tmp_path):
    calibrate(Study(), tmp_path, lambda word: None, seconds=0.1)
    (file,) = (tmp_path / "calibrations").iterdir()
    file.write_text(file.read_text()[:20])
    assert not preview.price_of(Study(), Ledger(tmp_path).refresh()).speeds.trusted
