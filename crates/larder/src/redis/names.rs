//! Names of keys and channels that belong to a namespace as a whole: all in one slot of a cluster.

/// `{larder:booking}:head` and its like. Everything in a namespace but letters, digits, `-`, `_` and `.` is written as
/// `%` and two digits: no brace ends the tag early, and no two namespaces share a name.
pub(crate) fn name_of(namespace: &str, what: &str) -> Vec<u8> {
    let mut name = b"{larder:".to_vec();
    for byte in namespace.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => name.push(byte),
            _ => name.extend_from_slice(format!("%{byte:02x}").as_bytes()),
        }
    }
    name.extend_from_slice(b"}:");
    name.extend_from_slice(what.as_bytes());
    name
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn all_names_of_a_namespace_have_one_hash_tag_and_no_two_namespaces_share_it() {
        let namespaces = ["booking", "", "a}b", "a%7db", "a b", "ä", "{", "larder:x"];
        let tag = |namespace: &str, what: &str| {
            let text = String::from_utf8(name_of(namespace, what)).unwrap();
            text[text.find('{').unwrap()..=text.find('}').unwrap()].to_owned()
        };
        let mut tags: Vec<String> = namespaces.iter().map(|namespace| tag(namespace, "head")).collect();
        for (namespace, of_head) in namespaces.iter().zip(&tags) {
            assert!(of_head.len() > 2, "an empty tag is none");
            assert_eq!(tag(namespace, "log"), *of_head);
        }
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), namespaces.len());
        assert_eq!(name_of("booking", "head"), b"{larder:booking}:head");
    }
}
