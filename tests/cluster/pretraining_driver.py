"""A driver of one pretraining, run on the head by test_pretraining.py: says each epoch as JSON, and last what was made."""

import json
import os
import pickle
import sys
from pathlib import Path

from breakeven.distributed.internals import set_environment

set_environment()
from breakeven.distributed.pretraining import pretrain  # noqa: E402
from breakeven.distributed.session import session  # noqa: E402
from breakeven.errors import StageFailed  # noqa: E402
from breakeven.terminal import console, show_error  # noqa: E402


def main(job_file: Path, storage: Path) -> None:
    """Pretrain what the file says."""
    job = pickle.loads(job_file.read_bytes())
    try:
        with session() as resources:
            made = pretrain(job, resources, storage, lambda epoch: console.print(json.dumps(epoch), markup=False))
    except StageFailed as error:  # as the command line does
        show_error(error)
        os._exit(1)
    console.print("made " + json.dumps(made.facts), markup=False)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
