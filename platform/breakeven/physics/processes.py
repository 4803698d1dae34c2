"""The catalogue of processes: what each is called, where its events come from, and what is true of every event.

Twelve processes serve the pretraining, four more only serve as one side of a finetuning task (arXiv 2412.10665,
section 3). This file holds names, settings and facts. It never generates anything and never opens a file.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

__all__ = ["CATALOGUE", "PRETRAINING", "TASK_ONLY", "Process", "UnknownProcess", "from_lhe", "process"]

from breakeven.names import check_name

HardSource = Literal["pythia", "hard_events", "matrix_element", "lhe"]
"""Where hard events come from: Pythia itself, samples that ship with the package, weights on Pythia's, a user's files."""

HERE = "{physics}"
"""Stands for the folder of this package inside a setting, so that settings read the same on every machine."""


@dataclass(frozen=True)
class Process:
    """One kind of collision, with all that is needed to generate it.

    `settings` are Pythia settings on top of `pythia.COMMON_SETTINGS`; `mirror_settings`, where given, describe a
    second Pythia instance that makes every other event (charge-conjugate decays that one instance cannot express).
    `n_higgs` and `n_top` are the exact counts in every event, or None where they vary or are not known beforehand.
    `cross_section_pb` is leading order at 13 TeV as measured by us, decays included where `settings` force them;
    None where the coupling is a free choice or the user's files tell. `files` are hard events: names inside the
    package for source "hard_events", which hold `n_hard_events` of them, paths for source "lhe". `yukawa` is
    (c_even, c_odd) of the top-Higgs coupling for source "matrix_element". `notes` says what a reader of a plot has to know.
    """

    name: str
    title: str
    source: HardSource
    settings: tuple[str, ...] = ()
    mirror_settings: tuple[str, ...] = ()
    n_higgs: int | None = None
    n_top: int | None = None
    cross_section_pb: float | None = None
    files: tuple[str, ...] = ()
    n_hard_events: int | None = None
    yukawa: tuple[float, float] | None = None
    notes: str = ""

    def with_settings(self, more: tuple[str, ...]) -> "Process":
        """The same process with more settings of Pythia, after its own."""
        mirror = (*self.mirror_settings, *more) if self.mirror_settings else ()
        return replace(self, settings=(*self.settings, *more), mirror_settings=mirror)


class UnknownProcess(KeyError):
    """No process of that name is in the catalogue. The message names the nearest ones."""

    def __str__(self) -> str:
        return str(self.args[0])


def process(name: str) -> Process:
    """The process called `name`.

    Raises:
        UnknownProcess: names the nearest known ones.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    by_lower_case = {known.lower(): known for known in CATALOGUE}
    near = difflib.get_close_matches(name.lower(), by_lower_case, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(by_lower_case[match] for match in near)}? " if near else ""
    raise UnknownProcess(
        f"no process is called {name!r}; {hint}known: {', '.join(CATALOGUE)}; for your own files use from_lhe"
    )


def from_lhe(
    name: str,
    paths: Sequence[str | Path],
    *,
    title: str = "",
    settings: tuple[str, ...] = (),
    n_higgs: int | None = None,
    n_top: int | None = None,
) -> Process:
    """A process made of the user's own Les Houches event files, read one after the other when events are generated.

    Args:
        name: by the rule of names, and not one of the catalogue.
        paths: .lhe or .lhe.gz files.
        title: how a reader knows it.
        settings: of Pythia, for shower and decays.
        n_higgs: exact count in every event; None: it varies or is not known.
        n_top: likewise.

    Returns:
        The process; nothing is opened yet.

    Raises:
        ValueError: the name breaks the rule of names or is taken, or there are no paths.
    """
    check_name("from_lhe: name", name)
    if name in CATALOGUE:
        raise ValueError(f"from_lhe: name {name!r} is taken by the catalogue; choose another")
    if isinstance(paths, str | Path) or not paths:
        raise ValueError(f"from_lhe: paths must be a non-empty list of LHE files, got {paths!r}")
    return Process(
        name=name,
        title=title or name,
        source="lhe",
        settings=settings,
        n_higgs=n_higgs,
        n_top=n_top,
        files=tuple(str(path) for path in paths),
    )


_TTBAR = ("Top:gg2ttbar=on", "Top:qqbar2ttbar=on")
# The matrix-element mode must be >= 100: lower modes want a fixed product list. Both channels open at equal strength.
_TOP_TO_HIGGS_QUARK = ("6:addChannel=1 0.1 101 25 2", "6:addChannel=1 0.1 101 25 4", "6:onMode=off")
_HIGGS_TO_PHOTONS = ("25:onMode=off", "25:onIfMatch=22 22")
_SHERPA = (
    "leading-order hard events of Sherpa 3.0.3 that ship with the package, see hard_events/README.md; tops and W are decayed "
    "afterwards, so that decays of different particles are not correlated and a W that is not of a top decays unpolarised"
)
_GLUON_CHANNEL = (
    "gluon channel only (gg -> ttH, about 70 % of the rate): hard events of Pythia with on-shell tops and Higgs, "
    "unweighted by the ratio of leading-order |M|^2 to the CP-even one, with a colour flow from their own amplitude; "
    "both CP samples take this one route and differ in the Yukawa coupling alone. Top decays carry no spin correlation"
)


