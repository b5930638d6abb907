"""What `pytest --nbval` does not compare: progress bars and warnings go to stderr."""

collect_ignore = ["scripts", "conftest.py"]  # doctests are looked for by running what is here


def pytest_collectstart(collector):
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr", "image/png")
