"""Flower's simulation of clients that send back what they got: `app.py CLIENTS ROUNDS BYTES NODES`.

On one node of Ray with all cores, or on several with a core each. Prints one object of JSON: the
seconds of each round. In the first, Flower starts its workers.
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
from ray.cluster_utils import Cluster

CLIENTS, ROUNDS, BYTES, NODES = map(int, sys.argv[1:5])

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


def nodes() -> dict:
    """Starts the nodes, each with processes and a store of its own; what leads Flower to them. One node
    Flower starts itself, with all cores."""
    if NODES == 1:
        return {}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    for _ in range(NODES - 1):
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    return {"init_args": {"address": cluster.address}}


run_simulation(
    server_app=server,
    client_app=client,
    num_supernodes=CLIENTS,
    backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, **nodes()},
)
print(json.dumps({"seconds": [end - begin for begin, end in zip(times, times[1:])]}))
