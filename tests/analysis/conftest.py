"""The ledger frames that these tests stand on."""

from ledger_builder import ledger, make_curve, study, whole_study  # noqa: F401  (fixtures)
