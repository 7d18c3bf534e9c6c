-- From schema 1 to 2: what a moving queue needs. Adds only, so that it costs nothing however large the file is.
ALTER TABLE queues ADD COLUMN mover TEXT NOT NULL DEFAULT '';
ALTER TABLE queues ADD COLUMN mark INTEGER NOT NULL DEFAULT 0;
ALTER TABLE queues ADD COLUMN base INTEGER NOT NULL DEFAULT 0;
ALTER TABLE queues ADD COLUMN note BLOB;
ALTER TABLE jobs ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
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
