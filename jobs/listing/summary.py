"""What became of clips, in lines for the person who ran a job.

In: a run's ledger and metrics. Out: lines.
"""

import shlex
from typing import Any

from jobs.cli.formatting import format_duration
from jobs.cli.run_folder import Run
from pipelines.dataset.reader import open_dataset


def say_clips(
    dataset: str, run: Run, ledger: dict[str, int], metrics: dict[str, Any], footage: str | None = None
) -> None:
    """What became of the clips and why, and where to look."""
    from jobs.listing.account import account_of, lost_line, quarantine_line

    run.say(
        f"clips {ledger['clips']} = kept {ledger['clips_kept']} + rejected {ledger['clips_rejected']} "
        f"({metrics['clips_duplicate']} of them duplicates) + quarantined {ledger['clips_quarantined']}"
    )
    account = account_of(open_dataset(dataset))
    for line in (lost_line(account), quarantine_line(account)):
        if line is not None:
            run.say(line)
    run.say(
        f"of the clips kept, {metrics['clips_copied']} are their source's own packets, "
        f"{metrics['clips_encoded']} had to be re-encoded (cut_why in the index)"
    )
    if metrics["sound"]:
        told = ", ".join(f"{what} in {count}" for what, count in metrics["sound"].items())
        run.say(f"their sound was {told} (cut_sound in the index)")
    news = (
        f"manifest {metrics['manifest']}"
        if metrics["changed"]
        else f"nothing new since manifest {metrics['manifest']}"
    )
    shards = f"{metrics['shards']} shard{'' if metrics['shards'] == 1 else 's'}"
    run.say(f"dataset {dataset}: {news}, {shards}, {format_duration(metrics['hours'] * 3600)} of clips")
    shown = "" if footage is None else f" footage={shlex.quote(footage)}"
    run.say(f"see it with: rushes report dataset={dataset}{shown}, or rushes clips dataset={dataset}")
