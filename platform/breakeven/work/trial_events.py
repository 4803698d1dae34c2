"""Which events a trial sees, and those of several trials in memory once: the study's words turned into samples."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from breakeven.events.arrays import EventArrays, open_arrays, select
from breakeven.events.sampling import SHARED_SEED, Split, by_process, capped_of_class, subset
from breakeven.events.store import Dataset
from breakeven.fingerprint import fingerprint
from breakeven.study.plan import of_classes
from breakeven.study.spec import EVEN
from breakeven.training.batches import EventTensors, Sample
from breakeven.training.objectives import balanced
from breakeven.work.job import TrialJob

Seen = dict[Dataset, dict[Split, np.ndarray]]
"""Rows of each dataset, the signal's first, by split."""


def seen_by(job: TrialJob) -> Seen:
    """Rows of the datasets, the signal's first, that a trial may see: its subset, validation, test if it confirms.

    Of a class of several processes they are drawn from the events of all, so that each has its share of what there is.
    """
    settings, seen = job.settings, {}
    sizes = of_classes(settings, job.trial.cell.size)
    for of_class, size in zip(job.trial.cell.task.classes, sizes, strict=True):
        datasets, name = [job.datasets[process] for process in of_class], "+".join(of_class)
        splits = [arrays_of(dataset).split for dataset in datasets]
        seed = SHARED_SEED if settings.same_events else job.trial.seed
        training = subset(np.flatnonzero(np.concatenate(splits) == Split.TRAIN), size, seed, name)
        rows = {
            Split.TRAIN: by_process(training, list(map(len, splits))),
            Split.VALIDATION: capped_of_class(splits, Split.VALIDATION, settings.validation_events, name),
        }
        if job.trial.phase == "confirm":
            rows[Split.TEST] = capped_of_class(splits, Split.TEST, settings.test_events, name)
        for place, dataset in enumerate(datasets):
            seen[dataset] = {split: of_processes[place] for split, of_processes in rows.items()}
    return seen


def is_signal(job: TrialJob) -> np.ndarray:
    """Whether each dataset of a trial, in the order of `seen_by`, is of its signal, as float32."""
    return np.repeat(np.array([1.0, 0.0], np.float32), list(map(len, job.trial.cell.task.classes)))


def schema_of(job: TrialJob) -> int | str:
    """The version of the schema of its events."""
    return arrays_of(next(iter(job.datasets.values()))).schema.version


def load_events(jobs: Sequence[TrialJob], seen: Sequence[Seen]) -> tuple[EventTensors, list[dict[Split, Sample]]]:
    """The events of all `jobs` on their device, each once, and the samples of each job.

    seen: of each job, see seen_by.  A sample's signal comes first, its events in the order of `seen`.
    """
    datasets = list(dict.fromkeys(dataset for of_job in seen for dataset in of_job))
    rows = [
        np.unique(np.concatenate([part for of_job in seen for part in of_job.get(dataset, {}).values()]))
        for dataset in datasets
    ]
    chosen = select([arrays_of(dataset) for dataset in datasets], rows)
    events = EventTensors.of(chosen, jobs[0].device)
    before = dict(zip(datasets, np.cumsum([0, *map(len, rows)]), strict=False))
    place = dict(zip(datasets, rows, strict=True))
    samples = []
    for job, of_job in zip(jobs, seen, strict=True):
        of_split = {}
        for split in next(iter(of_job.values())):
            parts = [before[one] + np.searchsorted(place[one], rows_of[split]) for one, rows_of in of_job.items()]
            signal = np.repeat(is_signal(job), [len(part) for part in parts])
            index, target = torch.from_numpy(np.concatenate(parts)), torch.from_numpy(signal)
            if split is Split.TRAIN and job.settings.signal_fraction != EVEN:
                target = balanced(target)
            of_split[split] = Sample(index, target, hash_of(of_job, split))
        samples.append(of_split)
    return events, samples


def hash_of(seen: Seen, split: Split) -> str:
    """Of the events of a split in their order."""
    rows = {one.hash: rows_of[split].astype("<i8").tobytes() for one, rows_of in seen.items()}
    return fingerprint([[name, hashlib.sha256(numbers).hexdigest()] for name, numbers in rows.items()])


@lru_cache(maxsize=64)
def arrays_of(dataset: Dataset) -> EventArrays:
    return open_arrays(dataset)
