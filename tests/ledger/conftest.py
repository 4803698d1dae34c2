"""Makes pytest explain the assertions of the shared contract suite."""

import pytest

pytest.register_assert_rewrite("ledger.ledger_contract")
