"""Prints what TensorBoard reads in a folder, as JSON: tags, and for each its steps and values."""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

accumulator = EventAccumulator(sys.argv[1])
accumulator.Reload()
tags = accumulator.Tags()["scalars"]
read = {tag: [[e.step, e.value] for e in accumulator.Scalars(tag)] for tag in tags}
print(json.dumps(read))
