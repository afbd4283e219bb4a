//! A single file on a server with a known SHA-256, downloaded completely or not at all.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use hvae_runtime::files;
use hvae_runtime::terminal::Bar;
use sha2::{Digest, Sha256};

use crate::{mirror, packed};

/// A file with its URL and checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its name.
    pub name: &'static str,
    /// Its URL.
    pub url: &'static str,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: &'static str,
}

/// Bytes that are copied at a time.
const CHUNK: usize = 1 << 16;

impl RemoteFile {
    /// Checks length and SHA-256 of the file at `path`.
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
                packed::describe(&start[..read]),
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

    /// Downloads the file from `url` to `path`, where it appears only when length and hash are
    /// right.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or sends another file, or the file cannot be written.
    pub fn fetch(&self, url: &str, path: &Path) -> anyhow::Result<()> {
        let download = |file: &mut dyn Write| {
            let response = mirror::agent_for(url).get(url).call()?;
            let body = response.into_body();
            let bar = Bar::bytes(self.name, &format!("fetching {url}"), Some(self.bytes));
            self.copy(bar.wrap_read(body.into_reader()), file)
        };
        files::remove_stale_scratch(files::parent_of(path))?;
        files::write_atomically(path, |file| {
            download(file).with_context(|| format!("cannot fetch {url}"))
        })
    }

    /// Copies the file, and at most one chunk more.
    fn copy(&self, mut reader: impl Read, file: &mut dyn Write) -> anyhow::Result<()> {
        let (mut hash, mut length) = (Sha256::new(), 0_u64);
        let mut start = Vec::new();
        let mut chunk = vec![0; CHUNK];
        while length <= self.bytes {
            let read = reader.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            if start.is_empty() {
                start.extend_from_slice(&chunk[..read.min(64)]);
            }
            hash.update(&chunk[..read]);
            file.write_all(&chunk[..read])?;
            length += read as u64;
        }
        let looks = packed::describe(&start);
        ensure!(
            length >= self.bytes,
            "truncated after {length} of {} bytes, which look like {looks}",
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
        file().fetch(&mirror(|_| whole(CONTENT)), &path).unwrap();
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
            let error = file().fetch(&url, &path).unwrap_err();
            let message = format!("{error:#}");
            assert!(message.contains(reason) && message.contains(&url), "{reason}: {message}");
            assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_wrong_file_is_detected_by_length_and_hash() {
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
