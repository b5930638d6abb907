"""The command line as a whole."""

import signal
import subprocess
import sys


def run(*arguments, **options):
    command = [sys.executable, "-m", "cxrlib", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


def test_every_command_is_listed_and_others_are_named():
    process = run("--help", stdout=subprocess.PIPE)
    said, _ = process.communicate()
    for name in ("check", "fit", "evaluate", "read", "card"):
        assert f"python -m cxrlib {name} " in said
    assert process.returncode == 0
    process = run("predict", stdout=subprocess.DEVNULL)
    assert "unknown command 'predict'" in process.communicate()[1] and process.returncode == 1


def test_it_is_quiet_where_nobody_reads_to_the_end():
    process = run("--help", stdout=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == -signal.SIGPIPE
