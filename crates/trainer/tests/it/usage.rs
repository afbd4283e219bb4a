//! Invalid usage is reported before any work, with the flag and what it allows.

use std::any::TypeId;

use crate::common::Folder;
use clap::CommandFactory;
use clap::error::ErrorKind;
use hvae::commands::Cli;

/// Values of flags that are invalid for every run, and what the message must contain.
#[rustfmt::skip]
const IMPOSSIBLE: &[(&str, &str, &str)] = &[
    ("train --device gpu", "--device", "auto, cpu"),
    ("train --device cpu:1", "--device", "takes no index"),
    ("train --devices cpu,gpu", "--devices", "auto, cpu"),
    ("train --threads 0", "--threads", "1.."),
    ("train --learning-rate -1", "--learning-rate", "above 0"),
    ("train --batch-size 0", "--batch-size", "1..=10000000"),
    ("train --name ../up", "--name", "plain name"),
    ("train --resume run --runs elsewhere", "--runs", "cannot be used"),
    ("train --dataset imagenet", "--dataset", "fashion-mnist"),
    ("train --model vae", "--model", "tdh-vae"),
    ("train --set ep.damping=1", "damping", "[0, 1)"),
    ("serve --port 0", "--port", "1..=65535"),
    ("serve --devices gpu", "--devices", "auto, cpu"),
    ("sample run --grid 0x10", "--grid", "from 1 to 100"),
    ("sample run --out o.gif", "--out", ".png or .npz, or name a folder"),
    ("sample run --count 200", "--count", "--grid"),
    ("reconstruct run --tolerance nan", "--tolerance", "of 0 or more"),
    ("reconstruct run --out o.gif", "--out", ".png or .npz"),
    ("gradcheck run --nudge 0.1,0", "--nudge", "above 0"),
    ("gradcheck run --images 0", "--images", "1.."),
    ("interpolate run 0", "POINT", "2 values required"),
    ("interpolate run 0 x", "POINT", "z=-1,0.5,2"),
    ("interpolate run 0 1 --out o.jpg", "--out", ".png or .gif"),
    ("manifold run --range -1", "--range", "above 0"),
    ("manifold run --dimensions 3", "--dimensions", "two different coordinates"),
    ("manifold run --dimensions 3,3", "--dimensions", "two different coordinates"),
    ("manifold run --out plane", "--out", ".png"),
    ("denoise run --noise=-1", "--noise", "of 0 or more"),
    ("denoise run --share 1.5", "--share", "in [0, 1]"),
    ("denoise run --anchor 2", "--anchor", "in [0, 1]"),
    ("denoise run --tolerance -1", "--tolerance", "of 0 or more"),
    ("denoise run --hide none", "--hide", "--noise SIGMA, above 0"),
    ("denoise run --out o.jpg", "--out", ".png, .gif or .npz"),
    ("relax run --damping 1", "--damping", "in [0, 1)"),
    ("relax run --out o.npz", "--out", ".gif or .png"),
    ("compare --epochs 0", "--epochs", "1..=10000000"),
    ("import w.safetensors --name a/b", "--name", "plain name"),
    ("fid a b --count 1", "--count", "2..=10000000"),
    ("fid a b --save-stats s.txt", "--save-stats", ".npz"),
    ("fid a b --features vgg", "--features", "inception-768, or"),
    ("eval run --nll-samples 0", "--nll-samples", "1..=1000000"),
    ("weights fetch --url ftp://x", "--url", "https://"),
    ("classifier train --out o.npz", "--out", ".safetensors"),
    ("classifier train --out o.safetensors --learning-rate -1", "--learning-rate", "above 0"),
    ("converge --networks 4", "--networks", "3, 5 or 7"),
    ("converge --networks 3 --hidden 8,8", "--hidden", "1 hidden layer"),
    ("converge --networks 3 --hidden 0", "--hidden", "1..=65536"),
    ("converge --networks 3 --hidden 18446744073709551615", "--hidden", "1..=65536"),
    ("converge --networks 3 --hidden 1000000000000", "--hidden", "1..=65536"),
    ("converge --networks 3,5 --hidden 8", "--hidden", "one network"),
    ("converge --networks 5 --forms chn", "--forms", "3-layer"),
    ("phase --from 0", "--from", "above 0"),
    ("phase --to -1", "--to", "above 0"),
    ("phase --from 5 --to 2", "--from", "must be smaller"),
    ("phase --norm 0", "--norm", "above 0"),
    ("phase --tolerance -1", "--tolerance", "of 0 or more"),
    ("phase --same -1", "--same", "of 0 or more"),
    ("phase --cosine 2", "--cosine", "in [-1, 1]"),
    ("phase --cosine 0.5", "--cosine", "--patterns equidistant"),
    ("phase --patterns equidistant --cosine -0.9", "--cosine", "lies in ["),
    ("phase --count 5 --dimension 3", "--dimension", "at least 5"),
    ("phase --patterns synthetic --dimension 3", "--dimension", "cannot be set for images"),
];

