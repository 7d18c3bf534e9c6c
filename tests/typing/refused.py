"""What the type checker must refuse: each line carries the error it must raise (warn_unused_ignores proves it)."""
from example import charge_card, kit, resize, send_email
send_email.enqueue("a@example.com")  # type: ignore[call-arg]
send_email.enqueue(to="a", subject=3)  # type: ignore[arg-type]
send_email.enqueue(to="a", subject="b", delay=5)  # type: ignore[call-arg]
send_email.using(dely=5)  # type: ignore[call-arg]
send_email.using(attempts="3")  # type: ignore[arg-type]
x: str = resize.enqueue("a").result()  # type: ignore[assignment]
kit.on("faild")  # type: ignore[arg-type]
charge_card.enqueue({"order": "1"})  # type: ignore[arg-type]
kit.schedule("s", resize.make("a"), evry="1h")  # type: ignore[call-arg]
kit.schedules.put("s", resize.make("a"), every="1h", missed="never")  # type: ignore[arg-type]
kit.schedules.put("s", resize, every="1h")  # type: ignore[arg-type]
