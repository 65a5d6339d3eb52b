"""The command over a grid of tiny notebooks, for faults: ``python -m tests.study.grid FOLDER ...``.

All is real but the study: options, exit codes, engine, workers, kernels. A job makes a file.
"""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

from medunlearn import __main__ as command
from medunlearn.study import devices, engine
from medunlearn.study.design import Job, original
from tests.study.conftest import write_notebook

JOBS = [Job(f"02-{n}", "cell", {"mark": f"02-{n}"}, (original(n),)) for n in range(5)]
CELL = """
import os, pathlib, time
made = pathlib.Path(runs, "models", mark)
with open(made.with_name("log"), "a") as log:
    print(made.name, os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES"), file=log)
print("waiting for cpu: a test does\\nwaiting for cpu: a test does")
time.sleep(0.7)
made.with_suffix(".partial").touch()
made.with_suffix(".partial").rename(made)
"""


def reproduce(study, *, workers, cluster, only_report, retime, write):
    """Make the files that are missing."""
    assert not only_report
    assert not retime
    made = study.folder / "models"
    made.mkdir(exist_ok=True)
    store = SimpleNamespace(folder=made, is_done=lambda spec: (made / f"02-{spec.seed}").exists())
    left = [job for job in JOBS if not store.is_done(job.models[0])]
    from medunlearn.study.cluster import open_engine

    with open_engine(study, store, jobs=workers, cluster=cluster, write=write) as opened:
        return opened.run(left)


if __name__ == "__main__":
    folder, device, *options = sys.argv[1:]
    study = SimpleNamespace(title="grid", device=device, folder=Path(folder), data_root="")
    (study.folder / "notebooks").mkdir(parents=True, exist_ok=True)
    write_notebook(study.folder / "notebooks" / "cell.ipynb", 'runs = ""\nmark = ""', CELL)
    command.open_study = lambda *_, **__: study
    command.reproduce = reproduce
    devices.cuda_count = lambda: 2
    engine.PROJECT = study.folder
    engine.study_parameters = lambda study: {"runs": str(study.folder)}
    worker = importlib.import_module("medunlearn.study.worker")
    worker.LIBRARIES, worker.cuda_count = (), devices.cuda_count
    command.leave(command.main(["reproduce", "--runs", folder, *options]))
