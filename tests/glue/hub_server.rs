//! A hub on loopback: as much of its protocol as fetching files takes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// One repository with its files at one commit.
pub struct Repository {
    name: String,
    commit: String,
    files: BTreeMap<String, File>,
    /// Whether a body breaks off halfway, once.
    breaks_off: AtomicBool,
}

struct File {
    /// `None` for a file that is listed, but not there.
    content: Option<Vec<u8>>,
    /// Whether it is served from elsewhere, as large files are.
    is_large: bool,
}

impl Repository {
    /// An empty one, `name` being `models/…` or `datasets/…`.
    pub fn new(name: &str, commit: &str) -> Self {
        Self {
            name: name.to_owned(),
            commit: commit.to_owned(),
            files: BTreeMap::new(),
            breaks_off: AtomicBool::new(false),
        }
    }

    pub fn with(mut self, file: &str, content: Vec<u8>) -> Self {
        self.files.insert(
            file.to_owned(),
            File {
                content: Some(content),
                is_large: false,
            },
        );
        self
    }

    pub fn with_large(mut self, file: &str, content: Vec<u8>) -> Self {
        self.files.insert(
            file.to_owned(),
            File {
                content: Some(content),
                is_large: true,
            },
        );
        self
    }

    pub fn without_content(mut self, file: &str) -> Self {
        self.files.insert(
            file.to_owned(),
            File {
                content: None,
                is_large: false,
            },
        );
        self
    }

    pub fn breaking_off(self) -> Self {
        self.breaks_off.store(true, Ordering::Relaxed);
        self
    }
}

/// A request as it came in.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
}

/// The server, which stops when dropped.
pub struct HubServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HubServer {
    pub fn start(repository: Repository) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (log, stop) = (Arc::clone(&requests), Arc::clone(&is_stopped));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                // A client may hang up when it has read enough.
                let _ = serve(stream.unwrap(), &repository, address, &log);
            }
        });
        Self {
            address,
            requests,
            is_stopped,
            thread: Some(thread),
        }
    }

    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        // Wakes the thread, so that it sees the flag.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

fn serve(
    stream: TcpStream,
    repository: &Repository,
    address: SocketAddr,
    log: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let request = read_request(&stream)?;
    log.lock().unwrap().push(request.clone());
    let name = &repository.name;
    let plain = name.strip_prefix("models/").unwrap_or(name);
    let resolve = format!("/{plain}/resolve/{}/", repository.commit);
    if request.path == format!("/api/{name}/revision/main") {
        return answer(
            stream,
            "200 OK",
            "Content-Type: application/json\r\n",
            listing(repository).as_bytes(),
        );
    }
    if let Some(file) = request.path.strip_prefix("/elsewhere/") {
        return serve_content(stream, repository, file, &request);
    }
    match request
        .path
        .strip_prefix(&resolve)
        .and_then(|file| Some((file, repository.files.get(file)?)))
    {
        Some((file, entry)) if entry.is_large => {
            let headers = format!(
                "Location: http://{address}/elsewhere/{file}\r\nX-Linked-Etag: \"{}\"\r\nX-Repo-Commit: {}\r\n",
                etag(file),
                repository.commit
            );
            answer(stream, "302 Found", &headers, b"")
        }
        Some((file, entry)) if entry.content.is_some() => {
            serve_content(stream, repository, file, &request)
        }
        _ => answer(stream, "404 Not Found", "", b"no such file"),
    }
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request {
        path,
        ..Request::default()
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value.to_owned()),
            "authorization" => request.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok(request)
}

fn listing(repository: &Repository) -> String {
    let files = repository
        .files
        .keys()
        .map(|file| serde_json::json!({ "rfilename": file }));
    let files: Vec<_> = files.collect();
    serde_json::json!({ "sha": repository.commit, "siblings": files }).to_string()
}

/// Answers with the range asked for, `bytes=FIRST-` or `bytes=FIRST-LAST`.
fn serve_content(
    stream: TcpStream,
    repository: &Repository,
    file: &str,
    request: &Request,
) -> std::io::Result<()> {
    let content = repository.files[file]
        .content
        .as_deref()
        .unwrap_or_default();
    let range = request
        .range
        .as_deref()
        .and_then(|it| it.strip_prefix("bytes="))
        .unwrap_or("0-");
    let (first, last) = range.split_once('-').unwrap();
    let first: usize = first.parse().unwrap();
    let end = last
        .parse()
        .map_or(content.len(), |last: usize| (last + 1).min(content.len()));
    let headers = format!(
        "Content-Range: bytes {first}-{}/{}\r\nETag: \"{}\"\r\nX-Repo-Commit: {}\r\n",
        end - 1,
        content.len(),
        etag(file),
        repository.commit
    );
    let body = &content[first..end];
    if body.len() > 50_000 && repository.breaks_off.swap(false, Ordering::Relaxed) {
        return answer_partly(
            stream,
            "206 Partial Content",
            &headers,
            body,
            body.len() / 2,
        );
    }
    answer(stream, "206 Partial Content", &headers, body)
}

fn etag(file: &str) -> String {
    file.replace(['/', '.'], "-")
}

fn answer(stream: TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    answer_partly(stream, status, headers, body, body.len())
}

fn answer_partly(
    mut stream: TcpStream,
    status: &str,
    headers: &str,
    body: &[u8],
    sent: usize,
) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n"
    )?;
    stream.write_all(&body[..sent])?;
    stream.flush()
}
