//! SSH key pairs that jvp makes: `<state>/keypairs/<name>`, mode 0600, and `<name>.pub` beside it.
//!
//! A pair is made once. Nothing here gives a private half to anybody.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey, PublicKey};

use crate::name::Name;
use crate::store::{StateDir, StoreError, random_bytes, write_atomically};

const FOLDER: &str = "keypairs";

/// The key pairs of a state directory.
#[derive(Debug, Clone)]
pub struct KeyPairs {
    state: PathBuf,
}

/// Why there is no key. Each names the KeyPair.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the words of the messages")]
pub enum KeyPairError {
    /// A name whose private half would lie where another's public one does.
    #[error("KeyPair/{name}: a pair whose name ends in `.pub` can't be made: name it otherwise")]
    Name { name: Name },
    /// The public half is known, the private one is gone.
    #[error(
        "KeyPair/{name}: its private half {} is missing, and guests have its public one: put the file back, or make a KeyPair of another name",
        path.display()
    )]
    PrivateMissing { name: Name, path: PathBuf },
    /// Another pair than the inventory knows.
    #[error(
        "KeyPair/{name}: {} is not the key that guests were given: put the right file back, or make a KeyPair of another name",
        path.display()
    )]
    Other { name: Name, path: PathBuf },
    /// A file that holds no key.
    #[error("KeyPair/{name}: {} holds no OpenSSH key ({reason}): put the right file back, or make a KeyPair of another name", path.display())]
    Unreadable { name: Name, path: PathBuf, reason: String },
    /// A file of the state directory.
    #[error("KeyPair/{name}: {what} {}: {source}", path.display())]
    Io { name: Name, what: &'static str, path: PathBuf, source: std::io::Error },
    /// The state directory.
    #[error("KeyPair/{name}: {source}")]
    State { name: Name, source: StoreError },
}

impl KeyPairs {
    /// The key pairs below the state directory `state`, which need not exist before one is made.
    pub fn new(state: &Path) -> Self {
        Self { state: state.to_owned() }
    }

    /// Where the private half lies, or would.
    pub fn private_path(&self, name: &Name) -> PathBuf {
        self.state.join(FOLDER).join(name.as_str())
    }

    /// The public half of a pair that was made, one line. Writes nothing. `known` is the public half of the inventory.
    pub fn public(&self, name: &Name, known: Option<&str>) -> Result<Option<String>, KeyPairError> {
        let path = self.private_path(name);
        check_name(name)?;
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return if known.is_some() || self.public_path(name).exists() {
                    Err(KeyPairError::PrivateMissing { name: name.clone(), path })
                } else {
                    Ok(None)
                };
            }
            Err(source) => return Err(KeyPairError::Io { name: name.clone(), what: "failed to read", path, source }),
        };
        let key = PrivateKey::from_openssh(&text).map_err(|error| self.unreadable(name, &error))?;
        if let KeypairData::Ed25519(pair) = key.key_data()
            && Ed25519Keypair::from_seed(&pair.private.to_bytes()).public != pair.public
        {
            return Err(KeyPairError::Unreadable { name: name.clone(), path, reason: "its halves don't belong together".into() });
        }
        let public = line(key.public_key()).map_err(|error| self.unreadable(name, &error))?;
        let same = known.is_none_or(|known| {
            PublicKey::from_openssh(known).is_ok_and(|known| known.key_data() == key.public_key().key_data())
        });
        if same { Ok(Some(public)) } else { Err(KeyPairError::Other { name: name.clone(), path }) }
    }

    /// Makes the pair unless it is there, and gives its public half.
    pub fn generate(&self, name: &Name, known: Option<&str>) -> Result<String, KeyPairError> {
        match self.public(name, known)? {
            Some(public) => {
                // A kill may have come between the two files.
                if !self.public_path(name).exists() {
                    write(name, &self.public_path(name), &public, 0o644)?;
                }
                Ok(public)
            }
            None => self.make(name),
        }
    }

    /// Makes another pair in place of what is there. Guests that have the old public half keep it.
    pub fn rotate(&self, name: &Name) -> Result<String, KeyPairError> {
        check_name(name)?;
        self.make(name)
    }

    fn make(&self, name: &Name) -> Result<String, KeyPairError> {
        let path = self.private_path(name);
        let seed = random_bytes::<32>().map_err(|source| KeyPairError::Io {
            name: name.clone(),
            what: "failed to make a key for",
            path: path.clone(),
            source,
        })?;
        let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
        let key = PrivateKey::new(pair, name.to_string()).map_err(|error| self.unreadable(name, &error))?;
        let private = key.to_openssh(LineEnding::LF).map_err(|error| self.unreadable(name, &error))?;
        let public = line(key.public_key()).map_err(|error| self.unreadable(name, &error))?;
        StateDir::open(&self.state)
            .and_then(|state| state.private(FOLDER))
            .map_err(|source| KeyPairError::State { name: name.clone(), source })?;
        write(name, &path, private.as_str(), 0o600)?;
        write(name, &self.public_path(name), &format!("{public}\n"), 0o644)?;
        Ok(public)
    }

    fn public_path(&self, name: &Name) -> PathBuf {
        self.state.join(FOLDER).join(format!("{name}.pub"))
    }

    fn unreadable(&self, name: &Name, error: &ssh_key::Error) -> KeyPairError {
        KeyPairError::Unreadable { name: name.clone(), path: self.private_path(name), reason: error.to_string() }
    }
}

/// Names are lower case, so this is all that could meet a public half.
fn check_name(name: &Name) -> Result<(), KeyPairError> {
    match Path::new(name.as_str()).extension() {
        Some(extension) if extension == "pub" => Err(KeyPairError::Name { name: name.clone() }),
        _ => Ok(()),
    }
}

fn write(name: &Name, path: &Path, text: &str, mode: u32) -> Result<(), KeyPairError> {
    write_atomically(path, text.as_bytes(), mode).map_err(|source| KeyPairError::Io {
        name: name.clone(),
        what: "failed to write",
        path: path.to_owned(),
        source,
    })
}

fn line(key: &PublicKey) -> Result<String, ssh_key::Error> {
    key.to_openssh().map(|line| line.trim().to_owned())
}
