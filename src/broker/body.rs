//! What did a request bring along, and was that in time and of a fitting size?
//!
//! A body is read whole, within a time and a size, and a form has to be
//! announced as one. What its parameters mean is not decided here.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use axum::BoxError;
use axum::body::HttpBody;
use http::header::{self, HeaderMap};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Bytes;

use super::form::{Form, FormError};
use super::routes::Endpoint;
use crate::oauth::Refusal;

const FORM_TYPE: &str = "application/x-www-form-urlencoded";

/// Reads the body of a request that posts a form.
pub(super) async fn posted<B>(
    endpoint: &Endpoint,
    request: http::Request<B>,
) -> Result<Bytes, Refusal>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (head, body) = request.into_parts();
    if head.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(Refusal::ParameterInQuery);
    }
    if !is_form(&head.headers) {
        return Err(Refusal::UnsupportedContentType);
    }
    read_body(endpoint, body).await
}

/// Reads a form.
pub(super) fn parsed(body: &[u8]) -> Result<Form<'_>, Refusal> {
    Form::parse(body).map_err(|error| match error {
        FormError::Duplicate => Refusal::DuplicateParameter,
        FormError::Percent | FormError::Utf8 | FormError::Raw | FormError::TooMany => {
            Refusal::MalformedForm
        }
    })
}

pub(super) async fn read_body<B>(endpoint: &Endpoint, body: B) -> Result<Bytes, Refusal>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let limit = endpoint.limits.max_body_bytes;
    if body.size_hint().lower() > limit as u64 {
        return Err(Refusal::BodyTooLarge);
    }
    let mut body = pin!(Limited::new(body, limit).collect());
    // Mostly it has come with the head, and no timer is needed.
    let at_once = poll_fn(|cx| Poll::Ready(body.as_mut().poll(cx))).await;
    let collected = match at_once {
        Poll::Ready(collected) => collected,
        Poll::Pending => tokio::time::timeout(endpoint.limits.body_timeout, body)
            .await
            .map_err(|_| Refusal::BodyTimeout)?,
    };
    let collected = collected.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Refusal::BodyTooLarge
        } else {
            Refusal::MalformedRequest
        }
    })?;
    // What came in one piece stays where it was read: a copy would be one
    // more place that holds the secrets in it.
    Ok(collected.to_bytes())
}

/// Is the body announced as a form, in UTF-8 and not compressed?
fn is_form(headers: &HeaderMap) -> bool {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return false;
    }
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        return false;
    };
    let Ok(text) = only.to_str() else {
        return false;
    };
    let mut parts = text.split(';').map(str::trim);
    let is_type = parts
        .next()
        .is_some_and(|media| media.eq_ignore_ascii_case(FORM_TYPE));
    is_type
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
                value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}
