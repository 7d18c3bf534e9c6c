-- One file, many processes of one host. `queues` is a queue's one record: configuration, places, counts, totals.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value NOT NULL
) WITHOUT ROWID;

CREATE TABLE queues (
    q INTEGER PRIMARY KEY,
    ns TEXT NOT NULL,
    name TEXT NOT NULL,
    rev INTEGER NOT NULL DEFAULT 0,
    home TEXT NOT NULL DEFAULT 'here',
    moved_to TEXT,
    epoch INTEGER NOT NULL DEFAULT 0,
    declared TEXT NOT NULL DEFAULT '{}',
    override TEXT NOT NULL DEFAULT '{}',
    back INTEGER NOT NULL DEFAULT 0,        -- last place given behind all
    front INTEGER NOT NULL DEFAULT 0,       -- last place given before all, going down
    bell INTEGER NOT NULL DEFAULT (abs(random() % 1099511627776)),  -- rung when work is added; never twice the same
    seen INTEGER,                           -- when somebody recovered last
    pace INTEGER,                           -- the least cadence of recovery told since the last absence, ms
    grace INTEGER,                          -- nothing is recovered before
    ready INTEGER NOT NULL DEFAULT 0,       -- how many jobs on each line
    suspect INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0,
    delayed INTEGER NOT NULL DEFAULT 0,
    active INTEGER NOT NULL DEFAULT 0,
    blocked INTEGER NOT NULL DEFAULT 0,
    parked INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,   -- kept as the queue says
    completed_own INTEGER NOT NULL DEFAULT 0,   -- kept as the job says
    failed INTEGER NOT NULL DEFAULT 0,
    failed_own INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,
    cancelled_own INTEGER NOT NULL DEFAULT 0,
    t_enqueued INTEGER NOT NULL DEFAULT 0,  -- totals, never going down
    t_completed INTEGER NOT NULL DEFAULT 0,
    t_failed INTEGER NOT NULL DEFAULT 0,
    t_retried INTEGER NOT NULL DEFAULT 0,
    t_crashed INTEGER NOT NULL DEFAULT 0,
    t_cancelled INTEGER NOT NULL DEFAULT 0,
    t_released INTEGER NOT NULL DEFAULT 0,
    mover TEXT NOT NULL DEFAULT '',         -- the nonce of who wrote the epoch
    mark INTEGER NOT NULL DEFAULT 0,        -- `back` when the queue began to move
    base INTEGER NOT NULL DEFAULT 0,        -- the first place of the room for what arrives
    note BLOB,                              -- the mover's own
    unscheduled INTEGER NOT NULL DEFAULT 0, -- the highest rev of a schedule that was deleted
    UNIQUE (ns, name)
);

-- `line` is the state, and the line of a waiting job; (key1, key2, id) is its order there:
-- waiting priority, place; delayed run_at, 0; active lease end, 0; parked, blocked, ended since when, 0.
-- Held for a mover: active with lease end 0. Checked out by one: the line it was on plus 13, keys unchanged.
CREATE TABLE jobs (
    n INTEGER PRIMARY KEY,
    q INTEGER NOT NULL,
    id TEXT NOT NULL,
    line INTEGER NOT NULL,
    key1 INTEGER NOT NULL,
    key2 INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    place INTEGER NOT NULL,
    task TEXT NOT NULL,
    version INTEGER NOT NULL,
    body BLOB,                              -- NULL: in `bodies`, so that an update does not copy it
    options BLOB,
    created_at INTEGER NOT NULL,
    run_at INTEGER,
    since INTEGER NOT NULL,                 -- when it entered its state
    rev INTEGER NOT NULL DEFAULT 1,
    claims INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    snoozes INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    token TEXT,
    worker TEXT,
    claimed_at INTEGER,
    origin INTEGER,                         -- of an active job: the line it was claimed from
    cancel TEXT,
    progress BLOB,
    noted INTEGER NOT NULL DEFAULT 0,       -- rows ever written to `notes`
    result BLOB,
    reason TEXT,
    keep TEXT,
    keep_completed TEXT,
    keep_failed TEXT,
    uniq TEXT,
    expires_at INTEGER,
    trace TEXT,
    awaited INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL DEFAULT 0        -- of the mover that brought it
);
CREATE UNIQUE INDEX jobs_id ON jobs (q, id);
CREATE INDEX jobs_line ON jobs (q, line, key1, key2, id);
CREATE INDEX jobs_keep ON jobs (q, line, keep, key1, id) WHERE keep IS NOT NULL;
CREATE INDEX jobs_expires ON jobs (q, expires_at) WHERE expires_at IS NOT NULL AND line <= 3;

CREATE TABLE bodies (
    n INTEGER PRIMARY KEY,
    body BLOB NOT NULL
);

CREATE TABLE notes (
    n INTEGER NOT NULL,
    kind INTEGER NOT NULL,                  -- 0 error, 1 log line
    seq INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (n, kind, seq)
) WITHOUT ROWID;

CREATE TRIGGER jobs_gone AFTER DELETE ON jobs WHEN old.noted > 0 OR old.body IS NULL
BEGIN
    DELETE FROM notes WHERE n = old.n;
    DELETE FROM bodies WHERE n = old.n;
END;

-- How many ended jobs carry a retention of their own.
CREATE TABLE labels (
    q INTEGER NOT NULL,
    line INTEGER NOT NULL,
    label TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (q, line, label)
) WITHOUT ROWID;

CREATE TABLE uniques (
    q INTEGER NOT NULL,
    key TEXT NOT NULL,
    id TEXT NOT NULL,
    until TEXT NOT NULL,
    expires INTEGER,
    PRIMARY KEY (q, key)
) WITHOUT ROWID;
CREATE INDEX uniques_expires ON uniques (q, expires) WHERE expires IS NOT NULL;

-- The last call of each actor and what it was answered: how a lost reply costs nothing.
CREATE TABLE ops (
    q INTEGER NOT NULL,
    actor TEXT NOT NULL,
    n INTEGER NOT NULL,
    at INTEGER NOT NULL,
    reply TEXT NOT NULL,
    PRIMARY KEY (q, actor)
) WITHOUT ROWID;

CREATE TABLE workers (
    ns TEXT NOT NULL,
    id TEXT NOT NULL,
    until INTEGER NOT NULL,
    beat TEXT NOT NULL,
    PRIMARY KEY (ns, id)
) WITHOUT ROWID;

-- What is checked out: the jobs of each batch in their order. What was taken in: ids and clashes of each batch.
CREATE TABLE outs (
    q INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (q, batch, seq)
) WITHOUT ROWID;

CREATE TABLE taken (
    q INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    ids TEXT NOT NULL,
    clashes TEXT NOT NULL,
    PRIMARY KEY (q, batch)
) WITHOUT ROWID;

-- A schedule's moving parts; `definition` apart, so that a firing does not copy it.
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
