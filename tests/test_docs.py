"""What the documents say is true: their queries run, their commands exist."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowscope import COMMANDS, cli
from warehouse.connection import open_current
from warehouse.home import Home

ROOT = Path(__file__).parent.parent
QUERIES = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "warehouse.md").read_text(), re.DOTALL)
MAY_BE_EMPTY = "from rejects join files"


def test_there_are_a_dozen_worked_queries():
    assert len(QUERIES) >= 12


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_every_worked_query_runs_and_answers(query: str, sample_home: Home):
    with open_current(sample_home) as reader, reader.query(query) as batches:
        rows = sum(len(batch) for batch in batches)
    assert rows or MAY_BE_EMPTY in query


def test_the_readme_names_every_command():
    readme = (ROOT / "README.md").read_text()
    assert [name for name in COMMANDS if f"flowscope {name}" not in readme] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_takes_a_home(name: str):
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert "--home" in result.output


@pytest.mark.parametrize(
    "document", ["README.md", "docs/warehouse.md", "docs/cold-starts.md", "docs/simulation.md", "CONTRIBUTING.md"]
)
def test_every_link_between_documents_leads_somewhere(document: str):
    path = ROOT / document
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_quality_of_inferred_cold_starts_is_the_one_documented(sample_home: Home):
    """Per series: labelled, recall of cold and of warm, balanced accuracy, share unknown."""
    query = """
        select
            case when environment like 'b-%' then 'B' else 'A' end as series, sum(n)::bigint,
            sum(cold_as_cold) / sum(cold_as_cold + cold_as_warm) as cold,
            sum(warm_as_warm) / sum(warm_as_warm + warm_as_cold) as warm, (cold + warm) / 2, sum(unknown) / sum(n)
        from cold_start_inference_quality group by series order by series"""
    document = (ROOT / "docs" / "cold-starts.md").read_text()
    with open_current(sample_home) as reader:
        rows = list(reader.rows(query))
    assert [row[0] for row in rows] == ["A", "B"]
    for series, n, cold, warm, balanced, unknown in rows:
        figures = " | ".join(f"{share:.3f}".removeprefix("0") for share in (cold, warm, balanced))
        assert f"| series {series} | {n:,} | {figures} | {100 * unknown:.1f} % |" in document
