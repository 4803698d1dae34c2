"""Reservations: for how long a study has held devices, and what of that nobody used.

One small file for each driver and stage, beside the ledger's records and rewritten every few seconds, so that a killed
driver is accounted for too. It holds what the driver's clock and the workers' say; what was used stands in the records,
which name their reservation. It never decides anything.
"""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from breakeven import atomic, provenance
from breakeven.beat import Beat
from breakeven.ledger.ledger import now

BEAT_SECONDS = 2.0
STAGES = ("generation", "pretraining", "finetuning")


class Reservation:
    """Devices held for one stage, from entering this context to leaving it.

    ledger: its folder.  name: unique, as that of the driver and the stage.  study, stage: whose it is; stage is
    one of STAGES.  device: "cpu" or "cuda".  devices: how many; a part of a GPU counts as
    that part.
    """

    def __init__(self, ledger: Path, name: str, study: str, stage: str, device: str, devices: float) -> None:
        self.name = name
        self.used_seconds = 0.0
        """Device-seconds that were used, where no record says so: generation shares its events among studies."""
        self.measured: Callable[[], Mapping[str, Any]] = lambda: {"idle_seconds": None}
        """What the workers measured, see Slots.measured; no idle seconds where nobody measures."""
        self._devices, self._before = devices, 0.0
        self._about = {"reservation": name, "study": study, "stage": stage, "device": device, "devices": devices,
                       "host": provenance.host(), "processor": provenance.processor()}  # fmt: skip
        self._path = ledger / "reservations" / f"{name}.json"

    def __enter__(self) -> "Reservation":
        self._about["started"] = now()
        self._since = time.monotonic()
        self._write()
        self._beat = Beat(BEAT_SECONDS, self._write, "reservation")
        return self

    def __exit__(self, *_: object) -> None:
        self._beat.stop()
        self._write(closed=True)

    @property
    def reserved_seconds(self) -> float:
        """Device-seconds held so far."""
        return self._before + (time.monotonic() - self._since) * self._devices

    def hold(self, devices: float) -> None:
        """From now on so many devices are held."""
        self._before, self._since, self._devices = self.reserved_seconds, time.monotonic(), devices

    def _write(self, closed: bool = False) -> None:
        """closed: its driver has come to an end of the stage, and was not killed."""
        times = {"reserved_seconds": self.reserved_seconds, "used_seconds": self.used_seconds, "closed": closed,
                 **self.measured()}  # fmt: skip
        with suppress(OSError):  # a full disk ends a study by what it could not keep, not by its accounts
            atomic.write_json(self._path, {**self._about, **times, "ended": now()})


def reservations(
    ledger: Path, study: str, tell: Callable[[str], object] = lambda problem: None
) -> list[dict[str, Any]]:
    """All reservations of a study, oldest first; damaged files are told and left out, as an estimate less."""
    of_study = []
    for path in sorted((ledger / "reservations").glob("*.json")):
        try:
            one = {"in_flight": None, "losses": None, **json.loads(path.read_text())}  # generation has neither
            if wrong := [name for name, fits in _FORM.items() if not fits(one[name])]:
                raise ValueError(f"its {wrong[0]} is {one[wrong[0]]!r}")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            tell(f"{path}: no reservation ({error!r}); delete it: the hours that it held are missing in the accounts")
            continue
        if one["study"] == study:
            of_study.append(one)
    return sorted(of_study, key=lambda one: one["started"])


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _FOREVER  # never true of NaN


def _is_amount(value: Any) -> bool:
    return _is_time(value) and value >= 0


def _are_times(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and all(map(_is_time, value.values())))


def _are_packs(value: Any) -> bool:
    return value is None or all(
        type(pack["pack"]) is int and all(map(_is_text, [*pack["trials"]])) and _is_time(pack["seconds"])
        for pack in value
    )


_FOREVER = 1e12
"""More seconds than any study holds devices for."""
_FORM: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("reservation", "study", "device", "started", "ended"), _is_text),
    "stage": STAGES.__contains__,
    **dict.fromkeys(("devices", "reserved_seconds", "used_seconds"), _is_amount),
    **dict.fromkeys(("idle_seconds", "losses"), _are_times),
    "in_flight": _are_packs,
}
"""What a reservation says, and whether a value can be that."""
