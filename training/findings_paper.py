"""What the paper found, to be compared with: its figures and its findings as comparisons.

Source: Liu, Yang and Jeng 2018, tables VIII and XI, sections V-C2 and V-D.
"""

from .findings_verdicts import Claim, Metric

WHEN: Metric = "temporal_auc"
WHERE: Metric = "spatial_px"

# Model: temporal AUC, spatial distance in px; None where the paper gives none.
PAPER: dict[str, tuple[float | None, float | None]] = {
    "center": (None, 37.2),
    "sound": (0.881, None),
    "object": (0.712, 33.3),
    "VT": (0.790, 33.9),
    "ST01": (0.824, 32.7),
    "ST03": (0.827, 32.2),
    "ST05": (0.827, 33.7),
    "ST07": (0.830, 33.0),
    "ST09": (0.824, 33.7),
    "OT01": (0.680, 45.8),
    "OT03": (0.809, 29.4),
    "OT05": (0.809, 29.5),
    "OT07": (0.798, 29.2),
    "OT09": (0.788, 31.0),
    "SOT0501": (0.828, 29.4),
    "SOT0503": (0.834, 29.1),
    "SOT0505": (0.827, 28.9),
    "SOT0507": (0.820, 29.5),
    "SOT0509": (0.803, 30.7),
    "SOT0503*object": (0.854, 25.3),
    "SOT0503*sound": (0.912, None),
    "SOT0503*object*sound": (0.917, None),
    "VT*object": (None, 29.3),
    "VT*object*sound": (0.910, None),
}

_EACH = ("VT", "ST05", "OT03")

CLAIMS: tuple[Claim, ...] = (
    Claim("SOT is better than VT in time", WHEN, "SOT0503", "VT"),
    Claim("SOT is better than VT in space", WHERE, "SOT0503", "VT"),
    Claim("of single targets ST is best in time: better than VT", WHEN, "ST05", "VT"),
    Claim("of single targets ST is best in time: better than OT", WHEN, "ST05", "OT03"),
    Claim("of single targets OT is best in space: better than VT", WHERE, "OT03", "VT"),
    Claim("of single targets OT is best in space: better than ST", WHERE, "OT03", "ST05"),
    Claim("SOT has what OT lacks: better in time", WHEN, "SOT0503", "OT03"),
    Claim("SOT has what ST lacks: better in space", WHERE, "SOT0503", "ST05"),
    Claim("the object model improves SOT in time", WHEN, "SOT0503*object", "SOT0503"),
    Claim("the object model improves SOT in space", WHERE, "SOT0503*object", "SOT0503"),
    Claim("the sound model improves SOT in time", WHEN, "SOT0503*sound", "SOT0503"),
    Claim("both together improve SOT in time", WHEN, "SOT0503*object*sound", "SOT0503"),
    Claim("both together improve SOT in space", WHERE, "SOT0503*object*sound", "SOT0503"),
    *(
        Claim(f"both together improve {name} {place}", metric, f"{name}*object*sound", name)
        for name in _EACH
        for metric, place in ((WHEN, "in time"), (WHERE, "in space"))
    ),
    Claim(
        "SOT is better than VT in time after fusion, too",
        WHEN,
        *("SOT0503*object*sound", "VT*object*sound"),
    ),
    Claim("SOT is better than VT in space after fusion, too", WHERE, "SOT0503*object", "VT*object"),
    Claim("SOT is better than always the centre", WHERE, "SOT0503", "center"),
    *(
        Claim(f"{rule}: thresholds from 0.3 to 0.7 are much the same {place}", metric, flat=names)
        for rule, names in (
            ("ST", ("ST03", "ST05", "ST07")),
            ("OT", ("OT03", "OT05", "OT07")),
            ("SOT", ("SOT0503", "SOT0505", "SOT0507")),
        )
        for metric, place in ((WHEN, "in time"), (WHERE, "in space"))
    ),
)


def paper_difference(claim: Claim) -> float | None:
    """Return the difference that the paper gives for a claim; above 0 is as it says.

    Examples
    --------
    >>> round(paper_difference(CLAIMS[0]), 3), round(paper_difference(CLAIMS[1]), 1)
    (0.044, 4.8)
    """
    place = 0 if claim.metric == WHEN else 1
    known = [value for m in claim.models if m in PAPER and (value := PAPER[m][place]) is not None]
    if len(known) < len(claim.models):
        return None
    if claim.flat:
        return max(known) - min(known)
    return known[0] - known[1] if claim.metric == WHEN else known[1] - known[0]