#[test]
fn invalid_values_are_invalid_usage_and_the_message_says_what_is_allowed() {
    let folder = Folder::new();
    for (line, flag, allowed) in IMPOSSIBLE {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let text = folder.fails(2, &arguments);
        assert!(text.contains(flag) && text.contains(allowed), "{line}: {text}");
        assert!(text.starts_with("error: "), "{line}: {text}");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path(".")).unwrap().collect();
    assert!(left.is_empty(), "refused before anything is written: {left:?}");
}

/// No flag that takes a number accepts NaN or infinity.
#[test]
fn every_number_has_a_range() {
    let mut flags = 0;
    let mut command = Cli::command();
    command.build();
    number_flags(&command, &mut |command, flag| {
        for wrong in ["nan", "inf", "-inf"] {
            let line = ["hvae".to_owned(), format!("--{flag}={wrong}")];
            let error = command.clone().try_get_matches_from(line).unwrap_err();
            let name = command.get_name();
            assert_eq!(
                error.kind(),
                ErrorKind::ValueValidation,
                "{name} --{flag} {wrong}: {error}"
            );
        }
        flags += 1;
    });
    assert!(flags >= 15, "only {flags} flags found");
}

fn number_flags(command: &clap::Command, found: &mut impl FnMut(&clap::Command, &str)) {
    for argument in command.get_arguments() {
        if argument.get_value_parser().type_id() == TypeId::of::<f64>() {
            found(command, argument.get_long().unwrap());
        }
    }
    command.get_subcommands().for_each(|inner| number_flags(inner, found));
}

#[test]
fn invalid_usage_exits_with_2() {
    let folder = Folder::new();
    folder.fails(2, &[]);
    let text = folder.fails(2, &["train", "--epoch", "3"]);
    assert!(text.contains("--epochs"), "{text}");
    folder.fails(2, &["sample"]);
    folder.fails(2, &["sample", "run", "--grid", "0x10"]);
    folder.fails(2, &["train", "--resume", "run", "--seed", "2"]);
    folder.fails(2, &["train", "--epochs", "0"]);
    folder.fails(2, &["train", "--quiet", "--verbose"]);
    for (arguments, expected) in [
        (vec!["train", "--set", "training.learnign_rate=1"], "learnign_rate"),
        (vec!["train", "--set", "model.latent=0"], "latent"),
        (vec!["train", "--set", "training.learning_rate=-1"], "training.learning_rate = -1"),
        (vec!["train", "--dataset", "imagenet"], "./imagenet"),
        (vec!["train", "--name", "../up", "--dataset", "synthetic"], "--name"),
    ] {
        let text = folder.fails(2, &arguments);
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
    assert!(!folder.path("checkpoints").exists());
    // A mistake in a file is not invalid usage.
    std::fs::write(folder.path("wrong.toml"), "[training]\nepochs = 0\n").unwrap();
    let text = folder.fails(1, &["train", "--config", "wrong.toml"]);
    assert!(text.contains("training.epochs = 0"), "{text}");
}

#[test]
fn help_teaches() {
    let folder = Folder::new();
    assert!(folder.ok(&["--help"]).contains("equilibrium"));
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        let help = folder.ok(&[name, "--help"]);
        // One line about it, its examples, and nothing of the arguments that it shares.
        let about = command.get_about().unwrap().to_string();
        assert!(help.starts_with(&about) && help.contains("Examples:"), "{name}: {help}");
    }
}

/// The text below the options is printed without wrapping.
#[test]
fn no_line_of_help_is_too_long() {
    fn check(command: &clap::Command) {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{}: {line}", command.get_name());
        }
        command.get_subcommands().for_each(check);
    }
    check(&Cli::command());
}

#[test]
fn failures_leave_nothing() {
    let folder = Folder::new();
    for (arguments, expected) in [
        (vec!["train", "--config", "none.toml"], "none.toml"),
        (vec!["train", "--resume", "nowhere"], "nowhere"),
        (vec!["sample", "nowhere"], "nowhere"),
    ] {
        let text = folder.fails(1, &arguments);
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
    assert!(!folder.path("checkpoints").exists());
}
