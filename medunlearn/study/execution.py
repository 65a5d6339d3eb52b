"""Runs one notebook; trusts nothing but what the executed notebook itself says."""

import logging
from collections.abc import Mapping
from contextvars import Context
from pathlib import Path
from types import MappingProxyType
from typing import Any

import papermill
from jupyter_core.utils import ensure_event_loop
from nbformat import NotebookNode

from medunlearn.study.kernels import JobError, WarmKernels

START_TIMEOUT = 900
"""Seconds until a kernel must answer; one that dies is noticed before."""

logging.getLogger("papermill").setLevel(logging.CRITICAL + 1)  # its errors are raised as well


def execute(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, Any],
    kernels: WarmKernels,
    *,
    environment: Mapping[str, str] = MappingProxyType({}),
    stdout: Any = None,
) -> None:
    """Run a notebook; `output` appears whole by one rename, or not at all.

    ``<stem>.partial.ipynb`` beside it holds the cells done so far; after a failure it stays as
    ``<stem>.failed.ipynb``. May be called from many threads if none changes the working folder.

    Args:
        notebook: Notebook with a cell tagged ``parameters``.
        output: Where the executed notebook goes; its folder exists.
        parameters: Values for names of the parameters cell; of another name papermill only warns.
        kernels: Where the kernel comes from.
        environment: Variables for the kernel beside those of this process.
        stdout: A file that gets, besides, what the notebook prints, at once.

    Raises:
        JobError: A cell failed, or the kernel died or was closed.
    """
    partial, failed = (output.with_suffix(f".{state}.ipynb") for state in ("partial", "failed"))
    for stale in (output, failed):
        stale.unlink(missing_ok=True)
    job = {
        "input_path": str(notebook.resolve()),
        "output_path": str(partial.resolve()),
        "parameters": dict(parameters),
        "start_timeout": START_TIMEOUT,
        "iopub_timeout": 60,  # 4 s, the default, fails cells with much output under load
        "progress_bar": False,
        "stdout_file": stdout,
    }
    try:
        # In a context of its own, for that of the caller may hold another thread's event loop.
        _check_complete(Context().run(_run, job, kernels, environment))
    except BaseException:
        if partial.exists():
            partial.replace(failed)
        raise
    partial.replace(output)


def _run(
    job: Mapping[str, Any], kernels: WarmKernels, environment: Mapping[str, str]
) -> NotebookNode:
    loop = ensure_event_loop()  # jupyter_core's, which leaves it open
    try:
        with kernels.kernel(environment) as kernel:
            job = {**job, "km": kernel, "kernel_name": kernel.kernel_name}
            executed: NotebookNode = papermill.execute_notebook(**job)
            return executed
    except papermill.PapermillExecutionError as error:
        raise JobError(f"cell [{error.exec_count}]: {error.ename}: {error.evalue}") from error
    except (RuntimeError, OSError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        closed = "stopped, for the kernels were closed"
        raise JobError(closed if kernels.closed else reason) from error
    finally:
        if not loop.is_running():
            loop.close()


def _check_complete(executed: NotebookNode) -> None:
    """Refuse a notebook that papermill calls done although its kernel had died."""
    for cell in executed.cells:
        if cell.cell_type == "code" and cell.source.strip():
            # The count is set when a cell starts, the time of the reply when it has ended.
            ended = "shell.execute_reply" in cell.metadata.get("execution", {})
            failed = any(output.output_type == "error" for output in cell.outputs)
            if failed or cell.execution_count is None or not ended:
                first = cell.source.strip().splitlines()[0]
                raise JobError(f"the cell {first!r} did not run to its end")
