"""A trading service's schedules: the exchange is asked every minute, old data go at night, a report comes on Mondays.

Run it: python jobs.py
"""

from datetime import UTC, datetime

from queuekit import QueueKit, recipes
from queuekit.recipes import DataCleanup, ReportGeneration
from queuekit.testing import isolated

kit = QueueKit()
tasks = recipes.declare(kit, queue="maintenance")
done: list[str] = []


@kit.task(queue="execution:reconciliation", attempts=5)
async def reconcile(exchange: str) -> str:
    done.append(f"reconciled {exchange}")
    return exchange


@tasks.data_cleanup.handler
def clean_up(cleanup: DataCleanup) -> None:
    done.append(f"cleaned up {cleanup.target}")


@tasks.report_generation.handler
def write_report(report: ReportGeneration) -> None:
    done.append(f"report of {report.report}")


# never two at once: a sync that takes longer than a minute leaves the next one out
kit.schedule("exchange-sync", reconcile.make("binance"), every="1 minute", overlap="skip")


def main() -> None:
    kit.worker(burst=True).run()  # any worker writes what code and queuekit.toml declare
    for one in kit.schedules.all():
        print(f"{one.id} ({one.origin}): {one.task} on {one.queue}, {dict(one.rule)}")
    print(len(kit.schedules.preview(5, cron="0 7 * * mon", timezone="Europe/Berlin")), "Mondays to come")

    kit.schedules.pause("weekly-report", "nobody reads it in August")
    kit.schedules.put("exchange-sync", reconcile.make("kraken"), every="1 minute", start=datetime.now(UTC))
    kit.schedules.fire("clean-up")
    kit.worker(burst=True).run()
    print(", ".join(sorted(done)))
    kit.schedules.reset("exchange-sync")  # what the code says holds again
    kit.schedules.resume("weekly-report")

    with isolated(kit) as test:  # an hour goes by, and no store is asked
        done.clear()
        test.run_for(hours=1)
    print(done.count("reconciled binance"), "syncs in an hour")


if __name__ == "__main__":
    main()
