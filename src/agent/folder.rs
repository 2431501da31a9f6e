//! Where the user works: the checkout, or a folder in it that the repository names.
//!
//! Known only once the checkout is there; whoever starts something asks then.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

/// The folder; cheap to clone.
#[derive(Clone, Debug)]
pub struct Folder {
    checkout: Arc<Path>,
    named: Arc<OnceLock<PathBuf>>,
}

impl Folder {
    /// The checkout, until another is named.
    pub fn of(checkout: &Path) -> Self {
        Self {
            checkout: checkout.into(),
            named: Arc::default(),
        }
    }

    /// Takes a folder of the checkout, if it is there and really in it; false if not.
    pub fn name(&self, folder: &Path) -> bool {
        let real = |path: &Path| std::fs::canonicalize(path).ok().filter(|path| path.is_dir());
        let inside = real(folder)
            .zip(real(&self.checkout))
            .is_some_and(|(folder, checkout)| folder.starts_with(checkout));
        inside && self.named.set(folder.to_owned()).is_ok()
    }

    pub fn path(&self) -> &Path {
        self.named.get().map_or(&self.checkout, PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_a_folder_of_the_checkout() {
        let directory = tempfile::tempdir().expect("a directory");
        let checkout = directory.path().join("app");
        std::fs::create_dir_all(checkout.join("web")).expect("made");
        std::fs::create_dir_all(directory.path().join("other")).expect("made");
        symlink("../other", checkout.join("link")).expect("made");
        let folder = Folder::of(&checkout);
        assert!(!folder.name(&checkout.join("missing")) && !folder.name(&checkout.join("link")));
        assert_eq!(folder.path(), checkout);
        assert!(folder.name(&checkout.join("web")));
        assert_eq!(folder.clone().path(), checkout.join("web"));
    }
}
