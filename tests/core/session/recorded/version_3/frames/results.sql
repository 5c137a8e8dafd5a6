BEGIN TRANSACTION;
CREATE TABLE candidates (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice, so that a list on a screen stays true
    frame_id INTEGER NOT NULL REFERENCES frames,
    x INTEGER NOT NULL, y INTEGER NOT NULL,      -- pixels of the whole frame
    score    REAL NOT NULL
);
CREATE TABLE detections (
    frame_id INTEGER NOT NULL REFERENCES frames,
    class    TEXT NOT NULL,
    score    REAL NOT NULL,
    x REAL NOT NULL, y REAL NOT NULL, width REAL NOT NULL, height REAL NOT NULL  -- pixels of the whole frame
);
INSERT INTO "detections" VALUES(1,'single',0.9,1.0,2.0,5.0,5.0);
INSERT INTO "detections" VALUES(2,'single',0.2,1.0,2.0,5.0,5.0);
INSERT INTO "detections" VALUES(3,'single',0.7,1.0,2.0,5.0,5.0);
CREATE TABLE files (
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
    updated   REAL NOT NULL DEFAULT 0       -- Unix time
);
INSERT INTO "files" VALUES(1,'/data/r0001/a.cxi','/entry_1/data_1/data','r0001','cxi',64,64,'int32','{"photon_energy_ev": 9300.0, "detector_distance": 0.7, "pixel_size": 7.5e-05, "beam_center_x": 8.0, "beam_center_y": 8.0}',0,6,4,5,'complete','',100,1,0,0,1010.0);
INSERT INTO "files" VALUES(2,'/data/r0001/b.cxi','/entry_1/data_1/data','r0001','cxi',64,64,'int32','{"photon_energy_ev": null, "detector_distance": null, "pixel_size": null, "beam_center_x": null, "beam_center_y": null}',0,4,1,1,'missing','Frame 3 is not there.',100,1,0,0,1020.0);
INSERT INTO "files" VALUES(3,'/data/r0001/c.cxi','','r0001','',64,64,'int32','{"photon_energy_ev": null, "detector_distance": null, "pixel_size": null, "beam_center_x": null, "beam_center_y": null}',0,0,0,0,'unreadable','Not an HDF5 file.',100,1,0,0,1.0);
CREATE TABLE former_candidates (  -- what those models found on it
    frame_id INTEGER NOT NULL REFERENCES frames,
    model_id INTEGER NOT NULL REFERENCES models,
    x INTEGER NOT NULL, y INTEGER NOT NULL,
    score    REAL NOT NULL
);
CREATE TABLE frames (
    id       INTEGER PRIMARY KEY,           -- in the order seen
    file_id  INTEGER NOT NULL REFERENCES files,
    idx      INTEGER NOT NULL,
    seen     REAL NOT NULL,                 -- Unix time
    passed   INTEGER NOT NULL,              -- how many stages it passed
    hit      INTEGER NOT NULL,              -- 1 when it passed hit finding, the first stage
    score    REAL,                          -- of the stage that scores; NULL when it did not get there
    model_id INTEGER REFERENCES models,     -- that gave the score
    digest   TEXT,                          -- of the raw bytes, for hits
    measures TEXT NOT NULL DEFAULT '{}',    -- JSON: the stages' columns
    UNIQUE (file_id, idx)
);
INSERT INTO "frames" VALUES(1,1,0,1000.0,3,1,0.9,1,'digest-0','{"photons": 0.0}');
INSERT INTO "frames" VALUES(2,1,1,1000.0,3,1,0.2,1,'digest-1','{"photons": 10.0}');
INSERT INTO "frames" VALUES(3,1,3,1010.0,3,1,0.7,1,'digest-3','{"photons": 30.0}');
INSERT INTO "frames" VALUES(4,1,4,1010.0,3,1,0.6,3,'digest-4','{"photons": 40.0}');
INSERT INTO "frames" VALUES(5,2,0,1020.0,3,1,0.8,1,'digest-b0','{"photons": 1.0}');
CREATE TABLE gaps (           -- frames that were passed over: start .. stop-1
    file_id INTEGER NOT NULL REFERENCES files,
    start   INTEGER NOT NULL,
    stop    INTEGER NOT NULL,
    PRIMARY KEY (file_id, start)
) WITHOUT ROWID;
INSERT INTO "gaps" VALUES(1,2,3);
CREATE TABLE history (
    bin      INTEGER PRIMARY KEY,           -- Unix time // 10 s
    frames   INTEGER NOT NULL,
    hits     INTEGER NOT NULL
);
INSERT INTO "history" VALUES(100,2,2);
INSERT INTO "history" VALUES(101,2,2);
INSERT INTO "history" VALUES(102,1,1);
CREATE TABLE masks (
    frame_id   INTEGER PRIMARY KEY REFERENCES frames,
    y INTEGER NOT NULL, x INTEGER NOT NULL,      -- where the mask begins in the whole frame
    background INTEGER NOT NULL,                 -- the class that is no object
    classes    TEXT NOT NULL,                    -- JSON: names in the order of the values
    png        BLOB NOT NULL                     -- 8 bit, a class a pixel
);
CREATE TABLE models (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
INSERT INTO "models" VALUES(1,'first-model');
INSERT INTO "models" VALUES(2,'second-model');
INSERT INTO "models" VALUES(3,'third-model');
CREATE TABLE scores (         -- by models that have scored a frame besides the one in `frames`
    frame_id INTEGER NOT NULL REFERENCES frames,
    model_id INTEGER NOT NULL REFERENCES models,
    score    REAL NOT NULL,
    PRIMARY KEY (frame_id, model_id)
) WITHOUT ROWID;
INSERT INTO "scores" VALUES(1,2,0.4);
INSERT INTO "scores" VALUES(3,2,0.95);
INSERT INTO "scores" VALUES(4,1,0.55);
CREATE TABLE state (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL                     -- JSON
);
INSERT INTO "state" VALUES('pid','4242');
INSERT INTO "state" VALUES('host','"daq1"');
INSERT INTO "state" VALUES('started','900.0');
INSERT INTO "state" VALUES('status','"stopped"');
INSERT INTO "state" VALUES('heartbeat','2000.0');
INSERT INTO "state" VALUES('rate_hz','0.0');
INSERT INTO "state" VALUES('lag_s','0.0');
INSERT INTO "state" VALUES('queue','0');
INSERT INTO "state" VALUES('passed_over','0');
INSERT INTO "state" VALUES('scored','5');
INSERT INTO "state" VALUES('working_since','0.0');
INSERT INTO "state" VALUES('model','"first-model"');
INSERT INTO "state" VALUES('models','{"classify": "first-model"}');
INSERT INTO "state" VALUES('shadow','"second-model"');
INSERT INTO "state" VALUES('shadow_scored','2');
INSERT INTO "state" VALUES('device','"cpu"');
INSERT INTO "state" VALUES('workers','2');
INSERT INTO "state" VALUES('message','"stopped"');
INSERT INTO "state" VALUES('message_at','2000.0');
INSERT INTO "state" VALUES('stalled_s','0.0');
INSERT INTO "state" VALUES('problems','{}');
INSERT INTO "state" VALUES('alarms','[]');
INSERT INTO "state" VALUES('paths','["/data/r0001"]');
INSERT INTO "state" VALUES('moved','1');
INSERT INTO "state" VALUES('replaced','1');
CREATE INDEX frames_by_score ON frames (hit, score);
CREATE INDEX frames_by_model ON frames (model_id, file_id, idx);
CREATE INDEX frames_by_digest ON frames (digest) WHERE digest IS NOT NULL;
CREATE INDEX detections_by_frame ON detections (frame_id);
CREATE INDEX candidates_by_frame ON candidates (frame_id);
CREATE INDEX candidates_by_score ON candidates (score);
CREATE INDEX former_candidates_by_frame ON former_candidates (frame_id, model_id);
DELETE FROM "sqlite_sequence";
COMMIT;
PRAGMA user_version = 3;
