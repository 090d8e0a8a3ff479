"""A session with `fixfly mcp`, by the official Python SDK's client."""

import asyncio
import pathlib
import subprocess
import sys

from mcp import Client, MCPError, StdioServerParameters

PRICES = """\
def total(prices):
    return sum(prices)


def mean(prices):
    return total(prices) / 2
"""
TESTS = """\
import pytest

from shop.prices import mean, total


def test_total():
    assert total([1, 2, 3]) == 6


@pytest.mark.parametrize("prices, expected", [([4, 6], 5), ([1, 2, 3], 2)])
def test_mean(prices, expected):
    assert mean(prices) == expected
"""


def make(folder):
    """A repository whose package is below `src`, with a change that is not committed."""
    for name, text in {"src/shop/__init__.py": "", "src/shop/prices.py": PRICES, "tests/test_prices.py": TESTS,
                       "pyproject.toml": '[project]\nname = "shop"\nversion = "1"\n'}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "-C", str(folder)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "start"], check=True)
    return git


async def called(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    text = "".join(block.text for block in result.content)
    print(f"> {tool} {arguments}\n{text}\n")
    return result, text


async def session(fixfly, python, work, runs):
    repository = work / "shop"
    git = make(repository)
    words = ["mcp", "--repo", str(repository), "--python", python, "--runs", runs, "--allow-weak"]
    server = StdioServerParameters(command=fixfly, args=words)
    async with Client(server) as client:
        print(client.server_info.name, client.server_info.version, client.protocol_version)
        tools = [tool.name for tool in (await client.list_tools()).tools]
        print(tools)
        assert tools == ["run_tests", "view", "search", "edit", "bash", "submit", "list_runs", "show_episode"]

        result, text = await called(client, "run_tests")
        assert "FAILED: tests/test_prices.py::test_mean[prices1-2]" in text, text
        assert result.structured_content["passed"] == 2
        _, text = await called(client, "search", pattern="def mean")
        assert "src/shop/prices.py:5:def mean(prices):" in text
        await called(client, "edit", command="str_replace", path="src/shop/prices.py",
                     old_str="total(prices) / 2", new_str="total(prices) / len(prices)")
        result, text = await called(client, "run_tests", ids=["tests/test_prices.py"])
        assert result.structured_content["fixed"] == ["tests/test_prices.py::test_mean[prices1-2]"], text
        for hostile in ("; rm -rf /", "--help", "-p", "../../etc"):
            result, text = await called(client, "run_tests", ids=[hostile])
            assert result.is_error and "\n" not in text, text
        result, patch = await called(client, "submit")
        assert result.structured_content["patch"] == patch
        try:
            await client.call_tool("no_such_tool", {})
        except MCPError as error:
            print(f"> no_such_tool\n{error}\n")
        else:
            raise AssertionError("an unknown tool is no error")
        await called(client, "list_runs")
        _, text = await called(client, "show_episode", run="run", task="shop/cart.py::Cart.total")
        assert text.endswith("Verdict: solved"), text
    changed = subprocess.run([*git, "status", "--porcelain"], check=True, capture_output=True, text=True).stdout
    assert changed == "", changed
    subprocess.run([*git, "apply", "-"], input=patch, check=True, text=True)
    assert "len(prices)" in (repository / "src/shop/prices.py").read_text()
    print("the change applies to the repository")


fixfly, python, work, runs = sys.argv[1:]
asyncio.run(session(fixfly, python, pathlib.Path(work), runs))
