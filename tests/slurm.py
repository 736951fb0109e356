"""A one-node Slurm with accounting, from Debian's packages, in a temporary folder: it runs as root and stops by itself.

Five daemons, all on this machine's loopback: munged (with a key of its own), mariadbd (with an empty database),
slurmdbd (submitit asks its ``sacct`` what became of a job), slurmctld and slurmd. What is needed:
``apt-get install slurmctld slurmd slurm-client slurmdbd munge mariadb-server``.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "mariadbd", "mariadb-install-db", "mariadb", "slurmdbd", "slurmctld", "slurmd", "sbatch", "sacct")

_SLURM = """
ClusterName=tiny
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={database}
AccountingStoragePass={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=sched_interval=1,batch_sched_delay=1
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus}
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
_DATABASE = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={database}
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={storage}
StorageUser=slurm
StoragePass=tiny
StorageLoc=slurm_accounting
"""


def why_not() -> str:
    """Why a Slurm cannot be started here; empty if it can."""
    missing = [program for program in PROGRAMS if _program(program) is None]
    if missing:
        packages = "slurmctld slurmd slurm-client slurmdbd munge mariadb-server"
        return f"no {', '.join(missing)} here (apt-get install {packages})"
    return "" if os.geteuid() == 0 else "Slurm's daemons are started as root here"


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _until(condition, what: str, folder: Path, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            logs = "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in folder.glob("*.log"))
            raise TimeoutError(f"{what} within {seconds:.0f} s did not happen.\n{logs}")
        time.sleep(0.3)


@contextmanager
def one_node_slurm(cpus: int = 2) -> Iterator[dict[str, str]]:
    """Start it; gives the environment variables under which Slurm's commands find it."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short, for sockets
    folder.chmod(0o755)
    daemons: list[tuple[str, subprocess.Popen]] = []
    controller, node, database, storage = _free_ports(4)
    values = {
        "folder": folder, "host": socket.gethostname().split(".")[0], "cpus": cpus,
        "controller": controller, "node": node, "database": database, "storage": storage,
    }  # fmt: skip
    for name in ("state", "spool", "sql"):
        (folder / name).mkdir()
    for name, text in (("slurm.conf", _SLURM), ("slurmdbd.conf", _DATABASE)):
        (folder / name).write_text(text.format(**values))
        (folder / name).chmod(0o600)
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    environment = {"SLURM_CONF": str(folder / "slurm.conf")}

    def start(name: str, *arguments: str) -> None:
        with (folder / f"{name}.out.log").open("w") as log:
            command = [_program(name), *arguments]
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment}, cwd=folder)
        daemons.append((name, process))

    def answers(*command: str) -> bool:
        ran = subprocess.run(
            [_program(command[0]), *command[1:]], env={**os.environ, **environment}, capture_output=True, text=True
        )
        return ran.returncode == 0 and "idle" in (ran.stdout + "idle" * (command[0] != "sinfo"))

    sql = ("--protocol=tcp", "-h127.0.0.1", f"-P{storage}", "-uslurm", "-ptiny")
    try:
        start(
            "munged", "--foreground", "--force", f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket",
            f"--pid-file={folder}/munge.pid", f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed",
        )  # fmt: skip
        (folder / "begin.sql").write_text(
            "CREATE DATABASE slurm_accounting;\nCREATE USER slurm@localhost IDENTIFIED BY 'tiny';\n"
            "GRANT ALL ON *.* TO slurm@localhost;\n"  # a statement a line
        )
        subprocess.run(
            [_program("mariadb-install-db"), "--no-defaults", f"--datadir={folder}/sql", "--user=root",
             "--skip-test-db", "--auth-root-authentication-method=normal"],
            check=True, capture_output=True,
        )  # fmt: skip
        start(
            "mariadbd", "--no-defaults", f"--datadir={folder}/sql", "--user=root", f"--socket={folder}/sql.socket",
            f"--port={storage}", "--bind-address=127.0.0.1", f"--init-file={folder}/begin.sql",
            "--innodb-buffer-pool-size=64M",
        )  # fmt: skip
        _until(lambda: (folder / "munge.socket").exists(), "an answer of munged", folder)
        _until(lambda: answers("mariadb", *sql, "-e", "SELECT 1"), "an answer of mariadbd", folder)
        start("slurmdbd", "-D")
        _until(lambda: answers("sacctmgr", "-i", "show", "cluster"), "an answer of slurmdbd", folder)
        start("slurmctld", "-D", "-c")
        start("slurmd", "-D", "-N", values["host"])
        _until(lambda: answers("sinfo", "-h", "-o", "%T"), "an idle node", folder)
        yield environment
    finally:
        for _, process in reversed(daemons):
            process.terminate()
        for _, process in reversed(daemons):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)
