"""What the cluster's part makes of a run's events."""

import unittest

from benches.cluster.figures import Timed, again, flowing, gaps, percentile, rates


def started(at, number):
    return Timed(at, {"event": "round_started", "round": number})


def state(at, name, client, number=2, lane=None):
    event = {"event": "client_state", "round": number, "client": client, "state": name, "lane": lane}
    return Timed(at, event)


def joined(host, lane):
    return Timed(0.0, {"event": "host_joined", "host": host, "lanes": [lane]})


class ClusterTest(unittest.TestCase):
    def test_gaps_begin_with_the_round_and_the_first_round_is_left_out(self):
        first = [started(0, 1), state(5, "sent", 0, 1)]
        second = [started(6, 2), state(7, "queued", 0), state(8, "sent", 0), state(11, "sent", 1)]
        self.assertEqual(gaps([*first, *second]), [2, 3])

    def test_a_rounds_rate_is_that_until_its_last_update(self):
        first = [started(0, 1), state(5, "sent", 0, 1)]
        second = [started(6, 2), state(7, "sent", 0), state(10, "sent", 1), started(12, 3)]
        self.assertEqual(rates([*first, *second]), [0.5])

    def test_percentiles_are_values_that_were_measured(self):
        values = list(range(200, 0, -1))
        self.assertEqual([percentile(values, p) for p in (50, 99, 100)], [101, 199, 200])

    def test_a_dead_hosts_job_is_looked_for_on_other_lanes(self):
        events = [
            joined("host-1.a", 4),
            joined("host-10.b", 5),
            state(1, "training", 0, lane=4),
            state(2, "sent", 0),
            state(3, "training", 1, lane=4),
            state(4, "training", 2, lane=5),
            state(6, "training", 0, lane=5),
            state(9, "training", 1, lane=5),
        ]
        self.assertEqual(again(events, "host-1", killed=5), 4)
        with self.assertRaises(ValueError):
            again(events, "host-10", killed=5)

    def test_updates_that_were_on_their_way_when_the_broker_died_do_not_count(self):
        times = [4.9, 5.1, 6.5, 6.6, 6.7]
        events = [state(at, "sent", client) for client, at in enumerate(times)]
        self.assertEqual(flowing(events, killed=5), 1.5)
        with self.assertRaises(ValueError):
            flowing(events, killed=7)


if __name__ == "__main__":
    unittest.main()
