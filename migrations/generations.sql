-- The generations of the projection: which one is live, and how far each has come.
--
-- Plain: made once, never part of a generation. `layout` says which text of generation.sql made the tables; a build
-- that knows another layout asks for a rebuild and touches nothing. Exactly one row is active. A row that is not is a
-- rebuild under way, or what a crashed one left behind: the next rebuild removes it.
CREATE TABLE IF NOT EXISTS generations (
    generation BIGINT NOT NULL PRIMARY KEY,
    active BIGINT NOT NULL,
    layout BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    event_id TEXT,
    created_at TEXT NOT NULL
);
