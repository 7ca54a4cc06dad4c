"""Every numeric case of ONNX's backend corpus through ONNX -> PyTorch. Minutes: marked slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.convert import corpus

# A few below what the whole run gave (1784, 1761, 1705; docs/coverage.md): torch's threads may round otherwise.
FLOORS = {"cases": 1784, "module": 1755, "exported": 1695}
# Within a rounding step of what is expected, and over the corpus' own 1e-7; onnxruntime is on these, too.
ROUNDING = {
    "test_attention_4d_causal_fp16": "one step of float16",
    "test_attention_4d_causal_fp16_expanded": "one step of float16",
    "test_dft_inverse": "1.9e-7 where 0 is right",
    "test_dft_inverse_opset19": "1.9e-7 where 0 is right",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[corpus.Outcome]:
    return corpus.everything(tmp_path_factory.mktemp("corpus"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
class TestCorpus:
    def test_nothing_that_was_returned_differs_from_what_the_corpus_expects(self, found: list[corpus.Outcome]) -> None:
        assert {o.name: o.wrong for o in found if o.wrong and o.name not in ROUNDING} == {}

    def test_as_many_are_right_as_were_measured(self, found: list[corpus.Outcome]) -> None:
        got = corpus.counts(found)
        assert {name: got[name] for name, floor in FLOORS.items() if got[name] < floor} == {}

    def test_what_is_missing_has_a_reason(self, found: list[corpus.Outcome]) -> None:
        assert [o.name for o in found if not (o.exported or o.wrong or o.why)] == []


def test_a_section_of_the_page_is_replaced_alone(tmp_path: Path) -> None:
    page = tmp_path / "coverage.md"
    page.write_text("# Coverage\n\n<!-- other -->\nkept\n<!-- /other -->\n")
    for text in ("first\n", "second\n"):
        corpus.write(text, page)
    assert page.read_text().count(corpus.MARKS[0]) == 1
    assert "kept" in page.read_text() and "second" in page.read_text() and "first" not in page.read_text()
