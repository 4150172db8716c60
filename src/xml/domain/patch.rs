//! Changing a domain's document: what is wanted is set, what is to go is dropped, all else stays byte for byte what it meant.
