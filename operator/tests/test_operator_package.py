import operator
from pathlib import Path


def test_the_standard_librarys_operator_is_not_shadowed_by_our_folder() -> None:
    assert operator.itemgetter(1)("ab") == "b"
    assert Path(__file__).parents[1] not in Path(operator.__file__).parents
