"""One running Pythia: settings common to all processes, start-up, and errors that name the setting.

Never chooses a process, never keeps an instance.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pythia8mc

from breakeven.physics.processes import HERE

COMMON_SETTINGS = ("Print:quiet=on", "Beams:eCM=13000.", "6:m0=173.", "25:m0=125.")
PICOBARN_PER_MILLIBARN = 1e9
_OURS = ("beams:", "random:", "partonlevel:all", "hadronlevel:all", "processlevel:all")
"""How settings begin that a user does not change: a process would not be what its name says."""
_INITIALISATION_SEED = ("Random:setSeed=on", "Random:seed=20241210")


class GenerationError(RuntimeError):
    """Pythia refused the settings, or could not make the events asked for."""


def start(settings: tuple[str, ...], seed: int, hard_events: pythia8mc.LHAup | None = None) -> pythia8mc.Pythia:
    """An initialised Pythia at 13 TeV; raises GenerationError naming the setting that it refuses, or all of them.

    The maximum of the cross section is searched with one fixed seed: an unlucky search makes ttH forty times slower
    (11,000 tries per event in place of 160). What exceeds the maximum found, 0.5 % of the rate of ttH and less of all
    others, is under-represented by that much. Only then the random numbers of the events start, from `seed`.
    `hard_events`, if given, must be kept alive by the caller as long as the instance.
    """
    pythia = pythia8mc.Pythia("", False)
    here = str(Path(__file__).parent)
    for setting in (*COMMON_SETTINGS, *_INITIALISATION_SEED, *settings):
        if not pythia.readString(setting.replace(HERE, here)):
            raise GenerationError(f"Pythia does not understand the setting {setting!r}; check its name and value")
    if hard_events is not None:
        pythia.setLHAupPtr(hard_events)
    if not pythia.init():
        raise GenerationError(
            f"Pythia does not start with the settings: {'; '.join(settings)}; is a process on, is every file there?"
        )
    pythia.rndm.init(seed)
    return pythia


def check_settings(settings: Iterable[str]) -> None:
    """Raise GenerationError naming the first setting that Pythia does not understand, or that is not a user's to change."""
    pythia = pythia8mc.Pythia("", False)
    pythia.readString("Print:quiet=on")
    for setting in settings:
        if setting.lower().startswith(_OURS):
            raise GenerationError(
                f"the setting {setting!r} is not free: beams, random numbers and the levels of an event are ours"
            )
        if not pythia.readString(setting):
            raise GenerationError(f"Pythia does not understand the setting {setting!r}; check its name and value")


def draw_seed(random: np.random.Generator) -> int:
    """A seed in the range that Pythia takes."""
    return int(random.integers(1, 900_000_000))
