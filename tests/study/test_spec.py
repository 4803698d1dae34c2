from dataclasses import replace

import pytest

from breakeven.study.spec import Finetuning, Generation, InvalidStudy, Pretraining, Search, Study, check, task

KNOWN = ("ttH", "WH", "ZH", "ttW", "ttt", "tHq", "FCNC", "stop_pair", "ttH_yy_even", "ttH_yy_odd")


def test_the_default_study_is_valid():
    check(Study(), KNOWN)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (Study(finetuning=Finetuning(tasks=("stop_pair_vs_tth",))), "'tth' is not known; the nearest known: ttH"),
        (Study(finetuning=Finetuning(tasks=("WHZH",))), "'WHZH' is not known; the nearest known: WH_vs_ZH"),
        (Study(finetuning=Finetuning(sizes=(100, 0))), r"finetuning.sizes\[1\] is 0: it must be above zero"),
        (Study(finetuning=Finetuning(sizes=(-5,))), r"finetuning.sizes\[0\] is -5"),
        (Study(finetuning=Finetuning(sizes=())), "must name at least one"),
        (Study(finetuning=Finetuning(sizes=(10, 10))), "name each only once"),
        (Study(finetuning=Finetuning(learning_rate=float("nan"))), "learning-rate is nan"),
        (Study(finetuning=Finetuning(seeds=0)), "finetuning.seeds is 0"),
        (Study(finetuning=Finetuning(trial_seconds=-1.0)), "finetuning.trial-seconds is -1.0"),
        (Study(finetuning=Finetuning(trial_seconds=float("nan"))), "finetuning.trial-seconds is nan"),
        (Study(finetuning=Finetuning(gpu_share=0.0)), "finetuning.gpu-share is 0.0: it must be above zero"),
        (Study(finetuning=Finetuning(gpu_share=2.0)), "use at most 1"),
        (Study(pretraining=Pretraining(processes=("ttH", "WHH"))), "'WHH' is not known; the nearest known: WH"),
        (Study(pretraining=Pretraining(processes=("ttH",))), "at least two"),
        (
            Study(finetuning=Finetuning(precision="fp8")),
            "finetuning.precision is 'fp8': choose float32, tf32, bfloat16",
        ),
        (Study(pretraining=Pretraining(workers=-1)), "workers is -1"),
        (Study(generation=Generation(events_per_process=-1)), "events-per-process is -1"),
        (Study(generation=Generation(fewer={"tHq": 0})), "generation.fewer.tHq is 0"),
        (Study(generation=Generation(fewer={"thq": 5})), "'thq' is not known; the nearest known: tHq"),
        (Study(search=Search(low=1.0, high=0.1)), "swap them"),
        (Study(search=Search(trials=-1)), "search.trials is -1"),
        (Study(name="../elsewhere"), "name is '../elsewhere'"),
        (Study(name="shared"), "'shared' is taken"),
    ],
)
def test_bad_input_names_field_value_and_way_out(study, message):
    with pytest.raises(InvalidStudy, match=message):
        check(study, KNOWN)


def test_a_task_of_ones_own_is_two_processes():
    mine = task("ttW_vs_ttH")
    assert (mine.signal, mine.background) == ("ttW", "ttH")
    check(replace(Study(), finetuning=Finetuning(tasks=("ttW_vs_ttH",))), KNOWN)
    with pytest.raises(InvalidStudy, match="two different processes"):
        task("ttW_vs_ttW")


def test_lhe_files_bring_processes_of_their_own():
    study = Study(generation=Generation(lhe={"mine": "x.lhe"}), finetuning=Finetuning(tasks=("mine_vs_ttH",)))
    check(study, KNOWN)
