//! The commands in the documents: all of them parse, and those on their own lines are run, block by
//! block, in one temporary folder per document.
//!
//! After a line `<!-- quick -->` they are run verbatim. Elsewhere commands that take hours or need
//! MNIST are shortened first ([`small`]); those that cannot be run at all are in [`NOT_RUN`].

use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use hvae::commands::Cli;

use crate::common::{Folder, quick, train};

/// Commands that are only parsed, and why.
const NOT_RUN: [(&str, &str); 1] =
    [("hvae train --dataset fashion-mnist", "needs Fashion-MNIST, which CI does not fetch")];

/// A command in a document.
struct Found {
    words: Vec<String>,
    how: How,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// To be run verbatim.
    Quick,
    /// On a line of its own.
    Line,
    /// Within a sentence, where it may be cut short and name things such as `RUN`.
    Sentence,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn documents() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        docs.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    let more = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "checkpoints/README.md",
        "datasets/README.md",
    ];
    found.extend(more.map(|name| root().join(name)));
    found.sort();
    found
}

/// The commands of a document.
fn commands(path: &Path) -> Vec<Found> {
    let text = std::fs::read_to_string(path).unwrap();
    let (mut found, mut fence, mut marked) = (Vec::new(), None, false);
    let mut add = |line: &str, how| found.extend(words(line).map(|words| Found { words, how }));
    for line in text.lines() {
        match (line.trim(), fence) {
            ("<!-- quick -->", None) => marked = true,
            ("```console", None) => fence = Some(if marked { How::Quick } else { How::Line }),
            (opening, None) if opening.starts_with("```") => fence = Some(How::Sentence),
            ("```", Some(_)) => (fence, marked) = (None, false),
            (_, Some(How::Sentence)) => {}
            (line, Some(how)) => add(line, how),
            (command, None) if line.starts_with("    ") => add(command, How::Line),
            (line, None) => {
                line.split('`').skip(1).step_by(2).for_each(|span| add(span, How::Sentence));
            }
        }
    }
    found
}

/// The words of a line that calls this program, cargo or Python, without its comment.
fn words(line: &str) -> Option<Vec<String>> {
    // A comment follows two spaces or more.
    let line = line.trim().split("  ").next().unwrap_or(line);
    // Redirections are for the shell.
    let line = line.split(" > ").next().unwrap_or(line).split(" && ").next().unwrap_or(line);
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let called = |first: &String| ["hvae", "cargo", "python3"].contains(&first.as_str());
    (words.len() > 1 && words.first().is_some_and(called)).then_some(words)
}

/// Why a command does not parse.
fn fault(found: &Found) -> Option<String> {
    let words: Vec<&str> = found.words.iter().map(String::as_str).collect();
    match words[..] {
        ["cargo", "run", "--release", "--"] => None,
        ["cargo", "run", "--release", "--", ..] => parse(&[&["hvae"], &words[4..]].concat()),
        ["cargo", ..] => of_cargo(&words),
        ["python3", script, ..] => of_script(script, &words[2..]),
        _ if found.how == How::Sentence => {
            let mut command = Cli::command();
            let known = words[1..].iter().all(|word| {
                let next = command.find_subcommand(word).cloned();
                next.map(|next| command = next).is_some()
            });
            // Placeholders become examples.
            let whole: Vec<&str> =
                words.iter().map(|word| if *word == "KIND" { "h-vae" } else { word }).collect();
            let cut_short = whole.last().is_some_and(|last| last.starts_with("--"));
            if known {
                None
            } else if cut_short {
                parse(&whole).and_then(|_| parse(&[&whole[..], &["1"]].concat()))
            } else {
                parse(&whole)
            }
        }
        _ => parse(&words),
    }
}

fn parse(words: &[&str]) -> Option<String> {
    // Requests such as --version are errors, too.
    Cli::try_parse_from(words).err().filter(clap::Error::use_stderr).map(|error| error.to_string())
}

/// Tests and benchmarks that are named must be there.
fn of_cargo(words: &[&str]) -> Option<String> {
    for (flag, folder) in [("--test", "tests"), ("--bench", "benches")] {
        let Some(at) = words.iter().position(|word| *word == flag) else { continue };
        let name = words[at + 1];
        let files = [format!("{folder}/{name}.rs"), format!("{folder}/{name}/main.rs")];
        let mut crates = std::fs::read_dir(root().join("crates")).unwrap();
        if !crates.any(|krate| {
            files.iter().any(|file| krate.as_ref().unwrap().path().join(file).is_file())
        }) {
            return Some(format!("no crate has {}", files[0]));
        }
    }
    let known = ["test", "bench", "build", "clippy", "doc", "install"].contains(&words[1]);
    (!known).then(|| format!("cargo {} is not known here", words[1]))
}

/// A script must be there and know its flags; `exchange` runs it.
fn of_script(script: &str, arguments: &[&str]) -> Option<String> {
    let Ok(text) = std::fs::read_to_string(root().join(script)) else {
        return Some(format!("there is no {script}"));
    };
    // Arguments after `--` are passed on.
    let own = arguments.iter().take_while(|word| **word != "--");
    let mut flags = own.filter(|word| word.starts_with("--"));
    let unknown = flags.find(|flag| !text.contains(&format!("\"{flag}\"")))?;
    Some(format!("{script} does not know {unknown}"))
}

#[test]
fn every_command_in_the_documents_parses() {
    let mut count = 0;
    for path in documents() {
        for found in commands(&path) {
            if let Some(fault) = fault(&found) {
                panic!("{}: {}: {fault}", path.display(), found.words.join(" "));
            }
            count += 1;
        }
    }
    assert!(count >= 60, "only {count} commands found");
}

