import pytest

import check_records
import claims_records
import compare_records
import kernels_records
import peer_records
import records
from lmdm_bench import any_report, figures, published
from lmdm_bench.check_figures import CHECK_FIGURES
from lmdm_bench.check_record import save_check
from lmdm_bench.claims_figures import CLAIMS_FIGURES
from lmdm_bench.claims_record import save_claims
from lmdm_bench.compare_record import save_compare
from lmdm_bench.kernels_figures import KERNELS_FIGURES
from lmdm_bench.kernels_record import save_kernels
from lmdm_bench.record import save, to_json

RESULTS, CHECK, CLAIMS, KERNELS, COMPARE, PEER, TRACES = (
    published.Place(name, "stale")
    for name in ("results", "check", "claims", "kernels", "compare", "peer", "traces")
)
README = (
    f"# A title\n\nBefore.\n\n{RESULTS.begin}\nstale\n{RESULTS.end}\n\nAfter.\n"
    f"{CHECK.begin}\nstale\n{CHECK.end}\n"
    f"{CLAIMS.begin}\nstale\n{CLAIMS.end}\n{KERNELS.begin}\nstale\n{KERNELS.end}\n"
    f"{COMPARE.begin}\nstale\n{COMPARE.end}\n"
    f"{PEER.begin}\nstale\n{PEER.end}\n{TRACES.begin}\nstale\n{TRACES.end}\n"
)


@pytest.fixture
def root(tmp_path):
    """A repository with two records and nothing rendered."""
    (tmp_path / "reports" / "data").mkdir(parents=True)
    (tmp_path / "README.md").write_text(README)
    save(records.all_ok(), tmp_path / "reports" / "data" / "schemes_epyc_20260314.json")
    save(records.one_oom(), tmp_path / "reports" / "data" / "schemes_small_20260314.json")
    return tmp_path


@pytest.fixture
def written(root, monkeypatch):
    """The same, rendered; drawing is tested elsewhere."""
    pngs = {name: b"\x89PNG" for name in figures.FIGURES}
    monkeypatch.setattr(published.render, "pngs", lambda record: pngs)
    assert published.main([str(root), "--write"]) == 0
    return root


def test_what_was_written_agrees(written, capsys):
    assert published.main([str(written)]) == 0
    assert capsys.readouterr().err == ""


def test_writing_draws_the_figures_that_the_pages_show(root):
    assert published.main([str(root), "--write"]) == 0
    page = (root / "reports" / "schemes_epyc_20260314.md").read_text()
    for name in figures.FIGURES:
        assert f"](figures/schemes_epyc_20260314/{name}.png)" in page
        path = root / "reports" / "figures" / "schemes_epyc_20260314" / f"{name}.png"
        assert path.read_bytes().startswith(b"\x89PNG")


def test_nothing_rendered_yet_is_a_difference(root, capsys):
    assert published.main([str(root)]) == 1
    told = capsys.readouterr().err
    assert "reports/schemes_epyc_20260314.md is missing" in told
    assert "reports/figures/schemes_small_20260314/waterfall.png is missing" in told
    assert "-stale" in told


def test_comparing_writes_nothing(root):
    before = sorted(root.rglob("*"))
    published.main([str(root)])
    assert sorted(root.rglob("*")) == before and (root / "README.md").read_text() == README


def test_a_page_edited_by_hand_is_shown_as_a_diff(written, capsys):
    path = written / "reports" / "schemes_epyc_20260314.md"
    path.write_text(path.read_text().replace("does not keep up", "keeps up"))
    assert published.main([str(written)]) == 1
    told = capsys.readouterr().err
    assert "schemes_epyc_20260314.md is not what its records render to" in told
    assert "\n+outpaint does not keep up" in told and "\n-outpaint keeps up" in told


def test_a_figure_in_the_readme_that_is_not_measured_is_found(written, capsys):
    path = written / "README.md"
    path.write_text(path.read_text().replace("0.87 [", "0.37 ["))
    assert published.main([str(written)]) == 1
    assert "README.md is not what" in capsys.readouterr().err


def test_the_rest_of_the_readme_is_left_alone(written):
    text = (written / "README.md").read_text()
    assert text.startswith("# A title\n\nBefore.\n\n") and "\n\nAfter.\n" in text
    assert "stale" not in text


