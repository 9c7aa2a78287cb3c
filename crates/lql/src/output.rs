//! What becomes of a document that is printed: edited, cut down, and written as it shall look.

use lockd_lql::{mutation::Editor, stream::Projector};

use crate::{
    failure::DocumentError,
    paint::{Look, paint},
};

pub(crate) struct Output {
    pub(crate) editor: Option<Editor>,
    pub(crate) projector: Option<Projector>,
    pub(crate) look: Look,
    /// What has not been written to stdout yet.
    pub(crate) bytes: Vec<u8>,
    edited: Vec<u8>,
    compact: Vec<u8>,
}

impl Output {
    pub(crate) fn new(editor: Option<Editor>, projector: Option<Projector>, look: Look) -> Output {
        Output { editor, projector, look, bytes: Vec::new(), edited: Vec::new(), compact: Vec::new() }
    }

    /// Appends a document; only selected ones are edited and cut down.
    pub(crate) fn document(&mut self, json: &[u8], selected: bool) -> Result<(), DocumentError> {
        let Output { editor, projector, look, bytes, edited, compact } = self;
        let direct = *look == Look::default();
        compact.clear();
        let target = if direct { &mut *bytes } else { &mut *compact };
        let before = target.len();
        let appended = match (editor, projector) {
            (Some(editor), Some(projector)) if selected => {
                edited.clear();
                edit(editor, json, edited)
                    .and_then(|()| projector.project(edited, target).map_err(DocumentError::Project))
            }
            (Some(editor), None) if selected => edit(editor, json, target),
            (None, Some(projector)) if selected => {
                projector.project(json, target).map_err(DocumentError::Project)
            }
            _ => lockd_json::compact(json, target).map_err(|invalid| DocumentError::Project(invalid.into())),
        };
        if let Err(error) = appended {
            target.truncate(before);
            return Err(error);
        }
        if !direct {
            paint(compact, *look, bytes);
        }
        bytes.push(b'\n');
        Ok(())
    }
}

fn edit(editor: &mut Editor, json: &[u8], out: &mut Vec<u8>) -> Result<(), DocumentError> {
    let edited = editor.push(json, out).and_then(|()| editor.finish(out));
    if edited.is_err() {
        // What the document left behind is not for the next one.
        editor.reset();
    }
    edited.map(|_| ()).map_err(DocumentError::Edit)
}
