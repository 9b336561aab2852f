#!/usr/bin/env python3
"""What does a load cost one way, beside another way?

    scripts/paired.py FOLDER PAIRS PLAIN OTHER WORDS

FOLDER holds a run's document for each pair and way, such as 3-plain.json. The
costs are the processor time of one answered request in the measured phase. A pair
gives a ratio; the bounds are Student's, of 95 %, on the mean of their logarithms,
and the median stands beside it. Where a summary lies beside a document
(3-plain.summary, of `mintmark report --format json`), the quantiles of the
generator's lag are compared by their medians over the runs.
"""

import json
import math
import os
import statistics
import sys

# Student's 97.5 % by degrees of freedom.
T = [0, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201,
     2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069]

folder, pairs, plain, other, words = sys.argv[1:]
pairs = range(1, int(pairs) + 1)


def cost(pair, way, of):
    """Nanoseconds of processor time for a request."""
    with open(f"{folder}/{pair}-{way}.json") as file:
        step = json.load(file)["steps"][0]
    return step["cpu"][of] / step["open"]["accounts"]["answered"]


def percent(log):
    return f"{100 * (math.exp(log) - 1):+.2f}"


for name, of in [("the whole process", "process_ns"),
                 ("threads that send and sign", "client_ns")]:
    ways = [[cost(pair, way, of) for pair in pairs] for way in (plain, other)]
    logs = [math.log(b / a) for a, b in zip(*ways)]
    mean = statistics.mean(logs)
    spread = statistics.stdev(logs) / math.sqrt(len(logs))
    half = T[min(len(logs) - 1, len(T) - 1)] * spread
    means = [statistics.mean(way) / 1e3 for way in ways]
    print(f"{name}: {means[0]:.2f} µs a request {plain}, {means[1]:.2f} µs {other}")
    print(f"  {words} {percent(mean)} % ({percent(mean - half)} to {percent(mean + half)}), "
          f"in the median {percent(statistics.median(logs))} %")


def lag(pair, way, quantile):
    with open(f"{folder}/{pair}-{way}.summary") as file:
        parts = json.load(file)[0]["steps"][0]["parts"]
    times = next(part["times"] for part in parts if part["name"] == "generator lag")
    return times[quantile] / 1e3


if os.path.exists(f"{folder}/1-{plain}.summary"):
    for quantile in ("p50", "p90", "p99"):
        both = [statistics.median(lag(pair, way, quantile + "_ns") for pair in pairs)
                for way in (plain, other)]
        print(f"lag of the generator, {quantile}: {both[0]:.1f} µs {plain}, {both[1]:.1f} µs {other}")