def test_the_readme_has_a_row_for_each_scheme_on_each_machine(written):
    text = (written / "README.md").read_text().split(RESULTS.end)[0]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 3 + 3
    assert len({line.count("|") for line in rows}) == 1
    assert rows[2].endswith("| [2026-03-14](reports/schemes_epyc_20260314.md) |")
    assert "n/a (needs 72 blocks)" in rows[2] and "1.71 [1.69, 1.72]" in rows[2]
    failed = [line for line in rows if "OOM" in line]
    assert len(failed) == 1 and "GiB |" not in failed[0]
    assert all("| sao-small, 340.9" in line for line in rows[2:])


def test_the_readme_tells_blocks_of_two_lengths_apart(root, monkeypatch):
    save(records.five_schemes(), root / "reports" / "data" / "five_20260314.json")
    monkeypatch.setattr(published.render, "pngs", lambda record: {})
    published.write(root, published.records(root))
    rows = [
        line.replace("\N{NO-BREAK SPACE}", " ")
        for line in (root / "README.md").read_text().splitlines()
        if "(reports/five_20260314.md)" in line
    ]
    assert ["| 2.23 s |" in line for line in rows] == [True] * 3 + [False] * 2
    assert ["| 2.00 s |" in line for line in rows] == [False] * 3 + [True] * 2
    assert rows[3].startswith("| lmm-encoder-decoder | mrt1-large, 761.6 M |")
    assert "n/a (no codec in the suite for this model) | 2.34 [" in rows[3]


def test_the_bytes_of_a_figure_are_not_compared_but_it_has_to_be_there(written):
    path = written / "reports" / "figures" / "schemes_epyc_20260314" / "waterfall.png"
    path.write_bytes(b"drawn by another version")
    assert published.main([str(written)]) == 0
    path.unlink()
    assert published.main([str(written)]) == 1


def test_a_page_whose_record_is_gone_is_found_and_other_pages_are_not(written, capsys):
    (written / "reports" / "log.md").write_text("# Log\n")
    assert published.main([str(written)]) == 0
    (written / "reports" / "data" / "schemes_small_20260314.json").unlink()
    assert published.main([str(written), "--write"]) == 1
    assert "schemes_small_20260314.md was rendered from a record that is gone" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "text",
    [
        "no marks",
        RESULTS.begin,
        f"{RESULTS.end}{RESULTS.begin}",
        README * 2,
        README.replace(PEER.end, ""),
    ],
)
def test_a_readme_without_its_marks_is_refused_in_a_sentence(root, capsys, text):
    (root / "README.md").write_text(text)
    assert published.main([str(root), "--write"]) == 1
    assert "README.md should have" in capsys.readouterr().err
    assert (root / "README.md").read_text() == text


def test_a_broken_record_is_a_sentence_that_names_it(root, capsys):
    (root / "reports" / "data" / "broken.json").write_text("{")
    assert published.main([str(root)]) == 1
    told = capsys.readouterr().err
    assert "broken.json" in told and "Traceback" not in told


def test_a_folder_without_a_readme_is_a_sentence(tmp_path, capsys):
    assert published.main([str(tmp_path)]) == 1
    assert "README.md" in capsys.readouterr().err


def test_a_repository_without_records_says_that_nothing_was_measured(tmp_path):
    (tmp_path / "README.md").write_text(README)
    assert published.main([str(tmp_path), "--write"]) == 0
    assert "Nothing has been measured yet." in (tmp_path / "README.md").read_text()


def test_the_peer_s_table_stands_between_its_marks(written):
    folder = written / "reports" / "peer"
    folder.mkdir()
    record = peer_records.record()
    (folder / "small.json").write_text(to_json(record))
    assert published.main([str(written)]) == 1
    assert published.main([str(written), "--write"]) == 0
    between = (written / "README.md").read_text().split(PEER.begin)[1].split(PEER.end)[0]
    assert record.peer in between
    assert "| 240 | float32 |" in between


def test_a_peer_record_that_is_cut_off_is_named(written, capsys):
    folder = written / "reports" / "peer"
    folder.mkdir()
    (folder / "small.json").write_text("{")
    assert published.main([str(written)]) == 1
    assert "small.json" in capsys.readouterr().err


def test_a_comparison_has_a_page_a_figure_and_a_row(root, monkeypatch):
    monkeypatch.setattr(published.render, "pngs", lambda record: {})
    pngs = {"forest": b"\x89PNG"}
    monkeypatch.setattr(any_report.compare_render, "compare_pngs", lambda record: pngs)
    path = root / "reports" / "data" / "compare_epyc_20260314.json"
    save_compare(compare_records.slower(), path)
    published.write(root, published.records(root))
    assert (root / "reports" / "figures" / path.stem / "forest.png").read_bytes() == b"\x89PNG"
    page = (root / "reports" / f"{path.stem}.md").read_text()
    assert f"](figures/{path.stem}/forest.png)" in page
    readme = (root / "README.md").read_text()
    told = readme[readme.index(COMPARE.begin) : readme.index(COMPARE.end)]
    assert "main" in told and "Slower" in told and f"(reports/{path.stem}.md)" in told


