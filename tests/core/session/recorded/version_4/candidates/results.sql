BEGIN TRANSACTION;
CREATE TABLE candidates (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice, so that a list on a screen stays true
    frame_id INTEGER NOT NULL REFERENCES frames,
    x INTEGER NOT NULL, y INTEGER NOT NULL,      -- pixels of the whole frame
    score    REAL NOT NULL
);
INSERT INTO "candidates" VALUES(1,1,4,5,0.9);
INSERT INTO "candidates" VALUES(2,1,12,60,0.3);
INSERT INTO "candidates" VALUES(3,2,4,5,0.2);
INSERT INTO "candidates" VALUES(4,2,12,60,0.3);
INSERT INTO "candidates" VALUES(5,3,4,5,0.7);
INSERT INTO "candidates" VALUES(6,3,12,60,0.3);
INSERT INTO "candidates" VALUES(9,4,4,5,0.6);
CREATE TABLE detections (
    frame_id INTEGER NOT NULL REFERENCES frames,
    class    TEXT NOT NULL,
    score    REAL NOT NULL,
    x REAL NOT NULL, y REAL NOT NULL, width REAL NOT NULL, height REAL NOT NULL  -- pixels of the whole frame
);
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
    updated   REAL NOT NULL DEFAULT 0,      -- Unix time
    notes     TEXT NOT NULL DEFAULT '[]',   -- JSON: sentences on how its frames were made of what is in it
    replaced  REAL NOT NULL DEFAULT 0       -- Unix time from which its frames are others than before; 0 for never
);
INSERT INTO "files" VALUES(1,'/data/r0001/a.cxi','/entry_1/data_1/data','r0001','cxi',64,64,'int32','{"photon_energy_ev": 9300.0, "detector_distance": 0.7, "pixel_size": 7.5e-05, "beam_center_x": 8.0, "beam_center_y": 8.0}',0,6,4,5,'complete','',100,1,0,0,1010.0,'[]',0.0);
INSERT INTO "files" VALUES(2,'/data/r0001/b.cxi','/entry_1/data_1/data','r0001','cxi',64,64,'int32','{"photon_energy_ev": null, "detector_distance": null, "pixel_size": null, "beam_center_x": null, "beam_center_y": null}',0,4,2,2,'missing','Frame 3 is not there.',100,1,0,0,1021.0,'["2 further scans in this file were not read"]',0.0);
INSERT INTO "files" VALUES(3,'/data/r0001/c.cxi','','r0001','',64,64,'int32','{"photon_energy_ev": null, "detector_distance": null, "pixel_size": null, "beam_center_x": null, "beam_center_y": null}',0,0,0,0,'unreadable','Not an HDF5 file.',100,1,0,0,1.0,'[]',0.0);
CREATE TABLE former_candidates (  -- what those models found on it
    frame_id INTEGER NOT NULL REFERENCES frames,
    model_id INTEGER NOT NULL REFERENCES models,
    x INTEGER NOT NULL, y INTEGER NOT NULL,
    score    REAL NOT NULL
);
INSERT INTO "former_candidates" VALUES(1,2,4,5,0.4);
INSERT INTO "former_candidates" VALUES(4,1,4,5,0.55);
INSERT INTO "former_candidates" VALUES(4,1,12,60,0.3);
CREATE TABLE frames (
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
INSERT INTO "frames" VALUES(1,1,0,1000.0,3,1,0.9,1,'digest-0','{"photons": 0.0}',NULL);
INSERT INTO "frames" VALUES(2,1,1,1000.0,3,1,0.2,1,'digest-1','{"photons": 10.0}',NULL);
INSERT INTO "frames" VALUES(3,1,3,1010.0,3,1,0.7,1,'digest-3','{"photons": 30.0}',NULL);
INSERT INTO "frames" VALUES(4,1,4,1010.0,3,1,0.6,3,'digest-4','{"photons": 40.0}',NULL);
INSERT INTO "frames" VALUES(5,2,0,1020.0,3,1,0.8,1,'digest-b0','{"photons": 1.0}',NULL);
INSERT INTO "frames" VALUES(6,2,1,1021.0,3,1,0.7,1,'digest-b1-later','{"photons": 3.0}',1764000000.0);
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
INSERT INTO "history" VALUES(102,2,2);
CREATE TABLE masks (
    frame_id   INTEGER PRIMARY KEY REFERENCES frames,
    y INTEGER NOT NULL, x INTEGER NOT NULL,      -- where the mask begins in the whole frame
    background INTEGER NOT NULL,                 -- the class that is no object
    classes    TEXT NOT NULL,                    -- JSON: names in the order of the values
    png        BLOB NOT NULL                     -- 8 bit, a class a pixel
);
INSERT INTO "masks" VALUES(1,0,0,0,'["background", "membrane"]',X'89504E470D0A1A0A0000000D49484452000000100000001008000000003A98A0BD0000000F49444154785E6360644007235A0400099000111B70AE070000000049454E44AE426082');
INSERT INTO "masks" VALUES(2,0,0,0,'["background", "membrane"]',X'89504E470D0A1A0A0000000D49484452000000100000001008000000003A98A0BD0000000F49444154785E6360644007235A0400099000111B70AE070000000049454E44AE426082');
INSERT INTO "masks" VALUES(3,0,0,0,'["background", "membrane"]',X'89504E470D0A1A0A0000000D49484452000000100000001008000000003A98A0BD0000000F49444154785E6360644007235A0400099000111B70AE070000000049454E44AE426082');
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
INSERT INTO "state" VALUES('changes','1');
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
INSERT INTO "sqlite_sequence" VALUES('candidates',9);
COMMIT;
PRAGMA user_version = 4;
