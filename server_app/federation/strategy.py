"""ModalityFedAvg: each parameter is averaged over the sites that trained the modality it belongs to.

The averaging itself is in `condi_core.averaging`; here sites are asked, and their replies checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from condi_core.averaging import Aggregator, Arrays, SiteUpdate, average, has_site_versions, site_view
from condi_core.ownership import Owner
from condi_core.serialization import PACKED, PackingError, from_bytes, max_packed_size, to_bytes
from server_app.artifacts.scores import Evaluation
from server_app.artifacts.site_info import SiteInfo
from server_app.errors import (
    MAX_REASON_CHARS,
    RunError,
    TooFewSitesError,
    last_line,
    without_control_characters,
)
from server_app.federation.roster import Roster

MAX_ABS_WEIGHT = (
    1e6  # magnitude of a weight or of a standardised spectrum beyond which a reply is not believed
)


class ModalityFedAvg(Strategy):
    """FedAvg (McMahan et al. 2017) with one weight per modality and per pair of modalities.

    `action` names the client's functions (`train.<action>`, `evaluate.<action>`), `owners` says what each
    array of the state belongs to, `returned` which of them sites send back, and `evaluation` what the sums
    of an evaluation look like and say. `combine` makes the next state of the replies, as `average` does; a
    site is sent the state with its own versions, where it has any. `turns` says which of the sites train in a
    round, in which a site takes `max_steps` at most; evaluations ask all. After each exchange `asked` says
    who was to reply, `answered` and `failures` who did and why others did not.
    """

    def __init__(
        self,
        roster: Roster,
        action: str,
        owners: dict[str, Owner],
        returned: set[str],
        evaluation: Evaluation,
        min_sites: int,
        combine: Aggregator | None = None,
        turns: Callable[[Sequence[str], int], list[str]] | None = None,
        max_steps: int = 1,
    ) -> None:
        self.roster, self.action, self.owners, self.returned = roster, action, owners, returned
        self.evaluation, self.min_sites, self.combine = evaluation, min_sites, combine or average
        self.turns = turns or (lambda sites, round_: list(sites))
        self.max_steps = max_steps
        self.asked: list[str] = list(roster.sites)
        self.base: Arrays = {}
        self.answered: dict[str, float] = {}  # seconds each site worked
        self.failures: dict[str, str] = {}
        self.sent = self.received = 0  # bytes of arrays
        self.sums: Arrays = {}
        self.site_sums: dict[str, Arrays] = {}  # what each site has added to them
        self.shapes: dict[str, tuple[int, ...]] = {}  # of the sums asked for

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        self.base = to_numpy(arrays)
        self.asked = self.turns(list(self.roster.sites), server_round)
        return self._messages("train", server_round, self.base, config)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        self.shapes = self.evaluation.shapes(int(config.get("samples", 0)))
        self.asked = list(self.roster.sites)
        return self._messages("evaluate", server_round, to_numpy(arrays), config)

    def _messages(self, kind: str, server_round: int, state: Arrays, config: ConfigRecord) -> list[Message]:
        messages, self.sent = [], 0
        for name, given in records_by_site(state, self.asked).items():
            self.sent += sum(len(array.data) for array in given.values())
            asked = ConfigRecord({**config, "site": name, "server-round": server_round})
            content = RecordDict({"arrays": given, "config": asked})
            messages.append(
                Message(content, self.roster.sites[name].node_id, f"{kind}.{self.action}", group_id=name)
            )
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord, MetricRecord]:
        """Average the usable replies; RunError when fewer than `min_sites` are."""
        good = self._usable(replies, self._fault_of_training)
        m = len(self.roster.schema.modalities)
        trained = [
            SiteUpdate(
                to_numpy(content["arrays"]),
                np.array(content["metrics"]["counts"], float).reshape(m, m),
                float(content["metrics"]["windows"]),
                int(content["metrics"]["steps"]),
                name,
            )
            for name, content in good.items()
        ]
        averaged = self.combine(self.base, self.owners, trained)
        windows = sum(t.windows for t in trained)
        loss = sum(float(c["metrics"]["loss"]) * float(c["metrics"]["windows"]) for c in good.values())
        return to_record(averaged), MetricRecord({"loss": loss / windows, "windows": windows})

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord:
        """Add up the sites' sums (kept in `sums` and `site_sums`) and read the metrics from the total."""
        good = self._usable(replies, self._fault_of_evaluation)
        self.sums, extra = {}, {}
        self.site_sums = {site: to_numpy(content["arrays"]) for site, content in good.items()}
        for site, content in good.items():
            for name in self.shapes:
                self.sums[name] = self.sums.get(name, 0) + self.site_sums[site][name]
            for name in self.evaluation.numbers:
                extra[name] = extra.get(name, 0.0) + float(content["metrics"][name])
        return MetricRecord({k: float(v) for k, v in self.evaluation.read(self.sums, extra).items()})

    def summary(self) -> None:
        print(f"{self.action}: average per modality over {len(self.roster.sites)} sites", flush=True)

    def _usable(
        self, replies: Iterable[Message], fault_of: Callable[[RecordDict, SiteInfo], str | None]
    ) -> dict[str, RecordDict]:
        """Contents by site, in the roster's order; whoever did not answer well is in `failures`."""
        self.failures = dict.fromkeys(self.asked, "no answer in time")
        good: dict[str, RecordDict] = {}
        for reply in replies:
            name = self.roster.site_of(reply)
            if self.roster.virtual and reply.has_error() and "ActorDiedError" in (reply.error.reason or ""):
                # Flower puts the dead actor back into its pool, where it fails whatever it is given next.
                raise RunError("a worker of the simulation died, most often because memory ran out")
            if reply.has_error():
                if name not in good:
                    self.failures[name] = last_line(reply.error.reason)
            elif name not in self.roster.sites:
                self.failures[name] = "it is not part of this run"
            elif name in good:
                self.failures[name] = "two replies came in its name"
            elif fault := _fault(fault_of, reply.content, self.roster.sites[name]):
                self.failures[name] = f"its reply is refused: {fault}"
            else:
                self.failures.pop(name, None)
                good[name] = reply.content
        good = {name: good[name] for name in self.asked if name in good and name not in self.failures}
        self.received = sum(len(a.data) for content in good.values() for a in content["arrays"].values())
        self.settle({name: float(c["metrics"]["seconds"]) for name, c in good.items()}, self.failures)
        return good

    def settle(self, answered: dict[str, float], failures: dict[str, str]) -> None:
        """Keep who answered, after how many seconds, and who did not; TooFewSites when they are too few."""
        self.answered, self.failures = answered, failures
        if len(answered) < self.min_sites:
            reasons = "; ".join(f"{name}: {why}" for name, why in failures.items())
            raise TooFewSitesError(
                f"{len(answered)} of {len(self.asked)} sites answered well where min-sites asks for "
                f"{self.min_sites} ({reasons})"
            )

    def _fault_of_training(self, content: RecordDict, site: SiteInfo) -> str | None:
        """What is wrong with a training reply, or None."""
        if "arrays" not in content or "metrics" not in content:
            return "it lacks arrays or metrics"
        shapes = {name: self.base[name].shape for name in self.returned}
        found, metrics = to_numpy(content["arrays"], max_packed_size(shapes)), content["metrics"]
        if absent := sorted(self.returned - found.keys()):
            return (
                f"it lacks {absent[0]} and {len(absent) - 1} more" if absent[1:] else f"it lacks {absent[0]}"
            )
        if unknown := sorted(found.keys() - self.returned):
            return f"it brings {without_control_characters(unknown[0][:MAX_REASON_CHARS])}, which was not asked for"
        for name, array in found.items():
            expected = self.base[name]
            if array.shape != expected.shape or array.dtype != expected.dtype:
                return f"{name} is {array.dtype} {array.shape}, expected {expected.dtype} {expected.shape}"
            if not np.isfinite(array).all():
                return f"{name} is not finite"
            if np.abs(array).max(initial=0) > MAX_ABS_WEIGHT:
                return f"{name} has values beyond {MAX_ABS_WEIGHT:g}"
        counts = np.array(metrics.get("counts", []), float)
        told = _numbers(metrics, "seconds", "windows", "loss", "steps")
        _, windows, _, steps = told
        if len(counts) != len(self.roster.schema.modalities) ** 2 or not np.isfinite([*counts, *told]).all():
            return "its counts, seconds, windows, loss or steps are missing or not finite"
        if (counts < 0).any() or windows <= 0 or not 1 <= steps <= self.max_steps:
            return "it trained on no window, in no step, or in more than can be"
        if windows != site.manifest.windows["train"]:
            return f"it weighs {windows:g} windows where it has {site.manifest.windows['train']}"
        if counts.max() > windows * np.prod(site.manifest.shape[1:]):
            return "it counts more samples than its windows have"
        return None

    def _fault_of_evaluation(self, content: RecordDict, site: SiteInfo) -> str | None:
        """What is wrong with an evaluation reply, or None."""
        if "arrays" not in content or "metrics" not in content:
            return "it lacks arrays or metrics"
        windows = max(site.manifest.windows.values())
        most = MAX_ABS_WEIGHT * max(windows, 1) * np.prod(site.manifest.shape)
        arrays = to_numpy(content["arrays"], max_packed_size(self.shapes))
        found = {name: array.shape for name, array in arrays.items()}
        if found != self.shapes:
            odd = sorted(n for n in found.keys() | self.shapes if found.get(n) != self.shapes.get(n))[0]
            shape, expected = found.get(odd, "absent"), self.shapes.get(odd, "none")
            return f"{without_control_characters(odd[:MAX_REASON_CHARS])} is {shape}, expected {expected}"
        for name, array in arrays.items():
            if array.dtype != np.float64:  # as another type sums could wrap around, or have imaginary parts
                return f"{name} is {array.dtype}, expected float64"
            if not np.isfinite(array).all() or (array < 0).any() or (array > most).any():
                return f"{name} is not a sum of counts and errors"
        wanted = ("seconds", *self.evaluation.numbers)
        numbers = np.array(_numbers(content["metrics"], *wanted))
        if not np.isfinite(numbers).all() or (numbers < 0).any() or (numbers > most).any():
            return f"its {', '.join(wanted)} are missing or not finite, negative, or too large"
        if "windows" in wanted and numbers[wanted.index("windows")] > windows:
            return "it scored more windows than it has"
        return None


