"""A processor in Python: leaves out large changes, marks the rest.

    watcher-exec --custom-processor filter.py -- python3 app.py
"""


def main(event):
    if len(event["deltas"]) > 50:
        return {"action": "drop"}
    return {"action": "annotate", "annotations": {"flagged": True}}
