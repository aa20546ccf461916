"""From settings to a study: the one place where a run's configuration, a capture and a model meet."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core.base import discover
from core.base.config import resolve, validated
from core.base.errors import ConfigError
from core.base.events import Event
from core.engine.artifacts import Artifacts
from core.engine.runs import RunConfig
from core.study import Setup, Study

DEFAULT_STUDY = "hyrf"


def default_preset(device: str) -> str:
    """Return the preset that suits the machine: the paper's sizes need a GPU."""
    return "paper" if device == "cuda" else "full"


def usable_device(asked: str) -> str:
    """Turn auto, cpu or cuda into the device to train on."""
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "No CUDA device was found. Choose --device cpu, or see 'doctor' for the reason."
        )
    return asked


def run_config(
    study: str,
    preset: str,
    settings: Mapping[str, Any],
    *,
    variant: str = "",
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    capture: Path | str = "",
    max_size: int | None = None,
    ranks: int = 1,
) -> RunConfig:
    """Resolve everything that decides the numbers of a run."""
    study_class = discover.load(study)
    if variant and variant not in study_class.variants:
        known = ", ".join(study_class.variants)
        raise ConfigError(f"{study} has no variant '{variant}'. Choose one of: {known}.")
    config = resolve(study_class.Config, preset, settings)
    return RunConfig(
        study=study,
        variant=variant or study_class.variants[0],
        preset=preset,
        settings=config.model_dump(mode="json"),
        seed=seed,
        threads=threads,
        device=device,
        capture=os.fspath(capture),
        max_size=max_size,
        ranks=ranks,
    )


def study_builder(
    config: RunConfig,
    capture: Any,
    report: Callable[[Event], None],
    cancelled: Callable[[], bool] = lambda: False,
) -> Callable[[], Study]:
    """Return a function that constructs the study of a run; `capture` is at the run's picture size."""

    def build() -> Study:
        study_class = discover.load(config.study)
        settings = validated(study_class.Config, config.settings)
        setup = Setup(
            variant=config.variant,
            device=config.device,
            seed=config.seed,
            capture=capture,
            artifact=Artifacts(config.study),
            report=report,
            cancelled=cancelled,
        )
        study: Study = study_class(settings, setup)
        return study

    return build


def restore(study: Study, state: Mapping[str, Any]) -> None:
    """Bring a prepared study to where a checkpoint's state stands."""
    config = validated(type(study.config), state["config"])
    if config != study.config:  # live edits of the training that wrote it
        study.configure(config)
    study.load(state["study"])
