PRAGMA application_id=1097624942;
PRAGMA user_version=1;
BEGIN TRANSACTION;
CREATE TABLE accounts (
  population TEXT PRIMARY KEY, privacy_unit TEXT NOT NULL, neighboring_relation TEXT NOT NULL,
  epsilon_cap REAL NOT NULL, delta REAL NOT NULL, renyi_order INTEGER NOT NULL,
  rdp_spent REAL NOT NULL, rdp_committed REAL NOT NULL,
  CHECK (0 <= rdp_committed AND rdp_committed <= rdp_spent)
) STRICT;
INSERT INTO "accounts" VALUES('cleveland-cardiology','patient','add_or_remove_one',3.0,0.0001,6,1.29463173675503639969e-01,2.89150830631115240976e-02);
INSERT INTO "accounts" VALUES('other','patient','add_or_remove_one',1.0,1.0e-05,18,0.0,0.0);
CREATE TABLE entries (
  seq INTEGER PRIMARY KEY, time TEXT NOT NULL, kind TEXT NOT NULL, payload TEXT NOT NULL,
  previous TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
INSERT INTO "entries" VALUES(1,'2026-11-22T01:51:02.383434+00:00','created','{"ledger_version":1,"site":"cleveland"}','0000000000000000000000000000000000000000000000000000000000000000','48191ee3d50557090043c9c024d29e57c07b946ddaa817027ecec250efb47ecc');
INSERT INTO "entries" VALUES(2,'2026-11-22T01:51:02.409097+00:00','account-opened','{"account":{"delta":0.0001,"epsilon_cap":3.0,"neighboring_relation":"add_or_remove_one","population":"cleveland-cardiology","privacy_unit":"patient"},"order":6}','48191ee3d50557090043c9c024d29e57c07b946ddaa817027ecec250efb47ecc','97bf73dd53b180be3b4ea64d2081e2cb0a6cb0aa9279dc9ee0aaa99d85dcf255');
INSERT INTO "entries" VALUES(3,'2026-11-22T01:51:02.426998+00:00','account-opened','{"account":{"delta":1e-05,"epsilon_cap":1.0,"neighboring_relation":"add_or_remove_one","population":"other","privacy_unit":"patient"},"order":18}','97bf73dd53b180be3b4ea64d2081e2cb0a6cb0aa9279dc9ee0aaa99d85dcf255','27fe23719f1ef851edadc2dae69ea31117c6752fb4032434722787a7115142fe');
INSERT INTO "entries" VALUES(4,'2026-11-22T01:51:02.433345+00:00','reserved','{"envelope_digest":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","job_id":"00000000-0000-0000-0000-000000000001","neighboring_relation":"add_or_remove_one","nonce":"00000000000000000000000000000001","population":"cleveland-cardiology","privacy_unit":"patient","steps":[{"charge":0.014457541531555762,"events":[{"count":1,"kind":"sampled_gaussian","noise_multiplier":7.297,"sampling_prob":0.5}],"step":"train-0001"},{"charge":0.014457541531555762,"events":[{"count":1,"kind":"sampled_gaussian","noise_multiplier":7.297,"sampling_prob":0.5}],"step":"train-0002"},{"charge":0.028587733008862415,"events":[{"count":1,"epsilon":0.1,"kind":"pure_release"}],"step":"accuracy"}],"tree_digest":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}','27fe23719f1ef851edadc2dae69ea31117c6752fb4032434722787a7115142fe','5cf50609f2fb862ac7c4164825a849fa4febe75aa663d54649c6f3ca1397b8cc');
INSERT INTO "entries" VALUES(5,'2026-11-22T01:51:02.444579+00:00','reserved','{"envelope_digest":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","job_id":"00000000-0000-0000-0000-000000000002","neighboring_relation":"add_or_remove_one","nonce":"00000000000000000000000000000002","population":"cleveland-cardiology","privacy_unit":"patient","steps":[{"charge":0.014457541531555762,"events":[{"count":1,"kind":"sampled_gaussian","noise_multiplier":7.297,"sampling_prob":0.5}],"step":"train-0001"},{"charge":0.014457541531555762,"events":[{"count":1,"kind":"sampled_gaussian","noise_multiplier":7.297,"sampling_prob":0.5}],"step":"train-0002"},{"charge":0.028587733008862415,"events":[{"count":1,"epsilon":0.1,"kind":"pure_release"}],"step":"accuracy"}],"tree_digest":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}','5cf50609f2fb862ac7c4164825a849fa4febe75aa663d54649c6f3ca1397b8cc','2473413b0dae10c2360631beafc9d6d050a236c2916d13a0a17bf619fb78e853');
INSERT INTO "entries" VALUES(6,'2026-11-22T01:51:02.454672+00:00','reserved','{"envelope_digest":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","job_id":"00000000-0000-0000-0000-000000000003","neighboring_relation":"add_or_remove_one","nonce":"00000000000000000000000000000003","population":"cleveland-cardiology","privacy_unit":"patient","steps":[{"charge":0.014457541531555762,"events":[{"count":1,"kind":"sampled_gaussian","noise_multiplier":7.297,"sampling_prob":0.5}],"step":"train-0001"},{"charge":0.014457541531555762,"events":[{"count":1,"kind":"sampled_gaussian","noise_multiplier":7.297,"sampling_prob":0.5}],"step":"train-0002"},{"charge":0.028587733008862415,"events":[{"count":1,"epsilon":0.1,"kind":"pure_release"}],"step":"accuracy"}],"tree_digest":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}','2473413b0dae10c2360631beafc9d6d050a236c2916d13a0a17bf619fb78e853','7132a251948e91cd1614c7312c9c14b79b7ea8aad11f7342cf021e754e3ea596');
INSERT INTO "entries" VALUES(7,'2026-11-22T01:51:02.468323+00:00','started','{"job_id":"00000000-0000-0000-0000-000000000001","tree_digest":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}','7132a251948e91cd1614c7312c9c14b79b7ea8aad11f7342cf021e754e3ea596','c56c4e5afc37ef23d7d9fe13403324a3bae760aeba3df905dcc43280297c2c0b');
INSERT INTO "entries" VALUES(8,'2026-11-22T01:51:02.472945+00:00','committed','{"charge":0.014457541531555762,"receipt":{"events":[{"count":1,"kind":"sampled_gaussian","noise_multiplier":7.297,"sampling_prob":0.5}],"job_id":"00000000-0000-0000-0000-000000000001","neighboring_relation":"add_or_remove_one","privacy_unit":"patient","site":"cleveland","step":"train-0001"}}','c56c4e5afc37ef23d7d9fe13403324a3bae760aeba3df905dcc43280297c2c0b','e2eed254561b7d7078b402ce8a6853367180b0f9de701c98c78f56765b274c60');
INSERT INTO "entries" VALUES(9,'2026-11-22T01:51:02.493469+00:00','started','{"job_id":"00000000-0000-0000-0000-000000000002","tree_digest":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}','e2eed254561b7d7078b402ce8a6853367180b0f9de701c98c78f56765b274c60','0adcbe3fb3bca50146944e3a8bda160016724d7c6d1d2397f3dbee938a72a2c0');
INSERT INTO "entries" VALUES(10,'2026-11-22T01:51:02.536815+00:00','committed','{"charge":0.014457541531555762,"receipt":{"events":[{"count":1,"kind":"sampled_gaussian","noise_multiplier":7.297,"sampling_prob":0.5}],"job_id":"00000000-0000-0000-0000-000000000002","neighboring_relation":"add_or_remove_one","privacy_unit":"patient","site":"cleveland","step":"train-0001"}}','0adcbe3fb3bca50146944e3a8bda160016724d7c6d1d2397f3dbee938a72a2c0','6f56e4f8a5b71548079ab622d312adbe6740a7c77bc7cdd6ea7878a3d447f08c');
INSERT INTO "entries" VALUES(11,'2026-11-22T01:51:02.552080+00:00','settled','{"job_id":"00000000-0000-0000-0000-000000000001","reason":"the job ended","refund":0.04304527454041818}','6f56e4f8a5b71548079ab622d312adbe6740a7c77bc7cdd6ea7878a3d447f08c','387ee38dbc25a5384a5b48d0dd6005c70e76dfc3392f75137511f5d45bf69865');
INSERT INTO "entries" VALUES(12,'2026-11-22T01:51:02.556990+00:00','decision','{"verdict":"refused"}','387ee38dbc25a5384a5b48d0dd6005c70e76dfc3392f75137511f5d45bf69865','8f1fe83659bea921f6a6c492373e4b68d1b486d795208d81ee36f27dd90627d5');
CREATE TABLE jobs (
  job_id TEXT PRIMARY KEY, nonce TEXT NOT NULL UNIQUE,
  population TEXT NOT NULL REFERENCES accounts(population),
  envelope_digest TEXT NOT NULL, tree_digest TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('reserved', 'started', 'settled')), last_position INTEGER NOT NULL
) STRICT;
INSERT INTO "jobs" VALUES('00000000-0000-0000-0000-000000000001','00000000000000000000000000000001','cleveland-cardiology','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','settled',0);
INSERT INTO "jobs" VALUES('00000000-0000-0000-0000-000000000002','00000000000000000000000000000002','cleveland-cardiology','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','started',0);
INSERT INTO "jobs" VALUES('00000000-0000-0000-0000-000000000003','00000000000000000000000000000003','cleveland-cardiology','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','reserved',-1);
CREATE TABLE steps (
  job_id TEXT NOT NULL REFERENCES jobs(job_id), position INTEGER NOT NULL, step TEXT NOT NULL,
  events TEXT NOT NULL, charge REAL NOT NULL, committed INTEGER NOT NULL CHECK (committed IN (0, 1)),
  PRIMARY KEY (job_id, position), UNIQUE (job_id, step)
) STRICT, WITHOUT ROWID;
INSERT INTO "steps" VALUES('00000000-0000-0000-0000-000000000001',0,'train-0001','[{"count":1,"kind":"sampled_gaussian","noise_multiplier":7.297,"sampling_prob":0.5}]',1.44575415315557620488e-02,1);
INSERT INTO "steps" VALUES('00000000-0000-0000-0000-000000000001',1,'train-0002','[{"count":1,"kind":"sampled_gaussian","noise_multiplier":7.297,"sampling_prob":0.5}]',1.44575415315557620488e-02,0);
INSERT INTO "steps" VALUES('00000000-0000-0000-0000-000000000001',2,'accuracy','[{"count":1,"epsilon":0.1,"kind":"pure_release"}]',2.85877330088624148629e-02,0);
INSERT INTO "steps" VALUES('00000000-0000-0000-0000-000000000002',0,'train-0001','[{"count":1,"kind":"sampled_gaussian","noise_multiplier":7.297,"sampling_prob":0.5}]',1.44575415315557620488e-02,1);
INSERT INTO "steps" VALUES('00000000-0000-0000-0000-000000000002',1,'train-0002','[{"count":1,"kind":"sampled_gaussian","noise_multiplier":7.297,"sampling_prob":0.5}]',1.44575415315557620488e-02,0);
INSERT INTO "steps" VALUES('00000000-0000-0000-0000-000000000002',2,'accuracy','[{"count":1,"epsilon":0.1,"kind":"pure_release"}]',2.85877330088624148629e-02,0);
INSERT INTO "steps" VALUES('00000000-0000-0000-0000-000000000003',0,'train-0001','[{"count":1,"kind":"sampled_gaussian","noise_multiplier":7.297,"sampling_prob":0.5}]',1.44575415315557620488e-02,0);
INSERT INTO "steps" VALUES('00000000-0000-0000-0000-000000000003',1,'train-0002','[{"count":1,"kind":"sampled_gaussian","noise_multiplier":7.297,"sampling_prob":0.5}]',1.44575415315557620488e-02,0);
INSERT INTO "steps" VALUES('00000000-0000-0000-0000-000000000003',2,'accuracy','[{"count":1,"epsilon":0.1,"kind":"pure_release"}]',2.85877330088624148629e-02,0);
CREATE TRIGGER entries_extend_the_chain BEFORE INSERT ON entries
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM entries)
  OR NEW.previous IS NOT coalesce((SELECT hash FROM entries ORDER BY seq DESC LIMIT 1), printf('%064d', 0))
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_never_change BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_never_go BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE INDEX jobs_by_status ON jobs(status);
COMMIT;
