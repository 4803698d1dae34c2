"""The catalogue of processes with large-radius jets: the search of arXiv 2401.13536, and ten classes of single jets.

This file holds names, settings and facts. It never generates anything.
"""

from dataclasses import dataclass

__all__ = ["CATALOGUE", "JETCLASS", "QCD_SLICES", "SIGNALS", "JetProcess"]

HIGGS, TOP, Z, W = 25, 6, 23, 24


@dataclass(frozen=True)
class JetProcess:
    """One kind of collision, and what of it makes an event.

    `settings` are Pythia settings on top of `pythia.COMMON_SETTINGS`; `mirror_settings`, where given, describe a second
    Pythia instance that makes half of the events. single: every jet of the collision that passes is an event of its own, see
    generator; otherwise an event is the collision with its hardest jets. holds: |pdg| of the particle that a single jet must
    hold with its decay; 0: nothing is asked. `cross_section_pb` is leading order at 13 TeV before any selection, decays
    included where `settings` force them; None where the coupling is a free choice. `notes` says what a reader has to know.
    """

    name: str
    title: str
    settings: tuple[str, ...]
    mirror_settings: tuple[str, ...] = ()
    single: bool = False
    holds: int = 0
    cross_section_pb: float | None = None
    notes: str = ""


def _signal(mass: int) -> JetProcess:
    """A Randall-Sundrum graviton of this mass in GeV that decays to two Higgs bosons, and these to bottom quarks."""
    graviton = 5100039
    settings = (
        "ExtraDimensionsG*:gg2G*=on",
        "ExtraDimensionsG*:ffbar2G*=on",
        f"{graviton}:m0={mass}.",
        f"{graviton}:onMode=off",
        f"{graviton}:onIfMatch=25 25",
        *_NO_HIGGS_DECAY,
        "25:onIfMatch=5 -5",
    )
    return JetProcess(
        f"HH4b_{mass}",
        rf"$G^*({mass}) \to HH \to 4b$",
        settings,
        notes="narrow spin-2 resonance at Pythia's default coupling: the rate means nothing",
    )


def _qcd(low: int, high: int, cross_section_pb: float) -> JetProcess:
    """Jets of two hard partons with pT between `low` and `high` GeV; high 0: no limit."""
    limit = (f"PhaseSpace:pTHatMax={high}.",) if high else ()
    name = f"QCD_{low}_{high}" if high else f"QCD_{low}"
    title = rf"QCD, $\hat{{p}}_T$ {low} to {high} GeV" if high else rf"QCD, $\hat{{p}}_T$ above {low} GeV"
    settings = ("HardQCD:all=on", f"PhaseSpace:pTHatMin={low}.", *limit)
    return JetProcess(name, title, settings, cross_section_pb=cross_section_pb)


def _class(
    name: str, title: str, settings: tuple[str, ...], holds: int, mirror: tuple[str, ...] = (), notes: str = ""
) -> JetProcess:
    """One of ten classes of single jets."""
    return JetProcess(f"jet_{name}", title, settings, mirror, single=True, holds=holds, notes=notes)


_NO_HIGGS_DECAY = ("25:onMode=off",)
_BOOSTED = ("PhaseSpace:pTHatMin=450.",)
_ZH = ("HiggsSM:ffbar2HZ=on", *_BOOSTED, "23:onMode=off", "23:onIfAny=12 14 16", *_NO_HIGGS_DECAY)
_WW = (*_ZH, "25:onIfMatch=24 -24", "24:onMode=off")
_QUARKS, _LEPTONS = "1 2 3 4 5", "11 13"
_TTBAR = ("Top:gg2ttbar=on", "Top:qqbar2ttbar=on", *_BOOSTED, "24:onMode=off")

SIGNALS: dict[int, JetProcess] = {
    mass: _signal(mass) for mass in (600, 1000, 1200, 1400, 1600, 1800, 2000, 2500, 3000, 4000, 4500)
}
"""By the resonance's mass in GeV; 600, 1000, 2000 and 3000 are nearly all of the published sample."""
QCD_SLICES: tuple[JetProcess, ...] = (
    _qcd(300, 470, 7870.0),
    _qcd(470, 600, 644.0),
    _qcd(600, 800, 188.0),
    _qcd(800, 1000, 32.3),
    _qcd(1000, 0, 10.4),
)
"""The background, in slices of the hard scattering's pT."""
JETCLASS: tuple[JetProcess, ...] = (
    _class("QCD", "q/g", ("HardQCD:all=on", *_BOOSTED), 0),
    _class("Hbb", r"$H \to b\bar{b}$", (*_ZH, "25:onIfMatch=5 -5"), HIGGS),
    _class("Hcc", r"$H \to c\bar{c}$", (*_ZH, "25:onIfMatch=4 -4"), HIGGS),
    _class("Hgg", r"$H \to gg$", (*_ZH, "25:onIfMatch=21 21"), HIGGS),
    _class("H4q", r"$H \to 4q$", (*_WW, f"24:onIfAny={_QUARKS}"), HIGGS),
    _class(
        "Hqql",
        r"$H \to \ell\nu qq'$",
        (*_WW, f"24:onPosIfAny={_QUARKS}", f"24:onNegIfAny={_LEPTONS}"),
        HIGGS,
        mirror=(*_WW, f"24:onPosIfAny={_LEPTONS}", f"24:onNegIfAny={_QUARKS}"),
    ),
    _class(
        "Zqq",
        r"$Z \to q\bar{q}$",
        ("WeakDoubleBoson:ffbar2gmZgmZ=on", "WeakZ0:gmZmode=2", *_BOOSTED, "23:onMode=off", f"23:onIfAny={_QUARKS}"),
        Z,
    ),
    _class(
        "Wqq", r"$W \to qq'$", ("WeakDoubleBoson:ffbar2WW=on", *_BOOSTED, "24:onMode=off", f"24:onIfAny={_QUARKS}"), W
    ),
    _class("Tbqq", r"$t \to bqq'$", (*_TTBAR, f"24:onIfAny={_QUARKS}"), TOP),
    _class("Tbl", r"$t \to b\ell\nu$", (*_TTBAR, f"24:onIfAny={_LEPTONS}"), TOP),
)
"""Classes as in JetClass (arXiv 2202.03772), made by Pythia alone: jets with pT from 500 to 1000 GeV and |eta| below 2."""

CATALOGUE: dict[str, JetProcess] = {one.name: one for one in (*SIGNALS.values(), *QCD_SLICES, *JETCLASS)}
