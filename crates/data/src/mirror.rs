//! Downloads from a mirror.

use std::time::Duration;

use hvae_runtime::terminal::Bar;
use ureq::Agent;
use ureq::http::Uri;

use crate::catalog::DataFile;
use crate::packed;

/// An agent that soon gives up on a mirror that does not answer, but lets a slow one finish.
///
/// Proxies come from the environment; this machine is reached directly.
pub(crate) fn agent_for(mirror: &str) -> Agent {
    let config = Agent::config_builder()
        .timeout_resolve(Some(Duration::from_secs(5)))
        .timeout_connect(Some(Duration::from_secs(5)))
        .timeout_per_read(Some(Duration::from_secs(20)))
        .timeout_global(Some(Duration::from_mins(15)));
    let config = if is_this_machine(mirror) { config.proxy(None) } else { config };
    config.build().into()
}

fn is_this_machine(mirror: &str) -> bool {
    let uri: Option<Uri> = mirror.parse().ok();
    let host = uri.as_ref().and_then(Uri::host);
    host.is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host))
}

/// Downloads the file, gzip or not, without checking its content.
pub(crate) fn download(agent: &Agent, url: &str, file: &DataFile) -> anyhow::Result<Vec<u8>> {
    let body = agent.get(url).call()?.into_body();
    let bar = Bar::bytes(file.name, &format!("fetching {url}"), body.content_length());
    packed::read_at_most(bar.wrap_read(body.into_reader()), packed::packed_limit(file.bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
pub(crate) mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::catalog::tests::small_set;

    /// A mirror on this machine that sends `answer(path)` and closes the connection.
    pub(crate) fn mirror(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> String {
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

    pub(crate) fn response(body: &[u8], announced: usize) -> Vec<u8> {
        // Otherwise a client would send its next request on this connection.
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {announced}\r\nConnection: close\r\n\r\n");
        [head.as_bytes(), body].concat()
    }

    pub(crate) fn whole(body: &[u8]) -> Vec<u8> {
        response(body, body.len())
    }

    fn fetch(mirror: &str) -> anyhow::Result<Vec<u8>> {
        download(&agent_for(mirror), mirror, &small_set().files[0])
    }

    #[test]
    fn the_body_is_returned_unchanged() {
        let url = mirror(|path| whole(path.as_bytes()));
        assert_eq!(fetch(&url).unwrap(), b"/base/");
    }

    #[test]
    fn an_incomplete_or_endless_body_is_an_error() {
        let message = format!("{:#}", fetch(&mirror(|_| response(b"half", 8))).unwrap_err());
        assert!(message.contains("truncated"), "{message}");
        let message = fetch(&mirror(|_| whole(&[0; 10_000]))).unwrap_err().to_string();
        assert!(message.contains("more than"), "{message}");
    }

    #[test]
    fn this_machine_is_recognised() {
        for mirror in ["http://localhost:80/x", "http://127.0.0.1/x", "http://[::1]:8080"] {
            assert!(is_this_machine(mirror), "{mirror}");
            assert!(agent_for(mirror).config().proxy().is_none(), "{mirror}");
        }
        for mirror in ["https://localhost.example/x", "http://10.0.0.1/127.0.0.1", "x y"] {
            assert!(!is_this_machine(mirror), "{mirror}");
        }
    }
}
