"""What a report shows of its winners' gates is kept beside it and read back."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from reports.analysis.winners import Winner, WinnersGate, read_winners, write_winners

GATES = (
    WinnersGate("layer1.0/branch", "se", 0.5, 0.002, True, 0),
    WinnersGate("layer1.1/branch", "<b>", 0.6, 0.2, True, 0),
    WinnersGate("layer1/end", "bam", 1.5, 0.3, True, 7),
    WinnersGate("layer2/end", "gc", 1.5, 0.001, False, 0),
)
WINNER = Winner("0123456789", "mine", "all 100 validation images", 100, GATES)


def render(winners: tuple[Winner, ...]) -> str:
    """Return the section of the report."""
    environment = Environment(loader=PackageLoader("reports"), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("sections/winners.html").render(winners=winners)


def test_winners_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    write_winners(tmp_path / "analysis", [WINNER])
    assert read_winners(tmp_path / "analysis") == (WINNER,)


def test_a_file_that_is_missing_or_of_another_format_is_none(tmp_path: Path) -> None:
    assert read_winners(tmp_path) == ()
    path = write_winners(tmp_path, [WINNER])
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    assert read_winners(tmp_path) == ()
    path.write_text("{torn")
    assert read_winners(tmp_path) == ()


def test_wasted_gates_never_move_and_idle_ones_move_for_nothing() -> None:
    assert [gate.module for gate in WINNER.wasted] == ["se"]
    assert [gate.module for gate in WINNER.idle] == ["<b>"]


def test_the_section_lists_every_gate_escaped_and_is_empty_without_any() -> None:
    section = render((WINNER,))
    assert section.count("<tr>") == 1 + len(GATES)
    assert section.count("wasted</span>") == 1
    assert "&lt;b&gt;" in section
    assert "7 of 100" in section
    assert render(()).strip() == ""
