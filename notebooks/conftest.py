"""What `pytest --nbval` does not compare: progress bars and warnings go to stderr."""

collect_ignore = ["scripts"]  # looking for doctests in them, pytest would run them


def pytest_collectstart(collector):
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr", "image/png")