def _shipped(name: str, title: str, *, notes: str = "", **facts: Any) -> Process:
    """A process whose hard events ship with the package, in a file of its name. facts: further fields of a Process."""
    return Process(name, title, "hard_events", files=(f"{name}.parquet",), notes=_SHERPA + notes, **facts)


def _with_yukawa(name: str, title: str, yukawa: tuple[float, float]) -> Process:
    """ttH with a Higgs boson to two photons and this (c_even, c_odd)."""
    notes = _GLUON_CHANNEL
    return Process(name, title, "matrix_element", _HIGGS_TO_PHOTONS, n_higgs=1, n_top=2, yukawa=yukawa, notes=notes)


_WEAK_FUSION = ("HiggsSM:ff2Hff(t:WW)=on", "HiggsSM:ff2Hff(t:ZZ)=on")
# on-shell masses: four times fewer tries in the 2 -> 3 phase space, and the same masses as the shipped samples
_TTH = ("HiggsSM:gg2Httbar=on", "HiggsSM:qqbar2Httbar=on", "PhaseSpace:useBreitWigners=off")
_SINGLE_TOP = ("Top:qq2tq(t:W)=on", "Top:ffbar2tqbar(s:W)=on")
_STOP_PAIR = (
    "SUSY:gg2squarkantisquark=on",
    "SUSY:qqbar2squarkantisquark=on",
    "SUSY:qqbar2squarkantisquark:onlyQCD=on",
    "SUSY:idA=2000006",
    "SUSY:idB=2000006",
    f"SLHA:file={HERE}/stop2.slha",
    "SLHA:useDecayTable=on",
    "SLHA:verbose=0",
)

_PRETRAINING = (
    Process("ggF", r"$gg \to H$", "pythia", ("HiggsSM:gg2H=on",), n_higgs=1, n_top=0, cross_section_pb=26.6),
    Process("VBF", r"$qq \to qqH$", "pythia", _WEAK_FUSION, n_higgs=1, n_top=0, cross_section_pb=3.43),
    Process("WH", "$WH$", "pythia", ("HiggsSM:ffbar2HW=on",), n_higgs=1, n_top=0, cross_section_pb=1.10),
    Process("ZH", "$ZH$", "pythia", ("HiggsSM:ffbar2HZ=on",), n_higgs=1, n_top=0, cross_section_pb=0.617),
    Process("ttH", r"$t\bar{t}H$", "pythia", _TTH, n_higgs=1, n_top=2, cross_section_pb=0.360),
    _shipped("tHq", "$tHq$", n_hard_events=14_599, n_higgs=1, n_top=1, cross_section_pb=0.0694),
    Process("single_top", "single $t$", "pythia", _SINGLE_TOP, n_higgs=0, n_top=1, cross_section_pb=161.0),
    Process("ttbar", r"$t\bar{t}$", "pythia", _TTBAR, n_higgs=0, n_top=2, cross_section_pb=521.0),
    _shipped(
        "ttyy",
        r"$t\bar{t}\gamma\gamma$",
        n_hard_events=20_000,
        n_higgs=0,
        n_top=2,
        cross_section_pb=0.00624,
        notes="; photons with pT > 15 GeV, |eta| < 2.7, dR > 0.4",
    ),
    _shipped("ttW", r"$t\bar{t}W$", n_hard_events=20_000, n_higgs=0, n_top=2, cross_section_pb=0.381),
    _shipped(
        "ttt",
        "$ttt$",
        n_hard_events=10_000,
        n_higgs=0,
        n_top=3,
        cross_section_pb=5.72e-4,
        notes="; the associated-W mode",
    ),
    _shipped("tttt", r"$t\bar{t}t\bar{t}$", n_hard_events=14_351, n_higgs=0, n_top=4, cross_section_pb=0.00420),
)

_TASK_ONLY = (
    _with_yukawa("ttH_yy_even", r"CP-even $t\bar{t}H(\gamma\gamma)$", (1.0, 0.0)),
    _with_yukawa("ttH_yy_odd", r"CP-odd $t\bar{t}H(\gamma\gamma)$", (0.0, 1.0)),
    Process(
        "stop_pair",
        r"$\tilde{t}_2\bar{\tilde{t}}_2$",
        "pythia",
        _STOP_PAIR,
        n_higgs=2,
        n_top=2,
        cross_section_pb=0.135,
        notes="stop_2 (582 GeV) -> stop_1 (400 GeV) H, stop_1 -> top neutralino (100 GeV), the latter our choice",
    ),
    Process(
        "FCNC",
        r"$t\bar{t},\ t \to Hq$",
        "pythia",
        (*_TTBAR, *_TOP_TO_HIGGS_QUARK, "6:onPosIfAny=25", "6:onNegIfAny=24"),
        mirror_settings=(*_TTBAR, *_TOP_TO_HIGGS_QUARK, "6:onPosIfAny=24", "6:onNegIfAny=25"),
        n_higgs=1,
        n_top=2,
        notes="one top to H u or H c (equal rates), the other to W b; the coupling is free, so the rate means nothing",
    ),
)

CATALOGUE: dict[str, Process] = {entry.name: entry for entry in (*_PRETRAINING, *_TASK_ONLY)}
PRETRAINING: tuple[str, ...] = tuple(entry.name for entry in _PRETRAINING)
TASK_ONLY: tuple[str, ...] = tuple(entry.name for entry in _TASK_ONLY)
