"""What fails for good is kept, and run again when the cause is mended. Run it: python examples/dead_letters.py"""

from queuekit import Fail, QueueKit

kit = QueueKit()
address_book: dict[str, str] = {}


@kit.task(queue="letters", attempts=2, backoff="10ms")
def deliver(name: str) -> str:
    """A network error would be raised as it is and tried again; an unknown person is no matter of trying again."""
    if name not in address_book:
        raise Fail(f"nobody called {name}")
    return f"{name}: {address_book[name]}"


def main() -> None:
    letter = deliver.enqueue("ada")
    kit.worker(queues=["letters"], burst=True).run()
    job = letter.get()
    assert job is not None
    print(job.state, "-", job.errors[-1].message)

    address_book["ada"] = "12 St James's Square"
    letter.retry()
    kit.worker(queues=["letters"], burst=True).run()
    print(letter.status(), "-", letter.result(timeout=1))


if __name__ == "__main__":
    main()
