from __future__ import annotations

from collections import Counter

import pytest

from meg.kg.wording import WORDINGS, is_worded, wording_of


def test_every_wording_has_one_place_for_the_name_and_a_family_of_its_own() -> None:
    for wording in WORDINGS:
        for template in (wording.forward, wording.inverse):
            assert template is None or (template.count("{}") == 1 and template.endswith("?"))
        assert wording.forward or wording.inverse
    assert max(Counter(w.family for w in WORDINGS).values()) == 1
    assert max(Counter(r for w in WORDINGS for r in w.relations).values()) == 1
    templates = [t for w in WORDINGS for t in (w.forward, w.inverse) if t]
    assert len(set(templates)) == len(templates)


@pytest.mark.parametrize("relation", [r for w in WORDINGS for r in w.relations])
def test_known_relations_are_found_by_their_name(relation: str) -> None:
    assert is_worded(relation) and relation in wording_of(relation).relations


@pytest.mark.parametrize("relation", ["interacts_with", "CAUSES", "a{b}c", "{}", "über 5%"])
def test_an_unknown_relation_gets_a_wording(relation: str) -> None:
    assert not is_worded(relation)
    wording = wording_of(relation)
    assert wording.family == relation and wording.relations == (relation,)
    asked = [template.format("the name {x}") for template in (wording.forward, wording.inverse)]
    assert asked[0] != asked[1] and all(text.count("the name {x}") == 1 for text in asked)
    assert all(
        template.partition("{}")[2] == text.partition("the name {x}")[2]
        for template, text in zip((wording.forward, wording.inverse), asked, strict=True)
    )
    assert wording_of("interacts_with").forward == "Which of these stands in the relation 'interacts with' after {}?"
