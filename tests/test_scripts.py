# SPDX-License-Identifier: Apache-2.0
"""The launch scripts, with stand-ins for the programs that they call: words arrive as given."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
TRICKY = ("--workdir", "/shared/my run's $HOME", "--config.data.dirs=a,b")
STAND_IN = """\
#!/usr/bin/env bash
printf '%s\\n' "$(basename "$0")" "$@" '--' >>"$CALLS"
case $(basename "$0") in
  nvidia-smi) printf 'GPU %s\\n' 0 1 2 ;;
  srun) exit "${SRUN_CODE:-0}" ;;
  gcloud)
    # What a host would run, with its own stand-ins.
    for word in "$@"; do
      if [[ $word == --command=* ]]; then (cd "$HOST" && bash -c "${word#--command=}"); fi
    done
    ;;
esac
"""


@pytest.fixture
def run(tmp_path):
    """Runs a script; returns its exit code and the calls of the programs that it called."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("gcloud", "srun", "scontrol", "nvidia-smi", "lipjax"):
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    calls, host = tmp_path / "calls", tmp_path / "host"
    (host / "lipjax" / ".venv" / "bin").mkdir(parents=True)
    (host / "lipjax" / ".venv" / "bin" / "lipjax").symlink_to(programs / "lipjax")

    def run(script: str, *words: str, **more: str) -> tuple[int, list[list[str]], str]:
        calls.unlink(missing_ok=True)
        # A clean environment: what this machine's scheduler has set must not matter.
        env = {"PATH": f"{programs}:{os.environ['PATH']}", "CALLS": str(calls), "HOST": str(host)}
        command = ["bash", str(SCRIPTS / script), *words]
        done = subprocess.run(
            command, env=env | more, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        text = calls.read_text() if calls.exists() else ""
        found = [call.splitlines() for call in text.split("--\n") if call]
        return done.returncode, found, done.stdout + done.stderr

    return run


BROWSER = SCRIPTS / "install_browser.sh"
LAUNCHERS = sorted(set(SCRIPTS.iterdir()) - {BROWSER})


@pytest.mark.parametrize("script", LAUNCHERS, ids=lambda path: path.name)
def test_scripts_are_bash_and_say_what_they_want(run, script):
    check = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, timeout=60)
    assert check.returncode == 0 and not check.stderr
    code, calls, told = run(script.name)
    assert code == 2 and not calls and ("--config" in told or "arguments" in told or "NAME" in told)


def test_without_a_package_manager_the_browser_to_install_is_named(tmp_path):
    for name in ("bash", "id"):
        (tmp_path / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        [shutil.which("bash"), str(BROWSER)],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and "install the programs chromium and chromedriver" in done.stderr
    for name in ("chromium", "chromedriver"):
        (tmp_path / name).symlink_to(shutil.which("true"))
    again = subprocess.run([shutil.which("bash"), str(BROWSER)], env={"PATH": str(tmp_path)})
    assert again.returncode == 0


def test_multi_gpu_trains_with_one_process(run):
    code, calls, _ = run("multi_gpu.sh", *TRICKY)
    assert code == 0 and calls == [["lipjax", "train", *TRICKY]]
    code, calls, _ = run("multi_gpu.sh", *TRICKY, WINDOWS_PER_GPU="8")
    assert calls[-1] == ["lipjax", "train", *TRICKY, "--config.data.batch_size=24"]
    few = {"WINDOWS_PER_GPU": "8", "CUDA_VISIBLE_DEVICES": "1,3"}
    code, calls, _ = run("multi_gpu.sh", *TRICKY, **few)
    assert calls == [["lipjax", "train", *TRICKY, "--config.data.batch_size=16"]]


def test_slurm_starts_all_processes_and_is_queued_again_when_saved(run):
    job = {"SLURM_JOB_ID": "17", "SLURM_CPUS_PER_TASK": "4"}
    started = [
        *("srun", "--kill-on-bad-exit=0", ".venv/bin/lipjax", "train", "--distributed"),
        *TRICKY,
    ]
    assert run("slurm.sbatch", *TRICKY, **job)[:2] == (0, [started])
    code, calls, _ = run("slurm.sbatch", *TRICKY, **job, SRUN_CODE="143")
    assert (code, calls) == (143, [started, ["scontrol", "requeue", "17"]])
    code, calls, _ = run("slurm.sbatch", *TRICKY, **job, SRUN_CODE="2")
    assert (code, calls) == (2, [started])


def test_tpu_pod_runs_the_same_words_on_the_hosts(run, tmp_path):
    code, calls, told = run("tpu_pod.sh", "pod", "us-west4-a", "start", *TRICKY)
    assert code == 0, told
    pid = tmp_path / "host" / "lipjax" / "train.pid"
    deadline = 50
    while len(calls) < 2 and deadline:  # it was started in the background
        text = (tmp_path / "calls").read_text()
        calls, deadline = [call.splitlines() for call in text.split("--\n") if call], deadline - 1
        subprocess.run(["sleep", "0.1"], check=True)
    gcloud, trained = calls
    ssh = ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "pod", "--zone=us-west4-a"]
    assert gcloud[:8] == [*ssh, "--worker=all"]
    assert trained == ["lipjax", "train", "--distributed", *TRICKY]
    assert pid.read_text().strip().isdecimal()
    code, _, told = run("tpu_pod.sh", "pod", "us-west4-a", "fly")
    assert code == 2 and "setup, start, log or stop" in told
