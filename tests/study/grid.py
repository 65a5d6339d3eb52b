"""The command over a grid of tiny notebooks, for faults: ``python -m tests.study.grid FOLDER ...``.

All is real but the study: options, exit codes, engine, carriers, kernels. A job makes a file.
"""

import sys
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import nbformat

from medunlearn import __main__ as command
from medunlearn.study import devices
from medunlearn.study.carriers import ThreadCarrier
from medunlearn.study.cluster import open_cluster
from medunlearn.study.design import original
from medunlearn.study.engine import run_jobs
from medunlearn.study.jobs import Job
from medunlearn.study.reproduce import Outcome
from medunlearn.study.tasks import Ending, Task

JOBS = [Job(f"02-{n}", "02", {}, (original(n),)) for n in range(5)]
CELL = """
import os, pathlib, time
made = pathlib.Path(mark)
with open(made.with_name("log"), "a") as log:
    print(made.name, os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES"), file=log)
time.sleep(x)
made.with_suffix(".partial").touch()
made.with_suffix(".partial").rename(made)
"""


def reproduce(study, *, workers, cluster, only_report, retime):
    """Make the files that are missing."""
    assert not only_report
    assert not retime
    made = study.folder / "models"
    for folder in (made, study.folder / "jobs"):
        folder.mkdir(exist_ok=True)
    version = nbformat.v4
    notebook = version.new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "P", "language": "python"},
            "language_info": {"name": "python"},
        },
        cells=[
            version.new_code_cell('x = 1\nmark = ""', metadata={"tags": ["parameters"]}),
            version.new_code_cell(CELL),
        ],
    )
    nbformat.write(notebook, study.folder / "cell.ipynb")
    left = [job for job in JOBS if not (made / job.name).exists()]

    def submit(job: Job) -> Future[Ending]:
        output = study.folder / "jobs" / f"{job.name}.ipynb"
        parameters = {"x": 0.7, "mark": str(made / job.name)}
        return carrier.submit(Task(job.name, study.folder / "cell.ipynb", output, parameters))

    if cluster:
        opened = open_cluster(
            cluster, study.folder, jobs=workers, device=study.device, libraries=()
        )
    else:
        opened = ThreadCarrier(workers or 2, libraries=())
    with opened as carrier:
        faults = run_jobs(left, submit, slots=carrier.slots, done=lambda _: True)
    (study.folder / "report").touch()
    return Outcome(study.folder / "report", faults, len(left) - len(faults))


if __name__ == "__main__":
    folder, device, *options = sys.argv[1:]
    study = SimpleNamespace(title="grid", device=device, folder=Path(folder))
    command.open_study = lambda *_, **__: study
    command.reproduce = reproduce
    devices.cuda_count = lambda: 2
    command.leave(command.main(["reproduce", "--runs", folder, *options]))
