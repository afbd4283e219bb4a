//! The commands in the documents: all are understood, and those marked quick are run.
//!
//! A `console` block after a line `<!-- quick -->` is run, line by line and block by block, in one
//! temporary folder for each document. Only lines that begin with `hvae` count.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use common::Folder;
use hvae::cli::Cli;

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        docs.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    found.sort();
    found.push(root.join("README.md"));
    found
}

/// The commands of a document, and whether each is to be run.
fn commands(text: &str) -> Vec<(Vec<String>, bool)> {
    let (mut found, mut inside, mut marked, mut quick) = (Vec::new(), false, false, false);
    for line in text.lines() {
        match line.trim() {
            "<!-- quick -->" => marked = true,
            "```console" => (inside, quick, marked) = (true, marked, false),
            "```" => inside = false,
            line if inside => found.extend(words(line).map(|words| (words, quick))),
            _ => {}
        }
    }
    found
}

/// The words of a line that calls hvae, without its comment.
fn words(line: &str) -> Option<Vec<String>> {
    let line = line.split("  #").next().unwrap_or(line);
    // Where output goes is the shell's affair.
    let line = line.split(" > ").next().unwrap_or(line).split(" && ").next().unwrap_or(line);
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    (words.first().map(String::as_str) == Some("hvae")).then_some(words)
}

#[test]
fn every_command_in_the_documents_is_understood() {
    let mut count = 0;
    for path in documents() {
        let text = std::fs::read_to_string(&path).unwrap();
        for (words, _) in commands(&text) {
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{}: {}: {error}", path.display(), words.join(" "));
            }
            count += 1;
        }
    }
    assert!(count >= 20, "only {count} commands found");
}

#[test]
fn every_example_of_the_help_is_understood() {
    for command in Cli::command().get_subcommands() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples: Vec<_> = help
            .lines()
            .filter(|line| line.starts_with("  hvae"))
            // A remark stands after two spaces or more.
            .map(|line| line.trim().split("  ").next().unwrap_or(line))
            .filter_map(words)
            .collect();
        assert!(!examples.is_empty(), "{} has no example", command.get_name());
        for words in examples {
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{}: {error}", words.join(" "));
            }
        }
    }
}

#[test]
fn quick_commands_do_what_the_documents_say() {
    let mut count = 0;
    for path in documents() {
        let text = std::fs::read_to_string(&path).unwrap();
        let folder = Folder::new();
        for (words, _) in commands(&text).into_iter().filter(|(_, quick)| *quick) {
            let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
            folder.ok(&arguments);
            count += 1;
        }
    }
    assert!(count >= 10, "only {count} commands run");
}
