"""What is trained next: ratios proposed by Optuna, and the queue that hands out all trials of a study, each once.

`allocator` decides which trials come next, `packs` puts them together, `queue` hands them out and takes them back.
"""

from breakeven.search.allocator import Allocator, SearchThenConfirm, largest_first, most_telling_first
from breakeven.search.packs import PACK_TRIALS
from breakeven.search.queue import MAX_LOST, TrialQueue
from breakeven.search.ratio import RatioSearch, StorageUnavailable, open_database, open_storage

__all__ = [
    "MAX_LOST", "PACK_TRIALS", "Allocator", "RatioSearch", "SearchThenConfirm", "StorageUnavailable", "TrialQueue",
    "largest_first", "most_telling_first", "open_database", "open_storage",
]  # fmt: skip
