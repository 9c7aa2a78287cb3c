//! `POST /v1/mutate`: edit the document where it is, in one pass from the old one to a new staged one.

use hyper::body::Incoming;
use lockd_core::op::{Claim, Expect, Reason, Updated};
use lockd_core::view::Audience;
use lockd_lql::condition::Instant;
use lockd_lql::mutation::{EditError, EditLimits, Mutations, ParseOptions, Program, Summary};
use lockd_node::{Body, Upload};
use lockd_wire::{ErrorCode, KeyId, header};

use super::update;
use crate::answer::{Answer, Failure, Outcome, WithHeaders};
use crate::body;
use crate::call::{Call, key_id};
use crate::gate::Permission;

/// How often a document that changes under our hands is edited anew.
const ROUNDS: usize = 8;

pub(crate) async fn mutate(call: &Call<'_>, mut body: Incoming) -> Outcome {
    let raw_key = call.trimmed_key(ErrorCode::MissingKey)?;
    let limit = usize::try_from(call.app.settings.json_max).unwrap_or(usize::MAX);
    let body = body::read(&mut body, limit).await?;
    let (in_body, expressions) = body::members(ErrorCode::InvalidBody, &body, |object| {
        Ok((
            object.string("namespace")?.unwrap_or_default(),
            object.strings("mutations")?.unwrap_or_default(),
        ))
    })?;
    if expressions.iter().all(|expression| expression.trim().is_empty()) {
        return Err(Failure::new(ErrorCode::InvalidBody, "mutations required"));
    }
    let namespace = call.namespace_among(&[call.query.get("namespace"), &in_body])?;
    call.authorise(&namespace, Permission::Write)?;
    let claim = call.claim()?;
    let if_version = call.if_version()?;
    let query_hidden = call.query_hidden()?;
    // The server reads no files, whatever an expression says.
    let mutations = Mutations::parse_list(&expressions, &ParseOptions::default())
        .map_err(|error| Failure::new(ErrorCode::InvalidMutations, error.to_string()))?;
    let key = key_id(&namespace, raw_key)?;
    call.admit().await?;

    let now = Instant(i128::from(call.node().now().0) * 1_000_000);
    let program = mutations.compile(now);
    let expect = Expect { version: if_version, etag: call.if_state_etag(), seen: None };
    let mut round = 0;
    loop {
        match edit(call, &key, claim, &program, expect, query_hidden).await {
            // Another request under the same lease was faster.
            Ok(Err(refusal)) if refusal.reason == Reason::SeenOther && round < ROUNDS => round += 1,
            Ok(Err(refusal)) => return Err(refusal.into()),
            Ok(Ok((updated, summary))) => return Ok(mutated(&updated, summary)),
            Err(failure) => return Err(failure),
        }
    }
}

/// Reads the document that the holder sees, edits it, and stages the result unless the document is another one by then.
async fn edit(
    call: &Call<'_>,
    key: &KeyId,
    claim: Claim,
    program: &Program,
    expect: Expect,
    query_hidden: Option<bool>,
) -> Result<Result<(Updated, Summary), lockd_core::op::Refusal>, Failure> {
    let read = call.node().document(key, &Audience::Holder(claim)).await?;
    let seen = read.document.as_ref().map(|(document, _)| (document.version, document.stored.sha256));
    let (upload, summary) = rewrite(call, program, read.document.map(|(_, body)| body)).await?;
    let expect = Expect { seen: Some(seen), ..expect };
    let updated = call.node().update(key.clone(), claim, expect, query_hidden, upload).await;
    Ok(updated.map(|updated| (updated, summary)))
}

async fn rewrite(
    call: &Call<'_>,
    program: &Program,
    body: Option<Body>,
) -> Result<(Upload, Summary), Failure> {
    let limit = call.app.settings.json_max;
    let limits = EditLimits { max_input: limit, max_output: limit, max_depth: update::MAX_DEPTH };
    let mut editor = program.editor(limits);
    let mut intake = call.node().intake();
    let mut edited = Vec::new();
    match body {
        None => editor.push(b"{}", &mut edited).map_err(refused)?,
        Some(Body::Whole(document)) => editor.push(&document, &mut edited).map_err(refused)?,
        Some(Body::Stream(mut reader)) => {
            while let Some(piece) = reader.read().await? {
                editor.push(&piece, &mut edited).map_err(refused)?;
                intake.write(&edited).await?;
                edited.clear();
            }
        }
    }
    let summary = editor.finish(&mut edited).map_err(refused)?;
    intake.write(&edited).await?;
    Ok((intake.finish().await?, summary))
}

fn refused(error: EditError) -> Failure {
    let code = match error {
        EditError::TooLarge { .. } => ErrorCode::DocumentTooLarge,
        _ => ErrorCode::InvalidBody,
    };
    Failure::new(code, error.to_string())
}

fn mutated(updated: &Updated, summary: Summary) -> Answer {
    update::updated(updated)
        .with_number(header::MUTATE_CANDIDATES_SEEN, 1)
        .with_number(header::MUTATE_CANDIDATES_WRITTEN, 1)
        .with_number(header::MUTATE_BYTES_READ, summary.bytes_read)
        .with_number(header::MUTATE_BYTES_WRITTEN, summary.bytes_written)
        // Nothing is kept back or spilled: edits run in one pass.
        .with_number(header::MUTATE_BYTES_CAPTURED, 0)
        .with_number(header::MUTATE_SPILL_COUNT, 0)
        .with_number(header::MUTATE_SPILL_BYTES, 0)
}
