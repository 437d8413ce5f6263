import os
import subprocess
import sys

import pytest

from dmmsa_cli.threads import COUNT, SPINS, allowance, settle


def machine(root, **files):
    """A made-up /proc and /sys; names have '__' for '/'."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


UNLIMITED = {"proc__self__cgroup": "0::/\n", "sys__fs__cgroup__cpu.max": "max 100000\n"}
HALF = {"proc__self__cgroup": "0::/\n", "sys__fs__cgroup__cpu.max": "50000 100000\n"}


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, None),
        (UNLIMITED, None),
        (HALF, 0.5),
        (
            {
                "proc__self__cgroup": "0::/a.slice/b\n",
                "sys__fs__cgroup__a.slice__cpu.max": "150000 100000\n",
                "sys__fs__cgroup__a.slice__b__cpu.max": "max 100000\n",
            },
            1.5,
        ),
        (
            {
                "proc__self__cgroup": "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n",
                "sys__fs__cgroup__cpu,cpuacct__docker__x__cpu.cfs_quota_us": "200000\n",
                "sys__fs__cgroup__cpu,cpuacct__docker__x__cpu.cfs_period_us": "100000\n",
            },
            2.0,
        ),
        (
            {
                "proc__self__cgroup": "4:cpu:/\n",
                "sys__fs__cgroup__cpu__cpu.cfs_quota_us": "-1\n",
                "sys__fs__cgroup__cpu__cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
    ],
    ids=["no groups", "unlimited", "half a core", "of the group above", "version 1", "version 1, unlimited"],
)
def test_limits_of_control_groups(tmp_path, files, cores):
    assert allowance(machine(tmp_path, **files)) == cores


def test_a_limit_below_the_cores_is_the_number_of_threads(tmp_path):
    environment = {}
    settle(environment, machine(tmp_path, **HALF))
    assert environment == {"GOMP_SPINCOUNT": str(SPINS), COUNT: "1"}


def test_without_a_limit_below_the_cores_the_library_counts_them(tmp_path):
    environment = {}
    settle(environment, machine(tmp_path, **HALF | {"sys__fs__cgroup__cpu.max": "99900000 100000\n"}))
    assert environment == {"GOMP_SPINCOUNT": str(SPINS)}


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_what_the_user_says_of_waiting_stays(tmp_path, name):
    environment = {name: "given", COUNT: "7"}
    settle(environment, machine(tmp_path, **HALF))
    assert environment == {name: "given", COUNT: "7"}


@pytest.mark.parametrize("given", [{}, {"GOMP_SPINCOUNT": "7"}])
def test_it_is_settled_before_torch_is_loaded(given):
    code = (
        "import sys, os\n"
        "class Watch:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'torch': print(os.environ.get('GOMP_SPINCOUNT')); sys.exit()\n"
        "sys.meta_path.insert(0, Watch())\n"
        "import dmmsa_cli.runtime\n"
    )
    environment = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run([sys.executable, "-c", code], env=environment | given, capture_output=True, text=True)
    assert done.stdout.strip() == given.get("GOMP_SPINCOUNT", str(SPINS)), done.stderr
