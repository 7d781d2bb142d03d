"""The method: imputer, task model, training, metrics. `load_model` opens what a run has learned."""

__all__ = ["load_model"]


def __getattr__(name: str):
    # Not imported at once: torch takes seconds, and most of this package is of use without a model.
    if name == "load_model":
        from condi_core.model import load_model

        return load_model
    raise AttributeError(f"module 'condi_core' has no attribute '{name}'")
