"""Lower runs first; equal ones in the order they came; a delayed job when its time has come.

Run it: python examples/priorities.py
"""

from queuekit import Priority, QueueKit

kit = QueueKit()
served: list[str] = []


@kit.task(queue="counter")
def serve(name: str) -> None:
    served.append(name)


def main() -> None:
    serve.enqueue("first come")
    serve.enqueue("second come")
    serve.using(priority=Priority.CRITICAL).enqueue("the fire brigade")
    serve.using(priority="low").enqueue("no hurry")
    serve.using(delay="1h").enqueue("tomorrow")
    kit.worker(queues=["counter"], burst=True).run()
    print(", ".join(served))
    print(kit.health("counter")["counter"].delayed, "waits for its time")


if __name__ == "__main__":
    main()
