//! A slab: values at stable 32-bit places, free places reused. Growth is a `realloc`, which the kernel serves by moving
//! pages, so that a million entries grow without copying them.

/// "No entry" in links and owner fields.
pub(crate) const NIL: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(value);
            return place;
        }
        self.places.push(Some(value));
        (self.places.len() - 1) as u32
    }

    /// Puts a value at a place chosen by the caller.
    pub(crate) fn put(&mut self, place: u32, value: T) {
        let place = place as usize;
        if self.places.len() <= place {
            self.places.resize_with(place + 1, || None);
        }
        self.places[place] = Some(value);
    }

    pub(crate) fn remove(&mut self, place: u32) -> Option<T> {
        let value = self.places.get_mut(place as usize)?.take();
        if value.is_some() {
            self.free.push(place);
        }
        value
    }

    /// Takes the value out of a place that the caller chose itself, without offering the place for reuse.
    pub(crate) fn take(&mut self, place: u32) -> Option<T> {
        self.places.get_mut(place as usize)?.take()
    }

    pub(crate) fn get(&self, place: u32) -> Option<&T> {
        self.places.get(place as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    /// One more than the highest place ever used.
    pub(crate) fn places(&self) -> u32 {
        self.places.len() as u32
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    #[allow(clippy::expect_used, reason = "a link to a freed place is a bug of the table, not an input")]
    fn index(&self, place: u32) -> &T {
        self.places[place as usize].as_ref().expect("link to a live entry")
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    #[allow(clippy::expect_used, reason = "a link to a freed place is a bug of the table, not an input")]
    fn index_mut(&mut self, place: u32) -> &mut T {
        self.places[place as usize].as_mut().expect("link to a live entry")
    }
}
