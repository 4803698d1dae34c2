"""How fast training is, measured: engines against each other, loading, packs on a GPU. No other room imports it.

Every comparison is interleaved in one run (timing.py), on the same events and the same starting weights.
"""
