//! A single file on a server, fetched whole or not at all, and known by its SHA-256.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

use crate::{Verbosity, idx, mirror};
use hvae_runtime::files;

/// A file and where to get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its name.
    pub name: &'static str,
    /// Where it can be had.
    pub url: &'static str,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: &'static str,
}

/// Size of the pieces that a file is copied in.
const PIECE: usize = 1 << 16;

impl RemoteFile {
    /// Checks that `path` is this very file, its length first.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is shorter or longer, or has another hash.
    pub fn verify(&self, path: &Path) -> anyhow::Result<()> {
        let length = std::fs::metadata(path)?.len();
        if length != self.bytes {
            let mut start = [0; 64];
            let read = std::fs::File::open(path)?.read(&mut start)?;
            let state = if length < self.bytes { "truncated" } else { "too long" };
            bail!(
                "{state}: it has {length} bytes and looks like {}, but {} has {}",
                idx::describe(&start[..read]),
                self.name,
                self.bytes
            );
        }
        let found = files::file_sha256(path)?;
        ensure!(
            found == self.sha256,
            "altered: its SHA-256 is {found}, but that of {} is {}",
            self.name,
            self.sha256
        );
        Ok(())
    }

    /// Downloads the file from `url` to `path`; it gets its name only when length and hash are
    /// right.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or sends anything else, or the file cannot be written.
    pub fn fetch(&self, url: &str, path: &Path, verbosity: Verbosity) -> anyhow::Result<()> {
        let download = |file: &mut dyn Write| {
            let response = mirror::agent_for(url).get(url).call()?;
            let body = response.into_body();
            let bar = verbosity.byte_bar(self.name, &format!("fetching {url}"), Some(self.bytes));
            let reader = bar.wrap_read(body.into_reader());
            let result = self.copy(reader, file);
            bar.finish_and_clear();
            result
        };
        files::remove_stale_scratch(files::parent_of(path))?;
        files::write_atomically(path, |file| {
            download(file).with_context(|| format!("cannot fetch {url}"))
        })
    }

    /// Copies the file, and at most one piece more than it.
    fn copy(&self, mut reader: impl Read, file: &mut dyn Write) -> anyhow::Result<()> {
        let (mut hash, mut length) = (Sha256::new(), 0_u64);
        let mut start = Vec::new();
        let mut piece = vec![0; PIECE];
        while length <= self.bytes {
            let read = reader.read(&mut piece)?;
            if read == 0 {
                break;
            }
            if start.is_empty() {
                start.extend_from_slice(&piece[..read.min(64)]);
            }
            hash.update(&piece[..read]);
            file.write_all(&piece[..read])?;
            length += read as u64;
        }
        let looks = idx::describe(&start);
        ensure!(
            length >= self.bytes,
            "the data end after {length} of {} bytes, and look like {looks}",
            self.bytes
        );
        ensure!(length == self.bytes, "there are more than the {} bytes expected", self.bytes);
        let found = files::hex(&hash.finalize());
        ensure!(
            found == self.sha256,
            "wrong content: its SHA-256 is {found}, expected {}",
            self.sha256
        );
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;
    use crate::mirror::tests::{mirror, response, whole};

    const CONTENT: &[u8] = b"the very content of the file, nothing else";

    fn file() -> RemoteFile {
        let sha256 = files::hex_sha256(CONTENT).leak();
        RemoteFile { name: "file.pth", url: "unused", bytes: CONTENT.len() as u64, sha256 }
    }

    #[test]
    fn the_right_file_gets_its_name() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("new/folder/file.pth");
        file().fetch(&mirror(|_| whole(CONTENT)), &path, Verbosity::Quiet).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), CONTENT);
        file().verify(&path).unwrap();
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn anything_else_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file.pth");
        let mut altered = CONTENT.to_vec();
        altered[7] ^= 1;
        let servers = [
            (mirror(|_| b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()), "404"),
            (mirror(|_| whole(b"<html>log in</html>")), "a web page"),
            (mirror(|_| response(&CONTENT[..9], CONTENT.len())), "cannot fetch"),
            (mirror(|_| whole(&CONTENT[..9])), "after 9 of"),
            (mirror(|_| whole(&[CONTENT, b"more"].concat())), "more than"),
            (mirror(move |_| whole(&altered)), "wrong content"),
            ("http://127.0.0.1:1/".to_owned(), "refused"),
        ];
        for (url, reason) in servers {
            let error = file().fetch(&url, &path, Verbosity::Quiet).unwrap_err();
            let message = format!("{error:#}");
            assert!(message.contains(reason) && message.contains(&url), "{reason}: {message}");
            assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_wrong_file_is_told_by_length_and_hash() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("mine.pth");
        for (content, reason) in [
            (&CONTENT[..20], "truncated: it has 20 bytes"),
            (&[CONTENT, b"x"].concat(), "too long"),
            (b"<html>                                    ", "altered"),
        ] {
            std::fs::write(&path, content).unwrap();
            let message = file().verify(&path).unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
        }
    }
}
