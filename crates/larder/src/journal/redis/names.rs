//! The keys of a namespace, all in one slot of a cluster.

/// The names a namespace's journal uses, and no other: `{larder:booking}:head` and its like.
pub(super) struct Names {
    pub(super) head: Vec<u8>,
    pub(super) log: Vec<u8>,
    pub(super) large: Vec<u8>,
    pub(super) channel: Vec<u8>,
}

impl Names {
    pub(super) fn of(namespace: &str) -> Self {
        let tag = format!("{{larder:{}}}", plain(namespace));
        let name = |what: &str| format!("{tag}:{what}").into_bytes();
        Names { head: name("head"), log: name("log"), large: name("large"), channel: name("changed") }
    }

    /// As scripts want them.
    pub(super) fn keys(&self) -> [&[u8]; 3] {
        [&self.head, &self.log, &self.large]
    }
}

/// The name with everything but letters, digits, `-`, `_` and `.` written as `%` and two digits: no brace may end the
/// tag early, and no two namespaces share a name.
fn plain(namespace: &str) -> String {
    let mut out = String::new();
    for byte in namespace.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02x}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn all_keys_of_a_namespace_have_one_hash_tag_and_no_two_namespaces_share_it() {
        let names = ["booking", "", "a}b", "a%7db", "a b", "ä", "{", "larder:x"];
        let mut tags = Vec::new();
        for namespace in names {
            let names = Names::of(namespace);
            let tag = |name: &[u8]| {
                let text = String::from_utf8(name.to_vec()).unwrap();
                text[text.find('{').unwrap()..=text.find('}').unwrap()].to_owned()
            };
            let tag_of_head = tag(&names.head);
            assert!(tag_of_head.len() > 2, "an empty tag is none");
            for name in names.keys().into_iter().chain([names.channel.as_slice()]) {
                assert_eq!(tag(name), tag_of_head, "{namespace}");
            }
            tags.push(tag_of_head);
        }
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), names.len());
        assert_eq!(Names::of("booking").head, b"{larder:booking}:head");
    }
}
