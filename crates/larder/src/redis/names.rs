//! Names of keys and channels that belong together, and so to one slot of a cluster: a namespace's, a lock's.

/// `{larder:booking}:head` and its like; no two namespaces share a name.
pub(crate) fn name_of(namespace: &str, what: &str) -> Vec<u8> {
    let mut name = b"{larder:".to_vec();
    escape(namespace, &mut name);
    name.extend_from_slice(b"}:");
    name.extend_from_slice(what.as_bytes());
    name
}

/// `larder:k:{name}` and its like: those of one name are in one slot, whatever stands before it.
pub(super) fn tagged(before: &[u8], name: &str) -> Vec<u8> {
    let mut tagged = [before, b"{"].concat();
    escape(name, &mut tagged);
    tagged.push(b'}');
    tagged
}

/// Everything but letters, digits, `-`, `_` and `.` is written as `%` and two digits: no brace ends the tag early.
fn escape(text: &str, into: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => into.push(byte),
            _ => into.extend_from_slice(format!("%{byte:02x}").as_bytes()),
        }
    }
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
