//! Servers that nobody here wrote, each started on a free port and killed when dropped.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::parsers::servers;
use crate::browser::python;
use crate::harness::free_port;

/// A running program.
pub struct Program {
    child: Child,
    name: &'static str,
    /// Kept until the program has ended.
    _directory: Option<TempDir>,
}

impl Program {
    async fn start(
        name: &'static str,
        mut command: Command,
        port: u16,
        directory: Option<TempDir>,
    ) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}: run scripts/test once"));
        let mut program = Self { child, name, _directory: directory };
        program.wait_for(port).await;
        program
    }

    async fn wait_for(&mut self, port: u16) {
        for _ in 0..600 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{} has ended: {ended:?}", self.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} does not listen", self.name);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// Every server, and the upstreams they are: name and port.
pub struct Programs {
    _running: [Program; 3],
    pub upstreams: [(&'static str, u16); 5],
}

impl Programs {
    /// Starts nginx, with a file for each of `files`, gunicorn and Node.
    pub async fn start(files: impl Iterator<Item = &str>) -> Self {
        let [merging, keeping, tree, wsgi, node] = [(); 5].map(|()| free_port());
        let (nginx, gunicorn, script) =
            tokio::join!(nginx([merging, keeping, tree], files), gunicorn(wsgi), script(node));
        let upstreams = [
            ("merging", merging),
            ("keeping", keeping),
            ("files", tree),
            ("wsgi", wsgi),
            ("node", node),
        ];
        Self { _running: [nginx, gunicorn, script], upstreams }
    }
}

async fn nginx(ports: [u16; 3], files: impl Iterator<Item = &str>) -> Program {
    let directory = tempfile::Builder::new().prefix("portcullis-nginx-").tempdir().unwrap();
    for file in files {
        let path = directory.path().join("files").join(&file[1..]);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("file {file}")).unwrap();
    }
    // Started as root, nginx reads files as somebody else.
    open_to_all(directory.path());
    let configuration = directory.path().join("nginx.conf");
    let text = fs::read_to_string(servers().join("nginx.conf")).unwrap();
    let names = ["${MERGING}", "${KEEPING}", "${FILES}"].into_iter().zip(ports);
    let text = names.fold(text, |text, (name, port)| text.replace(name, &port.to_string()));
    let text = text.replace("${DIRECTORY}", directory.path().to_str().unwrap());
    fs::write(&configuration, text).unwrap();
    let program = ["/usr/sbin/nginx", "nginx"];
    let program = program.into_iter().find(|path| Path::new(path).exists()).unwrap_or("nginx");
    let mut command = Command::new(program);
    command.arg("-c").arg(&configuration).arg("-e").arg(directory.path().join("error.log"));
    Program::start("nginx", command, ports[2], Some(directory)).await
}

fn open_to_all(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
}

async fn gunicorn(port: u16) -> Program {
    let mut command = Command::new(python());
    command.args(["-m", "gunicorn", "--bind"]).arg(format!("127.0.0.1:{port}"));
    command.args(["--worker-class", "gthread", "--threads", "4", "--log-level", "critical"]);
    command.args(["--no-control-socket", "--chdir"]).arg(servers()).arg("app:application");
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Program::start("gunicorn", command, port, None).await
}

async fn script(port: u16) -> Program {
    let mut command = Command::new("node");
    command.arg(servers().join("server.mjs")).arg(port.to_string());
    Program::start("node", command, port, None).await
}
