//! Writing selectors as text.
