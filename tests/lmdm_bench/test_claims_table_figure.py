import dataclasses

from matplotlib.text import Text

import claims_records
from claims_drawn import every_example, plain, rendered, words
from lmdm_bench.claims import judge
from lmdm_bench.claims_table_figure import draw_claims
from lmdm_bench.claims_words import VERDICT_SIGNS, key_finding, told_with_interval


@every_example
def test_the_table_has_each_claim_with_its_verdict_and_its_deciding_number(name):
    record = claims_records.EXAMPLES[name]()
    judgements = judge(record)
    text = words(draw_claims(record, judgements))
    for verdict in VERDICT_SIGNS:
        assert text.count(verdict) == sum(one.verdict == verdict for one in judgements)
    for one in judgements:
        key = key_finding(one)
        assert one.claim.title in text and key.verdict == one.verdict
        assert key.fitted is None or plain(told_with_interval(key)) in text


def test_long_texts_are_wrapped_inside_the_table():
    (first, *_) = judge(claims_records.one_oom())
    claim = dataclasses.replace(first.claim, text="a long claim " * 40)
    long = dataclasses.replace(first, claim=claim)
    figure = rendered(draw_claims(claims_records.one_oom(), [long]))
    assert words(figure).count("a long claim") > 20
    assert all(one.get_window_extent().x1 <= figure.bbox.x1 for one in figure.findobj(Text))
