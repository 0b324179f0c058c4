"""One run of `rushes curate` in a process of its own, with Ray up before it is timed.

    python -m benchmarks.measure.curate_run footage=… dataset=… [key=value …]

In: what `rushes curate` takes. Out: the last line is JSON: seconds from the job's start to its end, with
imports, Ray's start and its end apart; and the ledger's count of clips.
"""

import importlib
import json
import sys
import time
from pathlib import Path

import jobs.curate
from jobs.cli.compose import compose
from jobs.cli.registry import job_named
from jobs.cli.run_folder import open_run
from jobs.cluster.connect import connect

SETTLE_S = 3.0  # for what Ray does after a driver has connected; the other side waits as long


def main() -> None:
    composed = compose(job_named("curate"), sys.argv[1:])
    jobs.curate.check(composed.cfg)
    run = open_run("curate", jobs.curate.run_folder(composed.cfg), composed.yaml)
    with connect(composed.cfg.ray):
        importlib.import_module("jobs.curation.curation")  # the other side has imported what it runs, too
        time.sleep(SETTLE_S)
        start_s = time.perf_counter()
        jobs.curate.run(composed.cfg, run)
        seconds = time.perf_counter() - start_s
    ledger = json.loads(Path(run.folder, "ledger.json").read_text())
    print(json.dumps({"seconds": seconds, "ledger": ledger}))


if __name__ == "__main__":
    main()
