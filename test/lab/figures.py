"""How long each stage of the ladder took, and how much of that was ours: collected by the scenarios, printed at the end."""
import atexit
import sys

_rows = []


def record(what, total, incident, cost):
    """total: seconds from the fault to the status that says online. incident: as `donglectl incidents` tells it. cost: seconds
    of its last step that nobody could have saved: off-time, boot of the stick, the kernel's enumeration."""
    step = incident["steps"][-1]
    noticed = max(0.0, total - incident["took_ms"] / 1000)
    diagnosed = (step["at_ms"] - incident["began_ms"]) / 1000
    took = step["took_ms"] / 1000
    _rows.append((what, step["action"], total, noticed, diagnosed, took, cost, took - cost))
    return took - cost


def _print():
    if _rows:
        print(f"\n{'fault':28} {'action':18} {'to traffic':>10} {'noticed':>8} {'diagnosed':>9} {'action':>7} {'its cost':>8} {'our share':>9}",
              file=sys.stderr)
        for what, action, *seconds in _rows:
            widths = (10, 8, 9, 7, 8, 9)
            print(f"{what:28} {action:18} " + " ".join(f"{each:{width - 2}.1f} s" for each, width in zip(seconds, widths)), file=sys.stderr)


atexit.register(_print)
