"""A pytest plugin: Hypothesis's examples as in `make test`, but the first that fails ends it."""

from hypothesis import Phase, settings

settings.register_profile(
    "mutants",
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    report_multiple_bugs=False,
)
