"""How many processes `-n auto` takes: one more than the processor has cores, because tests also wait, or none for what
somebody looks at closely.

A file or a test that is named runs in the process that was started, which is quicker for a few tests, shows their
output as they write it (`-s`), and lets a debugger in.
"""

import os
from pathlib import Path

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    if config.option.capture == "no" or not all(_is_folder(config, argument) for argument in config.args):
        return 0
    return len(os.sched_getaffinity(0)) + 1


def _is_folder(config: pytest.Config, argument: str) -> bool:
    return Path(config.invocation_params.dir, argument).is_dir()
