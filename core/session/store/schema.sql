-- Written by the engine alone. Everything here can be made again from the files and the recipe.

CREATE TABLE IF NOT EXISTS files (
    id        INTEGER PRIMARY KEY,
    path      TEXT NOT NULL UNIQUE,
    dataset   TEXT NOT NULL DEFAULT '',
    run       TEXT NOT NULL DEFAULT '',
    layout    TEXT NOT NULL DEFAULT '',
    height    INTEGER NOT NULL DEFAULT 0,
    width     INTEGER NOT NULL DEFAULT 0,
    dtype     TEXT NOT NULL DEFAULT '',
    geometry  TEXT NOT NULL DEFAULT '{}',   -- JSON
    simulated INTEGER NOT NULL DEFAULT 0,
    frames    INTEGER NOT NULL DEFAULT 0,   -- as long as the data set is said to be
    done      INTEGER NOT NULL DEFAULT 0,   -- how many of them stand in the table `frames`
    reach     INTEGER NOT NULL DEFAULT 0,   -- which: 0 .. reach-1, less those in the table `gaps`
    status    TEXT NOT NULL DEFAULT 'waiting'
              CHECK (status IN ('waiting', 'reading', 'complete', 'missing', 'unreadable')),
    reason    TEXT NOT NULL DEFAULT '',     -- what is waited for, what is missing, why it is unreadable
    size      INTEGER NOT NULL DEFAULT 0,
    mtime_ns  INTEGER NOT NULL DEFAULT 0,
    device    INTEGER NOT NULL DEFAULT 0,
    inode     INTEGER NOT NULL DEFAULT 0,
    updated   REAL NOT NULL DEFAULT 0,      -- Unix time
    notes     TEXT NOT NULL DEFAULT '[]',   -- JSON: sentences on how its frames were made of what is in it
    replaced  REAL NOT NULL DEFAULT 0       -- Unix time from which its frames are others than before; 0 for never
);

CREATE TABLE IF NOT EXISTS gaps (           -- frames that were passed over: start .. stop-1
    file_id INTEGER NOT NULL REFERENCES files,
    start   INTEGER NOT NULL,
    stop    INTEGER NOT NULL,
    PRIMARY KEY (file_id, start)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS models (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE IF NOT EXISTS frames (
    id       INTEGER PRIMARY KEY,           -- in the order seen
    file_id  INTEGER NOT NULL REFERENCES files,
    idx      INTEGER NOT NULL,
    seen     REAL NOT NULL,                 -- Unix time
    passed   INTEGER NOT NULL,              -- how many stages it passed
    hit      INTEGER NOT NULL,              -- 1 when it passed hit finding, the first stage
    score    REAL,                          -- of the stage that scores; NULL when it did not get there
    model_id INTEGER REFERENCES models,     -- that gave the score
    digest   TEXT,                          -- of the raw bytes, for hits and labelled frames
    measures TEXT NOT NULL DEFAULT '{}',    -- JSON: the stages' columns
    changed  REAL,                          -- Unix time at which its bytes were found to be others than before
    UNIQUE (file_id, idx)
);
CREATE INDEX IF NOT EXISTS frames_by_score ON frames (hit, score);
CREATE INDEX IF NOT EXISTS frames_by_model ON frames (model_id, file_id, idx);
CREATE INDEX IF NOT EXISTS frames_by_digest ON frames (digest) WHERE digest IS NOT NULL;

CREATE TABLE IF NOT EXISTS detections (
    frame_id INTEGER NOT NULL REFERENCES frames,
    class    TEXT NOT NULL,
    score    REAL NOT NULL,
    x REAL NOT NULL, y REAL NOT NULL, width REAL NOT NULL, height REAL NOT NULL  -- pixels of the whole frame
);
CREATE INDEX IF NOT EXISTS detections_by_frame ON detections (frame_id);

CREATE TABLE IF NOT EXISTS candidates (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice, so that a list on a screen stays true
    frame_id INTEGER NOT NULL REFERENCES frames,
    x INTEGER NOT NULL, y INTEGER NOT NULL,      -- pixels of the whole frame
    score    REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS candidates_by_frame ON candidates (frame_id);
CREATE INDEX IF NOT EXISTS candidates_by_score ON candidates (score);

CREATE TABLE IF NOT EXISTS scores (         -- by models that have scored a frame besides the one in `frames`
    frame_id INTEGER NOT NULL REFERENCES frames,
    model_id INTEGER NOT NULL REFERENCES models,
    score    REAL NOT NULL,
    PRIMARY KEY (frame_id, model_id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS former_candidates (  -- what those models found on it
    frame_id INTEGER NOT NULL REFERENCES frames,
    model_id INTEGER NOT NULL REFERENCES models,
    x INTEGER NOT NULL, y INTEGER NOT NULL,
    score    REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS former_candidates_by_frame ON former_candidates (frame_id, model_id);

CREATE TABLE IF NOT EXISTS masks (
    frame_id   INTEGER PRIMARY KEY REFERENCES frames,
    y INTEGER NOT NULL, x INTEGER NOT NULL,      -- where the mask begins in the whole frame
    background INTEGER NOT NULL,                 -- the class that is no object
    classes    TEXT NOT NULL,                    -- JSON: names in the order of the values
    png        BLOB NOT NULL                     -- 8 bit, a class a pixel
);

CREATE TABLE IF NOT EXISTS history (
    bin      INTEGER PRIMARY KEY,           -- Unix time // 10 s
    frames   INTEGER NOT NULL,
    hits     INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS state (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL                     -- JSON
);
