"""What the events of a run tell of times."""

from dataclasses import dataclass


@dataclass
class Timed:
    """An event, and when it came: seconds since 1970."""

    at: float
    event: dict

    def is_state(self, state: str) -> bool:
        """Whether a client got into this state."""
        return self.event["event"] == "client_state" and self.event["state"] == state

    def job(self) -> tuple[int, int]:
        return self.event["round"], self.event["client"]


def gaps(events: list[Timed]) -> list[float]:
    """Seconds from one client's update to the next, from a round's start to its last update. The
    first round, in which everything is new, is left out."""
    found, last = [], 0.0
    for timed in events:
        if timed.event["event"] == "round_started":
            last = timed.at
        elif timed.is_state("sent"):
            if timed.event["round"] > 1:
                found.append(timed.at - last)
            last = timed.at
    return found


def rates(events: list[Timed]) -> list[float]:
    """Clients a second in each round but the first."""
    begun, sent = {}, {}
    for timed in events:
        if timed.event["event"] == "round_started":
            begun[timed.event["round"]] = timed.at
        elif timed.is_state("sent"):
            sent.setdefault(timed.event["round"], []).append(timed.at)
    rounds = [number for number in sorted(sent) if number > 1]
    return [len(sent[number]) / (max(sent[number]) - begun[number]) for number in rounds]


def percentile(values: list[float], percent: float) -> float:
    """The least value that is not exceeded by so many percent of all."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def again(events: list[Timed], host: str, killed: float) -> float:
    """Seconds from a host's death until the job that it had is on another lane."""
    lanes = {
        lane
        for timed in events
        if timed.event["event"] == "host_joined" and timed.event["host"].startswith(f"{host}.")
        for lane in timed.event["lanes"]
    }
    on_host = set()
    for timed in events:
        if timed.is_state("training"):
            if timed.event["lane"] in lanes and timed.at <= killed:
                on_host.add(timed.job())
            elif timed.job() in on_host and timed.at > killed:
                return timed.at - killed
        elif timed.is_state("sent") and timed.at <= killed:
            on_host.discard(timed.job())
    raise ValueError(f"{host} had no job that was done again")


def flowing(events: list[Timed], killed: float) -> float:
    """Seconds from a broker's death to the end of the longest pause between updates after it. What
    was on its way at that moment comes at once and does not count."""
    times = [killed, *(timed.at for timed in events if timed.is_state("sent") and timed.at > killed)]
    pauses = [(later - earlier, later) for earlier, later in zip(times, times[1:])]
    if not pauses:
        raise ValueError("no update came after the broker's death")
    return max(pauses)[1] - killed
