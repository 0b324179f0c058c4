"""Line 8: keys in the environment, in home folders and in what users type: told in no configuration, log,
table, report or request.

In: a place, whose environment and home hold secrets. Out: cases. A text stays what was typed, whatever looks
like a reference in it.
"""

import json
from pathlib import Path
from random import Random

import yaml

from benchmarks.attacks.listening import listener
from benchmarks.attacks.material import QUICK_CURATION, newest_manifest
from benchmarks.attacks.names import hostile_text
from benchmarks.attacks.place import Place
from benchmarks.attacks.registry import attack

_KEY = "AWS_SECRET_ACCESS_KEY"
_PROMPTS = (
    "${{oc.env:{0}}}", "costs ${{5}} dollars", "a \\${{b}} c", '"hello" she said', "'tis a fox",
    "ends in backslash\\", "x=1,y=2", "null", "${{prompt}}", "???",
    "choice(a,b)", "line1\nline2", 'a "quoted" word', "tab\there", "[1,2]", '\\"x', "${{env:{0}}}",
    "${{oc.decode:${{oc.env:{0}}}}}", "${{oc.env:HOME,x}}",
    "${0}", "%({0})s", "{{{{{0}}}}}", "`echo ${0}`", "$(echo ${0})", "!!python/object/apply:os.getenv [{0}]",
    "&a [*a]", "!!binary x", "true", "1e3", "~",
    "@file", "--cfg", "{{a: 1}}", "hydra.run.dir=x", "glob(*)", "range(1,9)", "sort(a)", "int(5)", "- a\n- b",
    "key: value", "# no comment", " lead and trail ", "",
    "${{hydra:runtime.cwd}}", "${{oc.select:checkpoint}}", "${{oc.create:{{}}}}", "\\\\${{oc.env:{0}}}",
    "%YAML 1.1", "\ufeffbom", "日本語 ${{oc.env:{0}}}",
)  # fmt: skip


@attack(line=8, quick=True)
def prompts_with_references(place: Place, draw: Random) -> None:
    """What is typed as a prompt stands in --cfg byte for byte."""
    prompts = [prompt.format(_KEY) for prompt in _PROMPTS]
    wild = "".join(draw.choice("${}:.\\'\"!&*%@`,[]# \nxyz") for _ in range(60)) + "${oc.env:" + _KEY + "}"
    for number, prompt in enumerate([*prompts, wild]):
        place.case(f"prompt_{number}")
        done = place.rushes("generate", "checkpoint=c", "out=o.mp4", f"prompt={prompt}", "--cfg", limit_s=30)
        place.hold(done.code == 0, f"{prompt!a}: exit code {done.code}: {done.err[-100:]!a}")
        if done.code == 0:
            shown = yaml.safe_load(done.out)["prompt"]
            place.hold(shown == prompt, f"{prompt!a} became {shown!a}")


@attack(line=8, quick=True)
def keys_that_are_typed_in(place: Place, draw: Random) -> None:
    """References in other keys than texts: numbers, lists, maps, names of experiments, sweeps."""
    secret = "${oc.env:" + _KEY + "}"
    for number, words in enumerate(
        (
            ["generate", "checkpoint=c", "out=o.mp4", "prompt=x", f"seed={secret}"],
            ["generate", f"checkpoint={secret}", "out=o.mp4", "prompt=x", "--cfg"],
            ["generate", f"checkpoint={secret}", "out=o.mp4", "prompt=x"],
            ["generate", "checkpoint=c", f"out={secret}", "prompt=x"],
            ["curate", "footage=x", "dataset=y", f"recipe.min={{a: {secret}}}"],
            ["curate", "footage=x", "dataset=y", f"+recipe.min={{{secret}: 1}}"],
            ["curate", "footage=x", "dataset=y", f"recipe.min.duration_s={secret}"],
            ["curate", f"footage={secret}", "dataset=y", "--cfg"],
            ["curate", f"footage={secret}", f"dataset={secret}"],
            ["curate", "footage=x", "dataset=y", f"ray.address={secret}"],
            ["train", "dataset=x", "out=y", f"experiment={secret}"],
            ["train", "dataset=x", "out=y", f"model.patch=[{secret}]"],
            ["generate", "-m", "checkpoint=c", "out=o.mp4", f"prompt=x,{secret}"],
            ["generate", "-m", "checkpoint=c", "out=o.mp4", "prompt=x", f"seed=1,{secret}"],
            ["requeue", "dataset=y", f"reasons=[{secret}]"],
            ["clips", "dataset=y", f"columns={secret}"],
            ["inspect", f"dataset={secret}", "--cfg"],
            ["inspect", "dataset=x", f"{secret}=1"],
            [secret],
        )
    ):
        place.case(f"words_{number}")
        place.rushes(*words, limit_s=40)


