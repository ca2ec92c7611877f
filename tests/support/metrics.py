"""Random registries and grouping keys, for property tests."""

from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary

TEXT = st.text(
    alphabet=st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\\n{}=,% /+'), max_size=6
)
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True).map(lambda name: f"x{name}")
LABEL_NAMES = st.lists(
    st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,3}", fullmatch=True).map(lambda name: f"lb{name}"),
    max_size=3,
    unique=True,
)
VALUES = st.floats(width=64) | st.integers(-(10**9), 10**9).map(float)
MAKERS = (Counter, Gauge, Histogram, Summary, Info)


@st.composite
def registries(draw):
    """A registry of up to four metrics, each with up to three series."""
    registry = CollectorRegistry()
    for number, maker in enumerate(draw(st.lists(st.sampled_from(MAKERS), max_size=4))):
        # The number keeps families apart, also from each other's _count, _sum and _created.
        name = f"{draw(NAMES)}{number}"
        labels = draw(LABEL_NAMES)
        metric = maker(name, draw(TEXT), labels, registry=registry)
        for values in draw(
            st.lists(st.lists(TEXT, min_size=len(labels), max_size=len(labels)), max_size=3)
        ):
            _record(draw, metric.labels(*values) if labels else metric)
    return registry


def _record(draw, child):
    if isinstance(child, Counter):
        child.inc(abs(draw(st.floats(0, 1e300))))
    elif isinstance(child, Gauge):
        child.set(draw(VALUES))
    elif isinstance(child, Info):
        child.info({"version": draw(TEXT)})
    else:
        child.observe(draw(st.floats(-1e9, 1e9)))


GROUPINGS = st.tuples(
    TEXT.filter(bool),
    st.dictionaries(
        st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,3}", fullmatch=True).map(lambda name: f"g{name}"),
        TEXT,
        max_size=3,
    ),
)
