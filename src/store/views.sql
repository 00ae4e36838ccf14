-- views.sql - the views of broker.db, for people.  Made anew whenever a file comes to the
-- newest version.

DROP VIEW IF EXISTS log;
CREATE VIEW log AS
SELECT m.lsn                                                               AS lsn,
       t.name                                                              AS topic,
       s.origin                                                            AS origin,
       CASE WHEN m.flags & 4 = 0 THEN printf('%016x-%d', m.stream, m.seq)
            ELSE printf('%016x-%d..%d', m.stream,
                        (SELECT max(b.first) FROM batches b
                         WHERE b.stream = m.stream AND b.first <= m.seq), m.seq)
       END                                                                 AS id,
       m.lamport                                                           AS lamport,
       strftime('%Y-%m-%dT%H:%M:%fZ', m.wall_ms / 1000.0, 'unixepoch')     AS time,
       CASE WHEN m.flags & 4 THEN 'gap'
            WHEN m.flags & 1 THEN 'removed'
            WHEN m.flags & 2 THEN 'late'
            ELSE 'message' END                                             AS kind,
       rtrim(m.headers, char(10))                                          AS headers,
       CAST(m.body AS TEXT)                                                AS body
FROM messages m
LEFT JOIN topics t ON t.id = m.topic
LEFT JOIN streams s ON s.stream = m.stream
ORDER BY m.lsn;

DROP VIEW IF EXISTS latest;
CREATE VIEW latest AS
WITH candidate(topic, lsn, lamport, stream, seq) AS (
    SELECT id, lsn, lamport, stream, seq FROM topics WHERE seq > 0
    UNION ALL
    SELECT topic, lsn, lamport, stream, seq FROM messages
    WHERE lsn > (SELECT value FROM meta WHERE name = 'topics_lsn') AND topic IS NOT NULL
    UNION ALL
    SELECT topic, 0, lamport, stream, seq FROM kept
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY topic
                                 ORDER BY lamport DESC, stream DESC, seq DESC, lsn DESC) AS place
    FROM candidate
)
SELECT t.name                                                              AS topic,
       coalesce(nullif(s.origin, ''), k.origin)                            AS origin,
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

DROP VIEW IF EXISTS lag;
CREATE VIEW lag AS
SELECT p.addr                            AS peer,
       s.origin                          AS origin,
       printf('%016x', s.stream)         AS stream,
       s.head                            AS head,
       coalesce(v.seq, 0)                AS has,
       max(0, s.head - coalesce(v.seq, 0)) AS behind
FROM peers p
JOIN streams s ON s.head > 0 AND s.flags & 2 = 0
LEFT JOIN vectors v ON v.addr = p.addr AND v.stream = s.stream
WHERE p.flags & 1 = 0 AND EXISTS (SELECT 1 FROM vectors w WHERE w.addr = p.addr)
ORDER BY p.addr, s.stream;
