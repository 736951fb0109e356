"""How long group comparisons take: ours, and what fairlearn and confidence_intervals need for the part they can do.

Run: python bench/bias.py. The two others are timed if they are installed (pip install fairlearn confidence_intervals);
both resample without the permutations, one layer and grouping at a time, and fairlearn resamples utterances.
"""

from __future__ import annotations

import importlib.util
import resource
import time

import numpy as np
import pandas as pd

LAYERS, SPEAKERS, UTTERANCES, SEEDS, DRAWS = 8, 250, 20, 5, 2000
GROUPINGS = ("sex", "age_group", ["sex", "age_group"])


def study() -> pd.DataFrame:
    """Outcomes as a study of this size has them: names as strings, two columns of groups."""
    from fairlib.bias.simulation import simulate_outcomes

    rates = {"child": np.linspace(0.3, 0.5, LAYERS), "adult": np.linspace(0.2, 0.4, LAYERS)}
    outcomes = simulate_outcomes(rates, SPEAKERS // 2, UTTERANCES, seeds=SEEDS, seed_spread=0.1, by="age_group").astype(
        {"encoder": "string", "layer": "string", "speaker_id": "string", "utterance_id": "string"}
    )
    names = outcomes["speaker_id"].unique()
    sex = pd.Series(np.random.default_rng(0).choice(["female", "male"], len(names)), index=names)
    return outcomes.assign(sex=outcomes["speaker_id"].map(sex))


def ours(outcomes: pd.DataFrame) -> None:
    from fairlib.bias import group_bias

    start = time.perf_counter()
    for by in GROUPINGS:
        group_bias(outcomes, by=by, resamples=DRAWS, permutations=DRAWS)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(
        f"fairlib: {seconds:.2f} s, peak memory {peak:.2f} GB, for {DRAWS} resamples and {DRAWS} permutations of "
        f"{LAYERS} layers x {SPEAKERS} speakers x {SPEAKERS * UTTERANCES} utterances x {SEEDS} seeds x "
        f"{len(GROUPINGS)} groupings"
    )


def fairlearn(rows: pd.DataFrame) -> None:
    from fairlearn.metrics import MetricFrame

    def error(errors, length):
        return errors.sum() / length.sum()

    start = time.perf_counter()
    MetricFrame(
        metrics=error, y_true=rows["errors"], y_pred=rows["length"], sensitive_features=rows["age_group"],
        n_boot=DRAWS, ci_quantiles=[0.025, 0.975], random_state=0,
    )  # fmt: skip
    print(f"fairlearn: {time.perf_counter() - start:.1f} s for one layer, seed and grouping, over utterances")


def confidence_intervals(rows: pd.DataFrame) -> None:
    from confidence_intervals import evaluate_with_conf_int

    def gap(labels, samples):
        child = labels == 1
        errors, length = samples[:, 0], samples[:, 1]
        return errors[child].sum() / length[child].sum() - errors[~child].sum() / length[~child].sum()

    start = time.perf_counter()
    evaluate_with_conf_int(
        rows[["errors", "length"]].to_numpy(), gap, (rows["age_group"] == "child").to_numpy(int),
        pd.factorize(rows["speaker_id"])[0], num_bootstraps=DRAWS, alpha=5,
    )  # fmt: skip
    print(f"confidence_intervals: {time.perf_counter() - start:.1f} s for one layer, seed and grouping, over speakers")


def main() -> None:
    outcomes = study()
    ours(outcomes)
    rows = outcomes[(outcomes["layer"] == "0") & (outcomes["seed"] == 0)]
    for name, timed in {"fairlearn": fairlearn, "confidence_intervals": confidence_intervals}.items():
        if importlib.util.find_spec(name) is None:
            print(f"{name}: not installed")
        else:
            timed(rows)


if __name__ == "__main__":
    main()
