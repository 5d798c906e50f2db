"""Numbers that papers have published, beside which the book sets its own.

Li, Zhou, Chen and Li, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", arXiv:1707.09835, 2017, is the
paper of this book.
"""

# Mean squared error after one step on sine waves, by method, shots of meta-training and shots of the test:
# the first table of Li et al. 2017 (chapter 6).
SINE_WAVES = {
    "maml": {
        5: {5: 1.13, 10: 0.85, 20: 0.71},
        10: {5: 1.17, 10: 0.77, 20: 0.56},
        20: {5: 1.29, 10: 0.76, 20: 0.48},
    },
    "meta-sgd": {
        5: {5: 0.90, 10: 0.63, 20: 0.50},
        10: {5: 0.88, 10: 0.53, 20: 0.35},
        20: {5: 1.01, 10: 0.54, 20: 0.31},
    },
}
# Half-widths of the 95% intervals of these errors, and the curves that a run of the paper was meta-trained on, 60,000
# meta-updates of 4. They are quoted from memory: there was no copy of the paper to check them against.
SINE_WAVES_HALF_WIDTHS = {
    "maml": {
        5: {5: 0.18, 10: 0.14, 20: 0.12},
        10: {5: 0.16, 10: 0.11, 20: 0.08},
        20: {5: 0.20, 10: 0.12, 20: 0.08},
    },
    "meta-sgd": {
        5: {5: 0.16, 10: 0.12, 20: 0.10},
        10: {5: 0.14, 10: 0.09, 20: 0.06},
        20: {5: 0.17, 10: 0.08, 20: 0.05},
    },
}
SINE_WAVES_CURVES = 240_000
# Accuracy on Omniglot, by method and (ways, shots): the second table of Li et al. 2017 (chapter 12).
OMNIGLOT = {
    "Meta-SGD": {(5, 1): 0.9953, (5, 5): 0.9993, (20, 1): 0.9593, (20, 5): 0.9897},
    "MAML": {(5, 1): 0.987, (5, 5): 0.999, (20, 1): 0.958, (20, 5): 0.989},
}
# Half the width of the 95% intervals that stand beside these numbers in the same table.
OMNIGLOT_INTERVALS = {
    "Meta-SGD": {(5, 1): 0.0026, (5, 5): 0.0009, (20, 1): 0.0038, (20, 5): 0.0019},
    "MAML": {(5, 1): 0.004, (5, 5): 0.001, (20, 1): 0.003, (20, 5): 0.002},
}
# Accuracy on miniImageNet, by method and (ways, shots): the third table of Li et al. 2017 (chapter 12).
MINIIMAGENET = {
    "Meta-SGD": {(5, 1): 0.5047, (5, 5): 0.6403, (20, 1): 0.1756, (20, 5): 0.2892},
    "MAML": {(5, 1): 0.4870, (5, 5): 0.6311, (20, 1): 0.1649, (20, 5): 0.1929},
}
# Accuracy on CIFAR-FS, by method and (ways, shots): Bertinetto, Henriques, Torr and Vedaldi, "Meta-learning with
# differentiable closed-form solvers", ICLR 2019, arXiv:1805.08136 (chapter 12).
CIFAR_FS = {"MAML": {(5, 1): 0.589, (5, 5): 0.715}}
# Mean return on 2-D navigation, by method and by whether starts are random: Li et al. 2017, the table of their
# experiment with reinforcement learning. Its unit is not certain, but very likely the distance (chapter 13).
NAVIGATION = {"maml": {False: -9.12, True: -10.71}, "meta-sgd": {False: -8.64, True: -10.15}}
# Mean return on 2-D navigation after 0 to 3 steps: Finn et al. 2017, table 4, over 40 goals. Their paper says squared
# distance; the code that they published sums distances, and gives these very numbers (chapter 13).
NAVIGATION_MAML = (-40.41, -11.68, -3.33, -3.23)
# Accuracy on MNIST, 10-way 1-shot, after training on Omniglot alone (chapter 12): Koch, Zemel and Salakhutdinov,
# "Siamese neural networks for one-shot image recognition", 2015; Vinyals et al., "Matching networks for one shot
# learning", 2016.
OMNIGLOT_TO_MNIST = {"Siamese nets, 2015": 0.703, "Matching Networks, 2016": 0.72}
