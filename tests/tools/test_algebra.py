"""The laws of the algebra, for any toolsets: `|`, only, without, where, prefixed, renamed, described, approving."""

import copy

import attrs
import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_core import Tool, ToolCollisionError, Toolset, resource, tool

laws = hypothesis.settings(derandomize=True, deadline=None, max_examples=30)


@resource(scope="session")
def folder(root: str):
    yield root


def make(name: str, effects: str) -> Tool:
    def f(x: int) -> str:
        """Do."""

    return tool(name=name, description=f"Do {name}.", effects=effects)(f)


NAMES = ("a", "b", "c", "d", "e-f", "g1", "0h")
TOOLS = tuple(make(name, effects) for name, effects in zip(NAMES, ("read", "write") * 4, strict=False))
# Toolsets whose tools all have different names: parts of them can always be composed.
SETS = (
    Toolset("one", TOOLS[:2], instructions="Use {a} before {b}.\nBe careful."),
    Toolset("two", TOOLS[2:4], instructions="Use {d} rarely.", resource=folder("two")),
    Toolset("three", TOOLS[4:6], instructions="Be careful."),
    Toolset("four", TOOLS[6:], resource=folder("four")),
    Toolset("none"),
)

subsets = st.sets(st.sampled_from(NAMES)).map(frozenset)
prefixes = st.sampled_from(("", "x_", "y-", "9"))
instructions = st.sampled_from(("", "Say {{please}}.", "Be careful."))


@st.composite
def toolsets(draw: st.DrawFn) -> Toolset:
    """Any composition of the parts; two of them never collide."""
    joined = SETS[-1]
    kept = draw(subsets)
    for part in draw(st.permutations(SETS)):
        joined |= part.where(lambda made: made.name in kept)
    return joined.approving(*(draw(subsets) & kept))


@st.composite
def apart(draw: st.DrawFn) -> tuple[Toolset, Toolset, Toolset]:
    """Three toolsets that may overlap in equal tools and collide in none."""
    whole = draw(toolsets())
    return tuple(whole.only(*(draw(subsets) & frozenset(whole.names))) for _ in range(3))


def content(toolset: Toolset) -> tuple:
    """All of a toolset that anything can depend on."""
    return (
        toolset, hash(toolset), toolset.members, toolset.names, toolset.definitions, toolset.instructions,
        toolset.fingerprint, toolset.effects, tuple(toolset), len(toolset), repr(toolset),
    )  # fmt: skip


@laws
@given(apart())
def test_union_is_associative(three):
    a, b, c = three
    assert content((a | b) | c) == content(a | (b | c))


@laws
@given(apart())
def test_union_is_commutative(three):
    a, b, _ = three
    assert content(a | b) == content(b | a)


@laws
@given(toolsets())
def test_union_is_idempotent_and_has_a_neutral_element(a):
    assert content(a | a) == content(a)
    assert content(a | Toolset("empty")) == content(a)


@laws
@given(apart())
def test_union_holds_the_tools_of_both_and_no_others(three):
    a, b, _ = three
    assert set((a | b).members) == set(a.members) | set(b.members)


@laws
@given(toolsets(), subsets)
def test_only_and_without_are_complements(whole, names):
    names &= frozenset(whole.names)
    only, without = whole.only(*names), whole.without(*names)

    assert set(only.names) == names
    assert set(without.names) == set(whole.names) - names
    assert content(only | without) == content(whole)
    assert content(whole.only(*whole.names)) == content(whole.without()) == content(whole)


@laws
@given(toolsets())
def test_where_and_where_not_are_complements(whole):
    reads = whole.where(lambda made: made.effects <= {"read"})
    rest = whole.where(lambda made: not made.effects <= {"read"})

    assert reads.effects <= {"read"}
    assert content(reads) == content(whole.only(*reads.names))
    assert content(reads | rest) == content(whole)
    assert content(whole.where(lambda _: True)) == content(whole)


@laws
@given(apart(), prefixes)
def test_prefixed_distributes_over_union(three, prefix):
    a, b, _ = three
    assert content((a | b).prefixed(prefix)) == content(a.prefixed(prefix) | b.prefixed(prefix))


@laws
@given(toolsets(), prefixes, prefixes)
def test_prefixes_add_up(whole, inner, outer):
    assert content(whole.prefixed(inner).prefixed(outer)) == content(whole.prefixed(outer + inner))
    assert content(whole.prefixed("")) == content(whole)
    assert whole.prefixed(outer).names == tuple(sorted(outer + name for name in whole.names))


@laws
@given(toolsets(), subsets, prefixes)
def test_prefixed_and_only_change_places(whole, names, prefix):
    names &= frozenset(whole.names)
    kept = [prefix + name for name in names]

    assert content(whole.only(*names).prefixed(prefix)) == content(whole.prefixed(prefix).only(*kept))


