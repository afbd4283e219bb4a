//! Files with a known length and SHA-256, and their download.

use std::{cmp::Ordering, io::BufRead, io::BufReader, path::Path, time::Duration};

use anyhow::{Context, ensure};
use hvae_runtime::{files, terminal::Bar};
use ureq::{Agent, http::Uri};

use crate::packed;

/// A file with its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownFile {
    /// Its name.
    pub name: &'static str,
    /// Its length in bytes, uncompressed.
    pub bytes: usize,
    /// The SHA-256 of its uncompressed content, in lower-case hexadecimal.
    pub sha256: &'static str,
}

impl KnownFile {
    /// Checks length and SHA-256 of the file at `path`.
    pub fn verify(&self, path: &Path) -> anyhow::Result<()> {
        let file = files::open_regular(path)?;
        let (length, limit) = (file.metadata()?.len(), packed::packed_limit(self.bytes) as u64);
        ensure!(length <= limit, "too long: {length} bytes, but {} has {}", self.name, self.bytes);
        self.check(BufReader::new(file))
    }

    /// Checks length and SHA-256 of the uncompressed content, which is not kept.
    pub(crate) fn check(&self, mut content: impl BufRead) -> anyhow::Result<()> {
        let start = content.fill_buf()?;
        let start = start[..start.len().min(64)].to_vec();
        let (length, found) = files::sha256_of(content)?;
        let state = match length.cmp(&(self.bytes as u64)) {
            Ordering::Less => "truncated",
            Ordering::Greater => "too long",
            Ordering::Equal => "altered",
        };
        ensure!(
            found == self.sha256,
            "{state}: it has {length} bytes with SHA-256 {found}, which look like {}, but {} has \
             {} bytes with SHA-256 {}",
            packed::describe(&start),
            self.name,
            self.bytes,
            self.sha256
        );
        Ok(())
    }

    /// Downloads the file from `url` to `path`, where it appears only when length and hash are
    /// right.
    pub fn fetch(&self, url: &str, path: &Path) -> anyhow::Result<()> {
        let download = || {
            let content = self.download(url)?;
            self.check(content.as_slice()).context("wrong content")?;
            Ok::<_, anyhow::Error>(content)
        };
        let content = download().with_context(|| format!("cannot fetch {url}"))?;
        files::remove_stale_scratch(files::parent_of(path))?;
        files::write(path, &content)
    }

    /// Downloads the file, gzip or not, without checking its content.
    pub(crate) fn download(&self, url: &str) -> anyhow::Result<Vec<u8>> {
        let body = agent_for(url).get(url).call()?.into_body();
        let bar = Bar::bytes(self.name, &format!("fetching {url}"), body.content_length());
        packed::read_at_most(bar.wrap_read(body.into_reader()), packed::packed_limit(self.bytes))
    }
}

/// An agent that soon gives up on a server that does not answer, but lets a slow one finish.
///
/// Proxies come from the environment; this machine is reached directly.
fn agent_for(url: &str) -> Agent {
    let config = Agent::config_builder()
        .timeout_resolve(Some(Duration::from_secs(5)))
        .timeout_connect(Some(Duration::from_secs(5)))
        .timeout_per_read(Some(Duration::from_secs(20)))
        .timeout_global(Some(Duration::from_mins(15)));
    let config = if is_this_machine(url) { config.proxy(None) } else { config };
    config.build().into()
}

fn is_this_machine(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host);
    host.is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{fs, io::BufRead, io::BufReader, io::Write, net::TcpListener, thread};

    use super::*;

    const CONTENT: &[u8] = b"the very content of the file, nothing else";
    pub(crate) const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

    /// A server on this machine that sends `answer(path)` and closes the connection.
    pub(crate) fn server(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let request = lines.next().unwrap().unwrap();
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                let _ = stream.write_all(&answer(request.split(' ').nth(1).unwrap()));
            }
        });
        format!("http://{address}/base/")
    }

    fn response(body: &[u8], announced: usize) -> Vec<u8> {
        // Otherwise a client would send its next request on this connection.
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {announced}\r\nConnection: close\r\n\r\n");
        [head.as_bytes(), body].concat()
    }

    pub(crate) fn whole(body: &[u8]) -> Vec<u8> {
        response(body, body.len())
    }

    fn file() -> KnownFile {
        let sha256 = files::hex_sha256(CONTENT).leak();
        KnownFile { name: "file.pth", bytes: CONTENT.len(), sha256 }
    }

    #[test]
    fn only_the_right_file_gets_its_name() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("new/folder/file.pth");
        let mut altered = CONTENT.to_vec();
        altered[7] ^= 1;
        for (url, reason) in [
            (server(|_| NOT_FOUND.to_vec()), "404"),
            (server(|_| whole(b"<html>log in</html>")), "a web page"),
            (server(|_| response(&CONTENT[..9], CONTENT.len())), "the data are truncated"),
            (server(|_| whole(&CONTENT[..9])), "truncated: it has 9 bytes"),
            (server(|_| whole(&[CONTENT, b"more"].concat())), "too long"),
            (server(|_| whole(&[0; 10_000])), "more than"),
            (server(move |_| whole(&altered)), "wrong content: altered"),
            ("http://127.0.0.1:1/".to_owned(), "refused"),
        ] {
            let message = format!("{:#}", file().fetch(&url, &path).unwrap_err());
            assert!(message.contains(reason) && message.contains(&url), "{reason}: {message}");
            assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        }
        file().fetch(&server(|_| whole(CONTENT)), &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), CONTENT);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
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
            fs::write(&path, content).unwrap();
            let message = file().verify(&path).unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
        }
        fs::write(&path, CONTENT).unwrap();
        file().verify(&path).unwrap();
    }

    #[test]
    fn this_machine_is_recognised() {
        for url in ["http://localhost:80/x", "http://127.0.0.1/x", "http://[::1]:8080"] {
            assert!(is_this_machine(url), "{url}");
            assert!(agent_for(url).config().proxy().is_none(), "{url}");
        }
        for url in ["https://localhost.example/x", "http://10.0.0.1/127.0.0.1", "x y"] {
            assert!(!is_this_machine(url), "{url}");
        }
    }
}
