//! Finds values that a format would silently change, or could not read back, before they are encoded.
//!
//! JSON writes floats that are not finite as `null`; JSON and MessagePack write `Some` around a null as the
//! null alone, which reads back as `None`. A cache must not change a value on its way through a tier, so such
//! values are not stored. Nor are values nested so deep that decoding would refuse them. One walk over the
//! value, which writes nothing.

use super::error::Why;
use serde::ser::{self, Serialize, Serializer};
use std::fmt;

/// Levels of nesting that JSON reads back: it gives up at the 128th, so that no input exhausts the stack.
const LEVELS_MAX: u8 = 127;

/// The walk, for one format.
#[derive(Clone, Copy)]
pub(super) struct Exact {
    levels_left: u8,
    human_readable: bool,
    floats_finite: bool,
    unit_struct: Shape,
}

/// Whether a value is written as null.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Null,
    Other,
}

/// Why the walk stopped. What the type's own `Serialize` said is dropped: it may quote the value.
#[derive(Debug)]
pub(super) enum Inexact {
    NotFinite,
    NestedNull,
    TooDeep,
    Refused,
}

impl Exact {
    pub(super) const JSON: Exact = Exact {
        levels_left: LEVELS_MAX,
        human_readable: true,
        floats_finite: true,
        unit_struct: Shape::Null,
    };
    /// A unit struct is an empty array there.
    pub(super) const MESSAGE_PACK: Exact = Exact {
        levels_left: LEVELS_MAX,
        human_readable: false,
        floats_finite: false,
        unit_struct: Shape::Other,
    };

    pub(super) fn check<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Why> {
        value.serialize(self).map(|_shape| ()).map_err(|inexact| match inexact {
            Inexact::NotFinite => Why::NotFinite,
            Inexact::NestedNull => Why::NestedNull,
            Inexact::TooDeep => Why::TooDeep,
            Inexact::Refused => Why::Refused,
        })
    }

    /// The walk inside a value that is written as this many nested ones.
    fn inside(self, levels: u8) -> Result<Self, Inexact> {
        let levels_left = self.levels_left.checked_sub(levels).ok_or(Inexact::TooDeep)?;
        Ok(Exact { levels_left, ..self })
    }

    fn float(self, finite: bool) -> Result<Shape, Inexact> {
        if finite || !self.floats_finite { Ok(Shape::Other) } else { Err(Inexact::NotFinite) }
    }
}

macro_rules! plain {
    ($($method:ident: $t:ty),* $(,)?) => {$(
        fn $method(self, _: $t) -> Result<Shape, Inexact> {
            Ok(Shape::Other)
        }
    )*};
}

macro_rules! opens {
    ($($levels:literal: $method:ident($($argument:ty),*)),* $(,)?) => {$(
        fn $method(self, $(_: $argument),*) -> Result<Self, Inexact> {
            self.inside($levels)
        }
    )*};
}

impl Serializer for Exact {
    type Ok = Shape;
    type Error = Inexact;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    plain! {
        serialize_bool: bool, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
    }

    opens! {
        1: serialize_seq(Option<usize>),
        1: serialize_tuple(usize),
        1: serialize_tuple_struct(&'static str, usize),
        2: serialize_tuple_variant(&'static str, u32, &'static str, usize),
        1: serialize_map(Option<usize>),
        1: serialize_struct(&'static str, usize),
        2: serialize_struct_variant(&'static str, u32, &'static str, usize),
    }

    fn serialize_f32(self, n: f32) -> Result<Shape, Inexact> {
        self.float(n.is_finite())
    }

    fn serialize_f64(self, n: f64) -> Result<Shape, Inexact> {
        self.float(n.is_finite())
    }

    fn serialize_none(self) -> Result<Shape, Inexact> {
        Ok(Shape::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Shape, Inexact> {
        match value.serialize(self)? {
            Shape::Null => Err(Inexact::NestedNull),
            Shape::Other => Ok(Shape::Other),
        }
    }

    fn serialize_unit(self) -> Result<Shape, Inexact> {
        Ok(Shape::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Shape, Inexact> {
        Ok(self.unit_struct)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<Shape, Inexact> {
        Ok(Shape::Other)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Shape, Inexact> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<Shape, Inexact> {
        value.serialize(self.inside(1)?).map(|_| Shape::Other)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Result<Shape, Inexact> {
        Ok(Shape::Other)
    }

    fn is_human_readable(&self) -> bool {
        self.human_readable
    }
}

macro_rules! walks {
    ($($of:ident: $($method:ident($($name:ty)?)),+;)*) => {$(
        impl ser::$of for Exact {
            type Ok = Shape;
            type Error = Inexact;

            $(fn $method<T: Serialize + ?Sized>(&mut self, $(_: $name,)? part: &T) -> Result<(), Inexact> {
                part.serialize(*self).map(|_| ())
            })+

            fn end(self) -> Result<Shape, Inexact> {
                Ok(Shape::Other)
            }
        }
    )*};
}

walks! {
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeMap: serialize_key(), serialize_value();
    SerializeStruct: serialize_field(&'static str);
    SerializeStructVariant: serialize_field(&'static str);
}

impl ser::Error for Inexact {
    fn custom<M: fmt::Display>(_: M) -> Self {
        Inexact::Refused
    }
}

impl fmt::Display for Inexact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Inexact {}
