-- schema.sql - broker.db, version 1.  docs/STORE.md explains every column.
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
    floor       INTEGER NOT NULL,   -- highest seq that retention took; 0: none; and there:
    floor_chain BLOB,
    floor_stamp INTEGER,
    floor_deps  BLOB,               -- marks: all dependencies up to there
    flags       INTEGER NOT NULL    -- 1 frozen, 2 retired
);

CREATE TABLE topics (
    id      INTEGER PRIMARY KEY,
    name    TEXT    NOT NULL,
    count   INTEGER NOT NULL,       -- messages up to meta.topics_lsn; and the newest of them:
    lsn     INTEGER NOT NULL,
    lamport INTEGER NOT NULL,
    stream  INTEGER NOT NULL,
    seq     INTEGER NOT NULL
);

CREATE TABLE messages (
    lsn     INTEGER PRIMARY KEY,    -- position in this broker's log
    stream  INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    lamport INTEGER NOT NULL,
    topic   INTEGER,                -- topics.id; NULL: removed, only the digest is left
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

CREATE TABLE segments (
    lsn_first INTEGER PRIMARY KEY,
    lsn_last  INTEGER NOT NULL,
    stamp     INTEGER NOT NULL,     -- highest lamport in it
    topics    BLOB    NOT NULL      -- sorted ids as varints: the first, then differences
);

CREATE TABLE kept (
    topic   INTEGER PRIMARY KEY,    -- whose newest message retention took
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

CREATE VIEW log AS
SELECT m.lsn                                                               AS lsn,
       t.name                                                              AS topic,
       s.origin                                                            AS origin,
       printf('%016x-%d', m.stream, m.seq)                                 AS id,
       m.lamport                                                           AS lamport,
       strftime('%Y-%m-%dT%H:%M:%fZ', m.wall_ms / 1000.0, 'unixepoch')     AS time,
       rtrim(m.headers, char(10))                                          AS headers,
       CAST(m.body AS TEXT)                                                AS body
FROM messages m
LEFT JOIN topics t ON t.id = m.topic
LEFT JOIN streams s ON s.stream = m.stream
ORDER BY m.lsn;

CREATE VIEW latest AS
WITH candidate(topic, lsn, lamport, stream, seq) AS (
    SELECT id, lsn, lamport, stream, seq FROM topics WHERE seq > 0
    UNION ALL
    SELECT topic, lsn, lamport, stream, seq FROM messages
    WHERE lsn > (SELECT value FROM meta WHERE name = 'topics_lsn') AND topic IS NOT NULL
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY topic
                                 ORDER BY lamport DESC, stream DESC, seq DESC) AS place
    FROM candidate
)
SELECT t.name                                                              AS topic,
       coalesce(s.origin, k.origin)                                        AS origin,
       printf('%016x-%d', r.stream, r.seq)                                 AS id,
       r.lamport                                                           AS lamport,
       strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(m.wall_ms, k.wall_ms) / 1000.0, 'unixepoch')
                                                                           AS time,
       rtrim(CASE WHEN m.lsn IS NULL THEN k.headers ELSE m.headers END, char(10)) AS headers,
       CAST(CASE WHEN m.lsn IS NULL THEN k.body ELSE m.body END AS TEXT)   AS body
FROM ranked r
JOIN topics t ON t.id = r.topic
LEFT JOIN messages m ON m.lsn = r.lsn
LEFT JOIN kept k ON k.topic = r.topic AND k.stream = r.stream AND k.seq = r.seq
LEFT JOIN streams s ON s.stream = r.stream
WHERE r.place = 1
ORDER BY t.name;

CREATE VIEW lag AS
SELECT p.addr                            AS peer,
       s.origin                          AS origin,
       printf('%016x', s.stream)         AS stream,
       s.head                            AS head,
       coalesce(v.seq, 0)                AS has,
       max(0, s.head - coalesce(v.seq, 0)) AS behind
FROM peers p
JOIN streams s
LEFT JOIN vectors v ON v.addr = p.addr AND v.stream = s.stream
WHERE p.flags & 1 = 0 AND EXISTS (SELECT 1 FROM vectors w WHERE w.addr = p.addr)
ORDER BY p.addr, s.stream;
