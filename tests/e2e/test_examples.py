"""Every example runs, on a store of its own, and says what it is there to show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SAID = {
    "priorities.py": ["the fire brigade, first come, second come, no hurry", "1 waits for its time"],
    "dead_letters.py": ["failed - nobody called ada", "completed - ada: 12 St James's Square"],
    "market_data.py": [
        "screener of BTCUSDT; prices of monday, run 2",
        "{'completed': 2, 'failed': 0}",
    ],
    "profiles.py": [
        "light: send-email to ada@example.com, told u2",
        "heavy: broken: no video at all, course 123",
        "success: True by now: True",
    ],
    "trading.py": [
        "ingest, recalculate-position BTCUSDT (1), reconcile, signal, snapshot, submit-order in run 5",
        "{'name': 'portfolio:high_priority', 'waiting': 0, 'active': 0, 'completed': 1, 'failed': 0, 'delayed': 1}",
        "7 queues, 6 completed, backtest:jobs failed",
    ],
    "payments.py": [
        "25.00 USD of user123, Welcome! (user123), game_data of NAMED_POWERBALL",
        "True False {'success': True, 'transactionId': 'tx_order-1'}",
        "failed after 1 run: no till here",
    ],
    "booking_reminders.py": [
        "scheduled: 24h, 1h, 15m",
        "moved to 2 hours from now: 1h, 15m",
        "custom_job_id True scheduled False",
        "sent: 25.00 USD from customer@example.com; Welcome! to user@example.com",
        "cancelled: True 2",
        "5 reminders were cancelled; {'waiting': 0, 'active': 0, 'completed': 2, 'failed': 0, 'delayed': 0}",
    ],
    "bulk.py": ["primes: [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47]"],
}


def test_every_example_is_run_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SAID)


@pytest.mark.parametrize("name", sorted(SAID))
def test_an_example_says_what_it_shows(name: str, clean_env: dict[str, str], tmp_path: Path) -> None:
    env = clean_env | {"QUEUEKIT_URL": f"sqlite:///{tmp_path / 'queue.db'}"}
    command = [sys.executable, "-W", "error", str(EXAMPLES / name)]
    ran = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == SAID[name]
