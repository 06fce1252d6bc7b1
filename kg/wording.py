"""How a relation is asked and told: one row for each relation family, the names that sources give it, and a fallback.

A question is asked about the concept at `{}`; the answer stands at the other end of the triplet.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """`forward` asks for the tail of (head, relation, ?), `inverse` for the head of (?, relation, tail); None: never asked."""

    family: str
    forward: str | None
    inverse: str | None
    relations: tuple[str, ...]


WORDINGS = (
    Wording(
        "finding", "Which finding occurs in {}?", "Which disease shows the finding {}?",
        ("has_finding", "has_phenotype", "has_symptom", "disease_has_finding", "disease_may_have_finding", "disease_has_feature"),
    ),
    Wording("is_a", "Which broader concept does {} belong to?", "Which of these is a kind of {}?", ("is_a", "mesh_broader", "isa")),
    Wording("treats", "Which condition is treated by {}?", "Which of these treats {}?", ("treats", "may_treat", "palliates")),
    Wording("prevents", "Which disease is prevented by {}?", "Which of these prevents {}?", ("prevents",)),
    Wording(
        "contraindicated", "In which condition is {} contraindicated?", "Which of these is contraindicated in {}?",
        ("contraindicated_in",),
    ),
    Wording(
        "side_effect", "Which adverse effect does {} have?", "Which of these can cause {} as an adverse effect?",
        ("has_side_effect", "causes_side_effect"),
    ),
    Wording("target", "Which target does {} act on?", "Which of these acts on {}?", ("targets",)),
    Wording("cause", "Which disease is caused by {}?", "Which of these causes {}?", ("causes",)),
    Wording("vector", "Which disease is transmitted by {}?", "Which of these transmits {}?", ("transmits",)),
    Wording("test", "Which test helps to diagnose {}?", "Which disease is diagnosed with {}?", ("diagnosed_by",)),
    Wording(
        "gene", "Which gene is associated with {}?", "Which disease is associated with the gene {}?",
        ("associated_gene", "has_material_basis_in_germline_mutation_in", "disease_mapped_to_gene"),
    ),
    Wording("basis", "In which of these does {} have its basis?", "Which disease has its basis in {}?", ("has_material_basis_in",)),
    Wording("inheritance", "How is {} inherited?", None, ("has_inheritance",)),
    Wording("complication", "Which complication can {} have?", "Which disease can lead to {}?", ("has_complication",)),
    Wording("risk_factor", "Which of these is a risk factor for {}?", "For which disease is {} a risk factor?", ("has_risk_factor",)),
    Wording("process", "Which process is disturbed in {}?", "Which disease disturbs {}?", ("disrupts",)),
    Wording(
        "location", "Where in the body is {} located?", "Which of these is located in {}?",
        ("has_location", "located_in", "disease_has_location", "disease_has_primary_anatomic_site", "disease_has_associated_anatomic_site"),
    ),
    Wording(
        "part_of", "Which structure is {} a part of?", "Which of these is a part of {}?",
        ("part_of", "anatomic_structure_is_physical_part_of"),
    ),
)  # fmt: skip

_BY_RELATION = {relation: wording for wording in WORDINGS for relation in wording.relations}


def wording_of(relation: str) -> Wording:
    """The wording of a relation; one made from its name when there is none."""
    if relation in _BY_RELATION:
        return _BY_RELATION[relation]
    words = relation.translate(str.maketrans("_{}", " ()"))  # braces would be taken for the place of the name
    return Wording(
        relation,
        f"Which of these stands in the relation '{words}' after {{}}?",
        f"Which of these stands in the relation '{words}' before {{}}?",
        (relation,),
    )


def is_worded(relation: str) -> bool:
    """Whether the relation has a wording of its own."""
    return relation in _BY_RELATION
