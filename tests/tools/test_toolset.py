"""Toolset: what it is made of, what a model is told of it, and the errors that say how to go on."""

import attrs
import msgspec
import pytest

from gaia_core import Context, Tool, ToolCollisionError, Toolset, ToolsetError, resource, tool


@resource(scope="session")
def folder(root: str):
    yield root


@tool(effects="read")
def read_file(ctx: Context, path: str) -> str:
    """Read a file."""
    return f"{ctx.resource}/{path}"


@tool(effects="read")
def list_files() -> str:
    """List."""
    return ""


@tool(effects="write")
def write_file(path: str, text: str) -> str:
    """Write a file."""
    return ""


TEXT = """
Look with {list_files} before you use {read_file}.
Use {write_file} only when asked.
Paths look like {{this}}.
"""


def files(root: str = "here") -> Toolset:
    return Toolset("files", (read_file, list_files, write_file), instructions=TEXT, resource=folder(root))


def test_a_toolset_is_a_frozen_collection_sorted_by_name():
    toolset = files()

    assert toolset.names == ("list_files", "read_file", "write_file")
    assert list(toolset) == [list_files, read_file, write_file] == list(toolset.tools)
    assert len(toolset) == 3
    assert "read_file" in toolset
    assert "read" not in toolset
    assert toolset["read_file"] is read_file
    assert toolset.effects == {"read", "write"}
    assert repr(toolset) == "<Toolset list_files, read_file, write_file>"
    assert repr(Toolset("empty")) == "<Toolset of no tools>"
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        toolset.members = ()
    with pytest.raises(KeyError):
        toolset["read"]


def test_a_tool_is_found_with_what_binds_it():
    bound = files("there").get("read_file")

    assert (bound.name, bound.tool, bound.origin) == ("read_file", read_file, "files")
    assert bound.resource == folder("there")
    assert files().get("read") is None
    assert files().get("zzz") is None
    assert Toolset("empty").get("read") is None


def test_the_order_of_tools_does_not_show():
    one = Toolset("t", (read_file, list_files))
    two = Toolset("t", (tool_ for tool_ in (list_files, read_file)))

    assert one == two
    assert hash(one) == hash(two)
    assert one.fingerprint == two.fingerprint


def test_definitions_are_encoded_once_as_they_are_sent():
    toolset = files()
    definition = toolset.definitions[1]

    assert toolset.definitions is toolset.definitions
    assert definition is read_file.definition
    assert msgspec.json.decode(definition.encoded) == {
        "type": "function",
        "function": {
            "name": "read_file",
            "description": "Read a file.",
            "parameters": {
                "type": "object",
                "properties": {"path": {"type": "string"}},
                "required": ["path"],
                "additionalProperties": False,
            },
        },
    }


def test_a_tool_that_is_not_renamed_is_the_same_object_afterwards():
    """Composing costs no new schemas."""
    composed = files().only("read_file") | Toolset("other", (write_file,)).prefixed("w_")

    assert composed["read_file"] is read_file
    assert composed["w_write_file"].parameters is write_file.parameters


@pytest.mark.parametrize("item", [len, "read_file", files, None, files()])
def test_what_is_no_tool_is_refused(item):
    with pytest.raises(ToolsetError, match=r"toolset 'files': .* is not a Tool; decorate the function with @tool"):
        Toolset("files", (read_file, item))


def test_only_toolsets_are_joined():
    with pytest.raises(ToolsetError, match=r"read_file is a tool; write \| Toolset\('name', \(read_file,\)\)"):
        files() | read_file
    with pytest.raises(TypeError):
        files() | (read_file,)


# Names that aren't there.


@pytest.mark.parametrize(
    "operation",
    [
        lambda t: t.only("read_fil"),
        lambda t: t.without("read_fil"),
        lambda t: t.renamed(read_fil="x"),
        lambda t: t.described(read_fil="x"),
        lambda t: t.approving("read_fil"),
    ],
)
def test_an_operation_on_a_tool_that_is_not_there_names_the_nearest_and_all(operation):
    with pytest.raises(ToolsetError) as raised:
        operation(files())

    assert str(raised.value) == (
        "there is no tool 'read_fil' here. Did you mean 'read_file'? Tools: list_files, read_file, write_file"
    )


def test_a_new_name_that_endpoints_refuse_is_refused():
    with pytest.raises(ToolsetError, match="'read_file' can't be renamed: tool 'a b': the name 'a b' must be 1 to 64"):
        files().renamed(read_file="a b")
    with pytest.raises(ToolsetError, match="can't be renamed"):
        files().prefixed("p" * 60)


# Collisions.


def test_a_collision_names_both_sides_and_the_ways_out():
    other = Toolset("code", (tool(name="read_file")(lambda: None),))

    for composed in (lambda: files() | other, lambda: other | files()):
        with pytest.raises(ToolCollisionError) as raised:
            composed()
        words = str(raised.value)
        assert "tool 'read_file' comes from both" in words
        assert "'files'" in words
        assert "'code'" in words
        for way in (".prefixed()", ".renamed()", ".without()"):
            assert way in words


