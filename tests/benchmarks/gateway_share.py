"""How a fleet of pushers shares one gateway: each stretches the interval of its task groups alone.

    python tests/benchmarks/gateway_share.py [--quick]

A model in simulated time, and the pusher's own code for the decision. The gateway does one push
after the other, and each costs what it holds, as a stock Pushgateway's consistency check does. A
pusher sends one push at a time: its totals when they are due, or else the task group that has
waited longest. Where the totals alone ask for more than a core, as in the case of 400, nothing that
a pusher does with the rest can help. Nothing is asserted.
"""

import argparse
import heapq
import random
import statistics
import sys

from pushgate.relay.stretch import Stretch

SECONDS_A_SERIES = 2.4e-6  # 46 ms at 19,000 series, measured
SERIES_OF_TOTALS, SERIES_OF_A_GROUP = 60, 9
TOTALS_INTERVAL, INTERVAL, NETWORK = 15.0, 60.0, 0.0005  # seconds
SPANS = ((0, 5), (5, 15), (15, 30), (30, 60), (60, 90), (90, 120))


class Pusher:
    """One worker's: ``groups`` task groups, all of which have something new all the time."""

    def __init__(self, groups, start):
        self.stretch = Stretch(INTERVAL)
        self.totals_due = start
        self.due = [(start, n) for n in range(groups)]
        self.pushed = [start] * groups
        self.longest = 0.0
        self.totals_late = 0.0

    def longest_wait(self, now):
        """Seconds between two pushes of a group, also of one that never came to its turn."""
        return max(self.longest, *(now - at for at in self.pushed))

    def next(self, now):
        """When to push what: the group's number, None for the totals."""
        if self.totals_due <= max(now, self.due[0][0]):
            return max(now, self.totals_due), None
        return max(now, self.due[0][0]), self.due[0][1]


def simulate(pushers, groups, minutes, rng):
    """Busy share of the gateway in each minute, for task groups and totals, and the pushers."""
    fleet = [Pusher(groups, rng.uniform(0, 15)) for _ in range(pushers)]
    held = pushers * SERIES_OF_TOTALS + groups * SERIES_OF_A_GROUP  # tasks are shared
    cost = held * SECONDS_A_SERIES
    free_at, busy = 0.0, {"totals": [0.0] * minutes, "groups": [0.0] * minutes}
    turns = [(pusher.next(0.0)[0], n) for n, pusher in enumerate(fleet)]
    heapq.heapify(turns)
    while turns:
        now, number = heapq.heappop(turns)
        if now >= minutes * 60:
            continue
        pusher = fleet[number]
        at, group = pusher.next(now)
        if at > now:
            heapq.heappush(turns, (at, number))
            continue
        end = max(free_at, now) + cost * rng.uniform(0.9, 1.2)
        busy["totals" if group is None else "groups"][int(now // 60)] += end - max(free_at, now)
        free_at = end
        took = end - now + NETWORK
        if group is None:
            pusher.totals_late = max(pusher.totals_late, now - pusher.totals_due)
            pusher.totals_due = now + TOTALS_INTERVAL
        else:
            heapq.heappop(pusher.due)
            pusher.longest = max(pusher.longest, now - pusher.pushed[group])
            pusher.pushed[group] = now
            heapq.heappush(pusher.due, (now + pusher.stretch.interval, group))
        pusher.stretch.took(took, now + took)
        heapq.heappush(turns, (now + took, number))
    return cost, busy, fleet


def main():
    parser = argparse.ArgumentParser(description="How a fleet of pushers shares one gateway.")
    parser.add_argument(
        "--quick", action="store_true", help="a short time: only shows that it runs"
    )
    minutes = 15 if parser.parse_args().quick else 120
    print(
        f"{'pushers x groups':>17}{'ms a push':>11}   share of a core in minutes"
        f" {' '.join(f'{a}-{b}' for a, b in SPANS):24}{'interval':>9}{'longest wait':>14}"
        f"{'totals late':>13}"
    )
    for pushers, groups in ((5, 50), (50, 50), (200, 50), (400, 50), (50, 1000)):
        cost, busy, fleet = simulate(pushers, groups, minutes, random.Random(1))
        both = [(a + b) / 60 for a, b in zip(*busy.values(), strict=True)]
        shares = [statistics.mean(both[a:b]) for a, b in SPANS if b <= minutes]
        intervals = sorted(pusher.stretch.interval for pusher in fleet)
        print(
            f"{f'{pushers} x {groups}':>17}{cost * 1e3:11.1f}{'':30}"
            f"{' '.join(f'{share:5.2f}' for share in shares):30}"
            f"{f'{intervals[0]:.0f}-{intervals[-1]:.0f} s':>12}"
            f"{max(pusher.longest_wait(minutes * 60) for pusher in fleet):10.0f} s"
            f"{max(pusher.totals_late for pusher in fleet):11.1f} s"
        )


if __name__ == "__main__":
    sys.exit(main())
