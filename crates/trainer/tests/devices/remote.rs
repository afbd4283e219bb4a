//! Devices of another process, on loopback.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::comparison::compare_with_cpu;

/// `hvae serve`, ended with the test.
struct Server(Child, u16);

impl Server {
    fn start(folder: &Folder, devices: &str, token: Option<&str>) -> Self {
        // Free now, and most likely still free when the server binds it.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port_text = port.to_string();
        let mut command = folder.command(&["serve", "--port", &port_text, "--devices", devices]);
        if let Some(token) = token {
            command.env("HVAE_TOKEN", token);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self(child, port);
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "the server does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn device(&self, index: usize) -> String {
        format!("remote:127.0.0.1:{}/{index}", self.1)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_remote_device_agrees_with_cpu() {
    let folder = Folder::new();
    let server = Server::start(&folder, "cpu", None);
    compare_with_cpu(&folder, &server.device(0), &["h-vae"], &|arguments| {
        folder.ok(arguments);
    });
}

#[test]
fn a_run_on_two_remote_devices_agrees_with_one_device() {
    let folder = Folder::new();
    let servers = [Server::start(&folder, "cpu", None), Server::start(&folder, "cpu", None)];
    let devices = format!("{},{}", servers[0].device(0), servers[1].device(0));
    let tiny = tiny("h-vae");
    folder.ok(&train(&tiny, "one", &[]));
    folder.ok(&train(&tiny, "two", &["--devices", &devices]));
    let run = |name: &str| folder.path("checkpoints").join(name);
    let apart = losses_apart(&run("one"), &run("two"));
    assert!(apart < 1e-4, "{apart:.1e}");
}

#[test]
fn a_server_that_refuses_is_an_error_that_says_why() {
    let folder = Folder::new();
    let server = Server::start(&folder, "cpu", Some("a password"));
    let text = folder
        .fails(1, &["train", "--dry-run", "--dataset", "synthetic", "--device", &server.device(0)]);
    assert!(text.contains("HVAE_TOKEN"), "{text}");
}

/// The last checkpoint stays good, and the run resumes from it on another device.
#[test]
fn a_lost_worker_is_an_error_that_leaves_the_checkpoint_good() {
    let folder = Folder::new();
    let mut server = Server::start(&folder, "cpu", None);
    let devices = format!("cpu,{}", server.device(0));
    let tiny = tiny("h-vae");
    let arguments = train(&tiny, "run", &["--devices", &devices, "--epochs", "1000"]);
    let mut child =
        folder.command(&arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let run = folder.path("checkpoints").join("run");
    let started = Instant::now();
    while !run.join("metrics.jsonl").exists() {
        assert!(started.elapsed() < Duration::from_secs(120), "no epoch has ended");
        assert!(child.try_wait().unwrap().is_none(), "training has ended by itself");
        std::thread::sleep(Duration::from_millis(50));
    }
    server.0.kill().unwrap();
    server.0.wait().unwrap();
    let killed = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(killed.elapsed() < Duration::from_secs(180), "the lost device is not detected");
        std::thread::sleep(Duration::from_millis(100));
    }
    let output = child.wait_with_output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("checkpoint is still good") || text.contains("is good"), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    eprintln!("{text}");
    let done = metrics(&run)["epoch"].as_u64().unwrap();
    let epochs = (done + 1).to_string();
    let run = run.to_str().unwrap().to_owned();
    folder.ok(&["train", "--quiet", "--resume", &run, "--epochs", &epochs]);
    assert_eq!(metrics(Path::new(&run))["epoch"].as_u64().unwrap(), done + 1);
}
