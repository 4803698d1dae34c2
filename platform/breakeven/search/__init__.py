"""What is trained next: ratios proposed by Optuna, and the queue that hands out all trials of a study, each once.

Start reading at `queue.TrialQueue`.
"""

from breakeven.search.queue import MAX_LOST, PACK_TRIALS, TrialQueue
from breakeven.search.ratio import RatioSearch, StorageUnavailable, open_database, open_storage

__all__ = [
    "MAX_LOST",
    "PACK_TRIALS",
    "RatioSearch",
    "StorageUnavailable",
    "TrialQueue",
    "open_database",
    "open_storage",
]
