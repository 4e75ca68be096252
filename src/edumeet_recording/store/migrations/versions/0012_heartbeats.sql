-- Half of each page is left for the next versions of its rows: a heartbeat a second would else touch every index, and
-- the table grow until it is vacuumed.
ALTER TABLE ffmpeg_nodes SET (fillfactor = 50);
