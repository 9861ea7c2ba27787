// Package gvariant is the message format that kdbus carried: "version 2" of
// D-Bus messages, whose values are serialised as GVariant rather than as D-Bus
// marshals them. Package wire is version 1; this one converts between the two,
// bodies and whole messages, so that a program that speaks one can be called by
// a program that speaks the other.
//
// There are four levels, and a program takes the lowest one that serves it:
//
//   - [Check] judges whether bytes are a value in normal form, and [AppendNormal]
//     writes the normal form of any bytes: what a reader that forgives sees.
//   - [AppendFromDBus1] and [AppendToDBus1] convert a body in one pass, without Go
//     values in between.
//   - [Header] is the header and, since version 2 keeps the signature at the end,
//     the footer: [Header.Parse], [Header.Append], [Header.AppendFooter].
//     [ParseMessage], [AppendMessageFromDBus1] and [AppendMessageToDBus1] do whole
//     messages.
//   - [AppendBody], [Values] and [Decode] are those of package wire for Go values.
//
// # Values
//
// Types are those of D-Bus, and mean the same; there are also maybe types ("ms"),
// the empty tuple "()" and dict entries outside of arrays. [Check] and
// [AppendNormal] know these. D-Bus does not, so conversions refuse them, but for
// the body as a whole: it is a tuple, "()" if there are no values.
//
// A value is stored as if at an address that is a multiple of its alignment, 1 to
// 8 bytes; it says neither its type nor its size, which both come from outside.
// Types all values of which have the same size (numbers, booleans, and tuples of
// them) are simply put next to each other, with padding. Where a container holds
// others, it ends with framing offsets: for each value whose end cannot be known
// otherwise, the distance of its end from the beginning of the container. They
// are as wide as they must be for the container's size, 1, 2, 4 or 8 bytes, and
// little-endian even where the numbers are not. In an array they are in the order
// of the elements; in a tuple in reverse order, and the last member has none. A
// variant is a value, a NUL byte and its type.
//
// # Normal form
//
// Each value has one serialisation, its normal form. By the specification any
// other bytes are a value too: whatever in them cannot be made sense of has the
// default value of its type, which is zero, the empty string, "/", the empty
// array, nothing, or a variant of "()". Senders produce normal form only, and
// sd-bus does not take anything else; nor do the conversions of this package,
// because a default that appears out of nowhere on the other side of a bus hides
// a fault. Who wants it otherwise calls [AppendNormal] first.
//
// In the following this package is GLib's equal rather than the specification's:
// a boolean that is neither 0 nor 1 is true, elements that overlap or are out of
// order end an array (all later ones are default values), and at most [MaxDepth]
// containers are nested. It is more strict in one: signatures, values of type 'g'
// and the types of variants, are at most 255 bytes long, and those that are values
// are valid in D-Bus.
//
// # Messages
//
// A message is one value of type (yyyyuta{tv}v): byte order, type and flags as in
// version 1, the version, 0, a cookie of 64 bits where version 1 has a serial of
// 32, the header fields, and the body. Reply cookies have 64 bits too; there is
// no signature among the fields, for it is the type of the body. The end of the
// message is that of the body: NUL, the signature in brackets, and one framing
// offset, that of the end of the fields. A receiver needs the first piece of the
// message, with the whole header in it, and the last, with the signature; what is
// in between may be elsewhere, in a memfd for instance.
//
// sd-bus takes messages in the byte order of the machine only.
//
// # Safety
//
// Bytes are never trusted: whatever is given to a function of this package, it
// returns a [*wire.Error] that says what is wrong and where, and does not panic.
// Work and memory are proportional to the input, with one exception that has a
// limit of its own ([AppendNormal]): framing offsets are read where they are and
// must ascend, so that no byte counts twice. Functions hold no state.
//
// Sources: "GVariant Specification" (Ryan Lortie), and for messages what sd-bus of
// systemd 221 to 232 puts on kdbus and takes from it.
package gvariant
