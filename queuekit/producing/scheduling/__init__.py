"""What `kit.schedule`, `kit.schedules` and a worker's start do with stored schedules, written once for both ways."""
