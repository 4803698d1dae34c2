"""The error that says a stage stopped for a reason outside the program. It holds no other error: those live with what
raises them.
"""

import threading


class StageFailed(RuntimeError):
    """A stage stopped before its end: a lost cluster, a process that cannot be generated, workers that keep dying.

    The message names the reason. What is finished is kept, and the same command goes on from there.
    """


no_way_back = threading.Event()
"""Set where a library is left in a state in which it would crash this process on its way out: end it without clean-up."""