def test_each_way_out_of_a_collision_works():
    other = Toolset("code", (tool(name="read_file")(lambda: None),))

    assert (files() | other.prefixed("code_")).names[0] == "code_read_file"
    assert "read" in (files() | other.renamed(read_file="read"))
    assert (files().without("read_file") | other)["read_file"] is other["read_file"]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (lambda: files("there"), "comes from both 'files' and 'files' (with different resources)"),
        (lambda: files().described(read_file="Else."), "(not the same tool)"),
        (lambda: files().with_instructions("More."), "(with different instructions)"),
        (lambda: files().approving("read_file"), "(not the same tool)"),
    ],
)
def test_a_collision_within_one_toolset_says_what_differs(other, why):
    with pytest.raises(ToolCollisionError) as raised:
        files().only("read_file") | other().only("read_file")

    assert why in str(raised.value)


def test_two_tools_of_one_name_in_one_toolset_collide():
    with pytest.raises(ToolCollisionError, match=r"tool 'list_files' comes from both 't' and 't' \(not the same"):
        Toolset("t", (list_files, tool(name="list_files")(lambda: None)))
    with pytest.raises(ToolCollisionError, match="tool 'x' comes from both"):
        files().renamed(read_file="x", list_files="x")
    with pytest.raises(ToolCollisionError, match="tool 'list_files' comes from both"):
        files().renamed(read_file="list_files")


def test_the_same_tools_on_two_resources_live_together_under_two_prefixes():
    both = files("a").prefixed("a_") | files("b").prefixed("b_")

    assert both.get("a_read_file").resource == folder("a")
    assert both.get("b_read_file").resource == folder("b")


# Instructions.


def test_instructions_name_the_tools():
    assert files().instructions == (
        "Look with list_files before you use read_file.\nUse write_file only when asked.\nPaths look like {this}."
    )


def test_instructions_follow_the_names():
    renamed = files().renamed(read_file="cat", list_files="ls").prefixed("x_")

    assert renamed.instructions == (
        "Look with x_ls before you use x_cat.\nUse x_write_file only when asked.\nPaths look like {this}."
    )


def test_a_line_that_names_a_tool_that_is_gone_is_left_out():
    assert files().without("write_file").instructions == (
        "Look with list_files before you use read_file.\nPaths look like {this}."
    )
    assert files().only("read_file").instructions == "Paths look like {this}."


def test_instructions_go_with_their_last_tool():
    lonely = Toolset("t", (list_files, read_file), instructions="Use {list_files}.")

    assert lonely.only("read_file").instructions == ""
    assert (lonely.without("list_files", "read_file") | Toolset("e")).instructions == ""


def test_parts_that_come_together_again_tell_all():
    whole = files()
    parts = whole.only("read_file") | whole.only("write_file") | whole.only("list_files")

    assert parts == whole
    assert parts.instructions == whole.instructions


def test_equal_instructions_are_sent_once_and_all_are_sorted():
    a = Toolset("a", (read_file,), instructions="Be quick.")
    b = Toolset("b", (list_files,), instructions="Be quick.")
    c = Toolset("c", (write_file,), instructions="Be careful.")

    assert (a | b | c).instructions == "Be careful.\n\nBe quick." == (c | b | a).instructions


def test_instructions_of_two_prefixes_are_both_sent():
    both = files("a").prefixed("a_") | files("b").prefixed("b_")

    assert "Look with a_list_files before you use a_read_file." in both.instructions
    assert "Look with b_list_files before you use b_read_file." in both.instructions


def test_further_instructions_use_present_names():
    toolset = files().prefixed("x_").with_instructions("First {x_list_files}.")

    assert toolset.instructions.startswith("First x_list_files.\n\n")
    assert toolset.renamed(x_list_files="ls").instructions.startswith("First ls.\n\n")


@pytest.mark.parametrize("name", ["read-file", "2nd", "_x"])
def test_a_placeholder_may_be_any_name_of_a_tool(name):
    toolset = Toolset("t", (tool(name=name)(lambda: None),), instructions=f"Use {{{name}}}.")

    assert toolset.instructions == f"Use {name}."
    assert toolset.prefixed("x").instructions == f"Use x{name}."


def test_braces_are_read_from_the_left():
    toolset = Toolset("t", (list_files,), instructions='{{"a": {{{list_files}}}}} {{list_files}} { } {"a": 1}')

    assert toolset.instructions == '{"a": {list_files}} {list_files} { } {"a": 1}'


def test_a_placeholder_that_names_no_tool_is_refused_with_the_nearest_name():
    with pytest.raises(ToolsetError) as raised:
        Toolset("t", (list_files,), instructions="Use {list_file}.")
    assert str(raised.value) == (
        "toolset 't': the instructions name {list_file}, which is not one of its tools. Did you mean 'list_files'? "
        "Write {{ and }} for braces"
    )
    with pytest.raises(ToolsetError, match=r"the instructions name \{list_files\}, which is not one of its tools"):
        files().prefixed("x_").with_instructions("Use {list_files}.")


# Handlers compare by identity; everything else by content.


def test_a_tool_keeps_its_handler_through_every_operation():
    changed = files().prefixed("a_").renamed(a_read_file="r").described(r="Else.").approving("r").with_instructions("x")

    assert changed["r"].handler is read_file.handler
    assert changed["r"](Context("root"), "a") == "root/a"
    assert isinstance(changed["r"], Tool)
