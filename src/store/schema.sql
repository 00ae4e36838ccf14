-- schema.sql - the tables of broker.db, version 3; views.sql has the views.  docs/STORE.md
-- explains every column.  Older files come here by the steps in store_schema.c.
--
-- All 64-bit numbers are SQLite integers.  A stream is below 2^63; a nonce or a version
-- above that shows as a negative number.  Times are milliseconds since 1970 UTC.
-- "marks" blobs: varint count, then per mark u64 big-endian stream, varint seq; a varint
-- is seven bits a byte, lowest first, the high bit set on all but the last.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,         -- cluster, epoch, token_*, topics_lsn, probe
    value
) WITHOUT ROWID;

CREATE TABLE streams (
    stream      INTEGER PRIMARY KEY,
    origin      TEXT    NOT NULL,   -- host:port of the broker that wrote it; part of batch 1
    head        INTEGER NOT NULL,   -- highest seq held, and at that message:
    head_chain  BLOB    NOT NULL,
    head_stamp  INTEGER NOT NULL,   -- its lamport
    head_lsn    INTEGER NOT NULL,
    head_ms     INTEGER NOT NULL,   -- when it came here
    floor       INTEGER NOT NULL,   -- highest seq that is gone from the front; 0: none; there:
    floor_chain BLOB,
    floor_stamp INTEGER,
    floor_deps  BLOB,               -- marks: to be held before what comes above; mostly NULL
    flags       INTEGER NOT NULL,   -- 1 frozen, 2 retired
    waived      INTEGER NOT NULL DEFAULT 0  -- up to here it counts as held for others
);
-- Few are alive, and reads look for those; thousands may be retired.
CREATE INDEX streams_live ON streams(stream) WHERE flags & 2 = 0;

CREATE TABLE topics (
    id      INTEGER PRIMARY KEY,
    name    TEXT    NOT NULL,
    count   INTEGER NOT NULL,       -- messages ever up to meta.topics_lsn; and the newest:
    lsn     INTEGER NOT NULL,       -- 0: it was never in messages, but is in kept
    lamport INTEGER NOT NULL,
    stream  INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    removed INTEGER NOT NULL DEFAULT 0  -- of them, taken by retention; see removals
);
CREATE UNIQUE INDEX topics_name ON topics(name);

CREATE TABLE removals (             -- taken since topics was last written
    lsn    INTEGER PRIMARY KEY,     -- of the first message that the step took
    topics BLOB    NOT NULL         -- pairs of varints: the id's distance to the last, how many
);

CREATE TABLE messages (
    lsn     INTEGER PRIMARY KEY,    -- position in this broker's log
    stream  INTEGER NOT NULL,
    seq     INTEGER NOT NULL,       -- of a gap: the last one
    lamport INTEGER NOT NULL,
    topic   INTEGER,                -- topics.id; NULL: a gap, or only the digest is left
    wall_ms INTEGER NOT NULL,       -- the origin's clock
    flags   INTEGER NOT NULL,       -- 1 digest only, 2 late, 4 gap
    digest  BLOB    NOT NULL,       -- over topic, headers and body
    headers TEXT,                   -- "name: value" lines
    body    BLOB
);

CREATE TABLE batches (
    stream        INTEGER NOT NULL,
    first         INTEGER NOT NULL, -- seq of the first and of the last message
    last          INTEGER NOT NULL,
    lsn           INTEGER NOT NULL, -- of the first message; the others follow
    lamport_first INTEGER NOT NULL,
    wall_ms       INTEGER NOT NULL, -- the origin's clock
    received_ms   INTEGER NOT NULL, -- ours
    flags         INTEGER NOT NULL, -- 2 late, 4 gap
    prev          BLOB    NOT NULL, -- chain of the batch before, and of this one
    chain         BLOB    NOT NULL,
    deps          BLOB    NOT NULL, -- marks
    PRIMARY KEY (stream, first)
) WITHOUT ROWID;
-- Few are gaps, and a start asks for the highest of each stream.
CREATE INDEX batches_gaps ON batches(stream, last) WHERE flags & 4 <> 0;

CREATE TABLE segments (             -- the index: runs of some thousand lsn
    lsn_first INTEGER PRIMARY KEY,
    lsn_last  INTEGER NOT NULL,
    stamp     INTEGER NOT NULL,     -- highest lamport in it
    buckets   INTEGER NOT NULL,     -- bit k: postings has a row k; bit 16: of no topic
    hash      INTEGER,              -- XXH3-64 over all of this row; NULL: it has no postings
    marks     BLOB                  -- highest seq of each stream in it
);

CREATE TABLE postings (             -- where in a segment the messages of a topic lie
    id     INTEGER PRIMARY KEY,     -- segments.lsn_first * 16 + topics.id % 16
    hash   INTEGER NOT NULL,        -- XXH3-64 of:
    topics BLOB    NOT NULL         -- varints: id / 16, bytes that follow, rows as differences
);

CREATE TABLE kept (
    topic   INTEGER PRIMARY KEY,    -- whose newest message is not in messages
    stream  INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    lamport INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    flags   INTEGER NOT NULL,
    origin  TEXT    NOT NULL,
    digest  BLOB    NOT NULL,
    headers TEXT,
    body    BLOB
);

CREATE TABLE peers (
    addr    TEXT PRIMARY KEY,       -- "127.0.0.1:3000", "[::1]:3000"
    family  INTEGER NOT NULL,       -- 4, 6
    ip      BLOB    NOT NULL,       -- 4 or 16 bytes
    port    INTEGER NOT NULL,
    host    TEXT    NOT NULL,       -- as its operator wrote it
    version INTEGER NOT NULL,
    nonce   INTEGER NOT NULL,
    flags   INTEGER NOT NULL        -- 1 forgotten, 2 away
) WITHOUT ROWID;

CREATE TABLE vectors (
    addr   TEXT    NOT NULL,        -- what a peer last said it has on disk
    stream INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (addr, stream)
) WITHOUT ROWID;
