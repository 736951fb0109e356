"""What a cluster is given: the Slurm script stops, goes on and fails as it should; the image is built from the lock."""

import os
import re
import shutil
import signal
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from slurm import one_node_slurm, why_not

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "cluster" / "full-size.sbatch"

# Takes long the first time, ends at once the second; says what it was asked for.
STAND_IN = """#!/usr/bin/env bash
echo "asked for $*" >> "$LOG"
if [ -e "$LOG.begun" ]; then echo "went on" >> "$LOG"; exit "${STATUS:-0}"; fi
touch "$LOG.begun"
for _ in $(seq 300); do sleep 0.1; done
"""


@pytest.fixture
def environment(tmp_path):
    """Stand-ins for fairlib and for Slurm's scontrol, and the variables that the script looks at."""
    programs = {"fairlib": STAND_IN, "scontrol": '#!/usr/bin/env bash\necho "scontrol $*" >> "$LOG"\n'}
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("FAIRLIB", "SLURM"))},
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "FAIRLIB": str(tmp_path / "fairlib"),
        "FAIRLIB_DATA": str(tmp_path),
        "LOG": str(tmp_path / "log"),
        "SLURM_JOB_ID": "7",
    }


def log(environment) -> list[str]:
    path = Path(environment["LOG"])
    return path.read_text().splitlines() if path.exists() else []


def start(environment, *arguments) -> subprocess.Popen:
    process = subprocess.Popen(["bash", SCRIPT, *arguments], env=environment, stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + 20
    while not Path(environment["LOG"] + ".begun").exists() and time.monotonic() < end:
        time.sleep(0.05)
    return process


def test_out_of_time_it_ends_its_child_and_is_queued_again(environment):
    process = start(environment)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(10) == 0
    assert log(environment) == ["asked for reproduce full-size", "scontrol requeue 7"]
    assert subprocess.run(["bash", SCRIPT], env=environment | {"SLURM_RESTART_COUNT": "1"}).returncode == 0
    assert log(environment)[2:] == ["asked for reproduce full-size", "went on"]


def test_preempted_it_ends_and_leaves_the_queue_to_slurm(environment):
    process = start(environment, "preregistered")
    process.terminate()
    assert process.wait(10) == 128 + signal.SIGTERM
    assert log(environment) == ["asked for preregistered"]


def test_what_fails_is_not_queued_again_nor_what_was_restarted_too_often(environment):
    Path(environment["LOG"] + ".begun").touch()
    assert subprocess.run(["bash", SCRIPT], env=environment | {"STATUS": "3"}).returncode == 3
    assert log(environment)[1:] == ["went on"]
    Path(environment["LOG"] + ".begun").unlink()
    process = start(environment | {"SLURM_RESTART_COUNT": "50"})
    process.send_signal(signal.SIGUSR1)
    assert process.wait(10) == 1 and not any("requeue" in line for line in log(environment))


def test_without_a_folder_of_corpora_it_says_so(environment):
    del environment["FAIRLIB_DATA"]
    said = subprocess.run(["bash", SCRIPT], env=environment, capture_output=True, text=True)
    assert said.returncode and "FAIRLIB_DATA: name the folder of corpora" in said.stderr


def test_an_image_is_run_with_the_gpu_and_its_storage(environment, tmp_path):
    (tmp_path / "apptainer").write_text('#!/usr/bin/env bash\necho "apptainer $*" >> "$LOG"\n')
    (tmp_path / "apptainer").chmod(0o755)
    asked = environment | {"FAIRLIB_IMAGE": "f.sif", "FAIRLIB_STORAGE": "/scratch"}
    assert subprocess.run(["bash", SCRIPT, "preregistered"], env=asked).returncode == 0
    assert log(environment) == ["apptainer exec --nv --bind /scratch:/storage f.sif fairlib preregistered"]


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck here (apt-get install shellcheck)")
def test_the_script_passes_shellcheck():
    said = subprocess.run(["shellcheck", SCRIPT], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout


def test_the_image_is_built_from_the_lock_and_from_what_is_there():
    """It is not built here, where there is no builder; the workflow does that."""
    text = (ROOT / "Dockerfile").read_text()
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert re.search(r"^FROM python:\$\{PYTHON\}-slim$", text, re.MULTILINE) and "-c constraints.txt -e" in text
    version = re.search(r"^ARG PYTHON=(\S+)$", text, re.MULTILINE)[1]
    assert SpecifierSet(about["requires-python"]).contains(version)
    extras = re.search(r"^ARG EXTRAS=(\S+)$", text, re.MULTILINE)[1].split(",")
    assert set(extras) <= set(about["optional-dependencies"])
    ignored = (ROOT / ".dockerignore").read_text().split()
    for needed in ("constraints.txt", "pyproject.toml", "README.md", "LICENSE", "fairlib", "notebooks", "book"):
        assert (ROOT / needed).exists() and needed not in ignored
    for name in re.findall(r"FAIRLIB_[A-Z]+(?==)", text):
        used = [path for path in (ROOT / "fairlib").rglob("*.py") if f'"{name}"' in path.read_text(encoding="utf-8")]
        assert used, f"{name} is set in the image, and nothing reads it"
    assert "docker build" in (ROOT / ".github/workflows/book.yml").read_text()


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "Slurm is here")
def test_on_a_real_slurm_the_job_is_queued_again_and_goes_on(environment, tmp_path):
    with one_node_slurm(cpus=2) as slurm:
        (tmp_path / "scontrol").unlink()  # Slurm's own
        everything = environment | slurm
        del everything["SLURM_JOB_ID"]
        # This node has no GPU, and little memory that Slurm knows of.
        text = re.sub(r"^#SBATCH --(gpus|mem|cpus-per-task).*\n", "", SCRIPT.read_text(), flags=re.MULTILINE)
        (tmp_path / "job.sbatch").write_text(text)
        submit = ["sbatch", "--parsable", f"--chdir={tmp_path}", tmp_path / "job.sbatch"]

        def run(*command) -> str:
            return subprocess.run(command, env=everything, capture_output=True, text=True, check=True).stdout.strip()

        def until(condition, seconds=120):
            end = time.monotonic() + seconds
            while not condition():
                assert time.monotonic() < end, (log(environment), run("scontrol", "show", "jobs"))
                time.sleep(0.5)

        job = run(*submit)
        until(lambda: Path(environment["LOG"] + ".begun").exists())
        run("scancel", "--batch", "--signal=USR1", job)
        until(lambda: "went on" in log(environment), 240)
        until(lambda: "COMPLETED" in run("scontrol", "show", "job", job))
        assert log(environment) == ["asked for reproduce full-size", "asked for reproduce full-size", "went on"]
        assert "Restarts=1" in run("scontrol", "show", "job", job)
