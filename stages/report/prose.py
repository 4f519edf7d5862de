"""What the report says in words that no run changes."""

from stages.report.original import SOURCE

TITLE = "Nuclei in H&E images: report"

LEAD = (
    "Every number of this run is computed by `dvc repro` from the archives to this page. "
    "Definitions stand at the end."
)

ORIGINAL_INTRO = (
    f"The tables of [the project that this one re-makes]({SOURCE}), with the same columns: as it "
    "printed them, as its own notebooks have them where the two differ, and as this pipeline "
    "finds them. What it printed as Dice is compared with the same quantity here, `pixel_dice`; "
    "true Dice of all pixels together is F1, and the last column is Dice as the field means it, "
    "averaged over images. A dash is a number that does not exist: a model that was not run, or "
    "a score that was not computed."
)

WRONG_IN_PRINT = (
    "**SegNet's test row has F1 and Dice swapped**: printed F1 0.9581 and Dice 0.7663; its "
    "notebook has F1 0.7664 and “Dice” 0.9582.",
    "**DeepLabV3+'s test row is a copy of SegNet's.** Its notebook has loss 0.4100, accuracy "
    "0.9090, F1 0.7858 and “Dice” 0.9588: the best F1 of the three, and the worst loss.",
    "**The “Dice” is none.** It is (2·t·p + 1) / (t + p + 1) for each pixel alone, averaged: a "
    "right pixel scores 1 and a wrong one 0.5, so that calling everything background scores "
    "0.88. Dice and F1 of a binary mask are the same number; two columns that differ cannot both "
    "be right.",
    "**Validation leaks.** Its validation images are a tenth of overlapping patches, drawn at "
    "random, so that nearly every pixel of them was trained on: U-Net's F1 is 0.92 there and "
    "0.77 on the test images. Here whole images, so whole patients, are held out.",
    "**A fifth of each image was never seen.** Patches of 256 pixels every 128 pixels end at "
    "pixel 896 of 1000: the last 104 rows and columns, 20 % of the image, were neither trained "
    "on nor tested. Here each pixel is scored once.",
    "**Accuracy says little.** About three quarters of the pixels are background, so calling "
    "everything background is right on about three quarters of them.",
    "**Touching nuclei are not told apart**: no score of the original counts nuclei. AJI and PQ "
    "do.",
)

COMPARISON_INTRO = (
    "Results of this pipeline on the real images, kept as `metrics/reference/*.json`, and what "
    "others published for the same 14 test images. Published Dice values come from different "
    "rasterisations of the same outlines, which alone is worth up to 0.06; results on other "
    "splits are left out."
)

NO_REFERENCE = (
    "No reference run is kept yet: after a run on the real archives, `python -m tools.reference "
    "NAME --description TEXT` keeps one."
)

DIFFERENCES_INTRO = (
    "Images differ far more among themselves than methods do on one image, so that the intervals "
    "of two methods may overlap where the difference between them is certain. Here every two "
    "methods are compared image by image. A difference **holds** where its 95 % interval (paired "
    "bootstrap over the images) leaves out 0; where it does not, it **may be chance**, and neither "
    "may be called better."
)

# Measured: 1,500 draws of normally distributed differences around 0, 1,000 resamples each; 0.085 of
# the intervals of 14 leave out 0 and 0.137 of those of 6.
CHANCE = (
    "One interval of 95 % in 20 leaves out 0 by chance where images are many, about one in 12 of "
    "14 images, one in 7 of six."
)

SEEDS = (
    "The intervals tell what other images would change, not what another training would: that "
    "is told by runs with other seeds (`make seeds`), and a difference smaller than their spread "
    "is none of the architectures."
)

ORGANS_INTRO = (
    "Few images of each organ: a low score shows where to look, and a difference between "
    "methods on one organ proves nothing."
)

CALIBRATION_INTRO = (
    "How to read it: of the pixels that a model gives P(nucleus) 0.7, seven in ten should be on a "
    "nucleus (the dotted line); a curve below the line claims too much, one above it too little. "
    "Expected calibration error is the gap between claim and truth in ten bins of P(nucleus), "
    "averaged over all pixels: 0 is best, and as most pixels are clear background, small values "
    "may hide a wrong curve. Otsu's mask is no probability, so it has neither."
)

NO_CALIBRATION = "No row of this run has probabilities on these images."

OVERLAYS_INTRO = (
    "The centre of each image, with the outlines of the true and of the predicted nuclei; below, "
    "where the two differ in pixels."
)

METRICS = (
    "**Dice**: 2·TP / (2·TP + FP + FN) of nucleus pixels in an image, then the mean over images, "
    "as the challenge averages. **F1** is the same formula over all pixels of the split "
    "together, so that large nuclei and crowded images weigh more; the two differ, and neither "
    "is the mean of scores of tiles or batches, which depends on how an image is cut.",
    "**IoU**: TP / (TP + FP + FN), averaged over images. **Accuracy**: share of right pixels among "
    "all pixels of the split; high even for an empty mask.",
    "**AJI** (aggregated Jaccard index): each true nucleus takes the predicted one of largest "
    "IoU, as the challenge's own code does; a prediction may be taken twice, and those never "
    "taken count as errors. **AJI+** assigns one to one. Code that starts from the largest "
    "intersection computes another number.",
    "**PQ** (panoptic quality) = **DQ** × **SQ**: detection F1 of nuclei that overlap by more "
    "than half (IoU above 0.5), times the mean IoU of those.",
    "**Loss**: mean binary cross-entropy of P(nucleus), each pixel once: comparable between "
    "models, and with the original's; Otsu's mask is no probability and has none. What "
    "training minimises is named objective, and compares with nothing else.",
    "**`pixel_dice`**: the original's “Dice” of probabilities, kept under a name of its own to "
    "compare with its tables.",
    "Intervals: 95 % bootstrap over test images; they tell how far the score depends on which "
    "images were drawn, not on the seed of the training. Threshold and settings that split "
    "nuclei are chosen on validation images alone. Scores of nuclei are left out where the truth "
    "is a binary mask, in which touching nuclei are one.",
)