@attack(line=8, quick=True)
def keys_in_addresses(place: Place, draw: Random) -> None:
    """Addresses with a name and a password: in lists, on the command line, in what a job stores."""
    forms = {
        "https": "https://user:{}@host.invalid/x.mp4", "s3_user": "s3://AKIA:{}@bucket/x.mp4",
        "ftp": "ftp://user:{}@host.invalid/x.mp4",
        "query": "https://host.invalid/x.mp4?X-Amz-Signature={}&X-Amz-Credential=AKIA",
        "token": "https://host.invalid/x.mp4?token={}",
        "sas": "https://a.blob.core.windows.net/c/x.mp4?sv=1&sig={}",
        "ssh": "ssh://user:{}@host.invalid/x.mp4",
    }  # fmt: skip
    uris = {}
    for name, form in forms.items():
        case = place.case(f"list_{name}")
        uris[name] = form.format(place.secret(f"the key in a list's {name}", case))
    given = place.work / "given"
    given.mkdir()
    place.planted(given)
    listed = given / "list.jsonl"
    rows = [{"uri": str(place.material.film)}, *({"uri": uri, "text": "a film"} for uri in uris.values())]
    listed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    place.rushes("curate", f"footage={listed}", f"dataset={place.work}/ds", *QUICK_CURATION)
    for command in ("inspect", "report"):
        place.rushes(command, f"dataset={place.work}/ds")
    for name, form in forms.items():
        place.case(f"footage_{name}")
        uri = form.format(place.secret(f"the key in footage={name}"))
        place.rushes("curate", f"footage={uri}", f"dataset={place.work}/ds2", limit_s=60, may_ask=True)
        place.case(f"dataset_{name}")
        place.rushes("inspect", f"dataset={uri}", limit_s=60, may_ask=True)
    films = str(place.material.footage)
    for name, words in {
        "ray": ["curate", f"footage={films}", "dataset=ds3", "ray.address=ray://user:{}@127.0.0.1:1"],
        "cfg_ray": ["curate", "footage=x", "dataset=ds3", "ray.address=ray://user:{}@127.0.0.1:1", "--cfg"],
        "cfg_footage": ["curate", f"footage={forms['https']}", "dataset=ds3", "--cfg"],
        "cfg_s3": ["curate", f"footage={forms['s3_user']}", "dataset=ds3", "--cfg"],
        "submit": ["submit", "curate", "footage=x", "dataset=y", "ray.address=http://user:{}@127.0.0.1:1"],
    }.items():
        case = place.case(name)
        key = place.secret(f"the key that was typed ({name})", case)
        place.rushes(*[word.replace("{}", key) for word in words], limit_s=60)


@attack(line=8)
def keys_in_what_jobs_leave(place: Place, draw: Random) -> None:
    """Whole jobs, and jobs that fail, with keys around them: nothing that they leave behind has one."""
    dataset = place.work / "ds"
    ray = Path("/tmp/ray")
    known = set(ray.glob("session_*")) if ray.is_dir() else set()
    place.case("curate")
    place.rushes("curate", f"footage={place.material.footage}", f"dataset={dataset}", *QUICK_CURATION)
    place.case("curate_on_ray")
    place.rushes(
        "curate",
        f"footage={place.material.footage}",
        f"dataset={place.work}/ds2",
        *QUICK_CURATION,
        "ray.num_cpus=2",
    )
    for words in (
        ["inspect"],
        ["clips"],
        ["verify"],
        ["report"],
        ["select"],
        ["requeue"],
        ["clean"],
        ["export", "out=all"],
    ):
        place.case(words[0])
        place.rushes(words[0], f"dataset={dataset}", *words[1:])
    place.case("fails")
    manifest = newest_manifest(dataset)
    data = json.loads(manifest.read_text())
    for key in (*data["index"], *data["sources"]):
        (dataset / key).write_bytes(b"damaged")
    for job in ("inspect", "report", "verify", "select"):
        place.rushes(job, f"dataset={dataset}")
    place.case("no_such_bucket")
    place.rushes("inspect", "dataset=s3://bucket/ds", limit_s=60, may_ask=True)
    place.case("logs_of_ray")
    from benchmarks.attacks.judging import holders

    for session in set(ray.glob("session_*")) - known if ray.is_dir() else ():
        for path, where in holders(session, place.secrets):
            place.harm("leaked", f"{where} stands in {path}")


@attack(line=8)
def metadata_of_submitted_jobs(place: Place, draw: Random) -> None:
    """What a cluster's dashboard, which others can see, is told when a job is handed over."""
    secret = place.secret("a password in the footage's address")
    answers = {
        "GET /api/version": {"version": "4", "ray_version": "2.60.0", "ray_commit": "x", "session_name": "s"},
        "GET /api/jobs/": [],
        "POST /api/jobs/": {"submission_id": "x", "job_id": "x"},
    }
    for name, uri in {
        "environment": "s3://bucket/films",
        "typed": f"https://user:{secret}@host.invalid/x.mp4",
        "typed_s3": f"s3://AKIA:{secret}@bucket/films",
    }.items():
        place.case(name)
        with listener(answers) as (address, asked):
            place.rushes(
                "submit",
                "curate",
                f"footage={uri}",
                "dataset=s3://bucket/ds",
                f"ray.address={address}",
                limit_s=60,
            )
            posted = [request for request in asked if request.startswith((b"POST /api/jobs", b"PUT"))]
            from benchmarks.attacks.judging import told

            for request in asked:
                for where in told(request, place.secrets):
                    place.harm("leaked", f"{where} was told to the dashboard: {request.splitlines()[0]!r}")
            typed = name == "environment"
            place.hold(
                bool(posted) or not typed,
                f"no job was handed over, so nothing is known: {[r.splitlines()[0] for r in asked]}",
            )


@attack(line=8)
def texts_in_configurations(place: Place, draw: Random) -> None:
    """Texts of every kind through --cfg and back: what is shown gives the same when it is read."""
    for number in range(8):
        text = hostile_text(draw)
        place.case(f"text_{number}")
        done = place.rushes("generate", "checkpoint=c", "out=o.mp4", f"prompt={text}", "--cfg", limit_s=30)
        place.hold(done.code == 0, f"exit code {done.code}: {done.err[-100:]!a}")
        if done.code == 0:
            place.hold(yaml.safe_load(done.out)["prompt"] == text, f"{text!a} became another")