def test_a_claims_run_has_a_page_figures_and_a_row_for_each_claim(root, monkeypatch):
    pngs = {name: b"\x89PNG" for name in figures.FIGURES}
    claims_pngs = {name: b"\x89PNG" for name in CLAIMS_FIGURES}
    monkeypatch.setattr(published.render, "pngs", lambda record: pngs)
    monkeypatch.setattr(any_report.claims_render, "claims_pngs", lambda record: claims_pngs)
    path = root / "reports" / "data" / "claims_epyc_20260314.json"
    save_claims(claims_records.agreeing(), path)
    assert published.main([str(root), "--write"]) == 0
    assert published.main([str(root)]) == 0
    page = (root / "reports" / "claims_epyc_20260314.md").read_text()
    assert "](figures/claims_epyc_20260314/steps.png)" in page
    told = (root / "README.md").read_text().split(CLAIMS.begin)[1].split(CLAIMS.end)[0]
    rows = [line for line in told.splitlines() if "](reports/claims_epyc_20260314.md)" in line]
    assert len(rows) == 8 and "SUPPORTED" in rows[0]
    (root / "reports" / "figures" / "claims_epyc_20260314" / "ratios.png").unlink()
    assert published.main([str(root)]) == 1


def test_a_kernels_run_has_a_page_figures_and_a_row_for_each_goal(root, monkeypatch):
    pngs = {name: b"\x89PNG" for name in figures.FIGURES}
    kernels_pngs = {name: b"\x89PNG" for name in KERNELS_FIGURES}
    monkeypatch.setattr(published.render, "pngs", lambda record: pngs)
    monkeypatch.setattr(any_report.kernels_render, "kernels_pngs", lambda record: kernels_pngs)
    path = root / "reports" / "data" / "kernels_epyc_20260314.json"
    save_kernels(kernels_records.on_cpu(), path)
    assert published.main([str(root), "--write"]) == 0
    assert published.main([str(root)]) == 0
    page = (root / "reports" / "kernels_epyc_20260314.md").read_text()
    assert "](figures/kernels_epyc_20260314/roofline.png)" in page
    told = (root / "README.md").read_text().split(KERNELS.begin)[1].split(KERNELS.end)[0]
    rows = [line for line in told.splitlines() if "](reports/kernels_epyc_20260314.md)" in line]
    assert len(rows) == 3 and "1.2 times as fast as boolean-mask" in rows[2]
    assert "range is at least as fast as the best of the others in" in told
    (root / "reports" / "figures" / "kernels_epyc_20260314" / "roofline.png").unlink()
    assert published.main([str(root)]) == 1


def test_a_check_has_a_page_figures_and_a_row_for_each_stream(root, monkeypatch):
    pngs = {name: b"\x89PNG" for name in figures.FIGURES}
    check_pngs = {name: b"\x89PNG" for name in CHECK_FIGURES}
    monkeypatch.setattr(published.render, "pngs", lambda record: pngs)
    monkeypatch.setattr(any_report.check_render, "check_pngs", lambda record: check_pngs)
    path = root / "reports" / "data" / "check_epyc_20260314.json"
    save_check(check_records.failed(), path)
    assert published.main([str(root), "--write"]) == 0
    assert published.main([str(root)]) == 0
    page = (root / "reports" / "check_epyc_20260314.md").read_text()
    assert "](figures/check_epyc_20260314/service_time.png)" in page
    told = (root / "README.md").read_text().split(CHECK.begin)[1].split(CHECK.end)[0]
    rows = [line for line in told.splitlines() if "](reports/check_epyc_20260314.md)" in line]
    assert len(rows) == 2 and all("INCONCLUSIVE" in row for row in rows)
    assert len({row.count(" | ") for row in rows}) == 1
    (root / "reports" / "figures" / "check_epyc_20260314" / "survival.png").unlink()
    assert published.main([str(root)]) == 1


def test_the_four_traces_are_told_in_the_readme(written):
    told = (written / "README.md").read_text().split(TRACES.begin)[1].split(TRACES.end)[0]
    assert "steady" in told and "heat" in told and "54.0" in told
