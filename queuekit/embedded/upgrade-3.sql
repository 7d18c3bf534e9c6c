-- From schema 2 to 3: schedules. Adds only, so that it costs nothing however large the file is.
ALTER TABLE queues ADD COLUMN unscheduled INTEGER NOT NULL DEFAULT 0;
CREATE TABLE schedules (
    n INTEGER PRIMARY KEY,
    q INTEGER NOT NULL,
    id TEXT NOT NULL,
    rev INTEGER NOT NULL,
    next INTEGER,
    fired INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    last_job TEXT
);
CREATE UNIQUE INDEX schedules_id ON schedules (q, id);
CREATE INDEX schedules_next ON schedules (q, next, id) WHERE next IS NOT NULL;

CREATE TABLE definitions (
    n INTEGER PRIMARY KEY,
    definition BLOB NOT NULL
);

CREATE TRIGGER schedules_gone AFTER DELETE ON schedules
BEGIN
    DELETE FROM definitions WHERE n = old.n;
END;
