"""Secure aggregation: a round of training of which the coordinator learns only sums over sites.

Flower's SecAgg+ (Bell et al. 2020, doi:10.1145/3372297.3417885) carries both sums of every average. Sites
send weighted updates relative to the start of the round (see `client_app.node.secure_aggregation`), and
Flower's workflow gives their mean over the sites that answered. One round is four exchanges. Of n sites,
n - t may drop out while they train, with t = n // 2 + 1, but at least `MIN_SECURE_SITES` must answer; t of
them together with the coordinator could unmask another.

A sum over two sites tells each of them the update of the other, and a sum over one is its update. A piece of
the model that belongs to a modality or pair is therefore withheld unless `MIN_SECURE_SITES` sites that
answered trained it: sites send zeros for it, and it keeps its value. Who has which modality is known from the
roster. Who trained it in a round is known after the training; if a piece has too few sites then, the attempt
ends before anything is unmasked, and the round is repeated without that piece.

So a coordinator that follows the protocol does not learn what single sites sent. A malicious one can: sites
cannot verify whose keys they receive, a round can be repeated under another number without one site and the
two sums compared, and Flower 1.39 makes each mask from 32 bits, which can be searched (`pseudo_rand_gen` in
`flwr.common.secure_aggregation`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Error
from flwr.serverapp import Grid

from condi_core.averaging import Arrays
from condi_core.ownership import aggregation_weights
from condi_core.protocol import COMPLETIONS_MISSING, LOSS_RANGE, MIN_SECURE_SITES
from data_partitions.manifest import SPLITS
from server_app.artifacts.site_info import SiteInfo
from server_app.errors import RunError, TooFewSitesError, last_line
from server_app.federation.exchange import Exchange
from server_app.federation.outcome import TrainingOutcome
from server_app.federation.roster import Roster
from server_app.federation.secure_attempt import NotUnmaskedError, SecureAttempt
from server_app.federation.strategy import ModalityFedAvg

RANGES = {"relation": 1024.0, "imputer": 8.0, "task": 8.0}  # largest change of one number in a round


def require_secure_sites(roster: Roster) -> None:
    """Raise RunError when these sites cannot aggregate securely."""
    nodes = {site.node_id for site in roster.sites.values()}
    if len(roster.sites) < MIN_SECURE_SITES:
        raise RunError(
            f"secure-aggregation needs at least {MIN_SECURE_SITES} sites, but {len(roster.sites)} connected: "
            "start more sites or turn secure-aggregation off"
        )
    if len(nodes) < len(roster.sites):
        raise RunError(
            f"secure-aggregation needs a node for each site, but {len(nodes)} nodes stand for "
            f"{len(roster.sites)} sites: start as many, in a simulation by num-supernodes or --nodes"
        )
    if len(withheld_modalities(roster)) == len(roster.schema.names):
        raise RunError(
            f"secure-aggregation withholds what fewer than {MIN_SECURE_SITES} sites train, and no modality "
            "has as many sites: start more sites or turn secure-aggregation off"
        )


def withheld_modalities(roster: Roster) -> list[str]:
    """Return the modalities that fewer than `MIN_SECURE_SITES` sites have, which are not trained."""
    return _names_below(roster, _num_owners(roster))


def notes_on_withheld(roster: Roster) -> list[str]:
    """Return a sentence for each phase on the modalities and pairs that too few of its sites have."""
    phases = {"sites": roster} | (
        {"sites with labels": roster.labelled_sites()} if roster.schema.labels else {}
    )
    notes: dict[str, str] = {}  # what is withheld → sites of the first phase in which it is
    for sites, of_phase in phases.items():
        num_owners = _num_owners(of_phase)
        parts = [", ".join(_names_below(of_phase, num_owners))]
        if num_withheld_pairs := np.triu(num_owners < MIN_SECURE_SITES, 1).sum():
            parts.append(f"both modalities of {num_withheld_pairs} of {math.comb(len(num_owners), 2)} pairs")
        if what := " and ".join(filter(None, parts)):
            notes.setdefault(what, sites)
    return [
        f"note: fewer than {MIN_SECURE_SITES} {sites} have {what}: secure-aggregation trains nothing that "
        "belongs to these, which keeps its initial weights"
        for what, sites in notes.items()
    ]


def _num_owners(roster: Roster) -> np.ndarray:
    """Return how many sites have both modalities of each pair `(modality, modality)`."""
    return np.sum([_observed_pairs(site) for site in roster.sites.values()], axis=0)


def _observed_pairs(site: SiteInfo) -> np.ndarray:
    """Return which modalities a site has samples of for training, as bool `(modality, modality)`."""
    has_samples = site.sums[:, 0] > 0
    return np.outer(has_samples, has_samples)


def _names_below(roster: Roster, num_sites: np.ndarray) -> list[str]:
    is_below = num_sites.diagonal() < MIN_SECURE_SITES
    return [name for name, is_withheld in zip(roster.schema.names, is_below, strict=True) if is_withheld]


class SecureTraining:
    """Secure rounds of training for a strategy.

    Parameters
    ----------
    grid : Grid
        Connection to the sites' nodes.
    strategy : ModalityFedAvg
        The strategy, all of whose sites train.
    timeout : float
        Seconds that sites have for each of the four exchanges.
    restore : callable or None
        Sends what sites have lost and need for some splits.
    """

    def __init__(
        self,
        grid: Grid,
        strategy: ModalityFedAvg,
        timeout: float,
        restore: Callable[[Collection[str], Sequence[str]], int] | None,
    ) -> None:
        self.grid = grid
        self.strategy = strategy
        self.timeout = timeout
        self.restore = restore

    def train(self, round_: int, state: Arrays, config: ConfigRecord) -> TrainingOutcome:
        """Do a round of training; TooFewSitesError when too few sites answer."""
        roster = self.strategy.roster
        failures: dict[str, str] = {}
        restored: set[str] = set()
        bytes_down = bytes_up = 0
        min_sites = max(MIN_SECURE_SITES, self.strategy.min_sites)
        pairs = {name: _observed_pairs(site) for name, site in roster.sites.items()}
        while len(pairs) >= min_sites:
            num_sites = np.sum(list(pairs.values()), axis=0)
            settings = self._settings(round_, config) | {"num-owners": num_sites.astype("<u4").tobytes()}
            attempt = SecureAttempt(
                self.grid, roster, list(pairs), min_sites, self.timeout, state, settings,
                may_train=num_sites >= MIN_SECURE_SITES,
            )  # fmt: skip
            try:
                attempt.run()
            except NotUnmaskedError as stop:
                for name, error in stop.failures.items():
                    lost = error is not None and error.code == COMPLETIONS_MISSING
                    if self.restore and lost and name not in restored:
                        restored.add(name)
                        self.restore({name}, SPLITS)
                    else:
                        failures[name] = _reason(error)
                        del pairs[name]
                for name, trained in stop.trained.items():
                    pairs[name] = pairs[name] & trained
                continue
            finally:
                bytes_down += attempt.grid.bytes_down
                bytes_up += attempt.grid.bytes_up
            failures |= {name: _reason(error) for name, error in attempt.grid.failures.items()}
            exchange = Exchange(list(roster.sites), attempt.seconds, failures, bytes_down, bytes_up)
            exchange.require_min_sites(min_sites)
            known = withheld_modalities(roster)
            if names := [name for name in _names_below(roster, num_sites) if name not in known]:
                print(
                    f"{self.strategy.action}, round {round_}: fewer than {MIN_SECURE_SITES} sites that "
                    f"answered trained {', '.join(names)}, which secure aggregation therefore left as it was",
                    flush=True,
                )
            return self._outcome(attempt.mean, state, settings, exchange)
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
        raise TooFewSitesError(
            f"only {len(pairs)} of {len(roster.sites)} sites remain, but secure aggregation needs "
            f"{min_sites} here ({reasons})",
            list(roster.sites),
        )

    def _settings(self, round_: int, config: ConfigRecord) -> dict[str, Any]:
        """Return the settings of the request, with the largest numbers that sites may send."""
        roster, action = self.strategy.roster, self.strategy.action
        windows = max(site.manifest.windows["train"] for site in roster.sites.values())
        counts_samples = self.strategy.counts_samples and round_ == 1
        samples = roster.schema.patches * roster.schema.samples if counts_samples else 1
        return {
            **config,
            "action": action,
            "server-round": round_,
            "range": RANGES[action],
            "most-windows": float(windows),
            "most-counted": float(windows * samples),
        }

    def _outcome(
        self, mean: list[np.ndarray], state: Arrays, settings: dict[str, Any], exchange: Exchange
    ) -> TrainingOutcome:
        """Return the next state, loss and windows that the mean over sites stands for."""
        *pieces, counts, (windows, loss) = mean
        result = dict(state)
        for name, piece in zip(sorted(self.strategy.returned), pieces, strict=True):
            old = state[name]
            weight = np.broadcast_to(
                aggregation_weights(self.strategy.owners[name], counts, windows, old.shape), old.shape
            )
            update = np.divide(piece, weight, out=np.zeros(old.shape), where=weight > 0)
            result[name] = (old + settings["range"] * update).astype(old.dtype)
        total = round(windows * settings["most-windows"] * len(exchange.seconds))
        return TrainingOutcome(result, loss / windows * LOSS_RANGE, float(total), exchange)


def _reason(error: Error | None) -> str:
    return last_line(error.reason) if error else "no answer in time"
