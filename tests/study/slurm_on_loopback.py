"""A real Slurm of two nodes, of one core each, on this machine's loopback: without cgroups."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.study.conftest import until

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
CONFIGURATION = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
KillWait=5
SchedulerParameters=batch_sched_delay=0,sched_interval=2
SlurmdParameters=config_overrides
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=4000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=4000
PartitionName=batch Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why no Slurm can be brought up here; nothing if it can."""
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        return f"{', '.join(missing)} missing: apt-get install slurmctld slurmd slurm-client munge"
    return "" if os.geteuid() == 0 else "Slurm's daemons are to be started by root"


class Slurm:
    """Its daemons, and what a user and an administrator say to it.

    Args:
        folder: For its state and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.configuration = folder, folder / "slurm.conf"
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            ports = [each.getsockname()[1] for each in sockets]
        host = socket.gethostname().partition(".")[0]
        text = CONFIGURATION.format(host=host, ports=ports, folder=folder)
        self.configuration.write_text(text)
        self.environment = {**os.environ, "SLURM_CONF": str(self.configuration)}
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str) -> None:
        """Start a daemon in the foreground; its log lies in the folder."""
        with (self.folder / f"{name}.log").open("a") as log:
            self.daemons[name] = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def stop(self, name: str) -> None:
        """Stop a daemon."""
        daemon = self.daemons.pop(name)
        daemon.terminate()
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def start_controller(self) -> None:
        """Start it for the first time or again: it reads its state."""
        self.start("slurmctld", "slurmctld", "-D", "-f", str(self.configuration))

    def say(self, *command: str) -> list[str]:
        """Run one of Slurm's commands; the lines of its output, once the controller answers."""
        for _ in range(60):
            said = subprocess.run(command, env=self.environment, capture_output=True, text=True)
            if said.returncode == 0:
                break
            time.sleep(0.5)
        assert said.returncode == 0, said.stderr
        return said.stdout.split("\n")[:-1]

    def jobs(self, *options: str) -> list[str]:
        """Ids of the jobs that wait, run or come to their end; the oldest first."""
        return sorted(self.say("squeue", "--noheader", "--format=%i", *options), key=int)


@contextmanager
def slurm_on_loopback(folder: Path) -> Iterator[Slurm]:
    """Bring up a Slurm, and take it down.

    Args:
        folder: For its state and logs.
    """
    slurm, key = Slurm(folder), folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    munge = {"socket": "munge", "key-file": key, "log-file": "m.log", "pid-file": "m.pid"}
    given = [
        f"--{name}={folder / path}" for name, path in (munge | {"seed-file": "m.seed"}).items()
    ]
    try:
        slurm.start("munged", "munged", "--foreground", "--force", *given)
        until((folder / "munge").exists)
        slurm.start_controller()
        for node in ("n1", "n2"):
            (folder / node).mkdir()
            slurm.start(node, "slurmd", "-D", "-N", node, "-f", str(slurm.configuration))
        until(lambda: slurm.say("sinfo", "--noheader", "--format=%T") == ["idle"])
        yield slurm
    finally:
        if {"slurmctld", "n1", "n2"} <= slurm.daemons.keys():
            subprocess.run(["scancel", "--user=root"], env=slurm.environment)
            until(lambda: not slurm.jobs())
        for name in reversed(list(slurm.daemons)):
            slurm.stop(name)
