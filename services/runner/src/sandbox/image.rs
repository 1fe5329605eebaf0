//! Images.

/// An image that the engine has. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Its id, which is the digest of its configuration.
    pub(crate) id: String,
}
