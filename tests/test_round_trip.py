"""What the checks accept, a gateway accepts, and it reads back equal."""

import math
from urllib.request import urlopen

from hypothesis import HealthCheck, event, given, settings
from prometheus_client.parser import text_string_to_metric_families

from pushgate import Gateway, GroupingKey, InvalidPayloadError, encode
from support.metrics import GROUPINGS, registries


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(registry=registries(), grouping=GROUPINGS)
def test_what_the_checks_accept_is_accepted_and_reads_back_equal(gateway_url, registry, grouping):
    gateway = Gateway(gateway_url)
    key = GroupingKey(*grouping)
    try:
        payload = encode(registry, key)
    except InvalidPayloadError as refusal:
        event(f"refused: {str(refusal)[:40]}")
        return
    pushed = samples_of(text_string_to_metric_families(payload.text.decode()), {})

    gateway.push(key, registry, clear=True)

    (group,) = gateway.groups()
    assert without_empty(group.labels) == without_empty(key.labels)
    assert group.last_push_successful
    assert samples_of(group.families, key.labels) == pushed
    with urlopen(f"{gateway_url}/metrics") as answer:
        scraped = list(text_string_to_metric_families(answer.read().decode()))
    assert samples_of(scraped, key.labels, only_ours=True).items() >= pushed.items()

    # Queued by the gateway, in order with the next example's push.
    gateway.delete(key)


def samples_of(families, grouping, *, only_ours=False):
    """``{(name, labels): value}`` without the grouping labels, as comparable values."""
    grouping = without_empty(grouping)
    found = {}
    for family in families:
        for sample in family.samples:
            labels = without_empty(sample.labels)
            if only_ours and not grouping.items() <= labels.items():
                continue
            labels = {name: value for name, value in labels.items() if name not in grouping}
            if sample.name.endswith("_bucket") and "le" in labels:
                labels["le"] = float(labels["le"])
            value = "NaN" if math.isnan(sample.value) else sample.value
            found[sample.name, frozenset(labels.items())] = value
    return found


def without_empty(labels):
    """Prometheus takes a label without a value as no label."""
    return {name: value for name, value in labels.items() if value}
