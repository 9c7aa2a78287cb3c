//! Request bodies: small ones read whole, large ones streamed.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use lockd_json::Object;
use lockd_wire::ErrorCode;

use crate::answer::Failure;

/// Bodies of acquire, keepalive and release: a megabyte is far more than their members can use.
pub(crate) const CONTROL_BODY_MAX: usize = 1024 * 1024;
pub(crate) const METADATA_BODY_MAX: usize = 4096;
pub(crate) const NAMESPACE_BODY_MAX: usize = 32 * 1024;

/// The next piece of a body, `None` at its end.
pub(crate) async fn next_piece(body: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(error),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// The whole body, or its first `limit + 1` bytes if it is longer than that.
pub(crate) async fn read_up_to(body: &mut Incoming, limit: usize) -> Result<Bytes, Failure> {
    let broken =
        |error: hyper::Error| Failure::new(ErrorCode::InvalidBody, format!("body broke off: {error}"));
    let Some(first) = next_piece(body).await.map_err(broken)? else { return Ok(Bytes::new()) };
    if hyper::body::Body::is_end_stream(body) || first.len() > limit {
        return Ok(first);
    }
    let mut whole = Vec::from(first);
    while whole.len() <= limit
        && let Some(piece) = next_piece(body).await.map_err(broken)?
    {
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
}

/// A body that must be no longer than `limit`.
pub(crate) async fn read(body: &mut Incoming, limit: usize) -> Result<Bytes, Failure> {
    let whole = read_up_to(body, limit).await?;
    if whole.len() > limit {
        return Err(Failure::new(ErrorCode::InvalidBody, format!("body exceeds {limit} bytes")));
    }
    Ok(whole)
}

/// Reads the members that a request knows, and refuses all others.
pub(crate) fn members<'a, T>(
    code: ErrorCode,
    body: &'a [u8],
    take: impl FnOnce(&mut Object<'a>) -> Result<T, lockd_json::DecodeError>,
) -> Result<T, Failure> {
    let read = || {
        let mut object = Object::parse(body)?;
        let taken = take(&mut object)?;
        object.finish()?;
        Ok(taken)
    };
    read().map_err(|error: lockd_json::DecodeError| Failure::new(code, error.to_string()))
}
