"""A signal that comes just behind another one is heard once, on either loop."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.runtime.conftest import WAIT

# USR2's handler runs where the loop asks Python for signals, behind its reading of the pipe: the TERM that it raises
# is then noted before its byte is read.
PROGRAM = """
import asyncio, signal, sys, threading, time
from queuekit.runtime.signals import heard

def behind(number, frame):
    signal.raise_signal(signal.SIGTERM)

async def main():
    came = []
    main_thread = threading.main_thread().ident
    signal.signal(signal.SIGUSR2, behind)
    with heard({signal.SIGTERM: lambda: came.append(signal.SIGTERM)}):
        for _ in range(100):
            before = len(came)
            threading.Timer(0.002, signal.pthread_kill, (main_thread, signal.SIGUSR2)).start()
            while len(came) == before:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        elsewhere = threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM))
        elsewhere.start()
        await asyncio.sleep(0.01)
        print(len(came))
    print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)

if sys.argv[1] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_signal_just_behind_another_is_heard_once(loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, loop], check=False, capture_output=True, text=True, timeout=WAIT
    )
    assert (ran.stdout.split(), ran.stderr) == (["101", "True"], "")