#[test]
fn every_example_of_the_help_parses() {
    assert_examples(&Cli::command());
}

/// Every command and subcommand has examples, and they parse.
fn assert_examples(command: &clap::Command) {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let examples: Vec<_> =
        help.lines().filter(|line| line.starts_with("  hvae")).filter_map(words).collect();
    assert!(!examples.is_empty(), "{} has no example", command.get_name());
    for words in examples {
        if let Err(error) = Cli::try_parse_from(&words) {
            panic!("{}: {error}", words.join(" "));
        }
    }
    command.get_subcommands().for_each(assert_examples);
}

/// `arguments` without the `flags` and their values.
fn without(arguments: &[&str], flags: &[&str]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if flags.contains(word) {
            words.next();
        } else {
            kept.push((*word).to_owned());
        }
    }
    kept
}

/// The same command in a few seconds and offline: with other numbers and other images.
fn small(arguments: &[&str]) -> Vec<String> {
    let has = |flag: &str| arguments.contains(&flag);
    let replaced: Vec<&str> = match arguments[0] {
        "train" if has("--resume") || has("--from") => vec!["--epochs", "2"],
        "train" if has("--dataset") => vec!["--set", "model.hidden=[16]", "--epochs", "1"],
        "train" => quick::MODEL.to_vec(),
        "compare" if has("--train") => [&quick::MODEL[..], &quick::SCORES].concat(),
        "search" => quick::SEARCH.to_vec(),
        "sample" if has("--count") => vec!["--count", "20"],
        "gradcheck" => vec!["--images", "8"],
        "denoise" => vec!["--steps", "5"],
        "compare" | "eval" => quick::SCORES.to_vec(),
        "fid" => vec!["--count", "12"],
        "phase" if has("--patterns") => [&["--patterns", "synthetic"][..], &quick::PHASE].concat(),
        "phase" => [&["--table", "2,3"][..], &quick::PHASE].concat(),
        "converge" => quick::CONVERGE.to_vec(),
        _ => vec![],
    };
    let flags: Vec<&str> = replaced
        .iter()
        .copied()
        .filter(|word| word.starts_with("--") && *word != "--set")
        .collect();
    let mut made = without(arguments, &flags);
    made.extend(replaced.iter().map(|word| (*word).to_owned()));
    for word in &mut made {
        if word == "mnist-test" {
            "real.npz".clone_into(word);
        }
    }
    made
}

/// Puts what the commands of a document need into their folder.
fn prepare(folder: &Folder, found: &[Found]) {
    let names =
        |name: &str| found.iter().any(|f| f.how == How::Line && f.words.iter().any(|w| w == name));
    let first = found.iter().find(|f| f.words.iter().any(|w| w.contains("h-vae-001")));
    let makes_its_own =
        found.iter().any(|f| f.how != How::Sentence && f.words == ["hvae", "train"]);
    if (first.is_some() && !makes_its_own) || names("samples/") || names("mnist-test") {
        folder.ok(&train("h-vae-001", "96", "1"));
        folder.ok(&["sample", "checkpoints/h-vae-001", "--count", "12", "--out", "samples/"]);
        folder.ok(&[
            "sample",
            "checkpoints/h-vae-001",
            "--count",
            "12",
            "--seed",
            "1",
            "--out",
            "real.npz",
        ]);
        if makes_its_own {
            std::fs::remove_dir_all(folder.path("checkpoints")).unwrap();
        }
    }
    if names("./photos") {
        std::fs::create_dir(folder.path("photos")).unwrap();
        for number in 0..20_u8 {
            let picture = image::RgbImage::from_pixel(30, 20, image::Rgb([number * 10, 80, 200]));
            picture.save(folder.path(&format!("photos/{number}.jpg"))).unwrap();
        }
    }
    if names("mine.npz") {
        let values = [7; 20 * 9];
        let images = hvae_runtime::npz::Array::U8(vec![20, 3, 3], &values);
        hvae_runtime::npz::save(&folder.path("mine.npz"), &[("images", images)]).unwrap();
    }
}

/// Runs a command, which must print a result and write its output files.
fn run(folder: &Folder, arguments: &[&str]) {
    let printed = folder.ok(arguments);
    assert!(!printed.trim().is_empty(), "{arguments:?} prints nothing");
    for pair in arguments.windows(2) {
        if ["--out", "--json", "--save-stats"].contains(&pair[0]) && !pair[1].starts_with("--") {
            assert!(folder.path(pair[1]).exists(), "{arguments:?} does not write {}", pair[1]);
        }
    }
}

#[test]
fn commands_on_their_own_lines_run() {
    let (mut verbatim, mut shortened, mut left_out) = (0, 0, 0);
    for path in documents() {
        let folder = Folder::new();
        let found = commands(&path);
        prepare(&folder, &found);
        for Found { words, how } in found {
            let line = words.join(" ");
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let arguments = match words[..] {
                ["hvae", ..] => &words[1..],
                ["cargo", "run", "--release", "--", _, ..] => &words[4..],
                // Other commands are run elsewhere.
                _ => continue,
            };
            match how {
                How::Sentence => {}
                How::Line if NOT_RUN.iter().any(|(command, _)| *command == line) => left_out += 1,
                How::Line => {
                    let small = small(arguments);
                    run(&folder, &small.iter().map(String::as_str).collect::<Vec<_>>());
                    shortened += 1;
                }
                How::Quick => {
                    run(&folder, arguments);
                    verbatim += 1;
                }
            }
        }
    }
    assert!(verbatim >= 18, "only {verbatim} commands run verbatim");
    assert!(shortened >= 30, "only {shortened} commands run shortened");
    assert_eq!(left_out, NOT_RUN.len());
}
