"""Kernels: Ctrl-C ends them with one sentence, an idle one ends without a word, and one that dies says why."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from fairlib.book import kernels

# A chapter of a few cells in place of the real one; what it writes to the file says that its cell is running.
CHAPTER = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A chapter

# %% tags=["parameters"]
speakers, planted, seed, force = 30, 0.0, 0, False

# %% [markdown]
# ## What takes long

# %%
"""
FAIRLIB = """\
import sys
from pathlib import Path
from fairlib import cli
from fairlib.book import chapters, run_keys, runs
chapters.NOTEBOOKS, runs.RUNS = Path(sys.argv[1]), Path(sys.argv[2])
run_keys._library_files = lambda: {}
sys.exit(cli.main(sys.argv[3:]))
"""
PROMISED = "fairlib: stopped; what was computed so far is kept.\n"


@pytest.fixture
def chapter(tmp_path):
    """Starts ``fairlib run measuring-bias`` in a process of its own, with a cell of one's own in the notebook."""
    started = []

    def start(cell: str) -> subprocess.Popen:
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        (tmp_path / "notebooks" / "04_measuring_bias.py").write_text(CHAPTER + cell)
        command = [sys.executable, "-c", FAIRLIB, str(tmp_path / "notebooks"), str(tmp_path / "runs")]
        process = subprocess.Popen(
            [*command, "run", "measuring-bias"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(file: Path, seconds: float = 60) -> str:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if file.exists() and file.read_text():
            return file.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{file.name} never came")


def gone(pid: int, seconds: float = 10) -> bool:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.05)
    return False


LONG = """\
import os, time
from pathlib import Path
Path({file!r}).write_text(str(os.getpid()))
{stubborn}
time.sleep(120)
"""


@pytest.mark.parametrize("stubborn", ["", "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"])
def test_ctrl_c_in_a_cell_ends_the_kernel_with_one_sentence(chapter, tmp_path, stubborn):
    file = tmp_path / "running"
    process = chapter(LONG.format(file=str(file), stubborn=stubborn))
    pid = int(wait_for(file))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    told = re.sub(r"(?m)^measuring-bias, .*: \d+ s\n", "", err)  # the stages before
    assert (process.returncode, out, told) == (130, "", PROMISED)
    assert gone(pid)
    [stopped] = (tmp_path / "runs").glob("measuring-bias__*/*.ipynb")
    assert stopped.name == "stopped.ipynb" and "papermill" not in nbformat.read(stopped, 4).metadata


def test_ctrl_c_while_the_kernel_starts(chapter, tmp_path):
    process = chapter("print('never')\n")
    while process.poll() is None and not kernels_of(process.pid):
        time.sleep(0.02)
    [kernel] = kernels_of(process.pid)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", PROMISED) and gone(kernel)


def kernels_of(pid: int) -> list[int]:
    import psutil

    found = []
    with contextlib.suppress(psutil.Error):  # another child of its that has just ended
        found = [
            child.pid for child in psutil.Process(pid).children() if "ipykernel_launcher" in " ".join(child.cmdline())
        ]
    return found


def test_ctrl_c_before_anything_is_imported():
    code = (
        "import sys\nfrom fairlib.__main__ import main\n"
        "class Stop:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'fairlib.cli': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stop())\n"
        "sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, PROMISED)


def test_a_cell_that_ends_all_the_same_is_the_last(chapter, tmp_path):
    file = tmp_path / "running"
    cell = LONG.format(file=str(file), stubborn="").replace("time.sleep(120)", "")
    cell += "try:\n    time.sleep(120)\nexcept KeyboardInterrupt:\n    pass\n\n# %%\n"
    cell += f"from pathlib import Path\nPath({str(tmp_path / 'next')!r}).write_text('ran')\n"
    process = chapter(cell)
    wait_for(file)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and err.endswith(PROMISED) and not (tmp_path / "next").exists()


def execute(tmp_path, source: str) -> nbformat.NotebookNode:
    cells = [nbformat.v4.new_code_cell(one) for one in source.split("\n\n")]
    spec = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=spec)
    return kernels.execute_in_kernel(notebook, tmp_path / "out.ipynb", {}, tmp_path, "a chapter")


def test_a_kernel_that_has_answered_is_not_interrupted_at_its_end(tmp_path, capfd):
    """Slow to go back to its loop after the last answer, as on a machine that is busy, it would print an error."""
    slow = """import time
handlers = get_ipython().kernel.shell_handlers
answer = handlers["kernel_info_request"]
async def slowly(*message):
    await answer(*message)
    time.sleep(1)
handlers["kernel_info_request"] = slowly"""
    execute(tmp_path, slow)
    assert "KeyboardInterrupt" not in capfd.readouterr().err


def test_a_kernel_that_cannot_start_says_why_in_one_sentence(tmp_path, monkeypatch, capfd):
    (tmp_path / "ipykernel_launcher.py").write_text("raise ImportError('no module named this')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(kernels.KernelError, match="not start, 3 times; it said last: ImportError: no module") as said:
        execute(tmp_path, "1")
    assert "\n" not in str(said.value) and capfd.readouterr().err == ""


def test_a_kernel_that_dies_says_so(tmp_path):
    with pytest.raises(kernels.KernelError, match="its kernel died"):
        execute(tmp_path, "import os; os._exit(3)")


@pytest.mark.parametrize("everyone", [True, False])
def test_ctrl_c_ends_all_workers_of_a_grid(tmp_path, everyone):
    """A terminal tells every process, a signal by hand the first alone."""
    environment = os.environ | {"FAIRLIB_RUNS": str(tmp_path / "runs")}
    command = [sys.executable, "-m", "fairlib", "run", "measuring-bias", "--seed", "1,2,3", "--workers", "2"]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # What a shell starts in the background ignores Ctrl-C, and so would all that the tests start there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    ends = time.monotonic() + 60
    while not list(tmp_path.glob("runs/measuring-bias__*")) and time.monotonic() < ends:
        time.sleep(0.05)
    (os.killpg if everyone else os.kill)(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "") and err.endswith(PROMISED) and "Traceback" not in err
    assert not list(tmp_path.glob("runs/*/provenance.json"))
