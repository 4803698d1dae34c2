"""The one rule for names that users give: of studies, processes and tasks, which become paths, labels and search terms.

It holds the rule and nothing of what the names are for.
"""

import re

MOST_CHARACTERS = 80
TAKEN = frozenset({"shared", "mlflow.db", "mlartifacts", "dashboards"})
"""What lies in a runs folder beside the studies."""


class InvalidName(ValueError):
    """A name breaks the rule; the message says what was named, and the rule."""


def check_name(what: str, name: str) -> None:
    """Raise InvalidName, beginning with `what` (a field or option), unless `name` may be the name of something."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or len(name) > MOST_CHARACTERS or name.lower() in TAKEN:
        raise InvalidName(
            f"{what} is {name!r}: use letters, digits, dot, dash and underscore, beginning with a letter or digit, at most "
            f"{MOST_CHARACTERS} of them ({', '.join(repr(taken) for taken in sorted(TAKEN))} are taken)"
        )