@laws
@given(toolsets(), st.permutations(NAMES))
def test_renamed_keeps_everything_but_the_name_and_can_be_undone(whole, order):
    new_by_old = {old: f"{new}_" for old, new in zip(NAMES, order, strict=True) if old in whole.names}
    old_by_new = {new: old for old, new in new_by_old.items()}
    renamed = whole.renamed(**new_by_old)

    for made in renamed:
        before = whole[old_by_new[made.name]]
        assert made.handler is before.handler
        assert attrs.evolve(made, name=before.name) == before
    assert content(renamed.renamed(**old_by_new)) == content(whole)


@laws
@given(toolsets(), st.permutations(NAMES))
def test_names_may_be_exchanged(whole, order):
    exchanged = dict(zip(NAMES, order, strict=True))
    names = frozenset(whole.names)
    new_by_old = {old: new for old, new in exchanged.items() if old in names}
    if frozenset(new_by_old.values()) != names:
        return

    renamed = whole.renamed(**new_by_old)

    assert renamed.names == whole.names
    assert all(renamed[new].handler is whole[old].handler for old, new in new_by_old.items())


@laws
@given(toolsets(), subsets)
def test_described_changes_the_description_only(whole, names):
    texts = {name: f"New {name}." for name in names & frozenset(whole.names)}
    described = whole.described(**texts)

    for before, after in zip(whole, described, strict=True):
        assert after == attrs.evolve(before, description=texts.get(before.name, before.description))
    assert content(described.described(**{made.name: made.description for made in whole})) == content(whole)


@laws
@given(toolsets(), subsets)
def test_approving_asks_for_what_it_names_and_shows_a_model_nothing(whole, names):
    names &= frozenset(whole.names)
    approving = whole.approving(*names)

    for before, after in zip(whole, approving, strict=True):
        assert after.approval is (True if before.name in names else before.approval)
    assert approving.fingerprint == whole.fingerprint
    assert content(approving.approving(*names)) == content(approving)


@laws
@given(toolsets(), instructions)
def test_further_instructions_are_sent_once_and_leave_the_tools_alone(whole, text):
    instructed = whole.with_instructions(text)

    assert instructed.tools == whole.tools
    assert content(instructed.with_instructions(text)) == content(instructed)
    assert content(instructed | instructed) == content(instructed)
    if whole.names and text:
        said = text.replace("{{", "{").replace("}}", "}")
        assert instructed.instructions.split("\n\n").count(said) == 1


# Values.


@laws
@given(apart(), st.data())
def test_no_operation_changes_its_operands(three, data):
    a, b, _ = three
    before = content(a), content(b)
    names = data.draw(subsets) & frozenset(a.names)

    for operation in (
        lambda: a | b,
        lambda: a.only(*names),
        lambda: a.without(*names),
        lambda: a.where(lambda made: made.name in names),
        lambda: a.prefixed("p_"),
        lambda: a.renamed(**{name: f"{name}_" for name in names}),
        lambda: a.described(**dict.fromkeys(names, "New.")),
        lambda: a.approving(*names),
        lambda: a.with_instructions("More."),
    ):
        operation()
        assert (content(a), content(b)) == before


@laws
@given(toolsets())
def test_equal_content_is_an_equal_value(whole):
    """However it was put together: here tool by tool, and through every operator and back."""
    there = whole.renamed(**{name: f"{name}_" for name in whole.names})
    there_and_back = there.renamed(**{f"{name}_": name for name in whole.names})
    rebuilt = Toolset("nothing")
    for name in reversed(whole.names):
        rebuilt |= there_and_back.only(name).where(lambda _: True).without()

    assert content(rebuilt) == content(whole)
    assert len({rebuilt, whole, copy.copy(whole)}) == 1


@laws
@given(toolsets(), toolsets())
def test_equal_values_are_told_equally_and_different_tellings_are_different_values(a, b):
    if a == b:
        assert content(a) == content(b)
    told = (a.definitions, a.instructions) == (b.definitions, b.instructions)
    assert (a.fingerprint == b.fingerprint) is told


@laws
@given(toolsets())
def test_everything_is_sorted_by_name(whole):
    assert list(whole.names) == sorted(whole.names)
    assert [member.name for member in whole.members] == list(whole.names)
    assert [definition.name for definition in whole.definitions] == list(whole.names)
    for made in whole:
        assert whole[made.name] is made
        assert made.name in whole


@laws
@given(toolsets(), toolsets())
def test_two_tools_of_one_name_collide_unless_they_are_equal(a, b):
    other = b.described(**dict.fromkeys(b.names, "Another."))
    common = sorted(frozenset(a.names) & frozenset(other.names))

    if not common:
        assert set((a | other).names) == set(a.names) | set(b.names)
        return
    with pytest.raises(ToolCollisionError) as raised:
        a | other
    assert f"tool {common[0]!r} comes from both" in str(raised.value)
    assert set((a | other.prefixed("other_")).names) == set(a.names) | {f"other_{name}" for name in b.names}
    assert set((a | other.without(*common)).names) == set(a.names) | set(b.names)
