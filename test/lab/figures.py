"""How long each stage of the ladder took, and how much of that was ours: collected by the scenarios, printed at the end."""
import atexit
import sys

_rows = []


def record(what, total, incident, cost, stolen):
    """total: seconds from the fault to the status that says online. incident: as `donglectl incidents` tells it. cost: seconds
    of its last step that nobody could have saved: off-time, boot of the stick, the kernel's enumeration. stolen: see stolen.py.
    Returns what is left of the step: our share."""
    step = incident["steps"][-1]
    noticed = max(0.0, total - incident["took_ms"] / 1000)
    diagnosed = (step["at_ms"] - incident["began_ms"]) / 1000
    took = step["took_ms"] / 1000
    ours = max(0.0, took - cost - stolen)
    _rows.append((what, step["action"], total, noticed, diagnosed, took, float(cost), stolen, ours))
    return ours


TITLES = ("fault", "action", "to traffic", "noticed", "diagnosed", "action", "its cost", "stolen", "our share")
ROW = "{:28} {:18} {:>10} {:>8} {:>9} {:>7} {:>8} {:>7} {:>9}"


def _print():
    for row in [TITLES, *_rows] if _rows else []:
        print(ROW.format(*(f"{each:.1f} s" if isinstance(each, float) else each for each in row)), file=sys.stderr)


atexit.register(_print)
