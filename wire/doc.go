// Package wire is the message format of D-Bus, version 1 of the protocol, in
// both byte orders. It turns bytes into facts and Go values into bytes, and
// judges whether bytes or names are valid. It does no I/O, keeps no state, and
// imports nothing of this module.
//
// There are three levels, and a program takes the lowest one that serves it:
//
//   - A message bus looks at headers only. [MessageSize] cuts a stream into
//     messages, [Header.Parse] reads one header in place without allocating,
//     [ValidateBody] judges a body without reading it, [Args] gives match rules
//     the arguments they ask for, and [Header.Append] writes the header anew:
//     known fields only, which is how a bus drops the unknown ones and stamps
//     the sender.
//   - Code that speaks D-Bus builds and reads bodies: [Encoder] without
//     reflection, [AppendBody] and [Decode] with Go types, [Values] without
//     knowing them, [Walk] for printing. [Message] holds a header and its body.
//   - Names and signatures are judged one by one by the functions that begin
//     with Check.
//
// # Go types
//
// The types of D-Bus and those of Go correspond like this:
//
//	y  byte        b  bool        d  float64
//	n  int16       i  int32       x  int64
//	q  uint16      u  uint32      t  uint64
//	s  string      o  ObjectPath  g  Signature    h  UnixFD
//	v  Variant
//	a  slice, Go array
//	a{ }  map; its keys are written in ascending order
//	( )  struct: its exported fields in order; or []any
//
// # Safety
//
// Bytes are never trusted: whatever is given to a function of this package, it
// returns an [*Error] that says what is wrong and where, and neither panics nor
// allocates more than a small multiple of the input. Nesting is bounded by
// [MaxDepth], so recursion is too. Functions and types hold no hidden state;
// values of this package may be read from several goroutines, and written from
// one at a time.
//
// Section names in the comments are those of the D-Bus Specification. Where
// the specification and the reference implementation, libdbus, disagree, the
// comment says so and which one is followed.
package wire
