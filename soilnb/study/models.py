"""The nine models of a study, all fitted with given architectures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from soilnb import cnn, transfer
from soilnb._validation import Progress, check_choice
from soilnb.methods import METHODS
from soilnb.selection import Samples
from soilnb.study.nested import parse
from soilnb.study.networks import fit_network, select_rows, within
from soilnb.study.prepared import LIBRARIES, Study
from soilnb.study.scoring import Fits

if TYPE_CHECKING:
    from soilnb.cnn import Architecture, CrossValidation, FoldModels

    Network = CrossValidation | FoldModels

_KINDS = ("network", "transfer")
NINE_MODELS = tuple(name for name, one in METHODS.items() if one.kind in _KINDS)
# DTL-R and DTL-IR retrain the library's network: its architecture is theirs.
ARCHITECTURES = ("local", *LIBRARIES, *(f"dtl_i_{name}" for name in LIBRARIES))


def available_models(study: Study) -> tuple[str, ...]:
    """Return which of the nine models a study can have: five without a country."""
    has_country = len(study.country_rows) > 0
    return tuple(n for n in NINE_MODELS if has_country or not n.endswith("country"))


def fit_models(
    study: Study,
    architectures: Mapping[str, Architecture],
    *,
    methods: Iterable[str] | None = None,
    max_epochs: int | None = None,
    retrain_epochs: int | None = None,
    n_library: int | None = None,
    selection: Mapping[str, Any] | None = None,
    networks: Mapping[str, Network] | None = None,
    selections: Mapping[str, npt.ArrayLike] | None = None,
    progress: Progress | None = None,
) -> Fits:
    """Fit the nine models of a study, or some of them.

    `local` learns from the local samples alone. Each library, `global` and `country`,
    adds its own network and three ways to transfer from it: instances (DTL-I),
    representations (DTL-R) and both (DTL-IR). As in Shen et al. (2022), `local` and
    DTL-R are trained on the same folds of the local samples; DTL-I and DTL-IR of a
    library on those of the localised ones.

    Parameters
    ----------
    study : Study
        The prepared study. Everything random comes from its seed.
    architectures : mapping of str to Architecture
        Of "local", "global", "country", "dtl_i_global" and "dtl_i_country"; the small
        network (`soilnb.cnn.SMALL`) for those left out.
    methods : iterable of str, optional
        Names of `NINE_MODELS` that the study can have; by default all of them.
    max_epochs, retrain_epochs : int, optional
        Fewer epochs than an architecture has; the same for DTL-R and DTL-IR, by default
        `max_epochs`.
    n_library : int, optional
        Rows that train a library's network at most, drawn by the seed. RS-LOCAL
        always searches the whole library.
    selection : mapping, optional
        Options of `select_rows`: n_selected, n_repeats, n_searches, ...
    networks : mapping of str to CrossValidation or FoldModels, optional
        Networks of "global" or "country" that were trained before, of the architecture
        given, as by `library_network`; they are not trained again.
    selections : mapping of str to array-like of int, optional
        Rows of `study.library` that were selected before from "global" or "country",
        for the same local samples; they are not selected again.
    progress : callable, optional
        Called as progress(done, total, text), in percent of a model.

    Notes
    -----
    Models are in the order of `NINE_MODELS`. Seconds are those of the method's own
    training, NaN for a network that was handed in; what several methods share is listed
    once, as "global" or "selection_global", wanted or not.
    """
    wanted = _check_methods(study, methods)
    for name in architectures:
        check_choice(name, "architecture", ARCHITECTURES)
    retrain_epochs = max_epochs if retrain_epochs is None else retrain_epochs
    sizes = max_epochs, retrain_epochs, n_library
    run = _Run(study, architectures, *sizes, selection or {})
    for library, network in (networks or {}).items():
        study.check_has(library)
        run.fits.models[library], run.fits.seconds[library] = network, np.nan
    for library, rows in (selections or {}).items():
        study.check_has(library)
        run.rows[library] = np.asarray(rows, dtype=np.intp)
    for number, method in enumerate(wanted):
        if progress is not None:
            run.progress = within(progress, number, len(wanted), method)
            run.aside = within(progress, number, len(wanted), method, counts=False)
        run.fit(method)
        if progress is not None:
            progress(100 * (number + 1), 100 * len(wanted), method)
    run.fits.models = {method: run.fits.models[method] for method in wanted}
    return run.fits


def _check_methods(study: Study, methods: Iterable[str] | None) -> list[str]:
    """Return the models to fit, in the order of `NINE_MODELS`."""
    available = available_models(study)
    wanted = available if methods is None else tuple(methods)
    for method in wanted:
        check_choice(method, "method", NINE_MODELS)
        if method not in available:
            msg = (
                f"'methods' must be some of {', '.join(available)} for the site "
                f"{study.site.name!r}, which has no country library, got {method!r}. "
                "Leave it out."
            )
            raise ValueError(msg)
    return [method for method in NINE_MODELS if method in wanted]


@dataclass
class _Run:
    """The fitting of several models; what they share is made when first asked for."""

    study: Study
    architectures: Mapping[str, Architecture]
    max_epochs: int | None
    retrain_epochs: int | None
    n_library: int | None
    selection: Mapping[str, Any]
    progress: Progress | None = None
    aside: Progress | None = None  # of what a model needs first: never its own share

    def __post_init__(self) -> None:
        """Start with nothing fitted."""
        self.fits = Fits(self.study)
        self.rows: dict[str, npt.NDArray[np.intp]] = {}

    def fit(self, method: str) -> None:
        """Fit one of the nine models."""
        if method in LIBRARIES:
            self._network(method, self.progress)
            return
        kind, library = parse(method)
        fit = cnn.cross_validate if kind == "local" else getattr(transfer, kind)
        options = {"n_local": len(self.study.local)} if kind == "dtl_ir" else {}
        is_localised = kind in ("dtl_i", "dtl_ir")
        is_retrained = kind in ("dtl_r", "dtl_ir")
        local = self.study.samples("local")
        samples = self._localised(library) if is_localised else local
        base = [self._network(library, self.aside)] if is_retrained else []
        self.fits.fit(
            method,
            fit,
            self._architecture(library if is_retrained else method),
            *base,
            *samples,
            seed=self.study.seed,
            max_epochs=self.retrain_epochs if is_retrained else self.max_epochs,
            progress=self.progress,
            **options,
        )

    def _architecture(self, name: str) -> Architecture:
        """Return the architecture given, or the small one."""
        return self.architectures.get(name, cnn.SMALL)

    def _network(self, library: str, progress: Progress | None) -> FoldModels:
        """Return the models of a library's folds, trained when first asked for."""
        if library not in self.fits.models:
            self.fits.fit(
                library,
                fit_network,
                self.study,
                library,
                self._architecture(library),
                max_epochs=self.max_epochs,
                n_library=self.n_library,
                progress=progress,
            )
        network = self.fits.models[library]
        return network if isinstance(network, cnn.FoldModels) else network.models

    def _localised(self, library: str) -> Samples:
        """Return the selected rows of a library, then the local samples."""
        if library not in self.rows:
            name = f"selection_{library}"
            options = {"progress": self.aside} | dict(self.selection)
            self.fits.fit(name, select_rows, self.study, library, **options)
            rows = self.fits.models[name].indices
            of_country = library == "country"
            self.rows[library] = self.study.country_rows[rows] if of_country else rows
        return self.study.localised(self.rows[library])
