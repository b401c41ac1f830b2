"""The tables of reverts fit the code: a text that is gone would revert nothing."""

from collections import Counter

import pytest

from tests.reverts.reverts import ROOT, all_reverts


@pytest.mark.parametrize("revert", all_reverts(), ids=lambda revert: revert.name)
def test_what_is_reverted_is_in_the_code_once(revert):
    text = (ROOT / revert.file).read_text()

    assert text.count(revert.old) == 1
    assert revert.old != revert.new
    compile(text.replace(revert.old, revert.new), revert.file, "exec")
    assert all((ROOT / path.partition("::")[0]).exists() for path in revert.tests)


def test_each_revert_has_a_name_of_its_own():
    assert [name for name, count in Counter(revert.name for revert in all_reverts()).items() if count > 1] == []
