import os
import subprocess
import sys
import zipfile
from pathlib import Path

from cxrlib import places

ROOT = Path(__file__).resolve().parent.parent


def test_in_the_checkout_everything_lies_in_it():
    assert places.HOME == ROOT
    assert (places.CONFIGS / "paper.yaml").is_file()


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXR_CACHE", "here")
    assert places.cache() == tmp_path / "here", "absolute, whatever folder one goes to later"


def test_installed_as_a_wheel_it_works_outside_the_repository(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    copy = tmp_path / "source"
    copied = ("cxrlib", "configs", "hierarchies", "pyproject.toml", "README.md", "LICENSE")
    copy.mkdir()
    subprocess.run(["cp", "-r", *(str(ROOT / name) for name in copied), str(copy)], check=True)
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(copy)], check=True)
    (wheel,) = tmp_path.glob("cxrlib-*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    script = (
        "import cxrlib.places as p; from cxrlib.configs import read_config;"
        "from cxrlib.hierarchy import read_hierarchy;"
        "print(p.__file__, p.RUNS, read_config('paper').settings.preset)\n"
        "print(len(read_hierarchy('padchest').labels))"
    )
    work = tmp_path / "work é"
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=work,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "site") in done.stdout
    assert f"{work}/runs densenet121\n194" in done.stdout
