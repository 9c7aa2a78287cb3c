//! Unary gRPC calls over one HTTP/2 connection, without a code generator.

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderValue, Method, Request, Uri, Version};

use crate::endpoint::Endpoint;
use crate::fault::Fault;

const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Several callers may share one connection.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    sender: SendRequest<Bytes>,
}

/// A method's address, parsed once.
#[derive(Clone, Debug)]
pub(crate) struct Procedure {
    uri: Uri,
}

impl Procedure {
    pub(crate) fn new(path: &str) -> Result<Procedure, Fault> {
        let uri = format!("http://127.0.0.1{path}")
            .parse()
            .map_err(|error| Fault::Setup(format!("bad gRPC path {path:?}: {error}")))?;
        Ok(Procedure { uri })
    }
}

impl Channel {
    /// Must run inside a `LocalSet`: the connection is served by a task beside its callers.
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Channel, Fault> {
        let socket = endpoint.connect().await?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .handshake(socket)
            .await?;
        tokio::task::spawn_local(async move {
            // Its end shows in the calls that are open then.
            let _ = connection.await;
        });
        Ok(Channel { sender })
    }

    pub(crate) async fn call(&mut self, method: &Procedure, message: &[u8]) -> Result<Bytes, Fault> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = method.uri.clone();
        *request.version_mut() = Version::HTTP_2;
        let headers = request.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));

        let mut frame = BytesMut::with_capacity(message.len() + 5);
        frame.put_u8(0);
        frame.put_u32(message.len() as u32);
        frame.put_slice(message);

        std::future::poll_fn(|cx| self.sender.poll_ready(cx)).await?;
        let (response, mut body) = self.sender.send_request(request, false)?;
        body.send_data(frame.freeze(), true)?;
        let response = response.await?;
        if response.status() != 200 {
            return Err(Fault::Grpc(format!("{} was answered HTTP {}", method.uri, response.status())));
        }
        let early = grpc_failure(response.headers());
        let mut stream = response.into_body();
        let mut answer = BytesMut::new();
        while let Some(data) = stream.data().await {
            let data = data?;
            stream.flow_control().release_capacity(data.len())?;
            answer.extend_from_slice(&data);
        }
        let failure = match stream.trailers().await? {
            Some(trailers) => grpc_failure(&trailers),
            None => early,
        };
        if let Some(failure) = failure {
            return Err(Fault::Grpc(format!("{}: {failure}", method.uri.path())));
        }
        if answer.len() < 5 {
            return Err(Fault::Grpc(format!(
                "{}: an answer of {} bytes has no message",
                method.uri.path(),
                answer.len()
            )));
        }
        Ok(answer.freeze().slice(5..))
    }
}

/// What the status headers say went wrong; a missing status is a failure too.
fn grpc_failure(headers: &http::HeaderMap) -> Option<String> {
    match headers.get("grpc-status") {
        Some(status) if status == "0" => None,
        Some(status) => Some(format!(
            "status {} {}",
            status.to_str().unwrap_or("?"),
            headers.get("grpc-message").and_then(|text| text.to_str().ok()).unwrap_or_default()
        )),
        None => Some("no grpc-status".to_owned()),
    }
}
