"""Many jobs in one call, several at once in one worker, and a report of what they returned.

Run it: python examples/bulk.py
"""

import asyncio

from queuekit import QueueKit

kit = QueueKit()


@kit.task(queue="checks")
async def check(number: int) -> bool:
    await asyncio.sleep(0.05)  # a call to somebody else's server
    return all(number % divisor for divisor in range(2, number))


async def main() -> None:
    jobs = await kit.aenqueue_many([check.make(number) for number in range(2, 50)])
    async with kit.worker(queues=["checks"], concurrency=20):
        results = [await job.aresult(timeout=30) for job in jobs]
    print("primes:", [number for number, prime in zip(range(2, 50), results, strict=True) if prime])
    await kit.aclose()


if __name__ == "__main__":
    asyncio.run(main())
