//! YAML of others', such as user data for cloud-init: whether it can be read at all. Its values are nobody's business here.

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::yaml::MAX_DEPTH;

/// Whether `text` is YAML with a mapping at its top; else what is wrong, in words that name the line.
pub fn check_mapping(text: &str) -> Result<(), String> {
    let mut parser = Parser::new_from_str(text);
    let (mut depth, mut root) = (0usize, None);
    loop {
        match parser.next_event() {
            None | Some(Ok((Event::StreamEnd, _))) => break,
            Some(Err(error)) => return Err(format!("line {}: {}", error.marker().line(), error.info())),
            Some(Ok((event, span))) => match event {
                Event::MappingStart(..) | Event::SequenceStart(..) => {
                    root.get_or_insert(matches!(event, Event::MappingStart(..)));
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return Err(format!("line {}: nested more than {MAX_DEPTH} deep", span.start.line()));
                    }
                }
                Event::MappingEnd | Event::SequenceEnd => depth = depth.saturating_sub(1),
                Event::Scalar(value, style, ..) => {
                    // A document of nothing but comments is an empty mapping to cloud-init.
                    let empty = style == ScalarStyle::Plain && value.is_empty();
                    root.get_or_insert(empty);
                }
                Event::Alias(_) | Event::DocumentStart(_) | Event::DocumentEnd | Event::StreamStart => {}
                Event::Nothing | Event::StreamEnd => {}
            },
        }
    }
    if root.unwrap_or(true) { Ok(()) } else { Err("its top is no mapping (`key: value`)".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_has_to_be_a_mapping() {
        assert!(check_mapping("#cloud-config\n").is_ok());
        assert!(check_mapping("#cloud-config\npackages: [a]\nx: &a {b: c}\ny: {<<: *a}\n").is_ok());
        assert!(check_mapping("#cloud-config\n- a\n").is_err());
        assert!(check_mapping("#cloud-config\na: [\n").is_err());
    }
}