def _fault(fault_of: Callable[[RecordDict, SiteInfo], str | None], content: RecordDict, site: SiteInfo):
    """What is wrong with a reply; whatever a site may send, it is no more than its reply that is lost."""
    try:
        return fault_of(content, site)
    except PackingError as error:
        return str(error)
    except Exception as error:
        return f"it cannot be read ({type(error).__name__})"


def records_by_site(state: Arrays, sites: Sequence[str]) -> dict[str, ArrayRecord]:
    """What each site is sent of a state: one record for all where that is the same, as it may be large."""
    if has_site_versions(state, sites):
        return {name: to_record(site_view(state, name)) for name in sites}
    return dict.fromkeys(sites, to_record(site_view(state, "")))


def to_numpy(record: ArrayRecord, most: float = math.inf) -> Arrays:
    return from_bytes({name: array.data for name, array in record.items()}, most)


def to_record(arrays: Arrays) -> ArrayRecord:
    packed = to_bytes(arrays)
    return ArrayRecord({PACKED: Array("uint8", (len(packed),), PACKED, packed)})


def _numbers(metrics: MetricRecord, *names: str) -> list[float]:
    """Single numbers of a reply, NaN for what is absent or not a number."""
    found = [metrics.get(name) for name in names]
    return [float(x) if isinstance(x, int | float) else float("nan") for x in found]
