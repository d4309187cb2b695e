//! A hub on loopback: as much of its protocol as fetching files takes.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::hub_repository::{Fault, Repository};

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

    /// Whether a request asked for a part that begins here.
    pub fn was_asked_from(&self, position: u64) -> bool {
        let range = format!("bytes={position}-");
        let mut requests = self.requests().into_iter();
        requests.any(|it| it.range.as_deref() == Some(&range))
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
        let list = listing(repository);
        return Answer::new("200 OK", list.into_bytes())
            .header("Content-Type", "application/json")
            .send(stream);
    }
    if let Some(file) = request.path.strip_prefix("/elsewhere/") {
        return content(repository, file, &request).send(stream);
    }
    let wanted = request.path.strip_prefix(&resolve);
    let answer = match wanted.and_then(|file| Some((file, repository.files.get(file)?))) {
        Some((file, entry)) if entry.is_large => link(repository, address, &request, file),
        Some((file, entry)) if entry.content.is_some() => content(repository, file, &request),
        _ => Answer::new("404 Not Found", b"no such file".to_vec()),
    };
    answer.send(stream)
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

/// Says where a large file lies.
fn link(repository: &Repository, address: SocketAddr, request: &Request, file: &str) -> Answer {
    let location = repository.says(|fault| match fault {
        Fault::Location(location) => Some(location.clone()),
        _ => None,
    });
    let commit = repository.says(|fault| match fault {
        Fault::Commit(commit) => Some(commit.clone()),
        _ => None,
    });
    let length = repository.says(|fault| match fault {
        Fault::SaysLength(length) => Some(*length),
        _ => None,
    });
    let content = repository.files[file].content.as_deref();
    let own = content.unwrap_or_default().len() as u64;
    let location = location.unwrap_or_else(|| format!("http://{address}"));
    let location = if repository.shows(&Fault::Circles) {
        request.path.clone()
    } else {
        format!("{location}/elsewhere/{file}")
    };
    let answer = Answer::new("302 Found", Vec::new())
        .header("Location", &location)
        .header("X-Linked-ETag", &format!("\"{}\"", repository.etag(file)))
        .header(
            "X-Repo-Commit",
            &commit.unwrap_or(repository.commit.clone()),
        );
    if repository.shows(&Fault::SaysNoLength) {
        return answer;
    }
    answer.header("X-Linked-Size", &length.unwrap_or(own).to_string())
}

/// A file's content, or the part of it that is asked for: `bytes=FIRST-`.
fn content(repository: &Repository, file: &str, request: &Request) -> Answer {
    let mut content = repository.files[file].content.clone().unwrap_or_default();
    let is_large = repository.files[file].is_large;
    let shows = |fault: Fault| is_large && repository.shows(&fault);
    let whole = content.len();
    let range = request.range.as_deref();
    let range = range.and_then(|it| it.strip_prefix("bytes=")?.strip_suffix('-'));
    if range.is_some() && shows(Fault::DeniesRange) {
        return Answer::new("416 Range Not Satisfiable", Vec::new());
    }
    let range = range.filter(|_| !shows(Fault::IgnoresRange));
    let first: usize = range.map_or(0, |first| first.parse().unwrap());
    let first = first + usize::from(range.is_some() && shows(Fault::ShiftsRange));
    if shows(Fault::Corrupts) {
        content.iter_mut().for_each(|byte| *byte ^= 1);
    }
    let mut body = content.split_off(first);
    if shows(Fault::SendsMore) {
        body.extend([0; 1000]);
    }
    let has_length = !is_large || !repository.shows(&Fault::SaysNoLength);
    let cut = shows(Fault::BreaksOff).then_some(body.len() / 2);
    let mut answer = match range {
        Some(_) => Answer::new("206 Partial Content", body).header(
            "Content-Range",
            &format!("bytes {first}-{}/{whole}", whole - 1),
        ),
        None => Answer::new("200 OK", body),
    };
    if !is_large {
        // As storage elsewhere has its own, which says nothing.
        answer = answer.header("ETag", &format!("\"{}\"", repository.etag(file)));
    } else {
        answer = answer.header("ETag", "\"of-the-storage\"");
    }
    answer.has_length = has_length;
    answer.cut = cut;
    answer
}

struct Answer {
    status: &'static str,
    headers: String,
    body: Vec<u8>,
    has_length: bool,
    /// How much is sent before the connection breaks off.
    cut: Option<usize>,
}

impl Answer {
    fn new(status: &'static str, body: Vec<u8>) -> Self {
        Self {
            status,
            headers: String::new(),
            body,
            has_length: true,
            cut: None,
        }
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    fn send(mut self, mut stream: TcpStream) -> std::io::Result<()> {
        if self.has_length {
            let length = self.body.len().to_string();
            self = self.header("Content-Length", &length);
        }
        let (status, headers) = (self.status, &self.headers);
        write!(
            stream,
            "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n"
        )?;
        stream.write_all(&self.body[..self.cut.unwrap_or(self.body.len())])?;
        stream.flush()
    }
}
