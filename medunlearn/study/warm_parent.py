"""What the fork server imports first, so that kernels can be forked from it; see ``kernels.py``.

Nobody else imports it: it changes the process that does.
"""

import gc
import os
import signal
from pathlib import Path

KERNEL = {
    # One and two threads give different bytes, and two kernels with one thread each train more.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Matplotlib reads it when imported, here long before a kernel could choose the backend.
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
IMPORTS = {
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # pyarrow's allocator would start a thread
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # looking for a GPU must not open it
}


class Fork:
    """Whether the latest fork gave a sound child: neither threads nor an open GPU survive it."""

    is_sound = False


def look() -> None:
    """Look at this process before it forks; elsewhere than on Linux no fork is trusted."""
    gc.freeze()  # a collection in a kernel would otherwise copy the pages it shares
    with_gpu = {"/dev/nvidia-uvm", "/dev/kfd"}  # asking which GPUs there are opens neither
    if (process := Path("/proc/self")).exists():
        opened = {os.path.realpath(entry) for entry in (process / "fd").iterdir()}
        threads = list((process / "task").iterdir())
        Fork.is_sound = len(threads) == 1 and not opened & with_gpu


os.environ.update(KERNEL | IMPORTS)
signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupt ends the imports without a traceback
os.register_at_fork(before=look)
