"""Which files are changed, and which tests concern each: the nearest and quickest first."""

_EVALUATE = "tests/stages/evaluate/test_evaluate.py"
_SCORING = "tests/properties/test_scoring.py"
_DIFFERENCES = "tests/stages/report/test_differences.py"
_COMPARE = "tests/tools/test_compare.py"
_NO_PICKLE = (
    "tests/bad_input/test_archives.py::"
    "test_no_code_runs_what_it_reads_or_trusts_an_unverified_server"
)

TESTS: dict[str, list[str]] = {
    "monuseg/formats/predictions.py": [
        "tests/monuseg/formats/test_predictions.py",
        _NO_PICKLE,
        _EVALUATE,
    ],
    "monuseg/inference/sliding_window.py": [
        "tests/monuseg/inference/test_sliding_window.py",
        "tests/properties/test_sliding_window.py",
    ],
    "monuseg/inference/stain.py": ["tests/monuseg/inference/test_stain.py"],
    "monuseg/inference/views.py": [
        "tests/monuseg/inference/test_views.py",
        "tests/properties/test_sliding_window.py",
    ],
    "monuseg/nuclei/chosen.py": ["tests/monuseg/nuclei/test_chosen.py"],
    "monuseg/nuclei/watershed.py": [
        "tests/monuseg/nuclei/test_nuclei.py",
        "tests/properties/test_nuclei.py",
        _EVALUATE,
    ],
    "monuseg/scoring/calibration.py": [
        "tests/monuseg/scoring/test_calibration.py",
        _EVALUATE,
        _SCORING,
    ],
    "monuseg/scoring/contingency.py": [
        "tests/monuseg/scoring/test_contingency.py",
        "tests/monuseg/scoring/test_instances.py",
        _SCORING,
    ],
    "monuseg/scoring/fates.py": ["tests/monuseg/scoring/test_fates.py"],
    "monuseg/scoring/instances.py": ["tests/monuseg/scoring/test_instances.py", _SCORING],
    "monuseg/scoring/intervals.py": [
        "tests/monuseg/scoring/test_intervals.py",
        "tests/monuseg/scoring/test_paired.py",
        _DIFFERENCES,
        _EVALUATE,
        _SCORING,
    ],
    "monuseg/scoring/kept_runs.py": ["tests/monuseg/scoring/test_kept_runs.py"],
    "monuseg/scoring/paired.py": [
        "tests/monuseg/scoring/test_paired.py",
        _COMPARE,
        _DIFFERENCES,
    ],
    "monuseg/scoring/per_image.py": [
        "tests/monuseg/scoring/test_per_image.py",
        _COMPARE,
        _DIFFERENCES,
    ],
    "monuseg/scoring/pixels.py": [
        "tests/monuseg/scoring/test_pixels.py",
        _EVALUATE,
        _SCORING,
    ],
    "monuseg/scoring/rows.py": ["tests/monuseg/scoring/test_rows.py"],
    "stages/evaluate/choices.py": ["tests/stages/evaluate/test_choices.py", _EVALUATE],
    "stages/evaluate/images.py": [_EVALUATE],
    "stages/evaluate/selection.py": [
        "tests/stages/evaluate/test_selection.py",
        _EVALUATE,
        _SCORING,
    ],
    "stages/evaluate/summary.py": [
        "tests/stages/evaluate/test_summary.py",
        _EVALUATE,
        _SCORING,
    ],
    "stages/masks/rasterise.py": [
        "tests/stages/masks/test_rasterise.py",
        "tests/stages/masks/test_masks.py",
        "tests/properties/test_rasterise.py",
        "tests/bad_input/test_annotations.py",
    ],
}

# They take seconds, and are of processes and imports.
DESELECTED = [
    f"{_EVALUATE}::test_same_bytes_whatever_the_number_of_workers",
    f"{_EVALUATE}::test_keras_is_not_imported",
]
