//! Arguments with which commands take a second, on images that need no download.

/// A little model and few images, for `train` and `compare`.
pub const MODEL: [&str; 14] = [
    "--set",
    "data.dataset=\"synthetic\"",
    "--set",
    "data.train_images=96",
    "--set",
    "data.test_images=32",
    "--set",
    "model.hidden=[16]",
    "--set",
    "model.latent=4",
    "--set",
    "training.batch_size=16",
    "--epochs",
    "1",
];

/// For `eval` and `compare`.
pub const SCORES: [&str; 6] = ["--count", "20", "--nll-images", "4", "--nll-samples", "3"];

/// For `phase`.
pub const PHASE: [&str; 6] = ["--count", "4", "--starts", "9", "--betas", "8"];

/// For `converge`.
pub const CONVERGE: [&str; 14] = [
    "--dataset",
    "synthetic",
    "--networks",
    "3",
    "--hidden",
    "8",
    "--epochs",
    "1",
    "--seeds",
    "1",
    "--train-images",
    "64",
    "--test-images",
    "8",
];

/// For `search`.
pub const SEARCH: [&str; 12] = [
    "--trials",
    "2",
    "--epochs",
    "1",
    "--set",
    "data.dataset=synthetic",
    "--set",
    "data.train_images=64",
    "--set",
    "data.validation_images=20",
    "--set",
    "model.hidden=[16]",
];
