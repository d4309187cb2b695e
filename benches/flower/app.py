"""Flower's simulation of clients that send back what they got: `app.py CLIENTS ROUNDS BYTES`.

Prints one object of JSON: the seconds of each round. In the first, Flower starts its workers.
"""

import json
import sys
import time

import numpy
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

CLIENTS, ROUNDS, BYTES = map(int, sys.argv[1:4])

client = ClientApp()
server = ServerApp()
times = []


@client.train()
def train(message: Message, _: Context) -> Message:
    metrics = MetricRecord({"num-examples": 1})
    content = RecordDict({"arrays": message.content["arrays"], "metrics": metrics})
    return Message(content=content, reply_to=message)


@server.main()
def main(grid: Grid, _: Context) -> None:
    values = numpy.full(BYTES // 4, 0.5, dtype=numpy.float32)
    strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0, min_available_nodes=CLIENTS)
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord([values]),
        num_rounds=ROUNDS,
        evaluate_fn=lambda round_, arrays: times.append(time.perf_counter()),
    )


run_simulation(
    server_app=server,
    client_app=client,
    num_supernodes=CLIENTS,
    backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
)
print(json.dumps({"seconds": [end - begin for begin, end in zip(times, times[1:])]}))
